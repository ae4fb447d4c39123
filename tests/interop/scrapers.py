"""A Collector with every scraper and every metric of the hostmetrics receiver, which sends the same to two `vitals`, as
JSON and as protobuf."""

import math
import os
import platform
import time

import harness
from harness import nanos, rfc3339, wait_for

# The scrapers of Collector 0.160, and what of each is off by default.
OPTIONAL = {
    "cpu": ["system.cpu.frequency", "system.cpu.logical.count", "system.cpu.physical.count", "system.cpu.utilization"],
    "memory": [
        "system.linux.memory.available", "system.linux.memory.dirty", "system.memory.limit",
        "system.memory.linux.hugepages.limit", "system.memory.linux.hugepages.page_size",
        "system.memory.linux.hugepages.reserved", "system.memory.linux.hugepages.surplus",
        "system.memory.linux.hugepages.usage", "system.memory.linux.hugepages.utilization",
        "system.memory.linux.shared", "system.memory.page_size", "system.memory.utilization",
    ],
    "load": [],
    "disk": [],
    "filesystem": ["system.filesystem.utilization"],
    "network": ["system.network.conntrack.count", "system.network.conntrack.max"],
    "paging": ["system.paging.utilization"],
    "processes": [],
    "process": [
        "process.context_switches", "process.cpu.utilization", "process.disk.operations", "process.handles",
        "process.memory.utilization", "process.open_file_descriptors", "process.paging.faults",
        "process.signals_pending", "process.threads", "process.uptime",
    ],
    "system": [],
    "nfs": [],
}
SCRAPES = 6
# [degraded, critical] and what each deducts from the score; no disk deducts anything.
BOUNDS = {"cpu": (80.0, 95.0), "memory": (85.0, 95.0), "disk": (85.0, 95.0)}
DEDUCTED = {"cpu": (15.0, 30.0), "memory": (10.0, 25.0), "disk": (0.0, 0.0)}
# File systems in memory or over the network that can fill up, though the kernel has no block device for them.
WITHOUT_DEVICE = {"tmpfs", "overlay", "zfs", "btrfs", "nfs", "nfs4", "cifs", "9p", "virtiofs"}


def config(services, sent):
    """All scrapers to each service and to a file. Of the processes some, so that a busy machine ends in time."""
    scrapers = {
        name: {"metrics": {metric: {"enabled": True} for metric in metrics}} for name, metrics in OPTIONAL.items()
    }
    scrapers["filesystem"]["include_virtual_filesystems"] = True
    scrapers["process"] |= {
        "include": {"match_type": "regexp", "names": ["otelcol", "vitals", "python.*", "systemd.*"]},
        "mute_process_all_errors": True,
    }
    exporters = {
        f"otlphttp/{encoding}": {
            "endpoint": f"http://127.0.0.1:{service.http}", "encoding": encoding, "sending_queue": {"enabled": False},
        }
        for encoding, service in services.items()
    }
    exporters["file"] = {"path": str(sent), "flush_interval": "100ms"}
    return {
        "receivers": {"hostmetrics": {"collection_interval": "2s", "initial_delay": "100ms", "scrapers": scrapers}},
        "processors": {"resourcedetection": {"detectors": ["system"], "system": {"hostname_sources": ["os"]}}},
        "exporters": exporters,
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"metrics": {
                "receivers": ["hostmetrics"], "processors": ["resourcedetection"], "exporters": list(exporters),
            }},
        },
    }


def through_every_scraper(work, check, serve, start_collector, points):
    began = time.time_ns()
    services = {encoding: serve(f"vitals-{encoding}", "") for encoding in ("json", "proto")}
    sent = work.path / "sent-every-scraper.json"
    collector = start_collector("collector-every-scraper", config(services, sent))
    cpu = [cpu_times()]
    scraped = lambda: len({p.time // 10**9 for p in points(sent) if p.metric == "system.cpu.time"})  # noqa: E731
    wait_for(f"{SCRAPES} scrapes", 60, lambda: scraped() >= SCRAPES, every=0.5)
    cpu.append(cpu_times())
    check("the Collector stops cleanly", harness.end(collector, 15) == 0)
    assessments = {}
    for encoding, service in services.items():
        answer = service.rest.post("/health-check", {"target_id": platform.node(), "target_type": "agent"})
        assessments[encoding] = answer["health_assessment"]
    log = work.log("collector-every-scraper")
    refused = [line for line in log.splitlines() if any(w in line for w in ("Exporting failed", "Partial success", "rejected"))]
    wanted = expected(points(sent))
    if os.environ.get("INTEROP_STORE") == "influxdb":
        # InfluxDB has no NaN, which hostmetrics sends of file systems without a size; the sender is told.
        told, refused = refused, [line for line in refused if "not finite, which InfluxDB does not take" not in line]
        check("the Collector is told of each value that is no number", len(told) >= SCRAPES, len(told))
        finite = {key: {at: value for at, value in values.items() if math.isfinite(value)} for key, values in wanted.items()}
        wanted = {key: values for key, values in finite.items() if values}
    check("the Collector had nothing else refused", not refused, refused[:1])

    check("every scraper sent something", len(wanted) > 100, len(wanted))
    for encoding, service in services.items():
        agents = [agent["agent_id"] for agent in service.rest.get("/agents")["agents"]]
        check(f"{encoding}: the host is the only agent", agents == [platform.node()], agents)
        compare(check, encoding, wanted, stored(service.rest, platform.node(), began))
    told = readings(points(sent))
    honest(check, told, cpu)
    for encoding, assessment in assessments.items():
        judge(check, encoding, told, assessment)
        alerts = services[encoding].rest.get("/alerts", agent=platform.node())["alerts"]
        # A machine that builds and tests may be busy for one scrape; what its CPU was is held above.
        messages = [alert["message"] for alert in alerts if "cpu" not in alert["message"].lower()]
        if all(told[name] < BOUNDS[name][0] - 5 for name in ("memory", "disk")):
            check(f"{encoding}: no alert but of a busy CPU", not messages, messages)
    for encoding, service in services.items():
        check(f"{encoding}: vitals stops cleanly", service.stop() == 0)


def expected(points):
    """(metric, attributes, resource) -> {time: value} of what the Collector wrote to its file, in the units of vitals."""
    found = {}
    for point in points:
        typed = ("system.cpu.", "system.memory.util", "system.filesystem.util", "process.cpu.")
        factor = 100.0 if point.unit == "1" and point.metric.endswith(".utilization") and point.metric.startswith(typed) else 1.0
        key = point.metric, point.attributes, tuple(sorted(point.resource.items()))
        found.setdefault(key, {})[point.time] = point.value * factor
    return found


def stored(rest, agent, began):
    """The same of what a service has."""
    found = {}
    start, end = rfc3339(began - 60 * 10**9), rfc3339(time.time_ns() + 60 * 10**9)
    for series in rest.get("/series", agent=agent)["series"]:
        if series["origin"] == "otlp":
            answer = rest.get(f"/series/{series['series_id']}/samples", start=start, end=end, limit=100_000)
            key = series["metric_name"], tuple(sorted(series["attributes"].items())), tuple(sorted(series["resource"].items()))
            found[key] = {
                nanos(sample["time"]): math.nan if sample["value"] is None else float(sample["value"])
                for sample in answer["samples"]
            }
    return found


def compare(check, encoding, wanted, found):
    missing, extra = set(wanted) - set(found), set(found) - set(wanted)
    check(f"{encoding}: all {len(wanted)} series are there", not missing, sorted(missing)[:3])
    check(f"{encoding}: and no others", not extra, sorted(extra)[:3])
    text = lambda values: {at: repr(value) for at, value in values.items()}  # noqa: E731 NaN is itself
    wrong = [(key, wanted[key], found[key]) for key in set(wanted) & set(found) if text(wanted[key]) != text(found[key])]
    check(f"{encoding}: all values are equal", not wrong, wrong[:2])


def readings(points):
    """CPU, memory and the fullest file system, percent, of the last scrape that the Collector wrote to its file."""
    last = {}
    for point in points:
        key = point.metric, point.attributes
        if key not in last or last[key].time < point.time:
            last[key] = point
    by_state = lambda metric: {  # noqa: E731
        dict(attributes).get("state"): point.value for (name, attributes), point in last.items() if name == metric
    }
    cpu = by_state("system.cpu.utilization")
    available = last["system.linux.memory.available", ()].value
    limit = last["system.memory.limit", ()].value
    return {
        "cpu": 100.0 * (1.0 - (cpu["idle"] + cpu["wait"]) / sum(cpu.values())),
        "memory": 100.0 * (1.0 - available / limit),
        "disk": fullest(),
    }


def honest(check, told, cpu):
    """What the Collector says is what the kernel says, so that it can be what vitals is held to."""
    with open("/proc/meminfo", encoding="ascii") as lines:
        memory = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    used = 100.0 * (1.0 - memory["MemAvailable"] / memory["MemTotal"])
    check("memory is what /proc/meminfo says", abs(used - told["memory"]) < 10, f"{used} {told}")
    busy, everything = (after - before for before, after in zip(*cpu))
    share = 100.0 * busy / everything
    # One scrape's two seconds against the whole time: the two tell only a machine at rest from a loaded one.
    check("CPU is near what /proc/stat says", abs(share - told["cpu"]) < 60, f"{share} {told}")


def cpu_times():
    """(busy, all) ticks of all CPUs."""
    with open("/proc/stat", encoding="ascii") as lines:
        user, nice, system, idle, wait, irq, softirq, steal = map(int, lines.readline().split()[1:9])
    busy = user + nice + system + irq + softirq + steal
    return busy, busy + idle + wait


def fullest():
    """The fullest writable file system, percent, as `df` has it."""
    with open("/proc/filesystems", encoding="ascii") as lines:
        virtual = {line.split()[1] for line in lines if line.startswith("nodev")} - WITHOUT_DEVICE
    found = [0.0]
    with open("/proc/mounts", encoding="utf-8") as lines:
        for line in lines:
            _, at, kind, options = line.split()[:4]
            if kind in virtual or "ro" in options.split(",") or at.startswith(("/proc", "/sys")):
                continue
            usage = os.statvfs(at.encode().decode("unicode_escape"))
            used = usage.f_blocks - usage.f_bfree
            if used + usage.f_bavail:
                found.append(100.0 * used / (used + usage.f_bavail))
    return max(found)


def judge(check, encoding, told, assessment):
    """Each component is what its percentage says, and the score what the components say; near a bound either will do."""
    scores = {100.0}
    for name, (degraded, critical) in BOUNDS.items():
        near = lambda bound: abs(told[name] - bound) < 1.0  # noqa: E731, B023
        levels = {"critical" if told[name] >= critical else "degraded" if told[name] >= degraded else "healthy"}
        levels |= {"healthy", "degraded"} if near(degraded) else set()
        levels |= {"degraded", "critical"} if near(critical) else set()
        got = assessment["components"].get(name)
        check(f"{encoding}: {name} at {told[name]:.1f} % is {got}", got in levels, f"expected {levels}")
        less = {"healthy": 0.0, "degraded": DEDUCTED[name][0], "critical": DEDUCTED[name][1]}
        scores = {score - less[level] for score in scores for level in levels}
    check(f"{encoding}: the score is {assessment['health_score']}", assessment["health_score"] in scores, f"expected {scores}")

