"""Power cuts: every acknowledged point is there once, whatever the disk had not written yet.

usage: check.py [VITALS]                   started by run.sh

A service runs under load with a library preloaded that notes each write and each sync (trace.c). From that trace the
files are rebuilt as a power cut at a random moment may have left them, with random torn subsets of what was not synced
(images.py). The service starts on each image and is asked for everything: a point that was acknowledged before the cut is
there once, with its value; nothing is there that was not sent.

A control run with `durability = "os"` must lose points, or the oracle does not see.
"""

import collections
import http.client
import json
import os
import pathlib
import random
import shutil
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import harness  # noqa: E402
from images import Disk, entries, images  # noqa: E402

IMAGES = int(os.environ.get("IMAGES", "12"))
SECONDS = float(os.environ.get("SECONDS_OF_LOAD", "8"))
SEED = os.environ.get("SEED", str(random.randrange(10**9)))
SENDERS, SERIES, TIMES = 3, 10, 5

WORK = harness.Work("powercut")
ACCOUNT = harness.Account(WORK)
check = ACCOUNT.check


class Sender(threading.Thread):
    """Sends points of its own agent over OTLP/HTTP, one request after the other, and notes what was acknowledged."""

    def __init__(self, number, port, trace, until):
        super().__init__(daemon=True)
        self.agent, self.port, self.trace, self.until = f"sender-{number}", port, trace, until
        self.sent = {}  # (series, time) -> value
        self.acknowledged = []  # (length of the trace at the answer, [(series, time)])

    def request(self, at):
        points = {}
        for series in range(SERIES):
            for step in range(TIMES):
                points[(series, at + step * 1_000_000)] = float(random.randrange(10**6))
        metrics = [{"name": f"m{series}", "gauge": {"dataPoints": [
            {"timeUnixNano": str(time), "asDouble": value} for (of, time), value in points.items() if of == series]}}
            for series in range(SERIES)]
        resource = {"attributes": [{"key": "service.instance.id", "value": {"stringValue": self.agent}}]}
        return points, json.dumps({"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": metrics}]}]})

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        while time.monotonic() < self.until:
            points, body = self.request(time.time_ns())
            self.sent.update(points)
            try:
                connection.request("POST", "/v1/metrics", body, {"content-type": "application/json"})
                answer = connection.getresponse()
                answer.read()
            except OSError:
                return
            # What the answer waited for stands in the trace before this length.
            if answer.status == 200:
                self.acknowledged.append((os.stat(self.trace).st_size, list(points)))


def is_still(trace, seconds=0.5):
    """Whether the trace stays as it is for a moment."""
    before = os.stat(trace).st_size
    time.sleep(seconds)
    return os.stat(trace).st_size == before


def run_traced(name, library, config):
    """A service under load, traced, and killed: its folder, the trace, the senders."""
    trace = WORK.path / f"{name}.trace"
    data = WORK.path / f"{name}-data"
    environment = {"LD_PRELOAD": str(library), "TRACE_ROOT": str(data), "TRACE_FILE": str(trace)}
    vitals = harness.Vitals(WORK, harness.binary(), name=name, config=config, data=data)
    token_environment = vitals.env
    vitals.env = environment
    vitals.child = WORK.start(name, vitals.program, "serve", "--config", vitals.file, "--data", data,
                              env=vitals.environment())
    vitals.env = token_environment
    harness.wait_for(f"{name} is ready", 60, vitals.ready)
    until = time.monotonic() + SECONDS
    senders = [Sender(number, vitals.http, trace, until) for number in range(SENDERS)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(SECONDS + 30)
    # A write that the kill cuts off would be in the folder and not in the trace. The cuts lie within the load anyway.
    harness.wait_for("nothing is written", 60, lambda: is_still(trace))
    vitals.kill()
    return data, trace, senders


def trace_is_whole(data, trace):
    """Everything of the trace, applied, is the folder as it is."""
    disk = Disk(data)
    for at, kind, inode, number, content in entries(trace):
        disk.take(at, kind, inode, number, content)
    rebuilt = WORK.path / "rebuilt"
    disk.image(rebuilt, None)
    # The index of the write-ahead log is shared memory and made anew.
    names = sorted(p.relative_to(data) for p in data.rglob("*") if p.is_file() and not p.name.endswith("-shm"))
    different = [str(name) for name in names
                 if not (rebuilt / name).exists() or (rebuilt / name).read_bytes() != (data / name).read_bytes()]
    shutil.rmtree(rebuilt)
    check("the trace holds every change of every file", names and not different, different)


def stored(rest, agent):
    """Every sample that the service gives of an agent: (series, time) -> values."""
    found = collections.defaultdict(list)
    try:
        every = rest.get("/series", agent=agent)["series"]
    except RuntimeError as error:
        if " 404 " in str(error):
            return found
        raise
    for series in every:
        if not series["metric_name"].startswith("m"):
            continue
        samples = rest.get(f"/series/{series['series_id']}/samples", limit=100_000, start="1970-01-01T00:00:00Z")["samples"]
        for sample in samples:
            found[(int(series["metric_name"][1:]), harness.nanos(sample["time"]))].append(sample["value"])
    return found


def lost_in(image, config, senders, cut, name):
    """Starts on an image: how many acknowledged points are missing, twice, other, invented, how many there are."""
    vitals = harness.Vitals(WORK, harness.binary(), name=name, config=config, data=image).start()
    missing = twice = other = invented = total = 0
    for sender in senders:
        found = stored(vitals.rest, sender.agent)
        for length, points in sender.acknowledged:
            if length <= cut:
                total += len(points)
                missing += sum(1 for point in points if point not in found)
        twice += sum(1 for values in found.values() if len(values) > 1)
        invented += sum(1 for point in found if point not in sender.sent)
        other += sum(1 for point, values in found.items() if point in sender.sent and values[0] != sender.sent[point])
    vitals.kill()
    return missing, twice, other, invented, total


def cuts_of(trace, first, count, draw):
    """Offsets of a trace, from the first acknowledged request on."""
    return sorted(draw.randint(first, trace.stat().st_size) for _ in range(count))


def power_cuts(library, name, config, count):
    """The acknowledged points that are missing over all images."""
    data, trace, senders = run_traced(name, library, config)
    trace_is_whole(data, trace)
    first = min((sender.acknowledged[0][0] for sender in senders if sender.acknowledged), default=0)
    requests = sum(len(sender.acknowledged) for sender in senders)
    check(f"{requests} requests were acknowledged", requests > 100)
    lost = 0
    for at, (cut, disk, draw) in enumerate(images(trace, data, cuts_of(trace, first, count, random.Random(SEED)), SEED)):
        image = WORK.path / "image"
        disk.image(image, draw)
        missing, twice, other, invented, total = lost_in(image, config, senders, cut, f"{name}-image-{at}")
        lost += missing
        faults = f"{missing} missing, {twice} twice, {other} with another value, {invented} never sent"
        if name == "synced":
            check(f"cut at byte {cut} of the trace: all {total:,} acknowledged points are there once",
                  not (missing or twice or other or invented), faults)
        else:
            check(f"cut at byte {cut}: what is there was sent, once", not (twice or other or invented), faults)
        shutil.rmtree(image)
    return lost


# Seals and checkpoints come often, so that cuts meet them; the store's file takes part.
OFTEN = "[evaluate]\ncheckpoint_seconds = 1\nstate_seconds = 2\n"

print(f"SEED={SEED}")
LIBRARY = pathlib.Path(os.environ["TRACE_LIBRARY"])
ACCOUNT.part(f"{IMAGES} power cuts", power_cuts, LIBRARY, "synced", OFTEN, IMAGES)


def control():
    # Without seals, so that only the log could hold them.
    config = '[log]\ndurability = "os"\n[evaluate]\ncheckpoint_seconds = 3600\n'
    lost = power_cuts(LIBRARY, "control", config, 3)
    check("without syncs the same cuts lose acknowledged points: the test would see it", lost > 0)


ACCOUNT.part("the control: durability = \"os\"", control)
ACCOUNT.close()
