"""A real OpenTelemetry Collector and the Python and JavaScript SDKs send to `vitals`, which exports to a second Collector.
A real Alertmanager is told of alerts.

usage: check.py [VITALS]          started by run.sh, which builds and installs what this needs

VITALS_PEERS: folder with `otelcol` and `alertmanager`. INTEROP_PYTHON: a Python with the OpenTelemetry SDK. INTEROP_MODULES: a folder
with the JavaScript SDK's node_modules. INTEROP_STORE: "embedded", the default, or "influxdb", for which `influxd` must be
among the peers; everything is the same with it.
"""

import collections
import json
import os
import pathlib
import platform
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE), str(HERE / "sdk")]

import alerts  # noqa: E402
import expected  # noqa: E402
import harness  # noqa: E402
import scrapers  # noqa: E402
from harness import free_port, listening, nanos, rfc3339, wait_for  # noqa: E402

SCRAPES = int(os.environ.get("INTEROP_SCRAPES", "8"))
PEERS = pathlib.Path(os.environ.get("VITALS_PEERS", harness.ROOT / "target/peers"))
PYTHON = os.environ.get("INTEROP_PYTHON", sys.executable)
MODULES = os.environ.get("INTEROP_MODULES", "")
STORE = os.environ.get("INTEROP_STORE", "embedded")

WORK = harness.Work("interop")
ACCOUNT = harness.Account(WORK)
check = ACCOUNT.check

# Sent once per agent, in the order of the table in the exporter's documentation.
HEALTH_METRICS = ["vitals.health.score", "vitals.health.status"]
SLA_METRICS = ["vitals.availability", "vitals.sla.error_budget.remaining", "vitals.sla.burn_rate"]
OUTLIER_METRICS = ["vitals.outlier", "vitals.outlier.value", "vitals.outlier.bound", "vitals.outlier.count"]


def serve(name, config):
    """A `vitals` of its own, with the store that is asked for."""
    env = {}
    if INFLUX:
        INFLUX.make_bucket(name)
        config += INFLUX.store(bucket=name)
        env = INFLUX.environment()
    return harness.Vitals(WORK, PROGRAM, name, config, env=env).start()


class Combination:
    """One way in which a Collector can be set up."""

    def __init__(self, name, detection, protocol, authenticated, utilization):
        self.name, self.detection, self.protocol = name, detection, protocol
        self.authenticated, self.utilization = authenticated, utilization


COMBINATIONS = [
    Combination("no detection, gRPC and gzip, no token", False, "grpc", False, False),
    Combination("no detection, HTTP and zstd, token", False, "http", True, True),
    Combination("resourcedetection, gRPC and gzip, token", True, "grpc", True, True),
    Combination("resourcedetection, HTTP and zstd, no token", True, "http", False, False),
]


def collector_config(combination, vitals, token, sent):
    """The first Collector: hostmetrics to vitals, and the same to a file."""
    scrapers = {name: {} for name in ["cpu", "memory", "load", "disk", "network", "filesystem"]}
    if combination.utilization:
        for name in ["cpu", "memory", "filesystem"]:
            scrapers[name] = {"metrics": {f"system.{name}.utilization": {"enabled": True}}}
    exporter = {"sending_queue": {"enabled": False}}
    extensions = {}
    if combination.protocol == "grpc":
        kind = "otlp"
        exporter |= {"endpoint": f"127.0.0.1:{vitals.grpc}", "tls": {"insecure": True}, "compression": "gzip"}
        if token:
            # The extension refuses to send a token without TLS over gRPC.
            exporter["headers"] = {"authorization": f"Bearer {token}"}
    else:
        kind = "otlphttp"
        exporter |= {"endpoint": f"http://127.0.0.1:{vitals.http}", "compression": "zstd"}
        if token:
            extensions["bearertokenauth"] = {"token": token}
            exporter["auth"] = {"authenticator": "bearertokenauth"}
    processors = {"batch": {"timeout": "100ms"}}
    if combination.detection:
        processors = {"resourcedetection": {"detectors": ["system"], "system": {"hostname_sources": ["os"]}}} | processors
    return {
        "extensions": extensions,
        "receivers": {"hostmetrics": {"collection_interval": "1s", "initial_delay": "100ms", "scrapers": scrapers}},
        "processors": processors,
        "exporters": {kind: exporter, "file": {"path": str(sent), "flush_interval": "100ms"}},
        "service": {
            "extensions": list(extensions),
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {
                "metrics": {
                    "receivers": ["hostmetrics"], "processors": list(processors), "exporters": [kind, "file"]
                }
            },
        },
    }


def start_collector(name, config):
    """A Collector; JSON is YAML."""
    file = WORK.path / f"{name}.yaml"
    file.write_text(json.dumps(config, indent=1))
    return WORK.start(name, PEERS / "otelcol", "--config", file)


class Sink:
    """The second Collector: OTLP in, a file out."""

    def __init__(self, name, protocol):
        self.name, self.protocol, self.port, self.file = name, protocol, free_port(), WORK.path / f"{name}.json"
        self.child = start_collector(name, {
            "receivers": {"otlp": {"protocols": {protocol: {"endpoint": f"127.0.0.1:{self.port}"}}}},
            "exporters": {"file": {"path": str(self.file), "flush_interval": "100ms"}},
            "service": {
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {"metrics": {"receivers": ["otlp"], "exporters": ["file"]}},
            },
        })
        wait_for(f"{name} listens", 30, lambda: listening(self.port))

    def export(self):
        """The section of vitals' configuration that sends here."""
        return (
            f'[export]\nendpoint = "http://127.0.0.1:{self.port}"\nprotocol = "{self.protocol}"\n'
            "interval_seconds = 1\n[evaluate]\nsla_seconds = 2\n"
        )

    def names(self):
        return {point.metric for point in points(self.file)}


Point = collections.namedtuple("Point", "metric unit attributes time value resource")


def points(file):
    """The number points of a file exporter's file; a line that is still being written is left out."""
    found = []
    if not file.exists():
        return found
    for line in file.read_text().splitlines():
        try:
            request = json.loads(line)
        except json.JSONDecodeError:
            continue
        for resource_metrics in request.get("resourceMetrics", []):
            resource = texts(resource_metrics.get("resource", {}).get("attributes", []))
            for scope_metrics in resource_metrics.get("scopeMetrics", []):
                for metric in scope_metrics.get("metrics", []):
                    data = metric.get("gauge") or metric.get("sum") or {}
                    for point in data.get("dataPoints", []):
                        value = point.get("asDouble", point.get("asInt", 0))
                        found.append(Point(
                            metric["name"], metric.get("unit", ""),
                            tuple(sorted(texts(point.get("attributes", [])).items())),
                            int(point["timeUnixNano"]), float(value), resource,
                        ))
    return found


def texts(attributes):
    """Attributes of OTLP JSON as a dictionary of texts."""
    return {pair["key"]: str(next(iter(pair.get("value", {}).values()), "")) for pair in attributes}


# The REST room's shapes, in one place each.

def agents(rest):
    """The keys of all agents."""
    return [agent["agent_id"] for agent in rest.get("/agents")["agents"]]


def series_of(rest, agent):
    """The received series of an agent: (metric, part, attributes) -> description."""
    found = {}
    for series in rest.get("/series", agent=agent)["series"]:
        if series["origin"] == "otlp":
            found[series["metric_name"], series["part"], tuple(sorted(series["attributes"].items()))] = series
    return found


def samples(rest, series, start, end):
    """The samples of a series: nanoseconds -> value."""
    answer = rest.get(f"/series/{series['series_id']}/samples", start=rfc3339(start), end=rfc3339(end), limit=100_000)
    return {nanos(sample["time"]): float(sample["value"]) for sample in answer["samples"]}


def verdicts(rest, agent, kind):
    return rest.get("/verdicts", agent=agent, kind=kind)["verdicts"]


def host_agent(combination):
    """The name under which the Collector's host must be known."""
    if combination.detection:
        return platform.node()
    return "collector-1" if combination.authenticated else "127.0.0.1"


def through_a_collector(number, combination):
    began = time.time_ns()
    sink = Sink(f"sink-{number}", combination.protocol)
    config = sink.export()
    if combination.authenticated:
        config += "[auth]\notlp = true\n"
    vitals = serve(f"vitals-{number}", config)
    token = vitals.token("collector-1") if combination.authenticated else None
    sent = WORK.path / f"sent-{number}.json"
    collector = start_collector(f"collector-{number}", collector_config(combination, vitals, token, sent))
    scraped = lambda: len({point.time // 1_000_000_000 for point in points(sent)})  # noqa: E731
    wait_for(f"{SCRAPES} scrapes", SCRAPES + 30, lambda: scraped() >= SCRAPES, every=0.5)
    # While it runs: a host whose Collector has stopped is rightly offline some seconds later.
    rest, agent = vitals.rest, host_agent(combination)
    wait_for(f"agent {agent}", 10, lambda: agent in agents(rest))
    judged(rest, agent)
    check("the Collector stops cleanly", harness.end(collector, 15) == 0)
    complaints = ("Exporting failed", "Partial success", "rejected")
    refused = [line for line in WORK.log(f"collector-{number}").splitlines() if any(word in line for word in complaints)]
    check("the Collector had nothing refused", not refused, refused[:1])

    check(f"the host is agent {agent}, and the only one", agents(rest) == [agent], agents(rest))
    compare(rest, agent, points(sent), began)
    wanted = set(HEALTH_METRICS + SLA_METRICS)
    try:
        wait_for("verdict metrics", 20, lambda: wanted <= sink.names(), every=0.5)
    except TimeoutError:
        pass
    missing = wanted - sink.names()
    check("health and SLA verdicts arrive at the second Collector", not missing, f"missing: {sorted(missing)}")
    exported_score(sink, rest, agent)
    check("vitals stops cleanly", vitals.stop() == 0)
    harness.end(sink.child, 10)


def compare(rest, agent, sent, began):
    """Every number that the Collector wrote to its file is stored with the same time and value, and no other."""
    wanted = collections.defaultdict(dict)
    units = {}
    for point in sent:
        wanted[point.metric, "value", point.attributes][point.time] = point.value
        units[point.metric] = point.unit
    end = time.time_ns() + 60_000_000_000
    found = series_of(rest, agent)
    missing, extra = set(wanted) - set(found), set(found) - set(wanted)
    check(f"all {len(wanted)} series are there", not missing, sorted(missing)[:3])
    check("and no others", not extra, sorted(extra)[:3])
    total, wrong = 0, []
    for key in set(wanted) & set(found):
        stored = samples(rest, found[key], began - 60_000_000_000, end)
        # A share of 1 is stored as percent, where the kind is a percentage.
        factor = 100.0 if (units[key[0]], found[key]["unit"]) == ("1", "%") else 1.0
        scaled = {at: value * factor for at, value in wanted[key].items()}
        total += len(scaled)
        if stored != scaled:
            wrong.append((key, len(scaled), len(stored)))
    check(f"all {total} samples are equal at both ends", total > 0 and not wrong, wrong[:3])


def judged(rest, agent):
    """The agent has a health score made by the plugin, an SLA report, and the contract's answer says the same."""
    health = wait_for("a health verdict", 15, lambda: verdicts(rest, agent, "health"))[0]
    check("a health score is there, with its evidence", 0 <= health["body"]["score"] <= 100
          and health["evidence"]["plugin"] == "health-score" and len(health["evidence"]["digest"]) == 64, health)
    known = lambda: [v for v in verdicts(rest, agent, "sla") if v["body"]["availability"] is not None]  # noqa: E731
    sla = wait_for("an SLA verdict", 15, known)[0]
    check("an SLA report is there", sla["evidence"]["plugin"] == "sla" and sla["body"]["target"] == 99.9
          and 0 <= sla["body"]["availability"] <= 100, sla)
    answer = rest.post("/health-check", {"target_id": agent, "target_type": "agent"})
    check("health-check answers for it", answer["target_id"] == agent
          and answer["health_assessment"]["overall_health"] in ("healthy", "degraded", "critical"), answer)


def exported_score(sink, rest, agent):
    """The score that arrived is one that REST has."""
    scores = {float(verdict["body"]["score"]) for verdict in verdicts(rest, agent, "health")}
    arrived = {point.value for point in points(sink.file) if point.metric == "vitals.health.score"}
    check("the exported scores are those of the verdicts", arrived and arrived <= scores, f"{arrived} {scores}")


def through_the_sdks():
    sink = Sink("sink-sdk", "grpc")
    vitals = serve("vitals-sdk", sink.export())
    source = (HERE / "sdk/expected.py", HERE / "sdk/send.py", HERE / "sdk/send.mjs")
    numbers = WORK.path / "expected.json"
    numbers.write_text(json.dumps({"bounds": expected.BOUNDS, "turns": [expected.turn(n) for n in range(expected.TURNS)]}))
    languages = {"python": [PYTHON, source[1]], "javascript": ["node", source[2]]}
    for language, command in languages.items():
        for protocol, temporality in [("grpc", "cumulative"), ("http", "delta")]:
            ACCOUNT.part(
                f"{language} SDK, {protocol}, {temporality}",
                through_an_sdk, vitals, f"{language}-{protocol}", command, protocol, temporality, numbers,
            )
    try:
        wait_for("outliers at the second Collector", 20, lambda: set(OUTLIER_METRICS) <= sink.names(), every=0.5)
    except TimeoutError:
        pass
    check("outlier verdicts arrive at the second Collector", set(OUTLIER_METRICS) <= sink.names(), sorted(sink.names()))
    check("vitals stops cleanly", vitals.stop() == 0)


def through_an_sdk(vitals, instance, command, protocol, temporality, numbers):
    began = time.time_ns()
    port = vitals.grpc if protocol == "grpc" else vitals.http
    with open(numbers, encoding="utf-8") as stdin:
        child = WORK.start(
            instance, *command, protocol, f"http://127.0.0.1:{port}", instance, stdin=stdin,
            env={
                "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": temporality,
                "INTEROP_MODULES": MODULES,
                "PYTHONDONTWRITEBYTECODE": "1",
            },
        )
    check("the program ends well", child.wait(60) == 0, WORK.log(instance)[-500:])
    rest = vitals.rest
    # The SDKs name their service; an instance's id is unique within it only.
    found = wait_for(f"agent of {instance}", 10, lambda: [one for one in agents(rest) if one.endswith(":" + instance)])
    check("service and instance name the agent", len(found) == 1 and found[0].startswith("interop-"), found)
    agent = found[0]
    last = dict(expected.LAST)
    if temporality == "cumulative":
        last |= expected.LAST_CUMULATIVE
    by_part = {(metric, part): series for (metric, part, _), series in series_of(rest, agent).items()}
    end = time.time_ns() + 60_000_000_000
    for (metric, part), value in last.items():
        series = by_part.get((metric, part))
        if not check(f"{metric} {part} is stored", series, sorted(by_part)):
            continue
        stored = samples(rest, series, began - 60_000_000_000, end)
        got = stored[max(stored)] if stored else None
        check(f"{metric} {part} ends at {value}", got == value, f"got {got}")
    # The SDKs export once more when they stop, so the gauge may have jumped more than once: one incident all the same.
    steady = samples(rest, by_part["steady", "value"], began - 60_000_000_000, end)
    jumps = sorted(at for at, value in steady.items() if value == expected.SPIKE)
    found = [v for v in verdicts(rest, agent, "outlier") if v["body"]["value"] == expected.SPIKE]
    check("the jump of the steady gauge is an incident, once", jumps and [nanos(v["time"]) for v in found] == jumps[:1], found)


PROGRAM = harness.binary()
INFLUX = harness.Influx(WORK, PEERS / "influxd").start() if STORE == "influxdb" else None
for count, combination in enumerate(COMBINATIONS, 1):
    ACCOUNT.part(f"Collector: {combination.name}", through_a_collector, count, combination)
ACCOUNT.part(
    "Collector: every scraper, as JSON and as protobuf", scrapers.through_every_scraper, WORK, check, serve,
    start_collector, points,
)
ACCOUNT.part("SDKs", through_the_sdks)
ACCOUNT.part("Alertmanager and webhook", alerts.to_an_alertmanager, WORK, check, PROGRAM, PEERS / "alertmanager")
ACCOUNT.close()
