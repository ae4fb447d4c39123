"""Starts `vitals serve`, tells it of an agent and a system, and lets schemathesis loose on it.

usage: check.py [VITALS]          started by run.sh, which installs what this needs
"""

import datetime
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import harness  # noqa: E402

SECONDS = os.environ.get("SCHEMATHESIS_SECONDS", "60")
SEED = os.environ.get("SCHEMATHESIS_SEED", "1")
PHASES = ["examples", "coverage", "fuzzing"]

WORK = harness.Work("schemathesis")
ACCOUNT = harness.Account(WORK)


def known(rest):
    """What the document's examples speak of: an agent with an open alert, and a system. Returns the alert's id."""
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    rest.post("/heartbeat", {
        "agent_info": {"agent_id": "web-1", "agent_version": "1.4.2", "environment": "production"},
        "health_status": "healthy", "timestamp": now, "cpu_usage_percent": 97,
    })
    rest.post("/system-metrics", {
        "system_id": "db-1", "timestamp": now, "environment": "production", "collection_method": "push",
        "metrics": [{"metric_name": "cpu.total", "metric_type": "cpu_usage", "value": 42.5, "unit": "%"}],
    })
    return rest.get("/alerts")["alerts"][0]["alert_id"]


def phase(name, vitals, token, alert):
    limits = ["--max-time", SECONDS] if name == "fuzzing" else []
    # One worker: CPython 3.11 fails with a SystemError where two threads parse Python at a time, which hypothesis does.
    done = subprocess.run(
        [
            os.environ["SCHEMATHESIS"], "--config-file", str(HERE / "schemathesis.toml"), "run",
            f"http://127.0.0.1:{vitals.rest_port}/openapi.json", "--phases", name, "--checks", "all",
            "--seed", SEED, "--workers", "1", "--no-color", "--generation-database", "none", *limits,
            "--header", f"Authorization: Bearer {token}",
        ],
        env={**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE), "ALERT": alert},
        # It keeps a cache in the folder that it is in.
        cwd=WORK.path,
        check=False,
    )
    ACCOUNT.check(f"schemathesis finds nothing in its {name} phase", done.returncode == 0, f"it ended with {done.returncode}")
    ACCOUNT.check(f"the service lives after the {name} phase", vitals.child.poll() is None and vitals.ready())


def main():
    vitals = harness.Vitals(WORK, harness.binary(), "vitals").start()
    alert = known(vitals.rest)
    token = vitals.token()
    for name in PHASES:
        ACCOUNT.part(name, phase, name, vitals, token, alert)
    ACCOUNT.check("it stops when asked", vitals.stop() == 0)
    # A panic is caught and answered with 500; it would be in the log.
    ACCOUNT.check("nothing panicked", "panicked" not in WORK.log("vitals"))
    ACCOUNT.close()


if __name__ == "__main__":
    main()
