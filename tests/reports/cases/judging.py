"""What is judged, and that every answer says the same of it."""

from service import SECOND, attributes, gauge, iso, now, point, request

CPU = "system.cpu.utilization"


def standing(v, agent):
    """The status and score of an agent by each route that says them."""
    entry, health = v.listed(agent), v.health(agent)
    uptime = v.rest.get(f"/uptime-status/{agent}")["health_assessment"]
    board = v.rest.post("/dashboard", {
        "query_id": "q", "query_type": "t", "aggregation_window": "1m", "agent_ids": [agent],
        "time_range": {"start_time": iso(hours=-1), "end_time": iso(minutes=1)},
    })["agent_summary"]
    shown = (next(iter(board["by_health"])), board["average_health_score"])
    return {
        (entry["health"], entry["health_score"]), (health["overall_health"], health["health_score"]),
        (uptime["overall_health"], uptime["health_score"]), shown,
    }


def found(v, agent, source):
    """The alerts of an agent on something, as they are now."""
    of = lambda alert: source in (alert["source"], alert.get("alert_type")) or source in alert["message"]  # noqa: E731
    return [alert for alert in v.alerts(agent) if of(alert)]


def case_each_value_of_a_request_is_judged(v):
    agent, at = v.agent(), now() - 10 * SECOND
    v.metrics(agent, gauge(CPU, point(at, 0.97), point(at + SECOND, 0.5)))
    for what in ("cpu_usage", "health"):
        got = v.until(lambda alerts: len(alerts) == 1, lambda: found(v, agent, what))
        v.check(f"97 % and then 50 % in one request raise one alert on {what}", 1, len(got))
        v.check("it is over", [True], [alert["resolved"] for alert in got])


def case_a_critical_heartbeat_raises_a_health_alert(v):
    agent = v.agent()
    v.beat(agent, cpu_usage_percent=99.0)
    v.check("one alert on health", 1, len(found(v, agent, "health is critical")))
    v.beat(agent, cpu_usage_percent=10.0)
    v.check("it is over", [True], [alert["resolved"] for alert in found(v, agent, "health is critical")])


def case_what_an_agent_says_of_itself_is_kept_and_never_healthy(v):
    for status in ("critical", "offline"):
        agent = v.agent()
        answer = v.beat(agent, status=status, cpu_usage_percent=5.0)
        v.check(f"the answer to {status} is degraded", "degraded", answer["calculated_health"])
        v.check("with less than 100 points", lambda score: score < 100, answer["health_score"])
        v.check("the list keeps it", status, v.listed(agent)["reported_status"])
        v.check("the assessment shows it", status, v.health(agent)["reported_status"])
        v.check("all say the same", 1, len(standing(v, agent)))
        verdicts = v.rest.get("/verdicts", agent=agent, kind="health")["verdicts"]
        v.check("the reason says so", lambda text: f"reports {status}" in text, str(verdicts[0]["body"]["reasons"]))


def case_all_answers_agree(v):
    agent = v.agent()
    for status, cpu in (("healthy", 5.0), ("critical", 99.0), ("maintenance", 99.0), ("unknown", 85.0), ("offline", 5.0)):
        answer = v.beat(agent, status=status, cpu_usage_percent=cpu)
        said = {(answer["calculated_health"], answer["health_score"])}
        v.check(f"after a heartbeat that reports {status} with {cpu} %", said, standing(v, agent))
    # A host of which nothing is known but that it lives.
    agent = v.agent()
    v.metrics(agent, gauge("queue.length", point(now(), 1.0)))
    # Listed as soon as its request is answered; how it is, is known once that is evaluated.
    v.until(lambda entry: entry is not None and entry["liveness"] is not None, lambda: v.listed(agent))
    v.check("nothing measured, nothing contradicted", 1, len(standing(v, agent)))


def case_an_alert_names_the_disk(v):
    agent, at = v.agent(), now()
    disk = lambda device, mountpoint: attributes(device=device, mountpoint=mountpoint, state="used")  # noqa: E731
    metric = gauge(
        "system.filesystem.utilization",
        point(at, 0.2, disk("/dev/sda1", "/")), point(at, 0.97, disk("/dev/sdb1", "/var")), unit="1",
    )
    v.take(request(attributes(host__name=agent), ({"name": "s"}, [metric])))
    got = v.until(lambda alerts: len(alerts) == 1, lambda: found(v, agent, "disk_usage"))
    v.check("the message names the disk", lambda text: "(/dev/sdb1 on /var)" in text, got[0]["message"] if got else "")
    v.check("so does the alert", "/var", got[0]["attributes"]["mountpoint"] if got else None)


def case_a_system_is_judged_by_the_operators_plugins(v):
    own = v.another("judging-own", """
[[plugins]]
name = "health-score"
config = { cpu_degraded = { over = 30.0, minus = 40.0 } }
""")
    none = v.another("judging-none", """
[[plugins]]
name = "health-score"
disabled = true
""")
    for service, expected in ((v, ("healthy", 100.0)), (own, ("degraded", 60.0)), (none, ("unknown", None))):
        system = v.agent()
        service.rest.post("/system-metrics", {
            "system_id": system, "timestamp": iso(), "environment": "test", "collection_method": "push",
            "metrics": [{"metric_name": "cpu", "metric_type": "cpu_usage", "value": 50.0, "unit": "percent"}],
        })
        entry = service.listed(system)
        v.check("the list", expected, (entry["health"], entry["health_score"]))
        v.check("the assessment", expected[0], service.health(system)["overall_health"])
