//! Batches of samples by columns.

use vitals_core::columns::{Columns, Starts};
use vitals_core::ids::{SeriesId, UnixNanos};

fn batch(rows: &[(u32, i64, f64)]) -> Columns {
    let mut columns = Columns::default();
    for &(series, time, value) in rows {
        columns.push(SeriesId(series), UnixNanos(time), value);
    }
    columns
}

fn rows(columns: &Columns) -> Vec<(u32, i64, f64)> {
    columns.rows().map(|(series, time, value)| (series.0, time.0, value)).collect()
}

#[test]
fn rows_come_out_as_they_went_in() {
    let all = [(7, 100, 1.5), (8, 90, -2.0), (7, 110, 0.0)];
    let mut columns = batch(&all);
    assert_eq!((columns.len(), columns.is_empty()), (3, false));
    assert_eq!(rows(&columns), all);
    assert_eq!((&columns.series[..], &columns.times[..]), (&[7, 8, 7][..], &[100, 90, 110][..]));
    columns.extend(&batch(&[(9, 120, 4.0)]));
    assert_eq!(rows(&columns), [&all[..], &[(9, 120, 4.0)]].concat());
    columns.clear();
    assert_eq!((columns.len(), columns.is_empty(), rows(&columns)), (0, true, Vec::new()));
    assert_eq!(columns, Columns::default());
}

#[test]
fn a_start_holds_until_another_one_is_noted() {
    let mut starts = Starts::default();
    for (row, start) in [(2, 50), (3, 50), (5, 0), (6, 70)] {
        starts.note(row, UnixNanos(start));
    }
    assert_eq!(starts.runs(8).collect::<Vec<_>>(), [(0, 2, 0), (2, 5, 50), (5, 6, 0), (6, 8, 70)]);
    // Rows that are not there have no start.
    assert_eq!(starts.runs(4).collect::<Vec<_>>(), [(0, 2, 0), (2, 4, 50), (4, 4, 0), (4, 4, 70)]);
    assert_eq!(starts.each(8), [0, 0, 50, 50, 50, 0, 70, 70]);
}

#[test]
fn rows_that_are_kept_keep_their_starts() {
    let mut starts = Starts::default();
    for (row, start) in [10, 10, 20, 20, 0].into_iter().enumerate() {
        starts.note(row, UnixNanos(start));
    }
    for (keep, expect) in [
        ([true; 5], vec![10, 10, 20, 20, 0]),
        ([false; 5], vec![]),
        ([false, true, false, true, true], vec![10, 20, 0]),
        ([true, true, false, false, true], vec![10, 10, 0]),
    ] {
        let kept = starts.retained(&keep);
        assert_eq!(kept.each(expect.len()), expect, "{keep:?}");
    }
}
