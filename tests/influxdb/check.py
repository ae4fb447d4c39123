"""A real InfluxDB as the store of `vitals`.

usage: check.py [VITALS]                   started by run.sh

During load the server is killed and started again; ingest must not notice, and afterwards each acknowledged point is there
once, by the REST API and by a query of InfluxDB's own.
"""

import collections
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import harness  # noqa: E402
import loaded  # noqa: E402
from harness import rfc3339, wait_for  # noqa: E402

KILLS = int(os.environ.get("KILLS", "3"))
SECONDS = float(os.environ.get("SECONDS_OF_LOAD", "60"))
RATE = int(os.environ.get("POINTS_A_SECOND", "10000"))
SERIES = int(os.environ.get("SERIES", "500"))
PEERS = pathlib.Path(os.environ.get("VITALS_PEERS", harness.ROOT / "target/peers"))

WORK = harness.Work("influxdb")
ACCOUNT = harness.Account(WORK)
check = ACCOUNT.check


def metric(vitals, name):
    """A number that `GET /metrics` has, the sum over its labels; 0 when it is not there."""
    text = harness.Rest(vitals.rest_port).call("GET", "/metrics").body.decode()
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return sum(float(value) for key, _, value in lines if key.split("{")[0] == name)


def waiting(vitals):
    """Bytes that InfluxDB has not taken yet."""
    return metric(vitals, "vitals_store_outbox_bytes")


def beat(vitals, agent="beating"):
    """A heartbeat, and how long its answer took, seconds."""
    began = time.monotonic()
    vitals.rest.post("/heartbeat", {
        "agent_info": {"agent_id": agent, "agent_version": "1", "environment": "test"},
        "health_status": "healthy", "timestamp": rfc3339(time.time_ns()), "cpu_usage_percent": 97.0,
    })
    return time.monotonic() - began


def counted(influx, began):
    """Number of a series -> points that InfluxDB itself counts."""
    rows = influx.query(
        f'from(bucket: "{influx.BUCKET}") |> range(start: {rfc3339(began)}, stop: 1d)\n'
        '|> filter(fn: (r) => r._measurement == "load.gauge" and r._field == "gauge")\n'
        '|> group(columns: ["series"]) |> count()'
    )
    return {int(row["series"]): int(row["_value"]) for row in rows}


def outages():
    """Load with the server killed in it, and the account after it."""
    began = time.time_ns() - 3600 * 1_000_000_000
    influx = harness.Influx(WORK, PEERS / "influxd").start()
    config = influx.store() + "[evaluate]\ncheckpoint_seconds = 2\n"
    vitals = harness.Vitals(WORK, harness.binary(), config=config, env=influx.environment()).start()
    acked = WORK.path / "acked"
    child = harness.start_load(
        vitals.program, WORK, "load", target=f"http://127.0.0.1:{vitals.http}", protocol="http", rate=RATE,
        duration=f"{SECONDS:g}s", series=SERIES, points=100, connections=4, acked=acked,
    )
    for number in range(1, KILLS + 1):
        time.sleep(SECONDS / KILLS / 2)
        influx.kill()
        time.sleep(SECONDS / KILLS / 4)
        slowest = max(beat(vitals, f"beating-{number}-{n}") for n in range(10))
        check(f"kill {number}: heartbeats are answered meanwhile", slowest < 2.0, f"{slowest:.2f} s")
        check(f"kill {number}: what waits is shown", waiting(vitals) > 0)
        probe = harness.Rest(vitals.rest_port).call("GET", "/health")
        held = probe.json().get("waiting", {})
        check(f"kill {number}: vitals stays ready, and shows what waits and for how long", probe.status == 200
              and held.get("samples", 0) > 0 and held.get("bytes", 0) > 0 and held.get("age_seconds", 0) > 1, probe.body)
        said = vitals.rest.get("/health")["database_status"]
        check(f"kill {number}: it says what is wrong", "nothing is sent" in said and "wait here" in said, said)
        time.sleep(SECONDS / KILLS / 4)
        influx.start()
    check("the load ends well", child.wait(SECONDS + 60) == 0)
    report = harness.load_report(WORK, "load")["points"]
    check("nothing was refused", report["acknowledged"] == report["sent"] > 0, report)
    behind = time.monotonic()
    wait_for("InfluxDB has taken all", 60, lambda: waiting(vitals) == 0, every=0.25)
    print(f"        InfluxDB has all {time.monotonic() - behind:.1f} s after the load", flush=True)

    wanted = loaded.acknowledged(acked)
    missing, twice, other, total = loaded.compare(vitals.rest, wanted, began)
    check(f"all {total:,} acknowledged points are there once", total > 0 and not (missing or twice or other),
          f"{missing} missing, {twice} twice, {other} with another value")
    counts = counted(influx, began)
    check("and InfluxDB counts the same", counts == {number: len(times) for number, times in wanted.items()},
          f"{sum(counts.values())} of {total}")
    verdicts = vitals.rest.get("/verdicts", agent="beating-1-0", kind="health")["verdicts"]
    check("verdicts come back with their evidence", len(verdicts) == 1 and verdicts[0]["body"]["score"] == 70.0
          and verdicts[0]["evidence"]["plugin"] == "health-score", verdicts)
    stored = collections.Counter(row["_measurement"] for row in influx.query(
        f'from(bucket: "{influx.BUCKET}") |> range(start: {rfc3339(began)}, stop: 1d)\n'
        '|> filter(fn: (r) => r._measurement =~ /^vitals_/) |> keep(columns: ["_measurement", "_time", "_value", "_field"])\n'
        '|> group(columns: ["_measurement"]) |> map(fn: (r) => ({_measurement: r._measurement, _value: 1})) |> sum()'))
    check("verdicts and alerts are in measurements of their own",
          {"vitals_heartbeat", "vitals_health", "vitals_outlier", "vitals_alert"} <= set(stored), stored)

    # What the first service stored, a second one on the same data reads.
    before = vitals.rest.get("/verdicts", kind="outlier", limit=1000)["verdicts"]
    check("vitals stops cleanly", vitals.stop() == 0)
    vitals.start()
    missing, twice, other, total = loaded.compare(vitals.rest, wanted, began)
    check("after a restart too", not (missing or twice or other), f"{missing} missing, {twice} twice, {other} other")
    check("the same verdicts too", vitals.rest.get("/verdicts", kind="outlier", limit=1000)["verdicts"] == before)
    check("vitals stops cleanly again", vitals.stop() == 0)


def store_check(program, influx, *options, token=harness.Influx.TOKEN, **changes):
    """The exit code of `vitals store check`, and what it says."""
    file = WORK.path / "check.toml"
    file.write_text(influx.store(**changes))
    ran = subprocess.run(
        [str(program), "store", "check", "--config", str(file), *options], capture_output=True, text=True, timeout=60,
        check=False, env={**os.environ, **influx.environment(token)},
    )
    return ran.returncode, ran.stdout + ran.stderr


def checks():
    """`vitals store check` against a server that is as configured, and not."""
    influx = harness.Influx(WORK, PEERS / "influxd", "influxd-checked").start()
    program = harness.binary()
    code, said = store_check(program, influx)
    check("store check finds that all works", code == 0, said)
    code, said = store_check(program, influx, token="wrong")
    check("a wrong token fails and is named", code != 0 and "token" in said and influx.TOKEN not in said, said)
    code, said = store_check(program, influx, org="nobody")
    check("a wrong organisation fails and is named", code != 0 and "nobody" in said, said)
    code, said = store_check(program, influx, bucket="new")
    check("a missing bucket fails, and says how to make it", code != 0 and "--create" in said, said)
    code, said = store_check(program, influx, "--create", bucket="new")
    check("--create makes it", code == 0, said)
    rows = influx.query('buckets() |> filter(fn: (r) => r.name == "new")')
    check("with the configured retention", len(rows) == 1 and int(rows[0]["retentionPeriod"]) == 90 * 86_400 * 10**9, rows)
    influx.kill()
    code, said = store_check(program, influx)
    check("a server that is down fails and is named", code != 0 and str(influx.port) in said, said)


ACCOUNT.part(f"{KILLS} outages in {SECONDS:g} s of load", outages)
ACCOUNT.part("vitals store check", checks)
ACCOUNT.close()
