"""`kill -9` in the middle of a load, again and again, and an account of what is left.

usage: check.py [VITALS]                   started by run.sh

Every kill is followed by a restart on the same data, and then: each point that was acknowledged before the kill is
stored, once; each heartbeat has its one verdict; a series that gets a few values before each kill is judged with a window
that holds all of them, so a detector's state neither forgets nor counts twice.
"""

import collections
import datetime
import json
import os
import pathlib
import random
import sys
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import harness  # noqa: E402
from harness import nanos, rfc3339, wait_for  # noqa: E402

KILLS = int(os.environ.get("KILLS", "10"))
SECONDS = float(os.environ.get("SECONDS_OF_LOAD", "4"))
RATE = int(os.environ.get("POINTS_A_SECOND", "20000"))
SERIES = int(os.environ.get("SERIES", "500"))
STEADY_A_ROUND, SPIKE = 4, 1000.0

WORK = harness.Work("crash")
ACCOUNT = harness.Account(WORK)
check = ACCOUNT.check


class Steady:
    """A gauge that gets a few values before each kill, over OTLP/HTTP with JSON."""

    def __init__(self):
        self.sent = {}

    def send(self, vitals, value):
        at = time.time_ns()
        body = {"resourceMetrics": [{
            "resource": {"attributes": [{"key": "service.instance.id", "value": {"stringValue": "steady"}}]},
            "scopeMetrics": [{"scope": {"name": "crash"}, "metrics": [{
                "name": "steady", "gauge": {"dataPoints": [{"timeUnixNano": str(at), "asDouble": value}]}}]}],
        }]}
        request = urllib.request.Request(
            f"http://127.0.0.1:{vitals.http}/v1/metrics", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            if answer.status == 200:
                self.sent[at] = value


class Heartbeats:
    """An agent that beats over REST."""

    def __init__(self):
        self.sent = []

    def send(self, vitals):
        at = time.time_ns() // 1_000_000 * 1_000_000
        moment = datetime.datetime.fromtimestamp(at / 1e9, datetime.timezone.utc)
        vitals.rest.post("/heartbeat", {
            "agent_info": {"agent_id": "beating", "agent_version": "1", "environment": "test"},
            "health_status": "healthy", "timestamp": moment.isoformat(timespec="milliseconds"), "cpu_usage_percent": 42.0,
        })
        self.sent.append(at)


def acknowledged(file):
    """What the load program saw acknowledged: (agent, metric, attributes) -> {nanoseconds: value}."""
    found = collections.defaultdict(dict)
    for line in file.read_text().splitlines():
        try:
            point = json.loads(line)
        except json.JSONDecodeError:
            continue
        key = (point["agent"], point["metric"], tuple(sorted(point["attributes"].items())))
        found[key][point["time"]] = point["value"]
    return found


def compare(rest, wanted, began):
    """Points missing, points twice, points with another value, points in all."""
    missing = twice = other = total = 0
    window = {"start": rfc3339(began), "end": rfc3339(time.time_ns() + 3600 * 1_000_000_000), "limit": 1_000_000}
    ids = {}
    for agent in {agent for agent, *_ in wanted}:
        for series in rest.get("/series", agent=agent, limit=100_000)["series"]:
            ids[agent, series["metric"], tuple(sorted(series["attributes"].items()))] = series["id"]
    for key, points in wanted.items():
        total += len(points)
        if key not in ids:
            missing += len(points)
            continue
        counts, values = collections.Counter(), {}
        for sample in rest.get(f"/series/{ids[key]}/samples", **window)["samples"]:
            counts[nanos(sample["time"])] += 1
            values[nanos(sample["time"])] = sample["value"]
        twice += sum(1 for count in counts.values() if count > 1)
        for at, value in points.items():
            missing += at not in values
            other += at in values and values[at] != value
    return missing, twice, other, total


def a_kill(number, vitals, steady, beats, began):
    """One load with a kill in it, and the account after the restart."""
    acked = WORK.path / f"acked-{number}.jsonl"
    harness.start_load(
        vitals.program, WORK, f"load-{number}", target=f"http://127.0.0.1:{vitals.http}", protocol="http", rate=RATE,
        duration=f"{SECONDS:g}s", series=SERIES, batch=200, connections=4, acked=acked,
    )
    load = WORK.children[-1]
    # Somewhere in the load, so that commits, seals and cuts are all met some time.
    when = time.monotonic() + random.uniform(0.3, 0.9) * SECONDS
    for _ in range(STEADY_A_ROUND):
        steady.send(vitals, 10.0 + len(steady.sent) % 3)
    beats.send(vitals)
    time.sleep(max(0.0, when - time.monotonic()))
    vitals.kill()
    harness.end(load, 10)
    began_start = time.monotonic()
    vitals.start()
    print(f"        ready again after {time.monotonic() - began_start:.1f} s", flush=True)
    missing, twice, other, total = compare(vitals.rest, acknowledged(acked), began)
    check(
        f"kill {number}: all {total:,} acknowledged points are there once", total > 0 and not (missing or twice or other),
        f"{missing} missing, {twice} twice, {other} with another value",
    )


def judged_once(rest, beats):
    """Each heartbeat's health verdict, once."""
    answer = rest.get("/verdicts", agent="beating", kind="health", limit=10_000)["verdicts"]
    counts = collections.Counter(nanos(verdict["time"]) for verdict in answer)
    lost = [at for at in beats.sent if not counts[at]]
    twice = [at for at in beats.sent if counts[at] > 1]
    check(f"{len(beats.sent)} heartbeats have one verdict each", not lost and not twice, f"{len(lost)} none, {len(twice)} twice")


def kills():
    began = time.time_ns() - 3600 * 1_000_000_000
    vitals = harness.Vitals(WORK, harness.binary(), config=CONFIG).start()
    steady, beats = Steady(), Heartbeats()
    for number in range(1, KILLS + 1):
        a_kill(number, vitals, steady, beats, began)
    everything = collections.defaultdict(dict)
    for number in range(1, KILLS + 1):
        for key, points in acknowledged(WORK.path / f"acked-{number}.jsonl").items():
            everything[key].update(points)
    missing, twice, other, total = compare(vitals.rest, everything, began)
    check(f"after all kills: {total:,} points", not (missing or twice or other), f"{missing} missing, {twice} twice, {other} other")
    beats.send(vitals)
    wait_for("the last heartbeat's verdict", 10, lambda: nanos(
        vitals.rest.get("/verdicts", agent="beating", kind="health", limit=1)["verdicts"][0]["time"]) == beats.sent[-1])
    judged_once(vitals.rest, beats)
    held = len(steady.sent)
    steady.send(vitals, SPIKE)
    found = wait_for("a verdict on the jump", 10, lambda: [
        verdict for verdict in vitals.rest.get("/verdicts", agent="steady", kind="outlier")["verdicts"]
        if verdict["outlier"]["value"] == SPIKE])
    check(f"the jump is judged once, by all {held} values before it", len(found) == 1
          and found[0]["outlier"]["window"] == min(held, 100), found)
    check("vitals stops cleanly", vitals.stop() == 0)


# Seals come often, so that kills meet them.
CONFIG = "[evaluate]\ncheckpoint_seconds = 2\n"

ACCOUNT.part(f"{KILLS} kills", kills)
ACCOUNT.close()
