"""What a reading means: its scale (percent, fraction, CPUs), and what it is of (a machine, a container, a process)."""

import gzip
import json
import math
import pathlib
import random

from service import SECOND, attributes, gauge, now, point, request, total

RECORDED = pathlib.Path(__file__).resolve().parent.parent / "data/hostmetrics.jsonl.gz"
HOSTMETRICS = "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/hostmetricsreceiver/internal/scraper/"


def states(at, key="state", **values):
    """One point for each state."""
    return [point(at, float(value), attributes(**{key.replace(".", "__"): state})) for state, value in values.items()]


def judged(v, agent):
    """Status, score and components of an agent."""
    health = v.health(agent)
    if not health:
        return None
    return health["overall_health"], health["health_score"], {
        name: health["components"].get(name) for name in ("cpu", "memory", "disk")
    }


def is_healthy(v, agent, what, **components):
    expected = ("healthy", 100.0, {"cpu": None, "memory": None, "disk": None} | components)
    v.check(what, expected, v.until(expected, lambda: judged(v, agent)))


def no_alert(v, agent):
    v.check("and no alert", [], [one["message"] for one in v.alerts(agent)])



def case_memory_of_a_process_is_not_that_of_its_host(v):
    agent, at = v.agent(), now()
    for scope in ("s", HOSTMETRICS + "processscraper"):
        v.take(request(attributes(host__name=agent, process__pid=1),
                       ({"name": scope}, [gauge("process.memory.utilization", point(at, 2.73), unit="1")])))
    v.take(request(attributes(host__name=agent),
                   ({"name": "s"}, [gauge("system.memory.utilization", *states(at, used=0.1, free=0.9), unit="1")])))
    is_healthy(v, agent, "memory 10 % in use", memory="healthy")
    got = [v.samples(one["series_id"]) for one in v.series(agent) if one["metric_name"] == "process.memory.utilization"]
    v.check("2.73 is shown as 2.73 %, from whoever it comes", [[2.73], [2.73]], got)
    no_alert(v, agent)


def case_a_process_alone_says_nothing_of_its_host(v):
    agent, at = v.agent(), now()
    for pid in (1, 2):
        v.take(request(attributes(host__name=agent, process__pid=pid), ({"name": HOSTMETRICS + "processscraper"}, [
            gauge("process.cpu.utilization", *states(at, user=0.99), unit="1"),
            gauge("process.memory.utilization", point(at, 97.0), unit="1"),
            total("process.memory.usage", point(at, 9e9), monotonic=False, unit="By"),
        ])))
    v.metrics(agent, gauge("network.latency", point(at, 5.0), unit="ms"))
    is_healthy(v, agent, "CPU and memory of the host are not known")


def case_cpus_of_a_process(v):
    """A service that keeps 2 of 8 CPUs busy, from a sender that does not divide."""
    for count, status, cpu in ((8, "healthy", "healthy"), (None, "healthy", None)):
        agent, at = v.agent(), now()
        metrics = [
            gauge("process.cpu.utilization", point(at, 2.0), unit="1"),
            gauge("network.latency", point(at, 5.0), unit="ms"),
        ]
        if count:
            metrics.append(total("system.cpu.logical.count", point(at, float(count)), monotonic=False, unit="{cpu}"))
        v.take(request(attributes(service__name="shop", service__instance__id=agent), ({"name": "s"}, metrics)))
        agent = f"shop:{agent}"
        is_healthy(v, agent, f"2 CPUs of {count or 'unknown many'}", cpu=cpu)
        no_alert(v, agent)


def case_cpu_of_a_service_that_divides(v):
    agent, at = v.agent(), now()
    v.take(request(attributes(service__name="shop", service__instance__id=agent),
                   ({"name": "s"}, [gauge("process.cpu.utilization", point(at, 0.97), unit="1")])))
    expected = ("critical", 70.0, "critical")
    def read():
        got = judged(v, f"shop:{agent}")
        return got and (got[0], got[1], got[2]["cpu"])
    v.check("97 % of all that it may use is critical", expected, v.until(expected, read))


def case_percentages_that_cannot_be(v):
    for name, value, attrs in (
        ("system.memory.utilization", 97.0, attributes(state="used")),
        ("system.cpu.utilization", 42.0, []),
        ("system.cpu.utilization", -1.0, []),
        ("system.filesystem.utilization", 99.0, attributes(device="/dev/sda1", type="ext4", mode="rw", mountpoint="/")),
        ("error_rate", 37.0, []),
    ):
        agent, at = v.agent(), now()
        v.metrics(agent, gauge(name, point(at, value, attrs), unit="1"), gauge("network.latency", point(at, 5.0), unit="ms"))
        is_healthy(v, agent, f"{name} of {100 * value} % is not known")
        no_alert(v, agent)


def case_file_systems_that_are_full_by_nature(v):
    agent, at = v.agent(), now()
    full = [
        {"device": "/dev/loop3", "mode": "ro", "mountpoint": "/snap/core/1", "type": "squashfs"},
        {"device": "/dev/sr0", "mode": "ro", "mountpoint": "/media/cdrom", "type": "iso9660"},
        {"device": "/dev/sda2", "mode": "ro", "mountpoint": "/usr", "type": "ext4"},
        {"device": "efivarfs", "mode": "rw", "mountpoint": "/sys/firmware/efi/efivars", "type": "efivarfs"},
        {"device": "devfs", "mode": "rw", "mountpoint": "/dev", "type": "devfs"},
    ]
    full += [{("system.device" if key == "device" else f"system.filesystem.{key}"): value for key, value in one.items()}
             for one in full]
    disk = attributes(device="/dev/sda1", mode="rw", mountpoint="/", type="ext4")
    pair = lambda attrs, used, free: [  # noqa: E731
        point(at, float(amount), attrs + attributes(state=state)) for state, amount in (("used", used), ("free", free))
    ]
    usage = pair(disk, 30e9, 70e9)
    share = [point(at, 0.3, disk)]
    for one in full:
        usage += pair(attributes(**one), 1e9, 0)
        share.append(point(at, 1.0, attributes(**one)))
    v.metrics(
        agent, total("system.filesystem.usage", *usage, monotonic=False, unit="By"),
        gauge("system.filesystem.utilization", *share, unit="1"),
        # Inodes are no bytes.
        total("system.filesystem.inodes.usage", *pair(disk, 99, 1), monotonic=False, unit="{inodes}"),
    )
    is_healthy(v, agent, "the disk is 30 % full", disk="healthy")
    no_alert(v, agent)
    v.metrics(agent, gauge("system.filesystem.utilization", point(at + SECOND, 0.97, disk), unit="1"))
    got = v.until(lambda got: got, lambda: [one["severity"] for one in v.alerts(agent)])
    v.check("and a disk that is full raises an alert", ["critical"], got)


def case_waiting_for_a_disk_is_not_busy(v):
    for key, wait in (("state", "wait"), ("cpu.mode", "iowait")):
        agent, at = v.agent(), now() - 10 * SECOND
        for step in range(4):
            by_state = {"user": 0.5 * step, "idle": 0.5 * step, wait: 9.0 * step, "guest": 0.5 * step}
            points = states(at + 3 * step * SECOND, key, **by_state)
            v.metrics(agent, total("system.cpu.time", *points, unit="s"))
        is_healthy(v, agent, f"CPU seconds, {wait}", cpu="healthy")
        agent = v.agent()
        points = states(at, key, **{"user": 0.05, "idle": 0.0, wait: 0.95})
        v.metrics(agent, gauge("system.cpu.utilization", *points, unit="1"))
        is_healthy(v, agent, f"CPU shares, {wait}", cpu="healthy")
        no_alert(v, agent)


def case_memory_in_states(v):
    agent, at = v.agent(), now()
    v.metrics(agent, total(
        "system.memory.usage", *states(at, used=60e9, free=2e9, buffered=1e9, cached=36e9, slab_reclaimable=30e9,
                                       slab_unreclaimable=1e9), monotonic=False, unit="By"),
              gauge("system.paging.utilization", *states(at, used=1.0, free=0.0), unit="1"))
    is_healthy(v, agent, "used is 61 % of used, free, buffered and cached", memory="healthy")
    answer = v.rest.post("/health-check", {"target_id": agent, "target_type": "agent"})
    v.check("60 GB of 99 are no cause for advice", [], [r for r in answer["health_recommendations"] if "memory" in r])
    agent = v.agent()
    v.metrics(
        agent, total("system.memory.usage", *states(at, used=97e9, free=1e9, cached=60e9), monotonic=False, unit="By"),
        total("system.memory.limit", point(at, 100e9), monotonic=False, unit="By"),
        total("system.linux.memory.available", point(at, 3e9), monotonic=False, unit="By"),
    )
    got = v.until(lambda got: got and got[0] == "critical", lambda: judged(v, agent))
    v.check("a cache that cannot be given back is in use", "critical", got and got[2]["memory"])


def case_containers(v):
    """What a container uses is of the container."""
    docker = {"name": "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/dockerstatsreceiver"}
    kubelet = {"name": "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/kubeletstatsreceiver"}
    for what, scope, metric, value in (
        ("percent of one CPU, of unknown many", docker, "container.cpu.utilization", 99.0),
        ("a number of CPUs", kubelet, "k8s.node.cpu.utilization", 0.99),
        ("a container of a host", docker, "container.cpu.limit.utilization", 0.99),
        ("the page cache", kubelet, "k8s.pod.memory_limit_utilization", 0.99),
    ):
        agent, at = v.agent(), now()
        resource = attributes(host__name=agent)
        v.take(request(resource, (scope, [gauge(metric, point(at, value), unit="1")])))
        v.metrics(agent, gauge("network.latency", point(at, 5.0), unit="ms"))
        is_healthy(v, agent, what)
        no_alert(v, agent)
    for what, metrics in (
        ("a service in a container at its limit", [gauge("container.cpu.limit.utilization", point(now(), 0.99), unit="1")]),
        ("a container that keeps 1.98 of its 2 CPUs busy", [
            gauge("container.cpu.utilization", point(now(), 198.0), unit="1"),
            gauge("container.cpu.logical.count", point(now(), 2.0), unit="{cpus}"),
        ]),
    ):
        agent = v.agent()
        v.take(request(attributes(service__name=agent), (docker, metrics)))
        got = v.until(lambda got: got and got[0] == "critical", lambda: judged(v, agent))
        v.check(what, "critical", got and got[2]["cpu"])


def case_a_day_of_every_scraper(v):
    """A recorded host, replayed as a day of one export a minute: healthy all day."""
    agent, scrapes = v.agent(), recorded()
    first, began = scrapes[0], now() - 86_400 * SECOND
    metrics = first["resourceMetrics"]
    for resource_metrics in metrics:
        resource_metrics["resource"].setdefault("attributes", []).extend(attributes(host__name=agent))
    day = Day(scrapes)
    for minute in range(1_440):
        v.take(json.dumps(day.export(metrics, minute, began)))
    is_healthy(v, agent, "at the end", cpu="healthy", memory="healthy", disk="healthy")
    no_alert(v, agent)
    window = {"start": iso_of(began), "end": iso_of(now()), "limit": 10_000}
    verdicts = v.rest.get("/verdicts", agent=agent, kind="health", **window)["verdicts"]
    v.check("it was judged", lambda count: count > 0, len(verdicts))
    wrong = [one["body"] for one in verdicts if one["body"]["status"] != "healthy" or one["body"]["score"] != 100]
    v.check("and never was anything but healthy", [], wrong[:3])


def iso_of(at):
    from datetime import datetime, timezone
    return datetime.fromtimestamp(at / SECOND, timezone.utc).isoformat()


def recorded():
    """The recorded scrapes."""
    with gzip.open(RECORDED, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


class Day:
    """Goes on where a recording ends: totals grow at the recorded rate, levels repeat, and the load of the CPUs follows the
    time of day, with noise."""

    BUSY = {"user": 0.7, "system": 0.2, "nice": 0.02, "interrupt": 0.01, "softirq": 0.04, "steal": 0.03}

    def __init__(self, scrapes):
        self.random = random.Random(9)
        self.levels, self.rates, self.totals = {}, {}, {}
        for scrape in scrapes:
            for key, metric, one in points_of(scrape):
                self.levels.setdefault(key, []).append((int(one["timeUnixNano"]), value_of(one)))
        for key, values in self.levels.items():
            (start, low), (end, high) = values[0], values[-1]
            self.rates[key] = max(high - low, 0.0) / max((end - start) / SECOND, 1.0)
            self.totals[key] = low

    def export(self, metrics, minute, began):
        """The recording's first scrape, with the times and values of a minute of the day."""
        at = began + 60 * minute * SECOND
        load = min(max(0.35 - 0.25 * math.cos(2 * math.pi * minute / 1_440) + self.random.gauss(0, 0.04), 0.02), 0.75)
        wait = self.random.uniform(0.0, min(0.9 - load, 0.2))
        shares = {state: load * share for state, share in self.BUSY.items()} | {"wait": wait, "idle": 1 - load - wait}
        scrape = {"resourceMetrics": metrics}
        for key, metric, one in points_of(scrape):
            state = {a["key"]: a["value"].get("stringValue") for a in one.get("attributes", [])}.get("state")
            if metric["name"] == "system.cpu.time":
                self.totals[key] += 60 * 2 * shares[state]
                value = self.totals[key]
            elif metric["name"] == "system.cpu.utilization":
                value = shares[state]
            elif metric.get("sum", {}).get("isMonotonic"):
                self.totals[key] += 60 * self.rates[key] * self.random.uniform(0.5, 1.5)
                value = self.totals[key]
            else:
                values = self.levels[key]
                value = values[minute % len(values)][1]
            one["timeUnixNano"] = str(at)
            if "asInt" in one:
                one["asInt"] = str(round(value))
            else:
                one["asDouble"] = "NaN" if math.isnan(value) else value
        return scrape


def points_of(scrape):
    """(identity, metric, point) of each point."""
    for resource_metrics in scrape["resourceMetrics"]:
        pid = [a["value"] for a in resource_metrics.get("resource", {}).get("attributes", []) if a["key"] == "process.pid"]
        for scope_metrics in resource_metrics["scopeMetrics"]:
            for metric in scope_metrics["metrics"]:
                for one in (metric.get("gauge") or metric["sum"])["dataPoints"]:
                    yield json.dumps([pid, metric["name"], one.get("attributes", [])]), metric, one


def value_of(one):
    return float(one.get("asDouble", one.get("asInt", 0)))
