"""CPU a point of `vitals` and of its peers: same requests, same client, one server at a time, in turns.

usage: compare.py VITALS PEER...          started by run.sh, which builds the peers

A request has 1,000 points; 10,000 series, moving times and values, 4 connections that each wait for the answer, OTLP/HTTP
with protobuf. CPU is the server process' own, from /proc, from before the load until it is idle again, so what a server
puts off is counted too, divided by the points that it acknowledged.
"""

import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "tests"))

import harness  # noqa: E402
from harness import cpu_seconds, free_port, listening, resident_mib, wait_for  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "3"))
SECONDS = int(os.environ.get("SECONDS_OF_LOAD", "10"))
RATE = int(os.environ.get("POINTS_A_SECOND", "0"))
PEERS = pathlib.Path(os.environ.get("VITALS_PEERS", harness.ROOT / "target/peers"))
# Longer than the peers and vitals put work off for (a seal comes every 15 s), then until there is next to none.
AFTERWARDS, IDLE_SHARE, IDLE_LIMIT = 17, 0.02, 60


class Server:
    """A started server: its process and where it takes OTLP/HTTP."""

    def __init__(self, child, port, path):
        self.child, self.port, self.url = child, port, f"http://127.0.0.1:{port}{path}"


def vitals(work, name):
    service = harness.Vitals(work, PROGRAM, name)
    service.start()
    return Server(service.child, service.http, "/v1/metrics")


def vitals_influxdb(work, name):
    influx = harness.Influx(work, PEERS / "influxd", f"{name}-influxd").start()
    service = harness.Vitals(work, PROGRAM, name, influx.store(), env=influx.environment())
    service.start()
    return Server(service.child, service.http, "/v1/metrics")


def victoria_metrics(work, name):
    port = free_port()
    child = work.start(
        name, PEERS / "victoria-metrics", f"-storageDataPath={work.path / name}-data", f"-httpListenAddr=127.0.0.1:{port}"
    )
    return Server(child, port, "/opentelemetry/v1/metrics")


def collector(work, name):
    port = free_port()
    file = work.path / f"{name}.yaml"
    file.write_text(json.dumps({
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}"}}}},
        "exporters": {"nop": {}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"metrics": {"receivers": ["otlp"], "exporters": ["nop"]}},
        },
    }))
    return Server(work.start(name, PEERS / "otelcol", "--config", file), port, "/v1/metrics")


def prometheus(work, name):
    port = free_port()
    file = work.path / f"{name}.yaml"
    file.write_text("{}")
    child = work.start(
        name, PEERS / "prometheus", f"--storage.tsdb.path={work.path / name}-data", f"--config.file={file}",
        "--web.enable-otlp-receiver", f"--web.listen-address=127.0.0.1:{port}",
    )
    return Server(child, port, "/api/v1/otlp/v1/metrics")


def rotel(work, name):
    grpc, http = free_port(), free_port()
    library = subprocess.run(
        ["python3.11", "-c", "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()
    child = work.start(
        name, PEERS / "rotel-agent", "start", "--exporter", "blackhole", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc}",
        "--otlp-http-endpoint", f"127.0.0.1:{http}", env={"LD_LIBRARY_PATH": library},
    )
    return Server(child, http, "/v1/metrics")


# name -> (how to start it, what it does with a point)
KINDS = {
    "vitals": (vitals, "stores with fsync before the answer, three plugins judge"),
    "influxdb": (vitals_influxdb, "vitals with InfluxDB as its store; the CPU is that of vitals"),
    "victoria-metrics": (victoria_metrics, "stores, answers before anything is synced"),
    "collector": (collector, "decodes, drops (OTLP -> nop)"),
    "prometheus": (prometheus, "stores in head and WAL, unsynced"),
    "rotel": (rotel, "decodes, batches, drops"),
}


def settle(pid, least=0):
    """Waits until the process has next to nothing to do any more, `least` seconds at least."""
    until = time.monotonic() + IDLE_LIMIT
    time.sleep(least)
    before = cpu_seconds(pid)
    while time.monotonic() < until:
        time.sleep(1)
        now = cpu_seconds(pid)
        if now - before <= IDLE_SHARE:
            return
        before = now


def one_round(work, peer, number):
    """Microseconds of CPU a point, points a second, points refused or lost, MiB held at the end."""
    name = f"{peer}-{number}"
    server = KINDS[peer][0](work, name)
    try:
        wait_for(f"{peer} listens", 60, lambda: listening(server.port))
        load = lambda seconds: harness.load(  # noqa: E731
            PROGRAM, work, f"load-{name}", target=server.url, protocol="http", rate=RATE, duration=f"{seconds}s",
            series=10_000, points=1_000, connections=4, seconds=seconds + 60,
        )
        load(2)  # series are made, pages touched, code compiled: the steady state is what is compared
        settle(server.child.pid)
        before = cpu_seconds(server.child.pid)
        points = load(SECONDS)["points"]
        settle(server.child.pid, AFTERWARDS)
        used = cpu_seconds(server.child.pid) - before
        if server.child.poll() is not None or not points["acknowledged"]:
            raise RuntimeError(f"{peer} took nothing:\n{work.log(name)[-2000:]}")
        return (
            used / points["acknowledged"] * 1e6, points["acknowledged"] / SECONDS, points["sent"] - points["acknowledged"],
            resident_mib(server.child.pid),
        )
    finally:
        harness.end(server.child, 15)


def machine():
    """What this ran on."""
    model = next(
        (line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8") if line.startswith("model name")),
        platform.machine(),
    )
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}"


def main(peers):
    work = harness.Work("peers")
    results = {peer: [] for peer in peers}
    for number in range(1, ROUNDS + 1):
        for peer in peers:
            results[peer].append(one_round(work, peer, number))
            cost, rate, *_ = results[peer][-1]
            print(f"round {number}: {peer}: {cost:.3f} us/point, {rate:,.0f} points/s", file=sys.stderr, flush=True)
    middle = {peer: statistics.median(cost for cost, *_ in rounds) for peer, rounds in results.items()}
    print(f"{machine()}; {ROUNDS} rounds of {SECONDS} s\n")
    print("| server | what it does | CPU us a point | median | vitals over it | points/s | refused or lost | RSS MiB |")
    print("|---|---|---|---|---|---|---|---|")
    for peer, rounds in results.items():
        costs, rates, refused, held = zip(*rounds)
        print(
            f"| {peer} | {KINDS[peer][1]} | {min(costs):.2f}-{max(costs):.2f} | {middle[peer]:.2f} "
            f"| {middle['vitals'] / middle[peer]:.2f} | {statistics.median(rates):,.0f} | {sum(refused):,} "
            f"| {min(held):.0f}-{max(held):.0f} |"
        )


PROGRAM = harness.binary()
unknown = [peer for peer in sys.argv[2:] if peer not in KINDS]
if unknown:
    sys.exit(f"unknown peers: {', '.join(unknown)}")
main(list(dict.fromkeys(["vitals", *sys.argv[2:]])))
