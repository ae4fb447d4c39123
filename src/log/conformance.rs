//! What every implementation of [`Log`] must do. An implementation's tests call
//! `conformance::suite!(open)` with a function that opens a log of so many partitions in a folder; a
//! folder opened again, after the log before it is dropped, holds the same log.

use crossbeam_channel::{Receiver, Sender, unbounded};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use vitals_core::columns::{Columns, Starts};
use vitals_core::ids::{AgentId, Partition, Position, SeriesId, UnixNanos};
use vitals_core::log::{Deliver, Log, LogError};
use vitals_core::record::{Delivery, Record, Samples, Ticket};
use vitals_core::series::{Attributes, MetricKind, Origin, Part, Scope, SeriesDesc, SeriesSpec, Shape};

pub(super) type Open = dyn Fn(&Path, u32, Deliver) -> Arc<dyn Log>;
pub(super) type Delivered = Receiver<(Partition, Position, Record)>;

pub(super) const ZERO: Partition = Partition(0);
const WAIT: Duration = Duration::from_secs(20);

pub(super) fn deliver_to(sender: Sender<(Partition, Position, Record)>) -> Deliver {
    Box::new(move |partition, Delivery { position, record, .. }| {
        let _ = sender.send((partition, position, record));
    })
}

pub(super) fn samples(mark: u32, rows: u32) -> Record {
    let mut columns = Columns::default();
    for row in 0..rows {
        columns.push(
            SeriesId(mark + row * 7),
            UnixNanos(1_700_000_000_000_000_000 + i64::from(row * row)),
            f64::from(mark),
        );
    }
    Record::Samples(Samples {
        tenant: "t".into(),
        received_at: UnixNanos(mark.into()),
        alive: vec![AgentId(mark)],
        columns,
        starts: Starts { rows: vec![0], times: vec![mark.into()] },
    })
}

pub(super) fn describe(id: u32) -> Record {
    let spec = SeriesSpec {
        metric: "m".into(),
        unit: "%".into(),
        kind: MetricKind::CpuUsage,
        shape: Shape::Gauge,
        part: Part::Bucket(f64::INFINITY),
        integer: false,
        factor: 1.0,
        origin: Origin::Derived { plugin: "rate".into(), from: SeriesId(1) },
        scope: Scope::named("lib"),
        attributes: Attributes::new(vec![("a".into(), id.to_string())], "i", 0),
        resource: Arc::new(vec![("host.name".into(), "h".into())].into()),
    };
    let series =
        (0..3).map(|i| Arc::new(SeriesDesc { id: SeriesId(id + i), agent: AgentId(9), spec: spec.clone() })).collect();
    Record::Describe { agents: vec![], series }
}

/// Appends and waits for the answer.
pub(super) fn append(log: &dyn Log, partition: Partition, record: Record) -> Result<Position, LogError> {
    let (sender, answer) = unbounded();
    log.append(partition, record, Ticket::default(), Box::new(move |result| sender.send(result).unwrap()));
    answer.recv_timeout(WAIT).expect("done is always called")
}

pub(super) fn all(log: &dyn Log, partition: Partition) -> Vec<(Position, Record)> {
    let (mut records, mut after) = (Vec::new(), Position(0));
    loop {
        let some = log.read(partition, after, 1000).unwrap();
        let Some(last) = some.last() else { return records };
        after = last.0;
        records.extend(some);
    }
}

fn opened(open: &Open, path: &Path, partitions: u32) -> (Arc<dyn Log>, Delivered) {
    let (sender, delivered) = unbounded();
    (open(path, partitions, deliver_to(sender)), delivered)
}

pub(super) fn what_is_appended_is_read_and_delivered(open: &Open) {
    let folder = tempfile::tempdir().unwrap();
    let (log, delivered) = opened(open, folder.path(), 2);
    assert_eq!(log.partitions(), 2);
    assert_eq!(log.last(ZERO).unwrap(), Position(0));
    for (n, record) in [describe(1), samples(5, 10), samples(6, 0)].into_iter().enumerate() {
        let position = Position(n as u64 + 1);
        assert_eq!(append(&*log, ZERO, record.clone()).unwrap(), position);
        assert_eq!(delivered.recv_timeout(WAIT).unwrap(), (ZERO, position, record.clone()));
        assert_eq!(log.last(ZERO).unwrap(), position);
        assert_eq!(all(&*log, ZERO)[n], (position, record));
    }
    assert_eq!(append(&*log, Partition(1), samples(1, 1)).unwrap(), Position(1), "partitions count for themselves");
    assert_eq!(log.stats().records, 4);
    assert!(append(&*log, Partition(2), samples(1, 1)).is_err(), "there is no such partition");
    assert!(log.read(ZERO, Position(u64::MAX), 10).unwrap().is_empty());
    assert_eq!(log.read(ZERO, Position(1), 0).unwrap().len(), 1, "at least one");
}

pub(super) fn order_is_that_of_the_calls(open: &Open) {
    const EACH: u32 = 200;
    let folder = tempfile::tempdir().unwrap();
    let (log, delivered) = opened(open, folder.path(), 2);
    let (sender, answers) = unbounded();
    std::thread::scope(|scope| {
        for writer in 0..4_u32 {
            let (log, sender) = (log.clone(), sender.clone());
            scope.spawn(move || {
                for n in 0..EACH {
                    let (sender, mark) = (sender.clone(), writer * EACH + n);
                    let done = Box::new(move |result: Result<Position, LogError>| {
                        sender.send((mark, result.unwrap())).unwrap()
                    });
                    log.append(Partition(writer % 2), samples(mark, 3), Ticket::default(), done);
                }
            });
        }
    });
    drop(sender);
    let mut positions = [Position(0); 4];
    for (mark, position) in answers {
        let last = &mut positions[(mark / EACH) as usize];
        assert!(position > *last, "positions rise with the calls of one thread");
        *last = position;
    }
    log.close();
    let delivered: Vec<_> = delivered.try_iter().collect();
    assert_eq!(delivered.len(), 4 * EACH as usize);
    for partition in [Partition(0), Partition(1)] {
        let read = all(&*log, partition);
        let heard: Vec<_> = delivered.iter().filter(|d| d.0 == partition).map(|d| (d.1, d.2.clone())).collect();
        assert_eq!(read, heard, "delivered what is held, in order");
        assert!(read.iter().zip(1..).all(|(record, n)| record.0 == Position(n)), "no gaps");
    }
}

pub(super) fn a_cut_forgets_but_keeps_counting(open: &Open) {
    let folder = tempfile::tempdir().unwrap();
    let (log, _delivered) = opened(open, folder.path(), 1);
    for n in 1..=5 {
        append(&*log, ZERO, samples(n, 5)).unwrap();
    }
    log.cut(ZERO, Position(3)).unwrap();
    assert_eq!(all(&*log, ZERO).iter().map(|r| r.0.0).collect::<Vec<_>>(), [4, 5]);
    assert_eq!(log.stats().records, 2);
    log.cut(ZERO, Position(2)).unwrap();
    log.cut(ZERO, Position(100)).unwrap();
    assert_eq!((all(&*log, ZERO).len(), log.stats().records, log.stats().bytes), (0, 0, 0));
    drop(log);
    let (log, _delivered) = opened(open, folder.path(), 1);
    assert_eq!(log.last(ZERO).unwrap(), Position(5));
    assert_eq!(append(&*log, ZERO, samples(6, 5)).unwrap(), Position(6));
}

pub(super) fn a_long_cut_is_whole(open: &Open) {
    let folder = tempfile::tempdir().unwrap();
    let (log, delivered) = opened(open, folder.path(), 1);
    for n in 0..1500 {
        log.append(ZERO, samples(n, 1), Ticket::default(), Box::new(|result| assert!(result.is_ok())));
    }
    for _ in 0..1500 {
        delivered.recv_timeout(WAIT).unwrap();
    }
    log.cut(ZERO, Position(1400)).unwrap();
    assert_eq!(all(&*log, ZERO).len(), 100);
}

pub(super) fn reopening_finds_everything(open: &Open) {
    let folder = tempfile::tempdir().unwrap();
    let (log, _delivered) = opened(open, folder.path(), 3);
    for n in 1..=7 {
        append(&*log, Partition(n % 3), if n == 3 { describe(n) } else { samples(n, n) }).unwrap();
    }
    let held: Vec<_> = (0..3).map(|p| all(&*log, Partition(p))).collect();
    let stats = log.stats();
    drop(log);
    let (log, delivered) = opened(open, folder.path(), 5);
    assert_eq!(log.partitions(), 3, "fixed when the log is made");
    assert_eq!((0..3).map(|p| all(&*log, Partition(p))).collect::<Vec<_>>(), held);
    assert_eq!((log.stats().bytes, log.stats().records), (stats.bytes, stats.records));
    assert!(delivered.try_recv().is_err(), "what was there is read, not delivered");
}

pub(super) fn skipped_positions_are_never_given(open: &Open) {
    let folder = tempfile::tempdir().unwrap();
    let (log, _delivered) = opened(open, folder.path(), 2);
    append(&*log, ZERO, samples(1, 1)).unwrap();
    log.skip(ZERO, Position(40)).unwrap();
    log.skip(ZERO, Position(7)).unwrap();
    assert_eq!(log.last(ZERO), Ok(Position(40)));
    drop(log);
    let (log, _delivered) = opened(open, folder.path(), 2);
    assert_eq!(log.last(ZERO), Ok(Position(40)));
    assert_eq!(append(&*log, ZERO, samples(2, 1)), Ok(Position(41)));
    assert_eq!(append(&*log, Partition(1), samples(3, 1)), Ok(Position(1)));
    let positions: Vec<_> = all(&*log, ZERO).into_iter().map(|(position, _)| position.0).collect();
    assert_eq!(positions, [1, 41]);
}

pub(super) fn a_closed_log_commits_what_it_has_and_refuses_more(open: &Open) {
    let folder = tempfile::tempdir().unwrap();
    let (log, _delivered) = opened(open, folder.path(), 1);
    let (sender, answers) = unbounded();
    for n in 0..50 {
        let sender = sender.clone();
        log.append(ZERO, samples(n, 2), Ticket::default(), Box::new(move |result| sender.send(result).unwrap()));
    }
    log.close();
    assert_eq!(answers.try_iter().filter(Result::is_ok).count(), 50);
    assert_eq!(append(&*log, ZERO, samples(1, 1)), Err(LogError::Closed));
    assert_eq!(log.cut(ZERO, Position(1)), Err(LogError::Closed));
    log.close();
}

macro_rules! suite {
    ($open:expr; $($name:ident),* $(,)?) => {
        $(#[test] fn $name() { $crate::log::conformance::$name(&$open); })*
    };
    ($open:expr) => {
        $crate::log::conformance::suite! { $open;
            what_is_appended_is_read_and_delivered,
            order_is_that_of_the_calls,
            a_cut_forgets_but_keeps_counting,
            a_long_cut_is_whole,
            reopening_finds_everything,
            skipped_positions_are_never_given,
            a_closed_log_commits_what_it_has_and_refuses_more,
        }
    };
}
pub(super) use suite;
