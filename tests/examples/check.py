"""Runs each example as its documentation says. See run.sh."""

import os
import pathlib
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from harness import Account, Influx, Rest, Vitals, Work, binary, free_port, rfc3339, wait_for  # noqa: E402

EXAMPLES = pathlib.Path(os.environ["CARGO_TARGET_DIR"]) / "debug"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Demo:
    """A `vitals demo` with a webhook channel, and what it prints."""

    def __init__(self, work, program, webhook):
        config = work.path / "demo.toml"
        config.write_text(f"""
[[telemetry.alert_configs]]
alert_type = "*"
severity = "warning"
notification_channels = ["on-call"]

[[channels]]
name = "on-call"
kind = "webhook"
url = "http://127.0.0.1:{webhook}/"
secret_env = "ON_CALL_SECRET"
""")
        work.start("demo", program, "demo", "--free-ports", "--config", config, env={"ON_CALL_SECRET": SECRET})
        wait_for("the demo has printed its calls", 90, lambda: "Ctrl-C stops it" in work.log("demo"))
        printed = work.log("demo")
        self.url = re.search(r"Look around +(http://[^/]+)/", printed)[1]
        self.otlp = re.search(r"\(gRPC\), (http://\S+)", printed)[1]
        self.token = re.search(r"export TOKEN=(\S+)", printed)[1]
        self.rest = Rest(int(self.url.rsplit(":", 1)[1]), self.token)
        self.environment = {"VITALS_URL": self.url, "VITALS_TOKEN": self.token}


def run(work, name, *arguments, env):
    """Runs an example to its end; (exit code, what it printed)."""
    code = work.start(name, EXAMPLES / name, *arguments, env=env).wait(60)
    return code, work.log(name)


def otlp_sender(account, work, demo):
    code, printed = run(work, "otlp-sender", 12, env={"OTEL_EXPORTER_OTLP_ENDPOINT": demo.otlp})
    account.check("it ends well", code == 0, printed)
    found = [one["agent_id"] for one in demo.rest.get("/agents")["agents"] if "checkout-1" in one["agent_id"]]
    account.check("its instance is an agent", len(found) == 1, found)
    names = {one["metric_name"] for one in demo.rest.get("/series", agent=found[0])["series"]}
    account.check("its metrics are there", {"orders", "queue.length", "http.server.request.duration"} <= names, names)


def heartbeat_agent(account, work, demo):
    code, printed = run(work, "heartbeat-agent", "example-host", 2, env=demo.environment)
    account.check("it ends well, both heartbeats judged", code == 0 and printed.count("score") == 2, printed)
    status = demo.rest.get("/uptime-status/example-host")
    # It measures this machine, which may be busy enough to be unhealthy.
    causes = {period["cause"] for period in status["downtime_periods"]}
    account.check("the agent is heard all the time", status["uptime_sessions"] and causes <= {"unhealthy"}, status)


def fleet_health(account, work, demo):
    code, printed = run(work, "fleet-health", env=demo.environment)
    agents = demo.rest.get("/agents")["agents"]
    lines = printed.strip().splitlines()
    account.check("one line for each agent and a sum", len(lines) == len(agents) + 1, printed)
    sick = sum(one["health"] in ("critical", "offline") for one in agents)
    account.check("its exit code says whether one is sick", code == (1 if sick else 0), (code, sick, printed))
    order = [line.split()[0] for line in lines[:-1]]
    ranks = {"critical": 0, "offline": 0, "degraded": 1, "unknown": 2, "maintenance": 3, "healthy": 4}
    account.check("the sickest come first", [ranks[h] for h in order] == sorted(ranks[h] for h in order), printed)


def webhook_receiver(account, work, demo, receiver):
    demo.rest.post("/heartbeat", {
        "agent_info": {"agent_id": "example-sick", "agent_version": "1", "environment": "example"},
        "health_status": "healthy", "timestamp": now(), "cpu_usage_percent": 99.0,
    })
    try:
        wait_for("the alert", 20, lambda: "example-sick: cpu_usage is 99.0 %" in work.log("webhook-receiver"))
        told = True
    except TimeoutError:
        told = False
    account.check("it prints the alert", told, work.log("webhook-receiver"))
    forged = Rest(receiver).call("POST", "/", {"event": "raised"})
    account.check("it refuses what is not signed", forged.status == 401, forged.status)


def influxdb_verdicts(account, work, program):
    influx = Influx(work, pathlib.Path(os.environ["VITALS_PEERS"]) / "influxd").start()
    vitals = Vitals(work, program, config=influx.store(), env=influx.environment()).start()
    for value in [10.0 + (step * 7 % 5) for step in range(30)] + [500.0]:
        vitals.rest.post("/system-metrics", {
            "system_id": "db-1", "environment": "example", "collection_method": "push", "timestamp": now(),
            "metrics": [{"metric_name": "queue", "metric_type": "custom", "value": value, "unit": "1"}],
        })
    env = {
        "INFLUX_URL": f"http://127.0.0.1:{influx.port}", "INFLUX_ORG": influx.ORG, "INFLUX_BUCKET": influx.BUCKET,
        "INFLUX_TOKEN": influx.TOKEN,
    }
    stored = f'from(bucket: "{influx.BUCKET}") |> range(start: -1h) |> filter(fn: (r) => r._measurement == "vitals_outlier")'
    wait_for("the outlier is in InfluxDB", 60, lambda: influx.query(stored))
    code, printed = run(work, "influxdb-verdicts", env=env)
    account.check("it prints the outlier", code == 0 and "db-1  queue = 500" in printed, printed)


def now():
    return rfc3339(time.time_ns())


def main():
    program = binary()
    work = Work("examples")
    account = Account(work)
    receiver = free_port()
    work.start("webhook-receiver", EXAMPLES / "webhook-receiver", f"127.0.0.1:{receiver}", env={"ON_CALL_SECRET": SECRET})
    demo = Demo(work, program, receiver)
    account.part("otlp-sender", otlp_sender, account, work, demo)
    account.part("heartbeat-agent", heartbeat_agent, account, work, demo)
    account.part("fleet-health", fleet_health, account, work, demo)
    account.part("webhook-receiver", webhook_receiver, account, work, demo, receiver)
    account.part("influxdb-verdicts", influxdb_verdicts, account, work, program)
    account.close()


main()
