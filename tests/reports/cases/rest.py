"""What REST answers, as the contract's clients read it."""

import json
import urllib.parse

from harness import PREFIX
from service import iso


def metric(name, value, unit="%", kind="cpu_usage", **more):
    return {"metric_name": name, "metric_type": kind, "value": value, "unit": unit, **more}


def system(name, *metrics, at=None):
    return {
        "system_id": name, "timestamp": at or iso(), "environment": "test", "collection_method": "push",
        "metrics": list(metrics),
    }


def batch(**items):
    return {"batch_id": "b", "batch_timestamp": iso(), "source_system": "s", **items}


def heartbeat(agent, **fields):
    info = {"agent_id": agent, "agent_version": "1", "environment": "test"}
    return {"agent_info": info, "health_status": "healthy", "timestamp": iso(), **fields}


def refusal(v, method, path, body=None):
    """The status, and the place of the first problem."""
    answer = v.rest.call(method, PREFIX + path, body)
    detail = answer.json()["detail"]
    return answer.status, detail[0]["loc"] if isinstance(detail, list) else None


def case_percentages_lie_between_0_and_100(v):
    agent = v.agent()
    v.beat(agent, request_count=10, error_count=25, memory_usage_mb=9000)
    status = v.rest.get(f"/uptime-status/{agent}", time_range_hours=8760)
    def within(percent):
        "a number of 0 to 100"
        return 0 <= percent <= 100
    for place in (status["uptime_percentage"], status["health_assessment"]["uptime_percentage"]):
        v.check("the uptime is a percentage", within, place)
    told = " ".join(v.beat(agent, request_count=10, error_count=25)["recommendations"])
    v.check("more errors than requests are 100 %", True, "100.0 % of requests fail" in told)


def case_what_is_unknown_is_never_0(v):
    name = v.agent()
    v.rest.post("/system-metrics", system(name, metric("queue", 5, unit="{message}", kind="custom")))
    status = v.rest.get(f"/uptime-status/{name}")
    v.check("nobody knows whether it was down", (0.0, None, None),
            (status["confidence_level"], status["sla_compliance"], status["sla_breach_risk"]))
    v.check("so its uptime is not 0", True, status["uptime_percentage"] != 0)
    v.check("nor its score", True, status["health_assessment"]["health_score"] != 0)


def case_the_last_check_is_the_last_one(v):
    name = v.agent()
    v.rest.post("/system-metrics", system(name, metric("cpu", 5)))
    second = iso()
    v.rest.post("/system-metrics", system(name, metric("cpu", 6), at=iso(hours=-2)))
    def later(found):
        "a time after the second request was sent"
        return found[:23] >= second[:23]
    v.check("the last arrival counts", later, v.health(name)["last_check"])


def case_thresholds_breached_and_outliers_are_names(v):
    name = v.agent()
    answer = v.rest.post("/system-metrics", system(name, metric("cpu.total", 97), metric("idle", 3)))
    v.check("the metric is named as sent", ["cpu.total"], answer["thresholds_breached"])
    v.check("the sentence is beside it", 1, len(answer["threshold_messages"]))
    alert = answer["alerts_generated"][0]
    v.check("the alert comes from the system", (name, "cpu_usage"), (alert["source"], alert["alert_type"]))
    listed = v.alerts(name)[0]
    v.check("so does the listed one", (name, "cpu_usage"), (listed["source"], listed["alert_type"]))


def case_a_resolved_alert_ends_when_it_ended(v):
    name = v.agent()
    begun, ended = iso(seconds=-40), iso(seconds=-30)
    v.rest.post("/system-metrics", system(name, metric("cpu", 97), at=begun))
    v.rest.post("/system-metrics", system(name, metric("cpu", 7), at=ended))
    alert = v.until(lambda found: found["resolved"], lambda: v.alerts(name)[0])
    v.check("it lasted from the bad value to the good one", lambda seconds: abs(seconds - 10) < 0.01, alert["duration_seconds"])
    v.check("it ended with the good one", ended[:23], alert["resolved_at"][:23])


def case_trends_lie_in_the_middle_of_their_steps(v):
    name = v.agent()
    # Each second for 40 minutes, 30 % an hour, up to 50 %.
    for first in range(2400, 0, -400):
        items = [system(name, metric("cpu", 50 - 30 * ago / 3600), at=iso(seconds=-ago)) for ago in range(first, first - 400, -1)]
        v.rest.post("/batch", batch(metrics=items))
    body = {"target_id": name, "target_type": "system", "assessment_type": "predictive"}
    trend = v.rest.post("/health-check", body)["performance_trends"]["cpu"]
    v.check("one hour to 80 %", lambda hours: abs(hours - 1) < 0.02, trend["hours_to_warning"])
    v.check("the last value itself", lambda last: abs(last - 50) < 0.02, trend["last"])


def case_spellings_of_a_unit_are_one_series(v):
    for kind, spellings, value, breach in (
        ("cpu_usage", ("%", "percent", "Percentage", "PCT"), 81, True),
        ("memory_usage", ("percentage", "pct"), 86, True),
        ("response_time", ("seconds", "s", "Sec"), 2.5, True),
        ("response_time", ("ms", "milliseconds", "MSEC"), 2.5, False),
    ):
        name = v.agent()
        for at, unit in enumerate(spellings):
            answer = v.rest.post("/system-metrics", system(name, metric("m", value, unit, kind), at=iso(seconds=at - 9)))
            v.check(f"a threshold applies to {kind} in {unit}", ["m"] if breach else [], answer["thresholds_breached"])
        v.check(f"{kind} in {', '.join(spellings)} is one series", 1, len(v.series(name)))


def case_a_batch_counts_metrics(v):
    one, two = v.agent(), v.agent()
    answer = v.rest.post("/batch", batch(
        heartbeats=[heartbeat(one), heartbeat(two, cpu_usage_percent=101)],
        metrics=[system(one, metric("a", 1), metric("b", 2)), system(two, metric("a", 1), metric("b", "2"))],
    ))
    v.check("it was processed", True, answer["success"])
    v.check("metrics are counted, not requests", (4, 2, 2),
            tuple(answer[f"{what}_metrics"] for what in ("total", "processed", "failed")))
    v.check("heartbeats too", (2, 1, 1), tuple(answer[f"{what}_heartbeats"] for what in ("total", "processed", "failed")))
    begins = sorted(line.split(":")[0] for line in answer["validation_errors"])
    v.check("errors name place and id", [f"heartbeats.1 ({two})", f"metrics.1 ({two})"], begins)
    v.check("an empty batch is refused", (422, ["body"]), refusal(v, "POST", "/batch", batch(heartbeats=[], metrics=[])))
    numbers = system(one, metric("a", "1"))
    v.check("a number in quotes is refused", (422, ["body", "metrics", 0, "value"]), refusal(v, "POST", "/system-metrics", numbers))


def case_unknown_parameters_are_refused(v):
    agent = v.agent()
    v.beat(agent)
    for path, name in (
        ("/agents?enviroment=test", "enviroment"),
        ("/plugins?x", "x"),
        (f"/uptime-status/{agent}?hours=1", "hours"),
        (f"/series?agent={agent}&agent={agent}", "agent"),
        ("/health?verbose=1", "verbose"),
    ):
        v.check(f"{path} is refused by name", (422, ["query", name]), refusal(v, "GET", path))
    v.check("also with a body", (422, ["query", "dry_run"]), refusal(v, "POST", "/heartbeat?dry_run=1", heartbeat(agent)))


def case_ranges_routes_and_bodies(v):
    agent = v.agent()
    v.beat(agent)
    for path in (f"/uptime-status/{agent}/", "/agents/", "/health/"):
        v.check(f"{path} is the same route", 200, v.rest.call("GET", PREFIX + path).status)
    v.check("a path that is none", 404, v.rest.call("GET", PREFIX + "/agents/x/y").status)
    wrong = v.rest.call("DELETE", PREFIX + "/heartbeat/")
    v.check("a wrong method", (405, "POST"), (wrong.status, wrong.headers["allow"]))
    year = {"start_time": iso(hours=-8761), "end_time": iso()}
    body = {"target_id": agent, "target_type": "agent", "time_range": year}
    v.check("more than a year is refused", (422, ["body", "time_range", "end_time"]), refusal(v, "POST", "/health-check", body))
    v.check("so is it in hours", (422, ["query", "time_range_hours"]), refusal(v, "GET", f"/uptime-status/{agent}?time_range_hours=8761"))


def case_the_examples_run_as_they_stand(v):
    empty = v.another("empty")
    # An object of Python keeps the order of the text.
    document = json.loads(empty.rest.call("GET", "/openapi.json").body)
    operations = [(path, method, one) for path, methods in document["paths"].items() for method, one in methods.items()]
    # What is deleted cannot be asked for afterwards.
    for path, method, operation in sorted(operations, key=lambda one: one[1] == "delete"):
        query = {}
        for one in operation.get("parameters", []):
            if "example" in one and one["in"] == "path":
                path = path.replace("{%s}" % one["name"], str(one["example"]))
            elif "example" in one:
                query[one["name"]] = one["example"]
        content = operation.get("requestBody", {}).get("content", {})
        body = content.get("application/json", {}).get("example")
        target = path + ("?" + urllib.parse.urlencode(query) if query else "")
        answer = empty.rest.call(method.upper(), target, body)
        # A WebSocket is asked for by a header, and the sessions of the page need a secret that no example holds.
        if path.endswith("/ws") or path.startswith("/session"):
            right = lambda status: status < 500 and str(status) in operation["responses"]
        else:
            right = lambda status: 200 <= status < 300
        v.check(f"{method.upper()} {target}", right, answer.status)
