"""What the cases of the reports use: one running service, and short words for what they send and read."""

import http.client
import json
import time
import urllib.parse
import uuid
from datetime import datetime, timedelta, timezone

from harness import PREFIX, Vitals, wait_for

SECOND = 10**9


def now():
    """Nanoseconds since the epoch."""
    return time.time_ns()


def iso(**ahead):
    """RFC 3339 of now, moved by a timedelta's arguments."""
    return (datetime.now(timezone.utc) + timedelta(**ahead)).isoformat()


def attributes(**pairs):
    """OTLP/JSON attributes; `__` in a name is a dot. A dict is an AnyValue as it is."""
    def value(of):
        if isinstance(of, bool):
            return {"boolValue": of}
        if isinstance(of, int):
            return {"intValue": str(of)}
        if isinstance(of, float):
            return {"doubleValue": of}
        return {"stringValue": of} if isinstance(of, str) else of
    return [{"key": key.replace("__", "."), "value": value(of)} for key, of in pairs.items()]


def point(at, value, attrs=(), start=0):
    """A number point."""
    return {"timeUnixNano": str(at), "startTimeUnixNano": str(start), "asDouble": value, "attributes": list(attrs)}


def gauge(name, *points, unit=""):
    return {"name": name, "unit": unit, "gauge": {"dataPoints": list(points)}}


def total(name, *points, temporality=2, monotonic=True, unit=""):
    """A sum: cumulative (2) or delta (1)."""
    data = {"aggregationTemporality": temporality, "isMonotonic": monotonic, "dataPoints": list(points)}
    return {"name": name, "unit": unit, "sum": data}


def request(resource, *scopes):
    """A request of one resource; each scope is (scope, [metric, ...])."""
    scopes = [{"scope": scope, "metrics": metrics} for scope, metrics in scopes]
    return {"resourceMetrics": [{"resource": {"attributes": resource}, "scopeMetrics": scopes}]}


class Service:
    """A `vitals serve` that the cases share, or one of a case's own with other settings."""

    def __init__(self, work, program, account, name="vitals", config="", env=None):
        self.work, self.program, self.account = work, program, account
        self.vitals = Vitals(work, program, name=name, config=config, env=env).start()
        self.rest = self.vitals.rest

    def another(self, name, config="", env=None):
        """A service of a case's own."""
        return Service(self.work, self.program, self.account, name, config, env)

    def check(self, what, expected, got):
        """Notes whether `got` is what is expected: a value, or a function that says so."""
        holds = expected(got) if callable(expected) else expected == got
        told = (expected.__doc__ or "see the case") if callable(expected) else repr(expected)
        return self.account.check(what, holds, f"expected {told}, got {got!r}")

    @staticmethod
    def agent():
        """The name of an agent that nobody has used."""
        return "a-" + uuid.uuid4().hex[:10]

    def send(self, body, content_type="application/json", headers=None, path="/v1/metrics"):
        """Posts an OTLP request; (status, headers, body)."""
        if not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        connection = http.client.HTTPConnection("127.0.0.1", self.vitals.http, timeout=15)
        try:
            connection.request("POST", path, body, {"content-type": content_type, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode(errors="replace")
        finally:
            connection.close()

    def take(self, body, content_type="application/json"):
        """Posts an OTLP request that must be taken whole."""
        status, _, text = self.send(body, content_type)
        if status != 200 or "rejected" in text:
            raise RuntimeError(f"{status} {text}")

    def metrics(self, agent, *metrics, scope=None):
        """Sends metrics of a host of this name."""
        self.take(request(attributes(host__name=agent), (scope or {"name": "s"}, list(metrics))))

    def series(self, agent):
        answer = self.rest.call("GET", f"{PREFIX}/series?{urllib.parse.urlencode({'agent': agent})}")
        return answer.json()["series"] if answer.status == 200 else []

    def samples(self, series_id):
        found = self.rest.get(f"/series/{series_id}/samples", start="1970-01-01T00:00:00Z", end="2100-01-01T00:00:00Z")
        return [sample["value"] for sample in found["samples"]]

    def values(self, agent, metric=None, origin="otlp"):
        """(metric, part, attributes) to the values of each series of an agent."""
        return {
            (one["metric_name"], one["part"], json.dumps(one["attributes"], sort_keys=True)): self.samples(one["series_id"])
            for one in self.series(agent)
            if one["origin"] == origin and metric in (None, one["metric_name"])
        }

    def until(self, expected, read, seconds=5):
        """What `read` gives as soon as it is what is expected, else what it gave last."""
        got = None
        def holds():
            nonlocal got
            got = read()
            return expected(got) if callable(expected) else expected == got
        try:
            wait_for("the expected", seconds, holds)
        except TimeoutError:
            pass
        return got

    def health(self, agent):
        """The assessment of an agent, None without telemetry."""
        answer = self.rest.call("POST", PREFIX + "/health-check", {"target_id": agent, "target_type": "agent"})
        return answer.json()["health_assessment"] if answer.status == 200 else None

    def listed(self, agent):
        """The agent as the list has it."""
        found = [one for one in self.agents() if one["agent_id"] == agent]
        return found[0] if found else None

    def agents(self):
        """All agents."""
        found, after = [], None
        while True:
            page = self.rest.get("/agents", limit=1000, **({"after": after} if after else {}))
            found += page["agents"]
            after = page.get("next")
            if not after:
                return found

    def beat(self, agent, at=None, status="healthy", **fields):
        """Sends a heartbeat; the answer."""
        body = {
            "agent_info": {"agent_id": agent, "agent_version": "1", "environment": "test"},
            "health_status": status, "timestamp": at or iso(), **fields,
        }
        return self.rest.post("/heartbeat", body)

    def alerts(self, agent):
        return self.rest.get("/alerts", agent=agent)["alerts"]
