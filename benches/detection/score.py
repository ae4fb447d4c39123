"""Sends labelled series to a `vitals serve` of its own, reads the verdicts back, and prints what they score.

usage: score.py [VITALS] [NAB]                    started by run.sh
"""

import collections
import http.client
import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "tests"))

import corpus as corpora  # noqa: E402
import harness  # noqa: E402
import nab  # noqa: E402
from harness import rfc3339, wait_for  # noqa: E402

SECOND = 1_000_000_000
POINTS_A_REQUEST = 1000
METRIC = "labelled.value"
# The series are years old.
CONFIG = "[telemetry]\nheartbeat_retention_days = 30000\nmetrics_retention_days = 30000\nsnapshot_retention_days = 30000\n"
MOST_LISTED = 10_000
# A question may be about a year at most.
YEAR = 8_000 * 3_600
# What the made series must score at least with every verdict, in the standard profile, and what they may have of
# false alarms a series and day. The one by quartiles knows no season and no absence.
LEAST = {"seasonal-outlier": (75.0, 0.1), "iqr-outlier": (40.0, 0.15)}


def request(agent, points):
    """One gauge of a host, as OTLP/JSON."""
    rows = [{"timeUnixNano": str(time * SECOND), "asDouble": value} for time, value in points]
    metric = {"name": METRIC, "unit": "1", "gauge": {"dataPoints": rows}}
    resource = {"attributes": [{"key": "host.name", "value": {"stringValue": agent}}]}
    return {"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": [metric]}]}]}


def send(vitals, agent, series):
    """Sends a series in order; each request is answered when it is in the log."""
    connection = http.client.HTTPConnection("127.0.0.1", vitals.http, timeout=60)
    points = list(zip(series.times, series.values))
    for first in range(0, len(points), POINTS_A_REQUEST):
        body = json.dumps(request(agent, points[first : first + POINTS_A_REQUEST]))
        connection.request("POST", "/v1/metrics", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        said = json.loads(answer.read())
        if answer.status != 200 or said.get("partialSuccess", {}).get("rejectedDataPoints"):
            sys.exit(f"{series.name}: {answer.status} {said}")
    connection.close()


def rows_judged(vitals):
    """How many rows the service has taken into evaluation: judged, or left out as duplicates or late."""
    text = vitals.rest.call("GET", "/metrics").body.decode()
    names = tuple(f"vitals_rows_{what}_total" for what in ("judged", "duplicate", "late"))
    lines = [line.split() for line in text.splitlines() if line.startswith(names)]
    return sum(float(fields[-1]) for fields in lines)


def verdicts(vitals, agent, series):
    """The outliers of an agent."""
    time, end = series.times[0], series.times[-1] + 1
    while time < end:
        until = min(time + YEAR, end)
        answer = vitals.rest.get("/verdicts", agent=agent, kind="outlier", limit=MOST_LISTED,
                                 start=rfc3339(time * SECOND), end=rfc3339(until * SECOND))["verdicts"]
        if len(answer) == MOST_LISTED:
            sys.exit(f"{series.name} has more verdicts than are listed")
        yield from answer
        time = until


def detect(program, corpus):
    """Plugin -> series -> row -> score, and how many scores were no numbers."""
    work = harness.Work("detection")
    vitals = harness.Vitals(work, program, config=CONFIG).start()
    agents = {series.name: f"series-{number}" for number, series in enumerate(corpus)}
    for series in corpus:
        send(vitals, agents[series.name], series)
    sent = sum(len(series.times) for series in corpus)
    wait_for("all rows are judged", 300, lambda: rows_judged(vitals) >= sent)
    detectors = [one["name"] for one in vitals.rest.get("/plugins")["plugins"] if one["kind"] == "outlier-detector"]
    found = {name: collections.defaultdict(dict) for name in sorted(detectors)}
    without_score = 0
    for series in corpus:
        rows = {}
        for row, time in enumerate(series.times):
            rows.setdefault(time, row)
        for verdict in verdicts(vitals, agents[series.name], series):
            score = verdict["body"]["score"]
            without_score += score is None
            at = rows[harness.nanos(verdict["time"]) // SECOND]
            found[verdict["evidence"]["plugin"]][series.name][at] = score or 0.0
    vitals.stop()
    work.close()
    return found, without_score


def table(corpus, found):
    """Prints a detector's scores: with every verdict, and with the threshold that is best for the standard profile."""
    print("| detector | verdicts | " + " | ".join(nab.PROFILES) + " | windows hit | false alarms a series and day |")
    print("|---" * (len(nab.PROFILES) + 4) + "|")
    for plugin, by_series in found.items():
        threshold = nab.best_threshold(corpus, by_series, "standard")[1]
        every = [nab.at_threshold(corpus, by_series, 0.0, profile) for profile in nab.PROFILES]
        best = [nab.best_threshold(corpus, by_series, profile)[0] for profile in nab.PROFILES]
        for what, scores, least in (("every one", every, 0.0), (f"from {threshold:.3g}", best, threshold)):
            hit, windows, false_alarms = nab.rates(corpus, by_series, least)
            line = " | ".join(f"{score:.1f}" for score in scores)
            print(f"| {plugin} | {what} | {line} | {hit} of {windows} | {false_alarms:.3f} |")
    for plugin, by_series in found.items():
        print(f"\n{plugin}, every verdict, by folder:")
        for folder in sorted({series.folder for series in corpus}):
            part = [series for series in corpus if series.folder == folder]
            hit, windows, false_alarms = nab.rates(part, by_series)
            print(f"  {folder}: windows {hit} of {windows}, false alarms {false_alarms:.3f} a series and day")
    print(flush=True)


def check_scoring(account, corpus):
    """What a detector that says nothing, one that knows all, and one that says everything score."""
    first = {series.name: {series.places.index(0): 1.0} for series in corpus if 0 in series.places}
    everything = {series.name: dict.fromkeys(range(len(series.times)), 1.0) for series in corpus}
    for what, found, expect in (("nothing", {}, (0, 0)), ("each window at once", first, (99.9, 100)),
                                ("everything", everything, (-1e9, -50))):
        score = nab.at_threshold(corpus, found, 0.0, "standard")
        account.check(f"a detector that says {what} scores {expect[0]} to {expect[1]}", expect[0] <= score <= expect[1], score)


def on_made_series(account, program):
    corpus = corpora.made()
    check_scoring(account, corpus)
    found, without_score = detect(program, corpus)
    table(corpus, found)
    account.check("every score is a number", without_score == 0, without_score)
    account.check("the detectors are the shipped ones", sorted(found) == sorted(LEAST), sorted(found))
    for plugin, (least, most) in LEAST.items():
        score = nab.at_threshold(corpus, found[plugin], 0.0, "standard")
        false_alarms = nab.rates(corpus, found[plugin])[2]
        account.check(f"{plugin} scores at least {least}", score >= least, score)
        account.check(f"{plugin} has at most {most} false alarms a series and day", false_alarms <= most, false_alarms)


def on_numenta(account, program, folder):
    corpus = corpora.numenta(folder)
    rows = sum(len(series.times) for series in corpus)
    print(f"{len(corpus)} series, {rows} values, {nab.windows_of(corpus)} windows that count")
    found, without_score = detect(program, corpus)
    table(corpus, found)
    account.check("every score is a number", without_score == 0, without_score)


PROGRAM = harness.binary()
FOLDER = sys.argv[2] if len(sys.argv) > 2 else os.environ.get("NAB")
ACCOUNT = harness.Account(harness.Work("detection-account"))
ACCOUNT.part("Made series", on_made_series, ACCOUNT, PROGRAM)
if FOLDER:
    ACCOUNT.part("Numenta Anomaly Benchmark", on_numenta, ACCOUNT, PROGRAM, FOLDER)
else:
    print("The Numenta Anomaly Benchmark was not scored: name a copy as the second argument, or in NAB.")
ACCOUNT.close()
