"""Alerts of `vitals` at a real Prometheus Alertmanager, and at a webhook's receiver that knows only the specification."""

import base64
import hashlib
import hmac
import http.server
import json
import threading
import time
import urllib.request

import harness
from harness import free_port, listening, wait_for

SECRET = base64.b64encode(b"a key of thirty-two bytes, agreed").decode()


class Receiver:
    """An HTTP server that keeps what it gets: (path, headers, body)."""

    def __init__(self):
        self.got = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(handler):  # noqa: N802, N805 the library's name
                body = handler.rfile.read(int(handler.headers["content-length"]))
                self.got.append((handler.path, dict(handler.headers), body))
                handler.send_response(200)
                handler.end_headers()

            def log_message(handler, *_):  # noqa: N805
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def messages(self, path):
        return [(headers, body) for where, headers, body in list(self.got) if where == path]

    def events(self):
        """(event, severity) of each message to the webhook, once: a repeated one has the same id."""
        once = {headers["webhook-id"]: json.loads(body) for headers, body in self.messages("/vitals")}
        return [(message["event"], message["severity"]) for message in once.values()]

    def from_alertmanager(self):
        """(status, severity) of what the Alertmanager notified."""
        found = [json.loads(body) for _, body in self.messages("/alertmanager")]
        return {(alert["status"], alert["labels"]["severity"]) for message in found for alert in message["alerts"]}


def is_signed(headers, body):
    """As a receiver checks it: HMAC-SHA256 over id, time and body."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    right = base64.b64encode(hmac.new(base64.b64decode(SECRET), signed, hashlib.sha256).digest()).decode()
    fresh = abs(time.time() - int(headers["webhook-timestamp"])) < 300
    return fresh and hmac.compare_digest(headers["webhook-signature"], f"v1,{right}")


def start_alertmanager(work, program, receiver):
    """An Alertmanager that notifies `receiver` at once; its port and process."""
    port = free_port()
    config = work.path / "alertmanager.yaml"
    config.write_text(json.dumps({
        "route": {"receiver": "hook", "group_wait": "0s", "group_interval": "1s", "group_by": ["alertname", "severity"]},
        "receivers": [{
            "name": "hook",
            "webhook_configs": [{"url": f"http://127.0.0.1:{receiver.port}/alertmanager", "send_resolved": True}],
        }],
    }))
    child = work.start(
        "alertmanager", program, f"--config.file={config}", f"--storage.path={work.path / 'alertmanager-data'}",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
    )
    wait_for("the Alertmanager listens", 30, lambda: listening(port))
    return port, child


def active(port):
    """What an Alertmanager takes for open: severity -> alert."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/alerts", timeout=5) as answer:
        return {alert["labels"]["severity"]: alert for alert in json.load(answer)}


def beat(rest, cpu):
    return rest.post("/heartbeat", {
        "agent_info": {"agent_id": "web-1", "agent_version": "1.0", "environment": "test"},
        "health_status": "healthy", "timestamp": harness.rfc3339(time.time_ns()), "cpu_usage_percent": cpu,
        "heartbeat_interval_ms": 60000,
    })


def to_an_alertmanager(work, check, vitals_program, alertmanager_program):
    receiver = Receiver()
    port, child = start_alertmanager(work, alertmanager_program, receiver)
    # Of the CPU alone: bad health has an alert of its own, of the same severity.
    config = f"""
[[telemetry.alert_configs]]
alert_type = "cpu_usage"
severity = "warning"
notification_channels = ["alertmanager", "hook"]
[[channels]]
name = "alertmanager"
kind = "alertmanager"
url = "http://127.0.0.1:{port}"
repeat_seconds = 1
[[channels]]
name = "hook"
kind = "webhook"
url = "http://127.0.0.1:{receiver.port}/vitals"
secret_env = "HOOK_SECRET"
"""
    env = {"HOOK_SECRET": f"whsec_{SECRET}"}
    vitals = harness.Vitals(work, vitals_program, "vitals-alerts", config, env=env).start()

    beat(vitals.rest, 85.0)
    warning = wait_for("a warning at the Alertmanager", 10, lambda: active(port).get("warning"))
    labels = warning["labels"]
    check("the alert has its labels", (labels["alertname"], labels["agent"], labels["tenant"], labels["source"])
          == ("cpu_usage", "web-1", "default", "threshold:cpu_usage"), labels)
    check("and its text", "85.0 %" in warning["annotations"]["description"], warning["annotations"])
    check("it has an end ahead", harness.nanos(warning["endsAt"]) > time.time_ns(), warning["endsAt"])

    beat(vitals.rest, 97.0)
    wait_for("the critical one instead", 10, lambda: list(active(port)) == ["critical"])
    begun = active(port)["critical"]

    # Nothing is told twice, and nothing is lost, by a crash.
    vitals.kill()
    vitals.start()
    updated = lambda: active(port).get("critical", {}).get("updatedAt", "")  # noqa: E731
    now = harness.rfc3339(time.time_ns())
    wait_for("the alert is said again after a crash", 20, lambda: updated() > now)
    again = active(port)
    check("it is the same alert", list(again) == ["critical"] and again["critical"]["fingerprint"] == begun["fingerprint"]
          and again["critical"]["startsAt"] == begun["startsAt"], again)
    listed = vitals.rest.get("/alerts", open="true")["alerts"]
    check("REST knows it under the same id", labels["alert_id"] in [alert["alert_id"] for alert in listed], listed)

    vitals.rest.post(f"/alerts/{labels['alert_id']}/acknowledge", {})
    wait_for("who acknowledged", 10, lambda: active(port)["critical"]["annotations"].get("acknowledged_by") == "ops")
    beat(vitals.rest, 10.0)
    wait_for("nothing is open any more", 10, lambda: not active(port))
    wanted = {("firing", "warning"), ("firing", "critical"), ("resolved", "critical")}
    wait_for("the Alertmanager notified of all of it", 20, lambda: wanted <= receiver.from_alertmanager())

    story = [("raised", "warning"), ("worsened", "critical"), ("acknowledged", "critical"), ("resolved", "critical")]
    wait_for("the webhook heard of all of it", 10, lambda: len(receiver.events()) >= len(story))
    check("the webhook heard each thing once, in order", receiver.events() == story, receiver.events())
    messages = receiver.messages("/vitals")
    check("every message is signed", messages and all(is_signed(*message) for message in messages))
    check("vitals stops cleanly", vitals.stop() == 0)
    harness.end(child, 10)
    receiver.server.shutdown()
