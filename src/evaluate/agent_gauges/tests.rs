//! What the series of an agent are put together to.

use super::*;
use proptest::prelude::*;
use std::sync::Arc;
use vitals_core::series::{MetricKind, Origin, Part, SeriesSpec, Shape};

fn desc(id: u32, metric: &str, attributes: &[(&str, &str)]) -> SeriesDesc {
    SeriesDesc {
        id: SeriesId(id),
        agent: AgentId(1),
        spec: SeriesSpec {
            metric: metric.to_owned(),
            unit: String::new(),
            kind: MetricKind::Custom,
            shape: Shape::Cumulative { monotonic: true },
            part: Part::Value,
            integer: false,
            factor: 1.0,
            origin: Origin::Otlp,
            scope: Arc::default(),
            attributes: attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            resource: Arc::default(),
        },
    }
}

/// Feeds (role, group, time in seconds, value) in order, one series for each role and group.
fn read(rows: &[(MeasurementRole, &str, i64, f64)]) -> Reading {
    let mut gauges = Gauges::default();
    let mut places = HashMap::new();
    for &(role, group, seconds, value) in rows {
        let next = u32::try_from(places.len()).unwrap();
        let place =
            *places.entry((role, group)).or_insert_with(|| gauges.open(&desc(next, "m", &[("device", group)]), role));
        gauges.set(place, seconds * UnixNanos::SECOND, value);
    }
    let mut out = Vec::new();
    let last = rows.last().unwrap().2 * UnixNanos::SECOND;
    gauges.take_changed(last, 300 * UnixNanos::SECOND, &mut out);
    out[0].1
}

#[test]
fn cpu_is_the_busy_share_of_the_increases_of_all_cores() {
    use MeasurementRole::{CpuBusySeconds as Busy, CpuIdleSeconds as Idle};
    let first = [(Busy, "0", 0, 1_000.0), (Idle, "0", 0, 9_000.0), (Busy, "1", 0, 5.0), (Idle, "1", 0, 5.0)];
    assert_eq!(read(&first).measurements.cpu_percent, None);
    let mut rows = first.to_vec();
    rows.extend([(Busy, "0", 10, 1_009.0), (Idle, "0", 10, 9_001.0), (Busy, "1", 10, 8.0), (Idle, "1", 10, 12.0)]);
    assert_eq!(read(&rows).measurements.cpu_percent, Some(60.0));
}

#[test]
fn the_fullest_disk_and_memory_of_its_states() {
    use MeasurementRole as R;
    let reading = read(&[
        (R::DiskUsedBytes, "a", 0, 50.0),
        (R::DiskFreeBytes, "a", 0, 50.0),
        (R::DiskUsedBytes, "b", 0, 90.0),
        (R::DiskFreeBytes, "b", 0, 10.0),
        (R::DiskUsedBytes, "no free given", 0, 90.0),
        (R::MemoryUsedBytes, "", 0, 6e9),
        (R::MemoryOtherBytes, "free", 0, 1e9),
        (R::MemoryOtherBytes, "cached", 0, 1e9),
    ]);
    assert_eq!(reading.measurements.disk_percent, Some(90.0));
    assert_eq!(reading.measurements.memory_mb, Some(6_000.0));
    assert_eq!(reading.measurements.memory_percent, Some(75.0));
    assert_eq!(reading.memory_total_mb, Some(8_000.0));
}

#[test]
fn a_cpu_that_waits_for_a_disk_is_not_busy() {
    use MeasurementRole as R;
    let seconds = read(&[
        (R::CpuBusySeconds, "0", 0, 0.0),
        (R::CpuIdleSeconds, "0", 0, 0.0),
        (R::CpuWaitSeconds, "0", 0, 0.0),
        (R::CpuBusySeconds, "0", 10, 1.0),
        (R::CpuIdleSeconds, "0", 10, 1.0),
        (R::CpuWaitSeconds, "0", 10, 8.0),
    ]);
    assert_eq!(seconds.measurements.cpu_percent, Some(10.0));
    let percents = [
        (R::CpuBusyPercent, "0", 0, 10.0),
        (R::CpuIdlePercent, "0", 0, 10.0),
        (R::CpuWaitPercent, "0", 0, 80.0),
        // A core that was off: all its states are 0.
        (R::CpuBusyPercent, "1", 0, 0.0),
        (R::CpuIdlePercent, "1", 0, 0.0),
        (R::CpuWaitPercent, "1", 0, 0.0),
    ];
    assert_eq!(read(&percents).measurements.cpu_percent, Some(10.0));
    assert_eq!(read(&percents[1..3]).measurements.cpu_percent, Some(10.0));
    assert_eq!(read(&percents[..1]).measurements.cpu_percent, None);
    assert_eq!(read(&percents[3..]).measurements.cpu_percent, None);
}

#[test]
fn the_readings_of_a_process_are_not_those_of_the_machine() {
    use MeasurementRole as R;
    let measurements = |rows: &[(MeasurementRole, f64)]| {
        let rows: Vec<_> = rows.iter().zip(0..).map(|(&(role, value), _)| (role, "", 0, value)).collect();
        read(&rows).measurements
    };
    for (rows, cpu) in [
        (&[(R::ProcessCpuPercent, 40.0)][..], Some(40.0)),
        (&[(R::ProcessCpuPercent, 100.0), (R::CpuPercent, 20.0)], Some(20.0)),
        (&[(R::ProcessCpuPercent, 100.0), (R::ContainerCpuPercent, 30.0)], Some(30.0)),
        // Two busy CPUs of eight, by a sender that does not divide.
        (&[(R::ProcessCpuPercent, 200.0), (R::CpuCount, 8.0)], Some(25.0)),
        (&[(R::ProcessCpuPercent, 200.0)], None),
        (&[(R::ProcessCpuPercent, 2_000.0), (R::CpuCount, 8.0)], None),
        (&[(R::ProcessCpuPercent, -100.0)], None),
        (&[(R::ProcessCpuOfOne, 90.0)], None),
        (&[(R::ProcessCpuOfOne, 90.0), (R::CpuCount, 2.0)], Some(45.0)),
        (&[(R::ContainerCpuOfOne, 150.0)], None),
        (&[(R::ContainerCpuOfOne, 150.0), (R::ContainerCpuCount, 2.0)], Some(75.0)),
        (&[(R::CpuPercent, 104.0)], Some(100.0)),
        (&[(R::CpuPercent, 450.0)], None),
    ] {
        assert_eq!(measurements(rows).cpu_percent, cpu, "{rows:?}");
    }
    for (rows, memory, megabytes) in [
        (&[(R::MemoryPercent, 10.0), (R::ProcessMemoryPercent, 99.0)][..], Some(10.0), None),
        (&[(R::MemoryPercent, 273.0)], None, None),
        (&[(R::ContainerMemoryPercent, 30.0), (R::ProcessMemoryPercent, 99.0)], Some(30.0), None),
        (&[(R::ProcessMemoryPercent, 2.7)], Some(2.7), None),
        // How much that is nobody knows.
        (&[(R::ProcessMemoryBytes, 9e9)], None, None),
        (&[(R::MemoryUsedBytes, 9e9)], None, None),
        (&[(R::ProcessMemoryBytes, 9e9), (R::MemoryTotalBytes, 90e9)], Some(10.0), Some(9_000.0)),
        (
            &[(R::MemoryUsedBytes, 6e9), (R::MemoryAvailableBytes, 2e9), (R::MemoryTotalBytes, 10e9)],
            Some(80.0),
            Some(6_000.0),
        ),
    ] {
        let measurements = measurements(rows);
        assert_eq!((measurements.memory_percent, measurements.memory_mb), (memory, megabytes), "{rows:?}");
    }
}

#[test]
fn processes_add_up_and_metrics_that_say_the_same_do_not() {
    let percent = |series: &[(&str, &str, f64)]| {
        let mut gauges = Gauges::default();
        for (&(metric, pid, value), number) in series.iter().zip(0_u32..) {
            let place = gauges.open(&desc(number, metric, &[("pid", pid)]), MeasurementRole::ProcessCpuPercent);
            gauges.set(place, 1, value);
        }
        let mut out = Vec::new();
        gauges.take_changed(1, 300 * UnixNanos::SECOND, &mut out);
        out[0].1.measurements.cpu_percent
    };
    assert_eq!(percent(&[("process.cpu.utilization", "1", 30.0), ("process.cpu.utilization", "2", 20.0)]), Some(50.0));
    let twice = [("process.runtime.jvm.cpu.utilization", "1", 48.0), ("jvm.cpu.recent_utilization", "1", 50.0)];
    assert_eq!(percent(&twice), Some(50.0));
}

#[test]
fn one_of_several_containers_is_not_the_agent() {
    let percent = |ids: &[(&str, f64)]| {
        let mut gauges = Gauges::default();
        for (&(id, value), number) in ids.iter().zip(0_u32..) {
            let mut desc = desc(number, "container.cpu.limit.utilization", &[("n", &number.to_string())]);
            desc.spec.resource = Arc::new([("container.id".to_owned(), id.to_owned())].into_iter().collect());
            let place = gauges.open(&desc, MeasurementRole::ContainerCpuPercent);
            gauges.set(place, 1, value);
        }
        let mut out = Vec::new();
        gauges.take_changed(1, 300 * UnixNanos::SECOND, &mut out);
        out[0].1.measurements.cpu_percent
    };
    assert_eq!(percent(&[("a", 97.0)]), Some(97.0));
    assert_eq!(percent(&[("a", 97.0), ("a", 98.0)]), Some(98.0));
    assert_eq!(percent(&[("a", 97.0), ("b", 1.0)]), None);
}

#[test]
fn a_percentage_is_between_0_and_100_or_unknown() {
    use MeasurementRole as R;
    let roles = [
        R::CpuPercent,
        R::CpuBusyPercent,
        R::CpuIdlePercent,
        R::CpuWaitPercent,
        R::CpuBusySeconds,
        R::CpuIdleSeconds,
        R::CpuWaitSeconds,
        R::CpuCount,
        R::ContainerCpuPercent,
        R::ContainerCpuOfOne,
        R::ContainerCpuCount,
        R::ProcessCpuPercent,
        R::ProcessCpuOfOne,
        R::MemoryPercent,
        R::MemoryUsedBytes,
        R::MemoryOtherBytes,
        R::MemoryTotalBytes,
        R::MemoryAvailableBytes,
        R::ContainerMemoryPercent,
        R::ProcessMemoryPercent,
        R::ProcessMemoryBytes,
        R::DiskPercent,
        R::DiskUsedBytes,
        R::DiskFreeBytes,
        R::ErrorPercent,
        R::Requests,
        R::FailedRequests,
    ];
    let value = prop_oneof![
        Just(0.0),
        Just(-1.0),
        0.0..100.0_f64,
        -200.0..2_000.0_f64,
        proptest::num::f64::NORMAL | proptest::num::f64::ZERO | proptest::num::f64::SUBNORMAL
    ];
    let row = (prop::sample::select(roles.to_vec()), prop::sample::select(vec!["a", "b"]), 0..5_i64, value);
    proptest!(ProptestConfig::with_cases(2_000), |(rows in prop::collection::vec(row, 1..12))| {
        let measurements = read(&rows).measurements;
        for percent in [measurements.cpu_percent, measurements.memory_percent, measurements.disk_percent, measurements.error_percent] {
            prop_assert!(percent.is_none_or(|p| (0.0..=100.0).contains(&p)), "{:?}", measurements);
        }
    });
}

#[test]
fn errors_are_the_failed_share_of_the_increase_and_old_values_do_not_count() {
    use MeasurementRole as R;
    let reading = read(&[
        (R::Requests, "", 0, 100.0),
        (R::FailedRequests, "", 0, 0.0),
        (R::Requests, "", 10, 190.0),
        (R::FailedRequests, "", 10, 10.0),
        (R::ResponseMs, "", 10, 250.0),
        (R::CpuPercent, "gone", -1_000, 99.0),
        (R::Connections, "a", 10, 2.0),
        (R::Connections, "b", 10, 3.0),
    ]);
    assert_eq!(reading.measurements.error_percent, Some(10.0));
    assert_eq!(reading.measurements.requests, Some(100.0));
    assert_eq!(reading.measurements.response_ms, Some(250.0));
    assert_eq!(reading.measurements.cpu_percent, None);
    assert_eq!(reading.measurements.connections, Some(5.0));
    assert_eq!(reading.newest, UnixNanos(10 * UnixNanos::SECOND));
}

#[test]
fn a_reading_says_what_is_new_in_it_and_which_series_made_it() {
    use MeasurementRole as R;
    let mut gauges = Gauges::default();
    let names = [
        (R::CpuBusySeconds, "core 0"),
        (R::CpuIdleSeconds, "core 0"),
        (R::DiskUsedBytes, "a"),
        (R::DiskFreeBytes, "a"),
        (R::DiskUsedBytes, "b"),
        (R::DiskFreeBytes, "b"),
        (R::DiskPercent, "c"),
        (R::ResponseMs, "slow"),
        (R::ResponseMs, "fast"),
    ];
    let places: Vec<u32> = (0_u32..).zip(names).map(|(n, (r, g))| gauges.open(&desc(n, "m", &[("d", g)]), r)).collect();
    let mut feed = |second: i64, rows: &[(usize, f64)]| {
        let time = second * UnixNanos::SECOND;
        rows.iter().for_each(|&(at, value)| gauges.set(places[at], time, value));
        let mut out = Vec::new();
        gauges.take_changed(time, 300 * UnixNanos::SECOND, &mut out);
        let sources = |kind| -> Vec<u32> {
            gauges.sources(AgentId(1), kind, 300 * UnixNanos::SECOND).iter().map(|id| id.0).collect()
        };
        let kinds = out.first().map(|(_, reading)| MetricKind::ALL.into_iter().filter(|k| reading.kinds.has(*k)));
        let kinds: Vec<MetricKind> = kinds.into_iter().flatten().collect();
        (kinds, sources(MetricKind::DiskUsage), sources(MetricKind::ResponseTime), sources(MetricKind::CpuUsage))
    };
    let disks = [(2, 50.0), (3, 50.0), (4, 90.0), (5, 10.0), (6, 80.0)];
    assert_eq!(feed(0, &disks), (vec![MetricKind::DiskUsage], vec![4, 5], vec![], vec![]));
    assert_eq!(feed(1, &[(6, 95.0)]), (vec![MetricKind::DiskUsage], vec![6], vec![], vec![]));
    let rest = [(0, 1.0), (1, 1.0), (7, 9.0), (8, 1.0)];
    let both = vec![MetricKind::CpuUsage, MetricKind::ResponseTime];
    assert_eq!(feed(2, &rest), (both, vec![6], vec![7], vec![0, 1]));
    // Nothing new, nothing read.
    assert_eq!(feed(2, &rest).0, []);
    // What is stale makes nothing any more.
    assert_eq!(feed(302, &[(3, 50.0), (2, 50.0)]).1, [2, 3]);
}
