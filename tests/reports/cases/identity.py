"""What a stream is, as the OpenTelemetry metrics data model has it; which agent a resource is; what a bad string costs."""

import json
import urllib.parse
import uuid

from service import SECOND, attributes, gauge, iso, now, point, request, total


def told_apart(v, agent, what, expected, first, second):
    """Both values are stored, each in a series of its own, and each has what was sent second when it is sent again."""
    for body in (first, second):
        v.take(body)
    v.check(what, expected, v.until(expected, lambda: sorted(sum(map(v.samples, (s["series_id"] for s in otlp(v, agent))), []))))


def otlp(v, agent):
    return [one for one in v.series(agent) if one["origin"] == "otlp"]


def case_one_stream_has_one_series(v):
    agent, at = v.agent(), now()
    scope = {"name": "lib", "version": "1.0"}
    for offset, value in ((0, 1.0), (1, 2.0)):
        v.take(request(attributes(host__name=agent), (scope, [gauge("q", point(at + offset, value))])))
    got = v.until([[1.0, 2.0]], lambda: list(v.values(agent).values()))
    v.check("two points of one stream are one series", [[1.0, 2.0]], got)


def case_scopes_tell_streams_apart(v):
    for what, one, other in (
        ("version", {"version": "1.0"}, {"version": "2.0"}),
        ("attributes", {"attributes": attributes(shard="a")}, {"attributes": attributes(shard="b")}),
        ("the type of an attribute", {"attributes": attributes(shard=1)}, {"attributes": attributes(shard="1")}),
    ):
        agent, at = v.agent(), now()
        bodies = [
            request(attributes(host__name=agent), ({"name": "lib", **scope}, [gauge("q", point(at, value))]))
            for scope, value in ((one, 1.0), (other, 100.0))
        ]
        told_apart(v, agent, f"a scope's {what} tells streams apart", [1.0, 100.0], *bodies)
        shown = {json.dumps([s["scope_version"], s["scope_attributes"], s["types"]], sort_keys=True) for s in otlp(v, agent)}
        v.check(f"a reader sees a scope's {what}", 2, len(shown))


def case_totals_of_two_scopes_both_count(v):
    agent = v.agent()
    for _ in range(3):
        at = now()
        scopes = [
            ({"name": "lib", "attributes": attributes(shard=shard)}, [total("d", point(at, value), temporality=1)])
            for shard, value in (("a", 1), ("b", 100))
        ]
        v.take(request(attributes(host__name=agent), *scopes))
    last = lambda: sum(v.samples(s["series_id"])[-1] for s in otlp(v, agent) if v.samples(s["series_id"]))
    v.check("increments of both scopes are added up", 303.0, v.until(303.0, last))


def case_types_of_attributes_tell_streams_apart(v):
    values = [1, "1", 1.5, "1.5", True, "true", {"arrayValue": {"values": [{"intValue": "1"}]}}, "[1]"]
    agent, at = v.agent(), now()
    for number, value in enumerate(values):
        v.take(request(attributes(host__name=agent), ({"name": "s"}, [gauge("q", point(at, float(number), attributes(k=value)))])))
    expected = [float(number) for number in range(len(values))]
    got = v.until(expected, lambda: sorted(sum(map(v.samples, (s["series_id"] for s in otlp(v, agent))), [])))
    v.check("types of a point's attributes tell streams apart", expected, got)
    shown = {json.dumps([s["attributes"], s["types"]], sort_keys=True) for s in otlp(v, agent)}
    v.check("a reader sees the types", len(values), len(shown))
    agent, at = v.agent(), now()
    bodies = [
        request(attributes(host__name=agent, shard=shard), ({"name": "s"}, [gauge("q", point(at, value))]))
        for shard, value in ((1, 1.0), ("1", 2.0))
    ]
    told_apart(v, agent, "types of a resource's attributes tell streams apart", [1.0, 2.0], *bodies)


def case_dimensions_of_rest_keep_their_types(v):
    system, at = v.agent(), iso()
    for value, port in ((1.0, 80), (2.0, "80")):
        v.rest.post("/system-metrics", {
            "system_id": system, "timestamp": at, "environment": "test", "collection_method": "x",
            "metrics": [{"metric_name": "m", "metric_type": "custom", "value": value, "unit": "1", "dimensions": {"port": port}}],
        })
    got = v.until([1.0, 2.0], lambda: sorted(sum(v.values(system, origin="rest").values(), [])))
    ids = [one["series_id"] for one in v.series(system) if one["origin"] == "rest"]
    v.check("80 and \"80\" are two dimensions", (2, [1.0, 2.0]), (len(ids), sorted(sum(map(v.samples, ids), [])) or got))


def case_identities_survive_a_restart(v):
    own = v.another("restart")
    agent, at = own.agent(), now()
    def send(offset):
        for number, (version, shard, key) in enumerate((("1", "a", "1"), ("2", "a", "1"), ("1", "b", "1"), ("1", "a", 1))):
            scope = {"name": "lib", "version": version, "attributes": attributes(shard=shard)}
            own.take(request(attributes(host__name=agent), (scope, [gauge("q", point(at + offset, float(number), attributes(k=key)))])))
    send(0)
    before = own.until(lambda found: len(found) == 4, lambda: {s["series_id"] for s in otlp(own, agent)})
    own.vitals.stop()
    own.vitals.start()
    send(SECOND)
    held = own.until(lambda counts: counts == [2] * 4, lambda: [len(own.samples(i)) for i in sorted(before)])
    own.check("each series goes on after a restart", [2] * 4, held)
    own.check("and there is no other one", before, {s["series_id"] for s in otlp(own, agent)})
    own.vitals.stop()


# --- agents ---


def case_resources_that_are_different_agents(v):
    u = uuid.uuid4().hex[:6]
    random = [str(uuid.uuid4()), str(uuid.uuid4())]
    for what, expected, *resources in (
        ("node exporters of two hosts", 2, *[dict(service__name="node", service__instance__id="localhost:9100" + u, host__name=h + u) for h in "ab"]),
        ("one exporter", 1, *[dict(service__name="n" + u, service__instance__id="localhost:9100", host__name="h" + u, server__port=p) for p in ("1", "2")]),
        ("checkout 0 and payment 0", 2, *[dict(service__name=s + u, service__instance__id="0") for s in ("checkout", "payment")]),
        ("api in prod and staging", 2, *[dict(service__namespace=s + u, service__name="api") for s in ("prod", "staging")]),
        ("two pods of one service", 2, *[dict(service__name="web" + u, k8s__pod__name=s) for s in ("web-x", "web-y")]),
        ("pods of one name in two namespaces", 2, *[dict(k8s__namespace__name=s + u, k8s__pod__name="web-0") for s in "ab"]),
        ("pods of one name in two clusters", 2, *[dict(k8s__cluster__name=s + u, k8s__namespace__name="n", k8s__pod__name="web-0") for s in "ab"]),
        ("pods by uid", 2, *[dict(k8s__pod__uid=one) for one in random]),
        ("two containers of one pod", 1, *[dict(k8s__pod__name="p" + u, k8s__container__name=c, container__id=c + u) for c in "ab"]),
        ("two kubelets", 2, *[dict(k8s__node__name=s + u) for s in "ab"]),
        ("containers of one name on two hosts", 2, *[dict(container__name="web" + u, host__name=h + u) for h in "ab"]),
        ("containers of one service", 2, *[dict(service__name="c" + u, container__id=c + u) for c in "ab"]),
        ("a function in two regions", 2, *[dict(faas__name="f" + u, cloud__region=r, faas__instance=random[0]) for r in "ab"]),
        ("instances of a function", 1, *[dict(faas__name="g" + u, faas__instance=i) for i in random]),
        ("a service before and after a restart", 1, *[dict(service__name="r" + u, host__name="h", service__instance__id=i) for i in random]),
        ("a host and its processes", 1, dict(host__name="host" + u), dict(host__name="host" + u, process__pid=7, process__executable__name="x")),
        ("two hosts by id", 2, *[dict(host__id="id-" + i + u) for i in "ab"]),
    ):
        before = {one["agent_id"] for one in v.agents()}
        for resource in resources:
            v.take(request(attributes(**resource), ({"name": "s"}, [gauge("up", point(now(), 1.0))])))
        new = lambda: len({one["agent_id"] for one in v.agents()} - before)
        v.check(what, expected, v.until(expected, new))


def case_entities_name_the_agent(v):
    u = uuid.uuid4().hex[:6]
    def with_entities(resource, *entities):
        body = request(attributes(**resource), ({"name": "s"}, [gauge("up", point(now(), 1.0))]))
        refs = [{"schemaUrl": "", "type": kind, "idKeys": list(keys), "descriptionKeys": []} for kind, *keys in entities]
        body["resourceMetrics"][0]["resource"]["entityRefs"] = refs
        return body
    host = ("host", "host.id")
    for what, expected, bodies in (
        ("two hosts of one name", 2, [with_entities(dict(host__name="h" + u, host__id=i + u), host) for i in "ab"]),
        ("a host that was renamed", 1, [with_entities(dict(host__name=n + u, host__id="c" + u), host) for n in "ab"]),
        ("a service on two hosts", 2, [with_entities(dict(service__name="s" + u, host__id=i + u), host, ("service", "service.name")) for i in "de"]),
        ("a host and a process of it", 1, [with_entities(dict(host__id="f" + u, process__pid=p), ("process", "process.pid"), host) for p in (1, 2)]),
    ):
        before = {one["agent_id"] for one in v.agents()}
        for body in bodies:
            v.take(body)
        new = lambda: len({one["agent_id"] for one in v.agents()} - before)
        v.check(what, expected, v.until(expected, new))


def case_what_is_listed_can_be_asked_for(v):
    for odd in ("a\tb", "a\nb", "\u202eabc", "a/b", "..", "../x", "a%2fb", "a?b#c", "a b", "x" * 200, "\u200bz\ufeff", "é\U0001f980"):
        prefix = v.agent()
        name = odd if odd == ".." else prefix + odd
        v.take(request(attributes(host__name=name), ({"name": "s"}, [gauge("g", point(now(), 1.0))])))
        start = ".." if odd == ".." else prefix
        listed = v.until(lambda found: found, lambda: [o["agent_id"] for o in v.agents() if o["agent_id"].startswith(start)])
        v.check(f"{odd[:9]!r} is listed once", 1, len(listed))
        for agent in listed:
            quoted = urllib.parse.quote(agent, safe="")
            api = "/api/v1/telemetry"
            answers = [
                v.rest.call("GET", f"{api}/uptime-status/{quoted}").status,
                v.rest.call("GET", f"{api}/uptime-summary/{quoted}").status,
                v.rest.call("GET", f"{api}/series?agent={quoted}").status,
                v.rest.call("GET", f"{api}/verdicts?agent={quoted}").status,
                v.rest.call("GET", f"{api}/alerts?agent={quoted}").status,
                v.rest.call("POST", f"{api}/health-check", {"target_id": agent, "target_type": "agent"}).status,
                v.rest.call("POST", f"{api}/maintenance", {"agent_id": agent, "start_time": iso(hours=1), "end_time": iso(hours=2)}).status,
            ]
            v.check(f"{odd[:9]!r} can be asked for by every route", lambda statuses: max(statuses) < 300, answers)


def case_an_id_that_nobody_could_ask_for_is_refused(v):
    for bad in (" ", "\t", "", " a", "a ", "a\u202eb", "..", "x" * 101):
        body = {
            "agent_info": {"agent_id": bad, "agent_version": "1", "environment": "test"},
            "health_status": "healthy", "timestamp": iso(),
        }
        v.check(f"a heartbeat of {bad[:9]!r}", 422, v.rest.call("POST", "/api/v1/telemetry/heartbeat", body).status)


def case_a_host_without_a_name_is_the_next_rule_s(v):
    agent = v.agent()
    v.take(request(attributes(host__name=" \n", service__name=agent), ({"name": "s"}, [gauge("g", point(now(), 1.0))])))
    v.check("blanks name nobody", True, v.until(True, lambda: v.listed(agent) is not None))


# --- protobuf by hand ---


def varint(number):
    out = b""
    while True:
        byte, number = number & 127, number >> 7
        out += bytes([byte | (128 if number else 0)])
        if not number:
            return out


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def pair(key, value):
    return field(1, key) + field(2, value)


def text(value):
    return field(1, value)


def resource_metrics(agent, *attrs, name=b"g", unit=b"", scope=b"", resource=b"", at=None, value=1.0):
    import struct
    data = b"".join(field(7, one) for one in attrs) + b"\x19" + (at or now()).to_bytes(8, "little") + b"\x21" + struct.pack("<d", value)
    metric = field(1, name) + field(3, unit) + field(5, field(1, data))
    host = field(1, pair(b"host.name", text(agent.encode())))
    return field(1, field(1, host + resource) + field(2, field(1, scope) + field(2, metric)))


def case_one_bad_string_costs_one_thing(v):
    bad = b"caf\xe9"
    deep = text(b"y")
    for _ in range(40):
        deep = field(6, field(1, pair(b"x", deep)))
    for what, change in (
        ("an attribute's value", dict(attrs=[pair(b"k", text(bad))])),
        ("an attribute's key", dict(attrs=[pair(bad, text(b"v"))])),
        ("a metric's name", dict(name=bad)),
        ("a unit", dict(unit=bad)),
        ("a scope's name", dict(scope=field(1, bad))),
        ("a scope's version", dict(scope=field(2, bad))),
        ("a resource's attribute", dict(resource=field(1, pair(b"k", text(bad))))),
        ("an entity's type", dict(resource=field(3, field(2, bad)))),
        ("an attribute nested 40 deep", dict(attrs=[pair(b"k", deep)])),
        ("a resource's attribute nested 40 deep", dict(resource=field(1, pair(b"k", deep)))),
    ):
        good, other = v.agent(), v.agent()
        body = resource_metrics(good) + resource_metrics(other, *change.pop("attrs", []), **change)
        status, _, answer = v.send(body, "application/x-protobuf")
        v.check(f"{what}: taken", (200, False), (status, "rejected" in answer))
        v.check(f"{what}: the other resource is stored", [[1.0]], v.until([[1.0]], lambda: list(v.values(good).values())))
        v.check(f"{what}: it is stored itself", [[1.0]], v.until([[1.0]], lambda: list(v.values(other).values())))


def case_two_bad_strings_stay_two(v):
    agent, at = v.agent(), now()
    for bad, value in ((b"caf\xe9", 1.0), (b"caf\xe8", 2.0)):
        v.send(resource_metrics(agent, pair(b"k", text(bad)), at=at, value=value), "application/x-protobuf")
    got = v.until([1.0, 2.0], lambda: sorted(sum(map(v.samples, (s["series_id"] for s in otlp(v, agent))), [])))
    v.check("strings that are mended to the same text stay two", [1.0, 2.0], got)


# --- what would be accepted and lost ---


def case_a_point_past_its_retention_is_rejected(v):
    agent, old = v.agent(), now() - 92 * 86400 * SECOND
    body = request(attributes(host__name=agent), ({"name": "s"}, [gauge("g", point(old, 1.0), point(now(), 2.0))]))
    status, _, answer = v.send(body)
    partial = json.loads(answer).get("partialSuccess", {})
    v.check("one is rejected", (200, "1"), (status, str(partial.get("rejectedDataPoints"))))
    v.check("the retention is named", lambda text: "retention" in text, partial.get("errorMessage", ""))
    v.check("the other is stored", [[2.0]], v.until([[2.0]], lambda: list(v.values(agent).values())))


def case_a_metric_past_its_retention_fails_alone(v):
    def send(*times):
        metrics = [
            {"metric_name": f"m{n}", "metric_type": "custom", "value": 1.0, "unit": "1", "timestamp": time}
            for n, time in enumerate(times)
        ]
        body = {
            "system_id": v.agent(), "timestamp": iso(), "environment": "test", "collection_method": "x", "metrics": metrics,
        }
        return v.rest.call("POST", "/api/v1/telemetry/system-metrics", body)
    mixed = send(iso(days=-92), iso())
    told = mixed.json()
    v.check("the other is taken", (201, 1), (mixed.status, told.get("metrics_processed")))
    v.check("the retention is named", lambda text: "m0" in text and "retention" in text, str(told.get("validation_errors")))
    v.check("a request of old metrics only is refused", 422, send(iso(days=-92)).status)


def case_what_is_not_taken_is_told(v):
    agent = v.agent()
    metrics = [{"name": "empty"}, gauge("g", point(now(), 1.0, attributes(a="1") + attributes(a="2")))]
    _, _, answer = v.send(request(attributes(host__name=agent), ({"name": "s"}, metrics)))
    for told in ("1 metrics had no data", "a key that came again"):
        v.check(told, lambda text: told in text, answer)
