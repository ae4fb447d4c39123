"""How the points of a stream follow one another: resets, order, late increments, moving buckets, clocks that are ahead."""

import json

from service import SECOND, attributes, gauge, iso, now, point, request, total


def cpu(v, agent, at, states, start):
    points = [point(at, value, attributes(cpu="cpu0", state=state), start) for state, value in states.items()]
    v.metrics(agent, total("system.cpu.time", *points, unit="s"))


def health(v, agent, expected):
    return v.until(expected, lambda: v.health(agent))


def rates(v, agent, metric):
    return [values for (name, *_), values in v.values(agent, origin="derived").items() if name == metric]


def last_of(v, agent):
    """The last count, and the last number of values up to each bound."""
    found = {}
    for one in v.series(agent):
        if one["origin"] == "otlp" and one["part"].startswith(("count", "le")):
            found[one["part"]] = (v.samples(one["series_id"]) or [None])[-1]
    return found


def case_a_counter_that_falls_with_the_same_start_was_not_reset(v):
    agent, at = v.agent(), now()
    start = at - 10**6 * SECOND
    cpu(v, agent, at - 20 * SECOND, {"user": 1000, "system": 300, "idle": 9000, "wait": 806.73}, start)
    cpu(v, agent, at - 10 * SECOND, {"user": 1000.8, "system": 300.2, "idle": 9009, "wait": 806.72}, start)
    got = health(v, agent, lambda found: found and found["overall_health"] == "healthy")
    v.check("iowait fell by 10 ms, the CPU is 10 % busy", "healthy", got["overall_health"])
    def sound(values):
        "at most 1 s/s, one of each state"
        return len(values) == 4 and all(0 <= value <= 1 for value in values)
    got = v.until(sound, lambda: [value for values in rates(v, agent, "system.cpu.time.rate") for value in values])
    v.check("rates", sound, got)


def case_a_start_that_jitters_is_the_same_start(v):
    """A boot time that is computed from the uptime moves a little with each scrape."""
    for moved in (3 * 10**6, -SECOND, 3600 * SECOND):
        agent, at = v.agent(), now()
        start = at - 10**6 * SECOND
        cpu(v, agent, at - 20 * SECOND, {"user": 1000, "idle": 9000, "wait": 806.73}, start)
        cpu(v, agent, at - 10 * SECOND, {"user": 1001, "idle": 9009, "wait": 806.72}, start + moved)
        got = health(v, agent, lambda found: found and found["overall_health"] == "healthy")
        v.check(f"the start moved by {moved / SECOND} s, the CPU is 10 % busy", "healthy", got["overall_health"])


def case_idle_time_that_falls_after_a_suspend_is_no_idle_time(v):
    agent, at = v.agent(), now()
    start = at - 10**6 * SECOND
    cpu(v, agent, at - 20 * SECOND, {"user": 14667, "system": 7086, "idle": 62218}, start)
    cpu(v, agent, at - 10 * SECOND, {"user": 14676.5, "system": 7086.5, "idle": 58733}, start)
    def busy(found):
        "not healthy"
        return found is not None and found["overall_health"] != "healthy"
    v.check("all cores are busy", busy, health(v, agent, busy))


def case_a_restart_is_seen_by_its_start(v):
    agent, at = v.agent(), now()
    for ago, value, age in ((30, 100, 1000), (20, 110, 1000), (10, 120, 19)):
        v.metrics(agent, total("c", point(at - ago * SECOND, value, start=at - age * SECOND)))
    v.check("rates", [[1.0, 12.0]], v.until([[1.0, 12.0]], lambda: rates(v, agent, "c.rate")))
    v.check("stored as sent", [[100, 110, 120]], list(v.values(agent, "c").values()))


def case_a_boot_time_that_moves_is_no_restart(v):
    agent, at = v.agent(), now()
    boot = at - 10_000 * SECOND
    for ago, value, moved in ((40, 100, 0), (30, 110, 1), (20, 120, -1), (10, 130, 3_600)):
        v.metrics(agent, total("c", point(at - ago * SECOND, value, start=boot + moved * SECOND)))
    v.check("rates", [[1.0, 1.0, 1.0]], v.until([[1.0, 1.0, 1.0]], lambda: rates(v, agent, "c.rate")))


def case_without_a_start_a_fall_is_a_reset(v):
    agent, at = v.agent(), now()
    for ago, value in ((30, 100), (20, 110), (10, 20)):
        v.metrics(agent, total("c", point(at - ago * SECOND, value)))
    v.check("rates", [[1.0, 2.0]], v.until([[1.0, 2.0]], lambda: rates(v, agent, "c.rate")))


def case_delta_points_of_a_request_count_newest_first(v):
    agent, at = v.agent(), now()
    points = [point(at - n * 60 * SECOND, 1, start=at - (n + 1) * 60 * SECOND) for n in range(5)]
    for _ in range(2):
        v.metrics(agent, total("d", *points, temporality=1))
    v.check("running total", [[1, 2, 3, 4, 5]], v.until([[1, 2, 3, 4, 5]], lambda: list(v.values(agent, "d").values())))


def case_late_increments_count_once(v):
    agent, at = v.agent(), now() - 100 * SECOND
    def send(start, end, value):
        v.metrics(agent, total("d", point(at + end * SECOND, value, start=at + start * SECOND), temporality=1))
    send(0, 10, 1)
    send(20, 30, 100)
    send(10, 20, 10)
    send(10, 20, 10)
    send(0, 10, 1)
    send(30, 40, 1000)
    v.check("running total", [[1, 101, 1111]], v.until([[1, 101, 1111]], lambda: list(v.values(agent, "d").values())))


def case_buckets_of_a_delta_histogram_that_move_stay_a_distribution(v):
    agent, at = v.agent(), now() - 100 * SECOND
    def send(start, end, bounds, counts):
        v.metrics(agent, {"name": "h", "histogram": {"aggregationTemporality": 1, "dataPoints": [{
            "timeUnixNano": str(at + end * SECOND), "startTimeUnixNano": str(at + start * SECOND),
            "count": str(sum(counts)), "explicitBounds": bounds, "bucketCounts": [str(n) for n in counts],
        }]}})
    send(0, 10, [1, 4], [5, 3, 2])
    send(10, 20, [2, 4], [1, 1, 0])
    expected = {"count": 12, "le=1": 5, "le=2": 6, "le=4": 10}
    v.check("values up to each bound", expected, v.until(expected, lambda: last_of(v, agent)))


def case_buckets_of_a_delta_exponential_histogram_stay_a_distribution(v):
    agent, at = v.agent(), now() - 100 * SECOND
    for n, (offset, counts) in enumerate([(0, [10, 10]), (3, [5]), (-2, [1])]):
        v.metrics(agent, {"name": "e", "exponentialHistogram": {"aggregationTemporality": 1, "dataPoints": [{
            "timeUnixNano": str(at + (n + 1) * 10 * SECOND), "startTimeUnixNano": str(at + n * 10 * SECOND),
            "count": str(sum(counts)), "scale": 0, "positive": {"offset": offset, "bucketCounts": [str(c) for c in counts]},
        }]}})
    expected = {"count": 26, "le=0.5": 1, "le=2": 11, "le=4": 21, "le=16": 26}
    v.check("values up to each bound", expected, v.until(expected, lambda: last_of(v, agent)))


def case_a_point_far_ahead_freezes_nothing(v):
    agent = v.agent()
    v.metrics(agent, gauge("system.cpu.utilization", point(now() + 23 * 3600 * SECOND, .99), unit="1"))
    def judged(found):
        "CPU healthy, memory critical"
        return found is not None and (found["components"].get("cpu"), found["components"].get("memory")) == ("healthy", "critical")
    def send():
        v.metrics(
            agent,
            gauge("system.cpu.utilization", point(now(), .05), unit="1"),
            gauge("system.memory.utilization", point(now(), .99, attributes(state="used")), unit="1"),
        )
        return v.health(agent)
    v.check("judged", judged, v.until(judged, send))
    def stored(values):
        "99 is the last of them"
        return values[-1] == 99.0
    v.check("stored under its own time", stored, v.values(agent, "system.cpu.utilization").popitem()[1])


def case_an_increment_far_ahead_is_not_lost(v):
    agent, at = v.agent(), now()
    day = 23 * 3600 * SECOND
    def send(start, value):
        v.metrics(agent, total("d", point(start + SECOND, value, start=start), temporality=1))
    for start, value in ((at - 9 * SECOND, 1), (at + day, 10), (at + day, 10), (at - 8 * SECOND, 100)):
        send(start, value)
    v.check("running total", [[1, 111, 11]], v.until([[1, 111, 11]], lambda: list(v.values(agent, "d").values())))


def case_a_rest_metric_far_ahead_opens_an_alert_that_the_next_one_ends(v):
    agent = v.agent()
    def send(at, value):
        v.rest.post("/system-metrics", {
            "system_id": agent, "environment": "test", "collection_method": "push", "timestamp": at,
            "metrics": [{"metric_type": "cpu_usage", "metric_name": "cpu", "value": value, "unit": "percent"}],
        })
    send(iso(hours=23), 99.0)
    for n in range(3):
        send(iso(seconds=n), 5.0)
    v.check("alerts", ["resolved"], v.until(["resolved"], lambda: [one["state"] for one in v.alerts(agent)]))


def case_two_values_of_one_time_are_counted(v):
    agent, at = v.agent(), now()
    v.take(json.dumps(request(attributes(host__name=agent), ({"name": "s"}, [gauge("q", point(at, 1.0), point(at, 2.0))]))))
    v.check("the first stays", [[1.0]], v.until([[1.0]], lambda: list(v.values(agent, "q").values())))
