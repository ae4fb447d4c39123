"""Clocks that are wrong, heartbeats that come again or late, and maintenance after the fact."""

import time
from datetime import datetime, timezone

from service import attributes, gauge, iso, now, point, request, SECOND

RETRY = {"agent_version": "1", "environment": "test"}


def uptime(v, agent):
    return v.rest.get(f"/uptime-status/{agent}")


def ages(times):
    """How many seconds ago each of these is."""
    return [(datetime.now(timezone.utc) - datetime.fromisoformat(one)).total_seconds() for one in times]


def item(agent, at, cpu):
    """A heartbeat of a batch."""
    return {
        "agent_info": {"agent_id": agent, **RETRY}, "health_status": "healthy", "timestamp": at, "cpu_usage_percent": cpu,
    }


def case_one_heartbeat_ahead_of_time_holds_nothing_up(v):
    agent = v.agent()
    v.beat(agent, iso(minutes=9), cpu_usage_percent=99.0)
    for _ in range(4):
        last = v.beat(agent, iso(), cpu_usage_percent=5.0)
        time.sleep(0.2)
    said = (last["calculated_health"], last["health_score"])
    def healthy():
        one = v.listed(agent)
        return one["health"], one["health_score"]
    v.check("answer and list agree", said, v.until(said, healthy))
    v.check("the assessment too", said[0], v.health(agent)["overall_health"])
    v.check("the alert of CPU 99 % is over", ["resolved"] * len(v.alerts(agent)), [one["state"] for one in v.alerts(agent)])
    v.check("no alert began in the future", True, all(age > -1 for age in ages(one["timestamp"] for one in v.alerts(agent))))


def case_a_clock_set_back_makes_no_outage(v):
    for interval, pace in (({"heartbeat_interval_ms": 1000}, 1), ({}, 0.3)):
        agent = v.agent()
        begun = time.time()
        for n in range(8):
            v.beat(agent, iso(seconds=0 if n < 4 else -300), cpu_usage_percent=float(n), **interval)
            time.sleep(pace)
        found = uptime(v, agent)
        v.check("uptime and outages", (100.0, []), (found["uptime_percentage"], found["downtime_periods"]))
        oldest = ages([found["uptime_sessions"][0]["start"]])[0]
        v.check("nothing is known of before the first heartbeat", True, oldest < time.time() - begun + 5)
        v.check("last evidence is its arrival", True, ages([v.listed(agent)["last_evidence"]])[0] < 5)


def case_skew_is_measured_and_shown(v):
    slow, right, exporter = v.agent(), v.agent(), v.agent()
    for _ in range(3):
        v.beat(slow, iso(seconds=-300))
        v.beat(right, iso())
        v.take(request(attributes(host__name=exporter), ({"name": "s"}, [gauge("g", point(now() + 90 * SECOND, 1.0))])))
    of = lambda agent: v.listed(agent)["clock_skew_ms"]
    near = lambda expect: lambda got: got is not None and abs(got - expect) < 2_000
    v.check("a clock that is slow", near(-300_000), v.until(near(-300_000), lambda: of(slow)))
    v.check("a right one", near(0), of(right))
    v.check("an exporter's that is ahead", near(90_000), v.until(near(90_000), lambda: of(exporter)))
    answer = v.rest.post("/health-check", {"target_id": slow, "target_type": "agent"})
    v.check("the assessment says it", near(-300_000), answer["clock_skew_ms"])
    def off():
        text = v.rest.call("GET", "/metrics").body.decode()
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("vitals_agents_clock_off"))
    v.check("counted", lambda got: got >= 2, v.until(lambda got: got >= 2, off))


def case_a_retry_and_a_late_heartbeat_change_nothing(v):
    agent = v.agent()
    old = iso(seconds=-100)
    v.beat(agent, old, cpu_usage_percent=99.0)
    v.beat(agent, iso(), cpu_usage_percent=5.0)
    alerts = v.alerts(agent)
    for at in (old, iso(seconds=-50), iso(seconds=-200)):
        v.beat(agent, at, cpu_usage_percent=99.0)
    time.sleep(0.3)
    v.check("the newest stays", ("healthy", 100), (v.listed(agent)["health"], v.listed(agent)["health_score"]))
    v.check("no new alert", alerts, v.alerts(agent))


def case_buffered_heartbeats_are_history(v):
    agent = v.agent()
    beats = [item(agent, iso(seconds=-30 * n), 5.0) for n in range(8, -1, -1)]
    answer = v.rest.post("/batch", {"batch_id": "b", "source_system": "test", "batch_timestamp": iso(), "heartbeats": beats, "metrics": []})
    v.check("all are taken", 9, answer["processed_heartbeats"])
    def sessions():
        found = uptime(v, agent)
        return [round(age, -1) for age in ages(one["start"] for one in found["uptime_sessions"])], found["downtime_periods"]
    v.check("up since the oldest of them", ([240.0], []), v.until(([240.0], []), sessions))


def case_maintenance_in_the_past_changes_the_past(v):
    agent = v.agent()
    start = iso(seconds=-5)
    v.beat(agent, iso(), heartbeat_interval_ms=1000)
    v.until(lambda found: found, lambda: [one for one in v.alerts(agent) if one["state"] == "open"], 15)
    v.beat(agent, iso(), heartbeat_interval_ms=60_000)
    down = lambda: [one["state"] for one in uptime(v, agent)["downtime_periods"]]
    v.check("there was an outage", ["silent"], v.until(["silent"], down))
    v.rest.post("/maintenance", {"agent_id": agent, "start_time": start, "end_time": iso()})
    v.check("it was maintenance", ["maintenance"], v.until(["maintenance"], down))
    def figures():
        found = uptime(v, agent)
        return found["uptime_percentage"], found["mttr_minutes"]
    v.check("availability without it", (100.0, None), v.until((100.0, None), figures))
    v.check("no alert is open", [], [one for one in v.alerts(agent) if one["state"] == "open"])
    old = {"agent_id": agent, "start_time": iso(days=-31), "end_time": iso(days=-30, hours=-1)}
    answer = v.rest.call("POST", "/api/v1/telemetry/maintenance", old)
    v.check("what is too old is refused with the limit", (422, True), (answer.status, "30 days" in answer.body.decode()))
