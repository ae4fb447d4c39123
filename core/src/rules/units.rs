//! Spellings of units: which of them mean the same, and what a typed metric is multiplied by.
//!
//! Clients of the REST contract write units as they like (`%`, `percent`, `Percentage`). All spellings of one unit are one
//! series, and a metric with a typed kind has one scale, so that a threshold means the same whichever unit was sent.

use crate::series::MetricKind;
use std::borrow::Cow;

/// Longer texts are no unit that is known here.
const LONGEST: usize = 40;

/// What a unit measures; the number is the size of one of it, in the base unit.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Measure {
    /// Parts of a whole; base: percent.
    Share(f64),
    /// Base: seconds.
    Time(f64),
    /// Base: bytes.
    Size(f64),
    /// Base: bytes a second.
    ByteRate(f64),
    /// Base: bits a second.
    BitRate(f64),
    /// Base: requests a second.
    RequestRate(f64),
    /// Base: operations a second.
    OperationRate(f64),
}

/// The unit under which a metric is kept, and what its values are multiplied by for that.
///
/// Kinds with a unit of their own get it: `%` for shares, `ms` for response times, `s` for uptime, `MB` (10^6 bytes) for
/// amounts of memory and disk, `MB/s` and `Mbit/s` for traffic, `{request}/s` for throughput. The scale of a custom metric is
/// the sender's; only the spelling becomes one. An unknown unit stays as it is.
#[must_use]
pub fn canonical(kind: MetricKind, unit: &str) -> (Cow<'_, str>, f64) {
    let as_sent = (Cow::Borrowed(unit), 1.0);
    let Some(measure) = measure(kind, unit) else { return as_sent };
    let (name, factor) = match (kind, measure) {
        (MetricKind::Custom, measure) => (spelling(measure), 1.0),
        (_, Measure::Share(each)) => (Some("%"), each),
        (MetricKind::ResponseTime, Measure::Time(each)) => (Some("ms"), each * 1e3),
        (MetricKind::Uptime, Measure::Time(each)) => (Some("s"), each),
        (
            MetricKind::MemoryUsage | MetricKind::DiskUsage | MetricKind::DiskIo | MetricKind::NetworkIo,
            Measure::Size(each),
        ) => (Some("MB"), each / 1e6),
        (MetricKind::NetworkIo, Measure::ByteRate(each)) => (Some("Mbit/s"), 8.0 * each / 1e6),
        (MetricKind::NetworkIo | MetricKind::Throughput, Measure::BitRate(each)) => (Some("Mbit/s"), each / 1e6),
        (MetricKind::DiskIo | MetricKind::Throughput, Measure::ByteRate(each)) => (Some("MB/s"), each / 1e6),
        (MetricKind::DiskIo, Measure::OperationRate(each)) => (Some("{operation}/s"), each),
        (MetricKind::Throughput, Measure::RequestRate(each)) => (Some("{request}/s"), each),
        (MetricKind::Throughput, Measure::OperationRate(each)) => (Some("{operation}/s"), each),
        (_, measure) => (spelling(measure), 1.0),
    };
    name.map_or(as_sent, |name| (Cow::Borrowed(name), factor))
}

/// Whether a unit says percent, in any spelling.
#[must_use]
pub fn is_percent(unit: &str) -> bool {
    unit == "%" || measure(MetricKind::Custom, unit) == Some(Measure::Share(1.0))
}

/// The usual spelling of a unit with its own scale.
fn spelling(measure: Measure) -> Option<&'static str> {
    let (table, each): (&[(f64, &str)], f64) = match measure {
        Measure::Share(each) => (&[(1.0, "%")], each),
        Measure::Time(each) => (
            &[(1e-9, "ns"), (1e-6, "us"), (1e-3, "ms"), (1.0, "s"), (60.0, "min"), (3_600.0, "h"), (86_400.0, "d")],
            each,
        ),
        Measure::Size(each) => (
            &[
                (1.0, "By"),
                (1e3, "kB"),
                (1e6, "MB"),
                (1e9, "GB"),
                (1e12, "TB"),
                (KIBI, "KiB"),
                (MEBI, "MiB"),
                (GIBI, "GiB"),
                (TEBI, "TiB"),
            ],
            each,
        ),
        Measure::ByteRate(each) => (&[(1.0, "By/s"), (1e3, "kB/s"), (1e6, "MB/s"), (1e9, "GB/s")], each),
        Measure::BitRate(each) => (&[(1.0, "bit/s"), (1e3, "kbit/s"), (1e6, "Mbit/s"), (1e9, "Gbit/s")], each),
        Measure::RequestRate(each) => (&[(1.0, "{request}/s"), (1.0 / 60.0, "{request}/min")], each),
        Measure::OperationRate(each) => (&[(1.0, "{operation}/s"), (1.0 / 60.0, "{operation}/min")], each),
    };
    table.iter().find(|(size, _)| size.to_bits() == each.to_bits()).map(|(_, name)| *name)
}

const KIBI: f64 = 1_024.0;
const MEBI: f64 = KIBI * KIBI;
const GIBI: f64 = KIBI * MEBI;
const TEBI: f64 = KIBI * GIBI;

/// What a unit measures, `None` when it is not known. A single letter is a unit of a typed kind only: `S` of a custom metric
/// may be anything.
fn measure(kind: MetricKind, unit: &str) -> Option<Measure> {
    let unit = unit.trim();
    if unit.is_empty() || unit.len() > LONGEST {
        return None;
    }
    let words = folded(unit);
    let typed = kind != MetricKind::Custom;
    if let Some(share) = share(&words) {
        return Some(share);
    }
    if typed || words.len() > 1 || unit == "s" {
        if let Some(each) = time(&words) {
            return Some(Measure::Time(each));
        }
        // Nobody measures memory or disks in bits.
        let bits_are_bytes = !matches!(kind, MetricKind::NetworkIo | MetricKind::Throughput | MetricKind::Custom);
        if let Some(each) = size(&words, bits_are_bytes || !small_b(unit)) {
            return Some(Measure::Size(each));
        }
    }
    rate(kind, unit, &words)
}

/// In lower case, with `/` for `per` and without underscores, spaces and braces.
fn folded(unit: &str) -> String {
    let spaced: String = unit.chars().map(|c| if matches!(c, '_' | '-') { ' ' } else { c }).collect();
    let lower = spaced.to_lowercase();
    let words: Vec<&str> = lower.split_whitespace().map(|word| if word == "per" { "/" } else { word }).collect();
    words.concat().chars().filter(|c| !matches!(c, '{' | '}')).collect()
}

/// Whether the unit's `b` is a small one, which means bits: `Mb/s`, `mbps`.
fn small_b(unit: &str) -> bool {
    !unit.contains('B') && !unit.to_lowercase().contains("byte")
}

fn share(words: &str) -> Option<Measure> {
    match words {
        "%" | "percent" | "percents" | "percentage" | "percentages" | "pct" | "/cent" | "prct" => {
            Some(Measure::Share(1.0))
        }
        "ratio" | "fraction" => Some(Measure::Share(100.0)),
        _ => None,
    }
}

fn time(words: &str) -> Option<f64> {
    Some(match words {
        "ns" | "nsec" | "nsecs" | "nanos" | "nanosecond" | "nanoseconds" => 1e-9,
        "us" | "\u{b5}s" | "\u{3bc}s" | "usec" | "usecs" | "micros" | "microsecond" | "microseconds" => 1e-6,
        "ms" | "msec" | "msecs" | "millis" | "millisec" | "millisecs" | "millisecond" | "milliseconds" => 1e-3,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600.0,
        "d" | "day" | "days" => 86_400.0,
        _ => return None,
    })
}

/// Bytes; with `short` also where a `b` alone stands for them.
fn size(words: &str, short: bool) -> Option<f64> {
    let stem = ["bytes", "byte", "by"].iter().find_map(|end| words.strip_suffix(end));
    let stem = stem.or_else(|| words.strip_suffix('b').filter(|_| short))?;
    prefix(stem)
}

/// Bits: `bit`, `bits`, and a `b` alone.
fn bits(words: &str) -> Option<f64> {
    prefix(["bits", "bit", "b"].iter().find_map(|end| words.strip_suffix(end))?)
}

fn prefix(stem: &str) -> Option<f64> {
    Some(match stem {
        "" => 1.0,
        "k" | "kilo" => 1e3,
        "m" | "mega" => 1e6,
        "g" | "giga" => 1e9,
        "t" | "tera" => 1e12,
        "ki" | "kibi" => KIBI,
        "mi" | "mebi" => MEBI,
        "gi" | "gibi" => GIBI,
        "ti" | "tebi" => TEBI,
        _ => return None,
    })
}

fn rate(kind: MetricKind, unit: &str, words: &str) -> Option<Measure> {
    match words {
        "rps" | "qps" => return Some(Measure::RequestRate(1.0)),
        "rpm" => return Some(Measure::RequestRate(1.0 / 60.0)),
        "iops" | "ops" => return Some(Measure::OperationRate(1.0)),
        _ => {}
    }
    let (what, each) = match words.split_once('/') {
        Some((what, "s" | "sec" | "second" | "seconds")) => (what, 1.0),
        Some((what, "m" | "min" | "minute" | "minutes")) => (what, 1.0 / 60.0),
        Some(_) => return None,
        None => (words.strip_suffix("ps")?, 1.0),
    };
    match what {
        "req" | "reqs" | "request" | "requests" | "query" | "queries" => return Some(Measure::RequestRate(each)),
        "op" | "ops" | "operation" | "operations" | "io" | "ios" => return Some(Measure::OperationRate(each)),
        _ if what.is_empty() || each < 1.0 => return None,
        _ => {}
    }
    let bytes = kind == MetricKind::DiskIo || !small_b(unit);
    match size(what, bytes) {
        Some(each) => Some(Measure::ByteRate(each)),
        None => bits(what).map(Measure::BitRate),
    }
}

#[cfg(test)]
mod tests {
    use super::{canonical, is_percent};
    use crate::series::MetricKind::{
        self, CpuUsage, Custom, DiskIo, DiskUsage, ErrorRate, MemoryUsage, NetworkIo, ResponseTime, Throughput, Uptime,
    };

    #[test]
    fn percent_has_many_spellings() {
        for unit in [
            "%",
            "percent",
            "Percent",
            "PERCENT",
            "percentage",
            "Percentage",
            "pct",
            "PCT",
            "per cent",
            " % ",
            "percents",
        ] {
            assert!(is_percent(unit), "{unit}");
            for kind in MetricKind::ALL {
                let (name, factor) = canonical(kind, unit);
                assert_eq!((&*name, factor), ("%", 1.0), "{kind:?} {unit}");
            }
        }
        for unit in ["", "ratio", "1", "permille", "perc", "points", "MB"] {
            assert!(!is_percent(unit), "{unit}");
        }
    }

    #[test]
    fn typed_kinds_have_one_scale() {
        for (kind, units, name, factor) in [
            (CpuUsage, &["ratio", "Fraction"][..], "%", 100.0),
            (ErrorRate, &["ratio"], "%", 100.0),
            (ResponseTime, &["ms", "msec", "millis", "Milliseconds", "millisecond", "MS"], "ms", 1.0),
            (ResponseTime, &["s", "sec", "Seconds", "S"], "ms", 1_000.0),
            (ResponseTime, &["us", "\u{b5}s", "\u{3bc}s", "microseconds"], "ms", 1e-3),
            (ResponseTime, &["ns"], "ms", 1e-6),
            (ResponseTime, &["min"], "ms", 60_000.0),
            (Uptime, &["s", "seconds"], "s", 1.0),
            (Uptime, &["hours", "h"], "s", 3_600.0),
            (Uptime, &["days"], "s", 86_400.0),
            (MemoryUsage, &["MB", "mb", "Mb", "megabytes", "MBy", "megabyte"], "MB", 1.0),
            (MemoryUsage, &["MiB", "mib", "mebibytes", "MiBy"], "MB", 1.048_576),
            (MemoryUsage, &["GB", "gb", "gigabytes"], "MB", 1_000.0),
            (DiskUsage, &["GiB"], "MB", 1_073.741_824),
            (DiskUsage, &["B", "By", "bytes", "Byte"], "MB", 1e-6),
            (DiskUsage, &["KB", "kB", "kilobytes"], "MB", 1e-3),
            (
                NetworkIo,
                &["Mbit/s", "mbps", "Mbps", "Mb/s", "megabits/s", "megabits per second", "MBit/s"],
                "Mbit/s",
                1.0,
            ),
            (NetworkIo, &["MB/s", "MBps", "megabytes/sec"], "Mbit/s", 8.0),
            (NetworkIo, &["bps", "bit/s", "bits_per_second"], "Mbit/s", 1e-6),
            (NetworkIo, &["bytes/s", "B/s", "bytes_per_second", "By/s"], "Mbit/s", 8e-6),
            (NetworkIo, &["bytes"], "MB", 1e-6),
            (DiskIo, &["MB/s", "mb/s", "MBps", "mbps"], "MB/s", 1.0),
            (DiskIo, &["iops", "IOPS", "ops/s", "operations/second", "{operation}/s"], "{operation}/s", 1.0),
            (
                Throughput,
                &["rps", "req/s", "requests/s", "requests_per_second", "requests/sec", "{request}/s"],
                "{request}/s",
                1.0,
            ),
            (Throughput, &["rpm", "requests/min", "requests per minute"], "{request}/s", 1.0 / 60.0),
            (Throughput, &["Mbps"], "Mbit/s", 1.0),
            (Throughput, &["MB/s"], "MB/s", 1.0),
        ] {
            for unit in units {
                let (found, times) = canonical(kind, unit);
                assert_eq!(&*found, name, "{kind:?} {unit}");
                assert!((times - factor).abs() <= 1e-15 * factor.max(1.0), "{kind:?} {unit}: {times}");
            }
        }
    }

    #[test]
    fn a_custom_metric_keeps_its_scale() {
        for (unit, expect) in [
            ("milliseconds", "ms"),
            ("sec", "s"),
            ("s", "s"),
            ("S", "S"),
            ("h", "h"),
            ("hours", "h"),
            ("bytes", "By"),
            ("megabytes", "MB"),
            ("MB", "MB"),
            ("GiB", "GiB"),
            ("Mbps", "Mbit/s"),
            ("requests/min", "{request}/min"),
            ("ratio", "ratio"),
            ("1", "1"),
            ("{message}", "{message}"),
            ("", ""),
            ("Cel", "Cel"),
            ("mb", "mb"),
            ("apples per second", "apples per second"),
        ] {
            let (name, factor) = canonical(Custom, unit);
            assert_eq!((&*name, factor), (expect, 1.0), "{unit}");
        }
        let long = "percent".repeat(100);
        assert_eq!(canonical(Custom, &long).0, long);
        // A kind that a unit says nothing of.
        assert_eq!(canonical(CpuUsage, "MHz"), ("MHz".into(), 1.0));
        assert_eq!(canonical(CpuUsage, "seconds"), ("s".into(), 1.0));
    }
}
