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
import loaded  # noqa: E402
from harness import nanos, wait_for  # noqa: E402

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
            "health_status": "healthy", "timestamp": moment.isoformat(timespec="milliseconds"),
            # A verdict is stored when it changes.
            "cpu_usage_percent": 85.0 if len(self.sent) % 2 else 42.0,
        })
        self.sent.append(at)


def a_kill(number, vitals, steady, beats, began):
    """One load with a kill in it, and the account after the restart."""
    acked = WORK.path / f"acked-{number}"
    harness.start_load(
        vitals.program, WORK, f"load-{number}", target=f"http://127.0.0.1:{vitals.http}", protocol="http", rate=RATE,
        duration=f"{SECONDS:g}s", series=SERIES, points=100, connections=4, acked=acked,
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
    missing, twice, other, total = loaded.compare(vitals.rest, loaded.acknowledged(acked), began)
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
    everything = collections.defaultdict(set)
    for number in range(1, KILLS + 1):
        for series, times in loaded.acknowledged(WORK.path / f"acked-{number}").items():
            everything[series] |= times
    missing, twice, other, total = loaded.compare(vitals.rest, everything, began)
    check(
        f"after all kills: {total:,} points are there once", not (missing or twice or other),
        f"{missing} missing, {twice} twice, {other} with another value",
    )
    beats.send(vitals)
    wait_for("the last heartbeat's verdict", 10, lambda: nanos(
        vitals.rest.get("/verdicts", agent="beating", kind="health", limit=1)["verdicts"][0]["time"]) == beats.sent[-1])
    judged_once(vitals.rest, beats)
    held = len(steady.sent)
    steady.send(vitals, SPIKE)
    found = wait_for("a verdict on the jump", 10, lambda: [
        verdict for verdict in vitals.rest.get("/verdicts", agent="steady", kind="outlier")["verdicts"]
        if verdict["body"]["value"] == SPIKE])
    check(f"the jump is judged once, by all {held} values before it", len(found) == 1
          and found[0]["body"]["window"] == min(held, 100), found)
    check("vitals stops cleanly", vitals.stop() == 0)


# Seals come often, so that kills meet them; not all of them hold plugin state.
CONFIG = "[evaluate]\ncheckpoint_seconds = 2\nstate_seconds = 3\n"

ACCOUNT.part(f"{KILLS} kills", kills)
ACCOUNT.close()
