use super::*;
use crate::series::Scope;
use std::sync::Arc;

fn spec(metric: &str, attribute: Option<(&str, &str)>) -> SeriesSpec {
    SeriesSpec {
        metric: metric.to_owned(),
        unit: String::new(),
        kind: MetricKind::Custom,
        shape: Shape::Gauge,
        part: Part::Value,
        integer: false,
        factor: 1.0,
        origin: Origin::Otlp,
        scope: Arc::default(),
        attributes: attribute.map(|(k, v)| (k.to_owned(), v.to_owned())).into_iter().collect(),
        resource: Arc::default(),
    }
}

#[test]
fn by_name_and_state() {
    use MeasurementRole as R;
    let total = Shape::Cumulative { monotonic: true };
    for (metric, attribute, shape, expect) in [
        ("system.cpu.time", Some(("state", "idle")), total, Some(R::CpuIdleSeconds)),
        ("system.cpu.time", Some(("cpu.mode", "user")), total, Some(R::CpuBusySeconds)),
        ("system.cpu.time", Some(("cpu.mode", "kernel")), total, Some(R::CpuBusySeconds)),
        ("system.cpu.time", Some(("state", "softirq")), total, Some(R::CpuBusySeconds)),
        ("system.cpu.time", Some(("state", "steal")), total, Some(R::CpuBusySeconds)),
        ("system.cpu.time", Some(("state", "wait")), total, Some(R::CpuWaitSeconds)),
        ("system.cpu.time", Some(("cpu.mode", "iowait")), total, Some(R::CpuWaitSeconds)),
        ("system.cpu.time", Some(("state", "guest")), total, None),
        ("system.cpu.time", Some(("state", "guest_nice")), total, None),
        ("system.cpu.time", None, total, None),
        ("system.cpu.logical.count", None, total, Some(R::CpuCount)),
        ("system.memory.usage", Some(("state", "used")), total, Some(R::MemoryUsedBytes)),
        ("system.memory.usage", Some(("state", "cached")), total, Some(R::MemoryOtherBytes)),
        ("system.memory.usage", Some(("state", "slab_reclaimable")), total, None),
        ("system.memory.usage", Some(("state", "slab_unreclaimable")), total, None),
        ("system.linux.memory.available", None, total, Some(R::MemoryAvailableBytes)),
        ("system.paging.usage", Some(("state", "used")), total, None),
        ("system.filesystem.usage", Some(("state", "free")), total, Some(R::DiskFreeBytes)),
        ("system.filesystem.usage", Some(("state", "reserved")), total, None),
        ("system.filesystem.inodes.usage", Some(("state", "used")), total, None),
        ("system.network.connections", Some(("state", "ESTABLISHED")), total, Some(R::Connections)),
        ("system.network.io", Some(("direction", "receive")), total, Some(R::NetworkBytes)),
        ("system.network.io", Some(("device", "lo")), total, None),
        ("system.network.packet.dropped", Some(("network.interface.name", "lo0")), total, None),
        ("system.network.packets", Some(("device", "eth0")), total, Some(R::Packets)),
        ("system.cpu.load_average.1m", None, Shape::Gauge, None),
        ("container.memory.usage", None, total, None),
        ("my.metric", None, Shape::Gauge, None),
    ] {
        let spec = SeriesSpec { shape, ..spec(metric, attribute) };
        assert_eq!(role(&spec), expect, "{metric} {attribute:?}");
    }
}

#[test]
fn by_kind_and_unit() {
    use MeasurementRole as R;
    use MetricKind as K;
    for (kind, unit, attribute, expect) in [
        (K::CpuUsage, "%", None, Some(R::CpuPercent)),
        (K::CpuUsage, "%", Some(("state", "user")), None),
        (K::MemoryUsage, "%", Some(("state", "used")), Some(R::MemoryPercent)),
        (K::MemoryUsage, "%", Some(("state", "free")), None),
        (K::MemoryUsage, "By", None, None),
        (K::DiskUsage, "%", None, Some(R::DiskPercent)),
        (K::DiskUsage, "%", Some(("type", "squashfs")), None),
        (K::ErrorRate, "%", None, Some(R::ErrorPercent)),
        (K::ResponseTime, "ms", None, Some(R::ResponseMs)),
        (K::ResponseTime, "s", None, None),
    ] {
        let spec = SeriesSpec { kind, unit: unit.to_owned(), ..spec("anything", attribute) };
        assert_eq!(role(&spec), expect, "{kind:?} {unit} {attribute:?}");
        assert_eq!(role(&SeriesSpec { origin: Origin::Rest, ..spec }), None);
    }
}

/// What a percentage speaks of: a machine, a container, a process that is the agent, or one that is not.
#[test]
fn a_percentage_is_of_its_own_thing() {
    use MeasurementRole as R;
    use MetricKind::{CpuUsage, Custom, MemoryUsage};
    let service = [("service.name", "shop"), ("process.pid", "7")];
    let host = [("host.name", "a"), ("process.pid", "7")];
    let pod = [("host.name", "a"), ("k8s.pod.uid", "p")];
    let receiver = "github.com/x/receiver/hostmetricsreceiver/internal/scraper/processscraper";
    for (metric, kind, state, scope, resource, expect) in [
        ("system.cpu.utilization", Custom, Some("idle"), "", &host, Some(R::CpuIdlePercent)),
        ("system.cpu.utilization", Custom, Some("user"), "", &host, Some(R::CpuBusyPercent)),
        ("system.cpu.utilization", Custom, Some("wait"), "", &host, Some(R::CpuWaitPercent)),
        ("system.cpu.utilization", Custom, Some("guest"), "", &host, None),
        ("system.cpu.utilization", CpuUsage, None, "", &host, Some(R::CpuPercent)),
        ("jvm.system.cpu.utilization", CpuUsage, None, "", &service, Some(R::CpuPercent)),
        ("jvm.cpu.recent_utilization", CpuUsage, None, "", &service, Some(R::ProcessCpuPercent)),
        ("process.cpu.utilization", CpuUsage, None, "", &service, Some(R::ProcessCpuPercent)),
        ("process.cpu.utilization", Custom, Some("user"), "", &service, Some(R::ProcessCpuPercent)),
        ("process.cpu.utilization", Custom, Some("wait"), "", &service, None),
        ("process.cpu.utilization", CpuUsage, None, "", &host, None),
        ("process.cpu.utilization", CpuUsage, None, receiver, &service, None),
        ("process.runtime.cpython.cpu.utilization", CpuUsage, None, "", &service, Some(R::ProcessCpuOfOne)),
        ("container.cpu.utilization", CpuUsage, None, "", &pod, Some(R::ContainerCpuOfOne)),
        ("container.cpu.limit.utilization", CpuUsage, None, "", &pod, Some(R::ContainerCpuPercent)),
        ("container.cpu.limit.utilization", CpuUsage, None, "", &service, Some(R::ContainerCpuPercent)),
        ("container.cpu.limit.utilization", CpuUsage, None, "", &host, None),
        ("container.memory.percent", MemoryUsage, None, "", &host, None),
        ("k8s.pod.cpu_limit_utilization", CpuUsage, None, "", &pod, Some(R::ContainerCpuPercent)),
        ("process.memory.utilization", MemoryUsage, None, "", &host, None),
        ("process.memory.utilization", MemoryUsage, None, receiver, &service, None),
        ("process.memory.utilization", MemoryUsage, None, "", &service, Some(R::ProcessMemoryPercent)),
        ("container.memory.percent", MemoryUsage, None, "", &pod, Some(R::ContainerMemoryPercent)),
        ("k8s.pod.memory_limit_utilization", MemoryUsage, None, "", &pod, None),
        ("system.memory.utilization", MemoryUsage, Some("used"), "", &host, Some(R::MemoryPercent)),
    ] {
        let resource = resource.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let spec = SeriesSpec {
            kind,
            unit: "%".to_owned(),
            scope: Scope::named(scope),
            resource: Arc::new(resource.into_iter().collect()),
            ..spec(metric, state.map(|state| ("state", state)))
        };
        assert_eq!(role(&spec), expect, "{metric} {state:?} {scope} {:?}", spec.resource);
    }
}

#[test]
fn what_cannot_fill_up_is_no_disk() {
    for (attributes, expect) in [
        ([("device", "/dev/sda1"), ("mode", "rw"), ("mountpoint", "/"), ("type", "ext4")], true),
        ([("device", "overlay"), ("mode", "rw"), ("mountpoint", "/"), ("type", "overlay")], true),
        ([("device", "tmpfs"), ("mode", "rw"), ("mountpoint", "/run"), ("type", "tmpfs")], true),
        ([("device", "C:"), ("mode", "rw"), ("mountpoint", "C:"), ("type", "NTFS")], true),
        ([("device", "/dev/loop9"), ("mode", "rw"), ("mountpoint", "/data"), ("type", "ext4")], true),
        ([("device", "/dev/sda1"), ("mode", "ro"), ("mountpoint", "/usr"), ("type", "ext4")], false),
        ([("device", "/dev/loop1"), ("mode", "rw"), ("mountpoint", "/snap/core/1"), ("type", "squashfs")], false),
        ([("device", "/dev/sr0"), ("mode", "rw"), ("mountpoint", "/media"), ("type", "iso9660")], false),
        ([("device", "D:"), ("mode", "rw"), ("mountpoint", "D:"), ("type", "CDFS")], false),
        ([("device", "devfs"), ("mode", "rw"), ("mountpoint", "/dev"), ("type", "devfs")], false),
        ([("device", "tmpfs"), ("mode", "rw"), ("mountpoint", "/sys/fs/cgroup"), ("type", "tmpfs")], false),
        ([("device", "efivarfs"), ("mode", "rw"), ("mountpoint", "/efi"), ("type", "efivarfs")], false),
        ([("device", "/dev/loop1"), ("mode", "unknown"), ("mountpoint", "/x"), ("", "")], false),
        ([("device", "/dev/sdb"), ("mode", "unknown"), ("mountpoint", "/snap/core/1"), ("", "")], false),
        ([("device", "/dev/sdb"), ("mode", "unknown"), ("mountpoint", "/snapshots"), ("", "")], true),
    ] {
        let semantic = attributes.map(|(key, value)| match key {
            "device" => ("system.device".to_owned(), value.to_owned()),
            key => (format!("system.filesystem.{key}"), value.to_owned()),
        });
        let received = attributes.map(|(key, value)| (key.to_owned(), value.to_owned()));
        for names in [received, semantic] {
            let known = names.into_iter().filter(|(_, value)| !value.is_empty());
            let mut spec = spec("system.filesystem.usage", Some(("state", "used")));
            spec.attributes = spec.attributes.iter().cloned().chain(known).collect();
            assert_eq!(role(&spec).is_some(), expect, "{:?}", spec.attributes);
        }
    }
}

#[test]
fn a_container_is_told_apart_by_its_pod_or_id() {
    let with = |resource: &[(&str, &str)]| {
        let resource = resource.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let spec = SeriesSpec { resource: Arc::new(resource), ..spec("m", None) };
        container(&spec).map(|(key, _)| key.clone()).collect::<Vec<_>>()
    };
    assert_eq!(with(&[("container.id", "c"), ("host.name", "h"), ("k8s.pod.uid", "p")]), ["k8s.pod.uid"]);
    assert_eq!(with(&[("container.id", "c"), ("host.name", "h")]), ["container.id"]);
    assert_eq!(with(&[("host.name", "h"), ("service.name", "s")]), ["host.name", "service.name"]);
}

#[test]
fn a_percentage_far_outside_is_none() {
    for (value, expect) in [
        (0.0, Some(0.0)),
        (50.0, Some(50.0)),
        (100.0, Some(100.0)),
        (104.0, Some(100.0)),
        (-0.01, Some(0.0)),
        (273.0, None),
        (-100.0, None),
        (f64::NAN, None),
        (f64::INFINITY, None),
    ] {
        assert_eq!(plausible_percent(value), expect, "{value}");
    }
}

#[test]
fn requests_and_failures() {
    let total = Shape::Cumulative { monotonic: true };
    for (status, expect) in [
        ("200", MeasurementRole::Requests),
        ("404", MeasurementRole::Requests),
        ("503", MeasurementRole::FailedRequests),
    ] {
        let attribute = Some(("http.response.status_code", status));
        let count = SeriesSpec { part: Part::Count, shape: total, ..spec("http.server.request.duration", attribute) };
        assert_eq!(role(&count), Some(expect), "{status}");
    }
}

#[test]
fn the_group_leaves_the_state_out() {
    let mut spec = spec("system.filesystem.usage", Some(("device", "/dev/sda1")));
    spec.attributes = [spec.attributes.to_vec(), vec![("state".to_owned(), "used".to_owned())]].concat().into();
    assert_eq!(state(&spec), Some("used"));
    assert_eq!(group(&spec).count(), 1);
}
