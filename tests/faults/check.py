"""Disks that fail: each file of the service, each way to fail, while points come in.

usage: check.py [VITALS]                   started by run.sh

For each file and fault: points are sent all the time; the fault is switched on, then off, then on again for the stop.
What must hold: whatever was acknowledged is there once, with its value; while the file that an acknowledgement needs
cannot be written, nothing is acknowledged; `/health` says that the service is not ready, and why; it recovers by itself;
and it stops within its deadline though the disk still fails, with everything acknowledged there after the next start.
"""

import collections
import http.client
import json
import mmap
import os
import pathlib
import random
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import harness  # noqa: E402
from harness import wait_for  # noqa: E402

FAULTS = {"EIO on writes": 1, "a full disk": 2, "EIO on syncs": 3, "short writes": 4}
# Which files a share of the runs meets; all of them with EVERY=1.
FILES = ["log.db-wal", "store.db-wal", "log.db", "store.db", "notices.db-wal"]
SECONDS = float(os.environ.get("SECONDS_OF_FAULT", "3"))
STOP_SECONDS = 20
ONLY = os.environ.get("ONLY", "")

WORK = harness.Work("faults")
ACCOUNT = harness.Account(WORK)
check = ACCOUNT.check


class Fault:
    """The page through which the preloaded library learns what fails."""

    def __init__(self, name):
        self.path = WORK.path / f"{name}.fault"
        self.path.write_bytes(bytes(256))
        with open(self.path, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), 256)

    def on(self, kind, file):
        # The slash keeps `log.db` from meaning `xlog.db`.
        name = b"/" + file.encode() + b"\0"
        self.page[8 : 8 + len(name)] = name
        self.page[0] = kind

    def off(self):
        self.page[0] = 0

    def count(self):
        return int.from_bytes(self.page[4:8], "little")


class Sender(threading.Thread):
    """One point a request, as fast as answers come; a refused one is given up."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.ended = port, threading.Event()
        self.acknowledged, self.answers = {}, collections.deque(maxlen=100_000)

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not self.ended.is_set():
            at, value = time.time_ns(), float(random.randrange(10**6))
            body = json.dumps({"resourceMetrics": [{
                "resource": {"attributes": [{"key": "service.instance.id", "value": {"stringValue": "sender"}}]},
                "scopeMetrics": [{"metrics": [{"name": "m", "gauge": {"dataPoints": [
                    {"timeUnixNano": str(at), "asDouble": value}]}}]}]}]})
            try:
                connection.request("POST", "/v1/metrics", body, {"content-type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                status = answer.status
            except (OSError, http.client.HTTPException):
                connection.close()
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                status = 0
            if status == 200:
                self.acknowledged[at] = value
            self.answers.append((time.monotonic(), status))
            time.sleep(0.005 if status == 200 else 0.05)

    def accepted_since(self, moment):
        return sum(1 for at, status in self.answers if at >= moment and status == 200)


def health(vitals):
    answer = harness.Rest(vitals.rest_port).call("GET", "/health", timeout=5)
    return answer.status, answer.body.decode(errors="replace")


def account(vitals, sender, seconds=60):
    """Missing, twice, other of what is acknowledged by now; evaluation may take its time to catch up."""
    wanted = dict(sender.acknowledged)
    until = time.monotonic() + seconds
    while True:
        found = compare(vitals, wanted)
        if found[0] == 0 or time.monotonic() > until:
            return found
        time.sleep(0.5)


def compare(vitals, wanted):
    series = [s for s in vitals.rest.get("/series", agent="sender")["series"] if s["metric_name"] == "m"]
    samples = vitals.rest.get(f"/series/{series[0]['series_id']}/samples", limit=100_000)["samples"]
    found = collections.defaultdict(list)
    for sample in samples:
        found[harness.nanos(sample["time"])].append(sample["value"])
    missing = sum(1 for at in wanted if at not in found)
    twice = sum(1 for values in found.values() if len(values) > 1)
    other = sum(1 for at, value in wanted.items() if at in found and found[at][0] != value)
    return missing, twice, other


def one(library, file, name, kind):
    fault = Fault(f"{file}-{kind}")
    vitals = harness.Vitals(WORK, harness.binary(), name=f"{file}-{kind}", config=CONFIG)
    vitals.env = {"LD_PRELOAD": str(library), "FAULT_FILE": str(fault.path)}
    vitals.child = WORK.start(vitals.name, vitals.program, "serve", "--config", vitals.file, "--data", vitals.data,
                              env=vitals.environment())
    vitals.env = {}
    wait_for("it is ready", 60, vitals.ready)
    vitals.rest = harness.Rest(vitals.rest_port, vitals.token())
    sender = Sender(vitals.http)
    sender.start()
    wait_for("points are acknowledged", 20, lambda: len(sender.acknowledged) > 20)
    fault.on(kind, file)
    began = time.monotonic()
    seen = []
    while time.monotonic() - began < SECONDS:
        seen.append(health(vitals))
        time.sleep(0.2)
    met = fault.count()
    if file == "log.db-wal":
        # What was committed when the fault came may still be answered.
        check(f"{file}, {name}: nothing is acknowledged that is not durable",
              met > 0 and sender.accepted_since(began + 1) == 0, f"{sender.accepted_since(began + 1)} were, {met} faults")
    if met and file != "notices.db-wal":
        bad = [body for status, body in seen if status != 200]
        check(f"{file}, {name}: /health says that it is not ready, and why", bad and "cannot" in bad[-1], seen[-1])
    fault.off()
    again = time.monotonic()
    wait_for(f"{file}, {name}: points are acknowledged again", 30, lambda: sender.accepted_since(again + 0.5) > 5)
    wait_for(f"{file}, {name}: ready again", 30, lambda: health(vitals)[0] == 200)
    faults = account(vitals, sender)
    check(f"{file}, {name}: all that was acknowledged is there once ({met} failures)", faults == (0, 0, 0), faults)
    fault.on(kind, file)
    time.sleep(0.5)
    begun = time.monotonic()
    vitals.child.terminate()
    try:
        vitals.child.wait(STOP_SECONDS)
        took = time.monotonic() - begun
    except Exception:  # noqa: BLE001 that it did not end is the finding
        took = None
        vitals.child.kill()
        vitals.child.wait()
    sender.ended.set()
    sender.join(40)
    check(f"{file}, {name}: it stops though the disk fails", took is not None, f"not within {STOP_SECONDS} s")
    vitals.start()
    faults = account(vitals, sender)
    check(f"{file}, {name}: after the next start all that was acknowledged is there once", faults == (0, 0, 0), faults)
    vitals.kill()


# Seals come often, so that faults meet them.
CONFIG = "[evaluate]\ncheckpoint_seconds = 1\nstate_seconds = 2\n"
LIBRARY = pathlib.Path(os.environ["FAULT_LIBRARY"])
for file_name in FILES:
    for fault_name, number in FAULTS.items():
        if ONLY in f"{file_name} {fault_name}":
            ACCOUNT.part(f"{file_name}: {fault_name}", one, LIBRARY, file_name, fault_name, number)
ACCOUNT.close()
