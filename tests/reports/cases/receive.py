"""The door: OTLP/JSON as ProtoJSON and the Collector have it, and HTTP and gRPC as they are spoken."""

import gzip
import http.client
import json
import socket

from harness import PREFIX
from service import attributes, gauge, now, point, request


def number_point(**fields):
    return {"timeUnixNano": str(now()), **fields}


def histogram(**fields):
    data = {"aggregationTemporality": 2, "dataPoints": [number_point(**fields)]}
    return {"name": "m", "histogram": data}


def exponential(**fields):
    data = {"aggregationTemporality": 2, "dataPoints": [number_point(**fields)]}
    return {"name": "m", "exponentialHistogram": data}


def one_gauge(**fields):
    return gauge("m", number_point(**{"asDouble": 1, **fields}))


def with_value(value):
    return one_gauge(attributes=[{"key": "k", "value": value}])


GOOD = {
    'histogram sum "NaN"': histogram(count="3", sum="NaN", bucketCounts=["1", "2"], explicitBounds=[1]),
    'last bound "Infinity"': histogram(count="3", sum=6, bucketCounts=["1", "2", "0"], explicitBounds=[1, "Infinity"]),
    "quoted max": histogram(count="1", sum=2, min="2", max="2.0"),
    "attribute arrayValue {}": with_value({"arrayValue": {}}),
    "attribute kvlistValue {}": with_value({"kvlistValue": {}}),
    'attribute doubleValue "NaN"': with_value({"doubleValue": "NaN"}),
    'attribute doubleValue "1.5"': with_value({"doubleValue": "1.5"}),
    "attribute with empty key left out": one_gauge(attributes=[{"value": {"stringValue": "x"}}]),
    "attribute without a value": one_gauge(attributes=[{"key": "k"}]),
    "attribute bytes, URL-safe": with_value({"bytesValue": "-_8"}),
    "attributes null": one_gauge(attributes=None),
    "exemplars null": one_gauge(exemplars=None),
    "an exemplar with ids": one_gauge(exemplars=[{"traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "eee19b7ec3c1b174"}]),
    "an exemplar that nobody can read": one_gauge(exemplars=[{"traceId": 7}]),
    "startTimeUnixNano null": one_gauge(startTimeUnixNano=None),
    'flags "0"': one_gauge(flags="0"),
    "integers with a fraction of zeros": histogram(count=3.0, sum=6, bucketCounts=[1.0, 2], explicitBounds=["1"]),
    "asInt 5.0": gauge("m", number_point(asInt=5.0)),
    "asInt 1e3 as a string": gauge("m", number_point(asInt="1e3")),
    "scale and offset quoted": exponential(count="2", scale="0", positive={"offset": "0", "bucketCounts": ["2"]}),
    'zeroThreshold "Infinity"': exponential(
        count="3", scale=0, zeroCount="1", zeroThreshold="Infinity", positive={"bucketCounts": ["2"]}
    ),
    "temporality by name": {"name": "m", "sum": {
        "aggregationTemporality": "AGGREGATION_TEMPORALITY_CUMULATIVE", "isMonotonic": True,
        "dataPoints": [number_point(asInt="5")],
    }},
    "names of the .proto file": {"name": "m", "gauge": {"data_points": [
        {"time_unix_nano": str(now()), "as_double": 1, "start_time_unix_nano": "0"},
    ]}},
    "an unknown field": {"name": "m", "ofTomorrow": {"x": [1]}, "gauge": {"dataPoints": [number_point(asDouble=1, new=None)]}},
    "a summary with quoted quantiles": {"name": "m", "summary": {"dataPoints": [
        number_point(count="2", sum="3", quantileValues=[{"quantile": "0.5", "value": "NaN"}]),
    ]}},
}


def rejected(answer):
    return int(json.loads(answer[2] or "{}").get("partialSuccess", {}).get("rejectedDataPoints", 0))


def case_json_is_taken_as_protojson_spells_it(v):
    for name, metric in GOOD.items():
        agent = v.agent()
        ok = gauge("ok", point(now(), 1.5))
        answer = v.send(request(attributes(host__name=agent), ({"name": "s"}, [metric, ok])))
        got = v.until({"m", "ok"}, lambda agent=agent: {key[0] for key in v.values(agent)}, seconds=2)
        v.check(name, ({"m", "ok"}, 200, 0), (got, answer[0], rejected(answer)))


def case_json_is_rejected_by_point(v):
    good = [point(now(), value, attributes(k=str(value))) for value in (1.0, 3.0)]
    for name, damaged, reason in [
        ("an attribute that is no double", number_point(asDouble=2, attributes=[{"key": "k", "value": {"doubleValue": "x"}}]), "doubleValue"),
        ("a value that is none", number_point(asDouble={}), "asDouble"),
        ("a point that is a number", 7, "dataPoints"),
        ("a negative flag", number_point(asDouble=2, flags=-1), "flags"),
    ]:
        agent = v.agent()
        answer = v.send(request(attributes(host__name=agent), ({"name": "s"}, [gauge("m", good[0], damaged, good[1])])))
        got = v.until([1.0, 3.0], lambda agent=agent: sorted(x for xs in v.values(agent).values() for x in xs), seconds=2)
        v.check(f"{name}: two stored, one rejected", ([1.0, 3.0], 200, 1), (got, answer[0], rejected(answer)))
        v.check(f"{name}: the reason names metric and field", True, '\\"m\\"' in answer[2] and reason in answer[2])


def case_a_damaged_metric_or_resource_costs_its_own_points(v):
    for name, metric, count in [
        ("data of the wrong type", {"name": "m", "gauge": "none"}, 1),
        ("points that are no list", {"name": "m", "gauge": {"dataPoints": {}}}, 1),
        ("a name that is a number", {**gauge("m", *(point(now(), 1.0, attributes(k=str(k))) for k in range(4))), "name": 7}, 4),
        ("an unknown temporality", {"name": "m", "sum": {"aggregationTemporality": "SOMETIMES", "dataPoints": [number_point(asInt=1)] * 2}}, 2),
        ("an unknown kind of data", {"name": "m", "distribution": {"dataPoints": [number_point(asInt=1)] * 3}}, 3),
        ("two kinds of data", {**gauge("m", point(now(), 1.0)), "sum": {"dataPoints": [number_point(asInt=1)] * 2}}, 2),
    ]:
        agent = v.agent()
        ok = gauge("ok", point(now(), 1.5))
        answer = v.send(request(attributes(host__name=agent), ({"name": "s"}, [metric, ok])))
        has_ok = v.until(True, lambda agent=agent: "ok" in {key[0] for key in v.values(agent)}, seconds=2)
        v.check(name, (True, 200, count), (has_ok, answer[0], rejected(answer)))
    agent = v.agent()
    bad = request([{"key": "host.name", "value": {"intValue": "x"}}], ({"name": "s"}, [gauge("m", point(now(), 1.0), point(now(), 2.0))]))
    good = request(attributes(host__name=agent), ({"name": "s"}, [gauge("ok", point(now(), 1.5))]))
    answer = v.send({"resourceMetrics": bad["resourceMetrics"] + good["resourceMetrics"]})
    got = v.until({"ok"}, lambda: {key[0] for key in v.values(agent)}, seconds=2)
    v.check("a damaged resource attribute", ({"ok"}, 200, 2), (got, answer[0], rejected(answer)))


def case_rejections_of_both_kinds_are_added(v):
    points = [number_point(asDouble="x"), {"asDouble": 1}, point(now(), 1.0)]
    answer = v.send(request(attributes(host__name=v.agent()), ({"name": "s"}, [gauge("m", *points)])))
    v.check("one by JSON and one without a time", (200, 2), (answer[0], rejected(answer)))


def case_strings_are_mended(v):
    agent = v.agent()
    body = json.dumps(request(attributes(host__name=agent), ({"name": "s"}, [gauge("m", point(now(), 1.0, attributes(k="HALF")))])))
    answer = v.send(body.replace("HALF", "half \\ud83d").encode())
    keys = v.until(1, lambda: len(v.values(agent)), seconds=2)
    attrs = [json.loads(key[2]) for key in v.values(agent)]
    v.check("half a surrogate pair", (1, 200, 0, [{"k": "half \ufffd"}]), (keys, answer[0], rejected(answer), attrs))
    agent = v.agent()
    body = json.dumps(request(attributes(host__name=agent), ({"name": "s"}, [gauge("m", point(now(), 1.0, attributes(k="BAD")))])))
    answer = v.send(body.encode().replace(b"BAD", b"bad \xff"))
    v.until(1, lambda: len(v.values(agent)), seconds=2)
    attrs = [json.loads(key[2]) for key in v.values(agent)]
    v.check("bytes that are no UTF-8", (200, 0, [{"k": "bad \ufffd"}]), (answer[0], rejected(answer), attrs))


def case_other_json_is_refused(v):
    for body in ["", "[1]", "7", "null", '{"resourceMetrics": 7}', '{"resourceSpans": [{}]}', "{} {}", '{"resourceMetrics": [}']:
        v.check(f"refused: {body}", 400, v.send(body)[0])


def raw(port, *parts, wait=0.5):
    """What a port answers to these bytes, until it is silent."""
    seen = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        for part in parts:
            connection.sendall(part)
            connection.settimeout(wait)
            try:
                while more := connection.recv(65536):
                    seen += more
            except TimeoutError:
                pass
    return seen.decode(errors="replace")


def case_encodings_as_http_has_them(v):
    def body(agent):
        return json.dumps(request(attributes(host__name=agent), ({"name": "s"}, [gauge("m", point(now(), 1.0))]))).encode()
    def frame(log, content):
        blocks, left = b"", content
        while left:
            some, left = left[:1000], left[1000:]
            blocks += (len(some) << 3 | (not left)).to_bytes(3, "little") + some
        return b"\x28\xb5\x2f\xfd\x00" + bytes([(log - 10) << 3]) + blocks
    for encoding, pack, status in [
        ("x-gzip", gzip.compress, 200),
        ("identity, gzip", gzip.compress, 200),
        ("gzip, gzip", lambda data: gzip.compress(gzip.compress(data)), 200),
        ("gzip", lambda data: gzip.compress(data[:50]) + gzip.compress(data[50:]), 200),
        ("gzip", lambda data: gzip.compress(data) + b"garbage", 400),
        ("zstd", lambda data: frame(23, data), 200),
        ("zstd", lambda data: frame(27, data), 200),
        ("zstd", lambda data: frame(17, data[:50]) + frame(17, data[50:]), 200),
        ("zstd", lambda data: frame(17, data) + b"x", 400),
        ("br", lambda data: data, 415),
    ]:
        agent = v.agent()
        got = v.send(pack(body(agent)), headers={"content-encoding": encoding})[0]
        stored = v.until(1 if status == 200 else 0, lambda agent=agent: len(v.values(agent)), seconds=2)
        v.check(f"{encoding}: {status}", (status, int(status == 200)), (got, stored))
    agent = v.agent()
    packed = gzip.compress(body(agent))
    head = (
        "POST /v1/metrics HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-encoding: identity\r\n"
        f"content-encoding: gzip\r\ncontent-length: {len(packed)}\r\n\r\n"
    )
    v.check("two lines of Content-Encoding", "HTTP/1.1 200", raw(v.vitals.http, head.encode() + packed)[:12])


def case_expect_to_a_wrong_path_gets_the_final_status(v):
    for name, port, path in [("OTLP", v.vitals.http, "/wrong"), ("REST", v.vitals.rest_port, PREFIX + "/wrong")]:
        head = (
            f"POST {path} HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-type: application/json\r\n"
            "content-length: 50000\r\n\r\n"
        )
        answer = raw(port, head.encode(), wait=1.0)
        v.check(f"{name}: 404 at once, without 100", "HTTP/1.1 404", answer[:12])
        v.check(f"{name}: it says that the connection ends", True, "connection: close" in answer.lower())


def case_many_and_large_headers(v):
    many = "".join(f"x-{at}: 1\r\n" for at in range(300))
    large = f"x-large: {'m' * 20480}\r\n"
    for name, more, status in [("300 headers", many, 200), ("20 KB", large, 200), ("3000 headers", many * 10, 431)]:
        post = f"POST /v1/metrics HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 2\r\n{more}\r\n{{}}"
        v.check(f"OTLP/HTTP: {name}", f"HTTP/1.1 {status}", raw(v.vitals.http, post.encode())[:12])
        get = f"GET /health HTTP/1.1\r\nhost: localhost\r\n{more}\r\n"
        v.check(f"REST: {name}", f"HTTP/1.1 {status}", raw(v.vitals.rest_port, get.encode())[:12])


def ask(port, method, path, headers, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode(errors="replace")
    finally:
        connection.close()


def case_what_is_not_spoken_here_is_told_so(v):
    export = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
    status, _, text = ask(v.vitals.grpc, "POST", export, {"content-type": "application/grpc-web+proto"}, b"\0\0\0\0\0")
    v.check("gRPC-Web", (415, True), (status, "gRPC-Web" in text))
    for method in ("GET", "PUT", "OPTIONS"):
        status, headers, _ = ask(v.vitals.http, method, "/v1/metrics", {})
        v.check(f"{method} /v1/metrics", (405, "POST"), (status, headers["allow"]))
    status, headers, _ = ask(v.vitals.grpc, "GET", export, {})
    v.check("GET on the gRPC port", (405, "POST"), (status, headers["allow"]))


def case_pages_of_other_origins_call_by_configuration(v):
    app = "https://app.example.com"
    wants = {
        "origin": app, "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    own = v.another("cors", f'[receive.cors]\nallowed_origins = ["{app}"]\n[expose.cors]\nallowed_origins = ["{app}"]\n')
    try:
        for name, of, allowed in [("off", v, None), ("on", own, app)]:
            for port, path in [(of.vitals.http, "/v1/metrics"), (of.vitals.rest_port, PREFIX + "/heartbeat")]:
                status, headers, _ = ask(port, "OPTIONS", path, wants)
                v.check(f"{name}: preflight of {path}", (allowed is not None, allowed), (status < 300, headers["access-control-allow-origin"]))
        status, headers, _ = ask(own.vitals.rest_port, "GET", PREFIX + "/agents", {"origin": app})
        v.check("an error is marked", (401, app), (status, headers["access-control-allow-origin"]))
        exposed = headers["access-control-expose-headers"] or ""
        v.check("headers of answers can be read", True, "x-correlation-id" in exposed and "retry-after" in exposed)
        v.check("caches tell origins apart", True, "origin" in (headers["vary"] or ""))
        status, headers, _ = ask(own.vitals.rest_port, "GET", "/health", {"origin": "https://evil.example"})
        v.check("another origin", (200, None), (status, headers["access-control-allow-origin"]))
    finally:
        own.vitals.stop()


def case_documentation_behind_a_path_prefix(v):
    status, _, text = ask(v.vitals.rest_port, "GET", "/docs/swagger-initializer.js", {})
    v.check("the page loads the document beside it", (200, True), (status, '"../openapi.json"' in text))
    for headers, server, docs in [({}, ".", "docs/"), ({"x-forwarded-prefix": "/vitals"}, "/vitals", "/vitals/docs/")]:
        document = json.loads(ask(v.vitals.rest_port, "GET", "/openapi.json", headers)[2])
        v.check(f"server with {headers}", [{"url": server}], document["servers"])
        v.check(f"redirect with {headers}", docs, ask(v.vitals.rest_port, "GET", "/docs", headers)[1]["location"])


def case_the_grpc_port_answers_health_checks(v):
    """Over HTTP/2 by hand: the connection's preface, one request, and the answer's data frame."""
    def frame(kind, flags, stream, payload):
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
    def literal(name, value):
        return bytes([0, len(name)]) + name + bytes([len(value)]) + value
    def called(path, message, *more):
        headers = b"".join(literal(name, value) for name, value in [
            (b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"x"),
            (b"content-type", b"application/grpc"), (b"te", b"trailers"), *more,
        ])
        data = b"\0" + len(message).to_bytes(4, "big") + message if isinstance(message, bytes) else b"".join(
            b"\0" + len(one).to_bytes(4, "big") + one for one in message
        )
        return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4, 1, headers) + frame(0, 1, 1, data)
    def data_of(port, sent):
        found, seen = [], b""
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(sent)
            connection.settimeout(1.0)
            try:
                while more := connection.recv(65536):
                    seen += more
            except TimeoutError:
                pass
        while len(seen) >= 9:
            length = int.from_bytes(seen[:3], "big")
            if seen[3] == 0 and length:
                found.append(seen[9:9 + length])
            seen = seen[9 + length:]
        return found
    name = b"opentelemetry.proto.collector.metrics.v1.MetricsService"
    for service in (b"", name):
        message = b"\x0a" + bytes([len(service)]) + service if service else b""
        got = data_of(v.vitals.grpc, called(b"/grpc.health.v1.Health/Check", message))
        v.check(f"SERVING for {service.decode()!r}", [b"\0\0\0\0\2\x08\1"], got)
    export = b"/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
    v.check("one message is taken", [b"\0\0\0\0\0"], data_of(v.vitals.grpc, called(export, b"")))
    v.check("two messages in one unary call are not", [], data_of(v.vitals.grpc, called(export, [b"", b""])))
