"""A steady load, and a client of the REST API that measures how long it waits meanwhile.

usage: check.py [VITALS]                   started by run.sh
"""

import datetime
import os
import pathlib
import statistics
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import harness  # noqa: E402
from harness import PREFIX, Rest, rfc3339, wait_for  # noqa: E402

SECONDS = int(os.environ.get("SECONDS_OF_LOAD", "60"))
RATE = int(os.environ.get("POINTS_A_SECOND", "100000"))
SERIES = int(os.environ.get("SERIES", "10000"))
P99_LIMIT_MS = 100.0
PROBE_EVERY = 0.02

WORK = harness.Work("load")
ACCOUNT = harness.Account(WORK)
check = ACCOUNT.check


class Prober(threading.Thread):
    """Asks one route after the other until told to stop."""

    def __init__(self, port, token, agent, series):
        super().__init__(daemon=True)
        self.rest, self.agent, self.series = Rest(port, token), agent, series
        self.stopping = threading.Event()
        self.waits, self.wrong = {}, []

    def routes(self):
        """What a dashboard and an agent ask: (name, method, path, body)."""
        now = time.time_ns()
        window = f"start={rfc3339(now - 60_000_000_000)}&end={rfc3339(now)}"
        moment = datetime.datetime.now(datetime.timezone.utc).isoformat()
        return [
            ("agents", "GET", "/agents", None),
            ("series", "GET", f"/series?agent={self.agent}", None),
            ("samples", "GET", f"/series/{self.series}/samples?{window}", None),
            ("samples by step", "GET", f"/series/{self.series}/samples?{window}&step=10&aggregation=p95", None),
            ("verdicts", "GET", f"/verdicts?agent={self.agent}", None),
            ("alerts", "GET", "/alerts", None),
            ("uptime", "GET", f"/uptime-status/{self.agent}", None),
            ("health-check", "POST", "/health-check", {"target_id": self.agent, "target_type": "agent"}),
            ("heartbeat", "POST", "/heartbeat", {
                "agent_info": {"agent_id": "prober", "agent_version": "1", "environment": "test"},
                "health_status": "healthy", "timestamp": moment, "cpu_usage_percent": 12.5,
            }),
        ]

    def run(self):
        while not self.stopping.is_set():
            for name, method, path, body in self.routes():
                began = time.perf_counter()
                try:
                    status = self.rest.call(method, PREFIX + path, body).status
                except OSError as error:
                    status = str(error)
                self.waits.setdefault(name, []).append((time.perf_counter() - began) * 1000)
                if status not in (200, 201):
                    self.wrong.append((name, status))
                self.stopping.wait(PROBE_EVERY)

    def stop(self):
        self.stopping.set()
        self.join(30)


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def all_series(rest):
    """Every received series' id, agent by agent."""
    found = []
    for agent in rest.get("/agents")["agents"]:
        answer = rest.get("/series", agent=agent["agent_id"])
        found += [(agent["agent_id"], series["series_id"]) for series in answer["series"] if series["origin"] == "otlp"]
    return found


def stored(rest, ids, start, end):
    """How many samples there are of these series."""
    total = 0
    window = {"start": rfc3339(start), "end": rfc3339(end), "step": (end - start) // 1_000_000_000, "aggregation": "count"}
    for _, series in ids:
        total += sum(int(sample["value"]) for sample in rest.get(f"/series/{series}/samples", **window)["samples"])
    return total


def steady_load():
    began = time.time_ns() - 3600 * 1_000_000_000
    vitals = harness.Vitals(WORK, harness.binary()).start()
    options = {
        "target": f"http://127.0.0.1:{vitals.http}", "protocol": "http", "rate": RATE, "duration": f"{SECONDS}s",
        "series": SERIES, "points": 1000, "connections": 4,
    }
    child = harness.start_load(vitals.program, WORK, "load", **options)
    ids = wait_for("the first series", 20, lambda: all_series(vitals.rest))
    prober = Prober(vitals.rest_port, vitals.rest.token, *ids[0])
    prober.start()
    child.wait(SECONDS + 60)
    prober.stop()
    report = harness.load_report(WORK, "load")
    points, latency = report["points"], report["latency_ms"]
    print(f"        an answer to the load took {latency['p50']:.1f} ms (median), {latency['p99']:.1f} ms (p99)")

    check("none was refused", points["refused"] == points["rejected"] == points["unanswered"] == 0, report)
    check("all that was sent was acknowledged", points["acknowledged"] == points["sent"], points)
    check("the rate was held", points["sent"] >= 0.99 * RATE * SECONDS, points)
    ids = all_series(vitals.rest)
    check(f"{SERIES:,} series are there", len(ids) == SERIES, len(ids))
    end = time.time_ns() + 3600 * 1_000_000_000
    count = stored(vitals.rest, ids, began, end)
    check(f"every one of {points['acknowledged']:,} points is stored once", count == points["acknowledged"], f"{count:,}")
    waits = [wait for each in prober.waits.values() for wait in each]
    for name, each in prober.waits.items():
        middle, slow = statistics.median(each), percentile(each, 0.99)
        print(f"        {name}: {len(each)} answers, median {middle:.1f} ms, p99 {slow:.1f} ms")
    p99 = percentile(waits, 0.99)
    check(f"REST p99 of {len(waits)} answers is under {P99_LIMIT_MS:.0f} ms: {p99:.1f} ms", p99 < P99_LIMIT_MS)
    check("and every answer was a success", not prober.wrong, prober.wrong[:3])
    check("vitals stops cleanly", vitals.stop() == 0)


ACCOUNT.part(f"{SERIES:,} series at {RATE:,} points/s for {SECONDS} s", steady_load)
ACCOUNT.close()
