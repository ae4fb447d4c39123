//! Units at the edges of what is known.

use vitals_core::rules::units::{canonical, is_percent};
use vitals_core::series::MetricKind::{Custom, DiskIo, DiskUsage, NetworkIo, ResponseTime, Throughput};

#[test]
fn every_prefix_has_its_size() {
    for (unit, mb) in [
        ("By", 1e-6),
        ("kB", 1e-3),
        ("MB", 1.0),
        ("GB", 1e3),
        ("TB", 1e6),
        ("terabytes", 1e6),
        ("KiB", 1_024.0 / 1e6),
        ("kibibytes", 1_024.0 / 1e6),
        ("MiB", 1_048_576.0 / 1e6),
        ("GiB", 1_073_741_824.0 / 1e6),
        ("TiB", 1_099_511_627_776.0 / 1e6),
        ("tebibytes", 1_099_511_627_776.0 / 1e6),
    ] {
        let (name, factor) = canonical(DiskUsage, unit);
        assert_eq!(&*name, "MB", "{unit}");
        assert!((factor / mb - 1.0).abs() < 1e-12, "{unit}: {factor}");
    }
}

#[test]
fn a_custom_metric_has_the_usual_spelling_of_its_own_scale() {
    for (unit, expect) in [
        ("nanoseconds", "ns"),
        ("minutes", "min"),
        ("days", "d"),
        ("terabytes", "TB"),
        ("kibibytes", "KiB"),
        ("tebibytes", "TiB"),
        ("bytes/s", "By/s"),
        ("GB/s", "GB/s"),
        ("bits per second", "bit/s"),
        ("Gbps", "Gbit/s"),
        ("rps", "{request}/s"),
        ("rpm", "{request}/min"),
        ("iops", "{operation}/s"),
        ("ops", "{operation}/s"),
        ("ops/min", "{operation}/min"),
        ("operations/minute", "{operation}/min"),
        // Neither bytes nor bits by the minute have a spelling.
        ("MB/min", "MB/min"),
        ("bits/min", "bits/min"),
        ("/s", "/s"),
        ("/min", "/min"),
        ("ps", "ps"),
        ("B", "B"),
    ] {
        let (name, factor) = canonical(Custom, unit);
        assert_eq!((&*name, factor), (expect, 1.0), "{unit}");
    }
}

#[test]
fn rates_by_the_minute_are_sixtieths() {
    for (kind, unit, name) in [
        (Throughput, "requests/min", "{request}/s"),
        (Throughput, "ops/min", "{operation}/s"),
        (DiskIo, "io/m", "{operation}/s"),
    ] {
        let (found, factor) = canonical(kind, unit);
        assert_eq!(&*found, name, "{unit}");
        assert!((factor * 60.0 - 1.0).abs() < 1e-12, "{unit}: {factor}");
    }
    // Of traffic by the minute nothing is known.
    for (kind, unit) in [(NetworkIo, "MB/min"), (DiskIo, "B/min"), (NetworkIo, "/s"), (DiskIo, "/min")] {
        assert_eq!(canonical(kind, unit), (unit.into(), 1.0), "{unit}");
    }
}

#[test]
fn texts_of_more_than_forty_bytes_are_no_units() {
    let spaced = |length: usize| format!("percent{}", "_".repeat(length - 7));
    assert!(is_percent(&spaced(40)) && !is_percent(&spaced(41)));
    assert_eq!(canonical(ResponseTime, &" ".repeat(50)).1, 1.0);
    assert!(!is_percent(" ") && !is_percent(""));
    // White space around a unit does not count.
    assert!(is_percent(&format!("{}%", " ".repeat(60))));
}
