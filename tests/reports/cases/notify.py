"""Notifications: what a receiver refuses holds up nothing else, and what waits is not lost."""

import http.server
import json
import threading
import time

from harness import free_port
from service import iso

SECRET = {"HOOK_SECRET": "a secret of thirty-two characters"}


class Receiver:
    """A receiver of webhooks on a free port, which answers by path and agent; 200 unless told."""

    def __init__(self, port=None):
        receiver = self
        self.got, self.answers = [], {}
        self.port = port or free_port()
        self.began = time.monotonic()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))))
                seconds = time.monotonic() - receiver.began
                receiver.got.append((seconds, self.path, body["agent"], body["event"], self.headers["webhook-id"]))
                status, headers = receiver.answers.get((self.path, body["agent"]), (200, {}))
                self.send_response(status)
                for name, value in {"content-length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        # A sender that is killed resets its connections.
        self.server.handle_error = lambda *_: None
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def of(self, path, agent):
        """(seconds, event, id) of what came on this path about this agent."""
        return [(at, event, number) for at, where, who, event, number in list(self.got) if (where, who) == (path, agent)]

    def channel(self, name, **settings):
        lines = "".join(f"{key} = {value}\n" for key, value in settings.items())
        return (
            f'[[channels]]\nname = "{name}"\nkind = "webhook"\nurl = "http://127.0.0.1:{self.port}/{name}"\n'
            f'secret_env = "HOOK_SECRET"\n{lines}'
        )

    @staticmethod
    def alerts(*names):
        return (
            '[[telemetry.alert_configs]]\nalert_type = "cpu_usage"\nseverity = "warning"\n'
            f"notification_channels = {json.dumps(names)}\nsuppress_duplicates = false\n"
        )


def case_what_a_receiver_refuses_holds_up_nothing_else(v):
    receiver = Receiver()
    receiver.answers = {
        ("/poison", "bad"): (500, {}),
        ("/long", "bad"): (503, {"retry-after": "7200"}),
    }
    config = receiver.alerts("poison", "long") + receiver.channel("poison", retry_seconds=20)
    own = v.another("refused", config + receiver.channel("long", retry_seconds=10), SECRET)
    for agent in ("bad", "other"):
        own.beat(agent, cpu_usage_percent=99.0)
    for name in ("/poison", "/long"):
        got = v.until(lambda got: len(got) == 1, lambda name=name: receiver.of(name, "other"), 3)
        v.check(f"the other alert is told on {name} at once", 1, len(got))
    again = v.until(lambda got: len(got) > 1, lambda: receiver.of("/long", "bad"), 14)
    v.check("a Retry-After past the time to retry is cut short", lambda got: len(got) == 2 and got[1] < 10,
            [at - again[0][0] for at, *_ in again])
    v.check("the refused one is tried again", lambda count: count > 2, len(receiver.of("/poison", "bad")))
    v.check("under one id", 1, len({number for *_, number in receiver.of("/poison", "bad")}))
    own.vitals.stop()


def case_what_waits_survives_a_kill(v):
    receiver = Receiver()
    receiver.answers = {("/hook", "down"): (503, {"retry-after": "3600"})}
    # Often, so that the log is cut behind what waits: the replay does not make it again.
    config = "[evaluate]\ncheckpoint_seconds = 1\nstate_seconds = 1\n" + receiver.alerts("hook") + receiver.channel("hook")
    own = v.another("killed", config, SECRET)
    own.beat("up", cpu_usage_percent=99.0)
    own.beat("down", cpu_usage_percent=99.0)
    v.until(lambda got: len(got) == 2, lambda: receiver.of("/hook", "up") + receiver.of("/hook", "down"))
    time.sleep(3)
    # In the log only, when it ends.
    own.beat("down", at=iso(), cpu_usage_percent=10.0)
    own.vitals.kill()
    receiver.answers = {}
    own.vitals.start()
    told = v.until(lambda got: len(got) == 3, lambda: receiver.of("/hook", "down"), 15)
    v.check("what waited is told after the restart, in its order", ["raised", "raised", "resolved"],
            [event for _, event, _ in told])
    v.check("under the id of before", True, len(told) > 1 and told[0][2] == told[1][2])
    time.sleep(1)
    v.check("what was delivered is not told again", 1, len(receiver.of("/hook", "up")))
    own.vitals.stop()


def case_a_channel_that_is_gone_gives_up_what_waits(v):
    receiver = Receiver()
    receiver.answers = {("/hook", "down"): (503, {"retry-after": "3600"})}
    alerts = receiver.alerts("hook")
    own = v.another("gone", alerts + receiver.channel("hook"), SECRET)
    own.beat("down", cpu_usage_percent=99.0)
    v.until(lambda got: len(got) == 1, lambda: receiver.of("/hook", "down"))
    own.vitals.stop()
    own.vitals.file.write_text("")
    own.vitals.start()
    counted = [line for line in own.rest.call("GET", "/metrics").body.decode().splitlines() if "alerts_dead" in line]
    v.check("it is counted", True, 'vitals_alerts_dead_total{channel="hook"} 1' in counted)
    v.check("and said", lambda log: "no webhook of this name is configured any more" in log, v.work.log("gone"))
    own.vitals.stop()


def case_the_log_says_who_did_what(v):
    own = v.another("said", '[telemetry]\ndefault_heartbeat_interval_ms = 30000\n')
    agent = v.agent()
    own.beat(agent, cpu_usage_percent=99.0)
    def of_cpu():
        return [alert["alert_id"] for alert in own.alerts(agent) if alert["alert_type"] == "cpu_usage"]
    alert = v.until(lambda alerts: bool(alerts), of_cpu)[0]
    own.rest.call("POST", f"/api/v1/telemetry/alerts/{alert}/acknowledge")
    own.rest.call("POST", "/api/v1/telemetry/maintenance",
                  {"agent_id": agent, "start_time": iso(hours=1), "end_time": iso(hours=2)})
    own.beat(agent, cpu_usage_percent=9.0)
    own.vitals.file.write_text("[telemetry]\ndefault_heartbeat_interval_ms = 20000\n[receive]\nkeepalive_seconds = 59\n")

    def said(*words):
        return [line for line in v.work.log("said").splitlines() if all(word in line for word in words)]

    for what, words in (
        ("an alert that begins", ("INFO", "an alert was raised", agent, "cpu_usage", alert)),
        ("an acknowledgement", ("INFO", "an alert was acknowledged", agent, alert, 'by="ops"')),
        ("a maintenance window", ("INFO", "a maintenance window was planned", agent, 'by="ops"', "from=", "to=")),
        ("an alert that ends", ("INFO", "an alert was resolved", agent, alert)),
        ("a reload", ("the configuration was read again", "telemetry.default_heartbeat_interval_ms",
                      'settings="receive.keepalive_seconds"')),
    ):
        v.check(f"{what} is said in one line", 1, len(v.until(lambda lines: bool(lines), lambda w=words: said(*w), 10)))
    own.vitals.stop()


def case_debug_is_readable(v):
    own = v.another("debug", env={"VITALS_LOG": "debug"})
    agent = v.agent()
    own.beat(agent, cpu_usage_percent=9.0)
    own.vitals.stop()
    lines = v.work.log("debug").splitlines()
    v.check("requests are shown", lambda found: bool(found), [line for line in lines if "DEBUG" in line and "answered" in line])
    v.check("nothing of libraries", [],
            [line for line in lines if any(name in line for name in ("DEBUG", "TRACE")) and " vitals" not in line])
    v.check("not many lines", lambda count: count < 100, len(lines))
    v.check("no line is long", lambda longest: longest < 400, max(map(len, lines)))
