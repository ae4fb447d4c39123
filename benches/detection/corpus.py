"""Labelled series: those of a copy of the Numenta Anomaly Benchmark, and made ones."""

import csv
import datetime
import json
import math
import pathlib
import random
import sys

from nab import Series

DAY = 86_400
STEP = 300
# A Monday.
BEGIN = 1_700_438_400
DAYS = 28


def seconds(text):
    moment = datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.timezone.utc)
    return int(moment.timestamp())


def numenta(folder):
    """The series of a copy of the benchmark; ends the program when there are none."""
    folder = pathlib.Path(folder)
    labels = folder / "labels/combined_windows.json"
    if not labels.is_file():
        sys.exit(f"no file {labels}: name a copy of the Numenta Anomaly Benchmark (github.com/numenta/NAB)")
    corpus = []
    for name, windows in sorted(json.loads(labels.read_text()).items()):
        path = folder / "data" / name
        if not path.is_file():
            continue
        with path.open(newline="") as lines:
            rows = [(seconds(time), float(value)) for time, value in list(csv.reader(lines))[1:]]
        spans = [(seconds(begin), seconds(end)) for begin, end in windows]
        corpus.append(Series(name, [time for time, _ in rows], [value for _, value in rows], spans))
    if not corpus:
        sys.exit(f"no series under {folder / 'data'}: its folders (realKnownCause, ...) hold NAME.csv")
    return corpus


def daily(day):
    """Lowest at midnight, highest at noon."""
    return math.sin(math.tau * (day - 0.25))


def is_weekend(day):
    return day % 7 >= 5


# What is usual: day since the begin, a source of chance -> a value.
USUAL = {
    "noise": lambda day, chance: 50 + 5 * chance.gauss(0, 1),
    "heavy tails": lambda day, chance: math.exp(chance.gauss(0, 0.7)),
    "daily": lambda day, chance: 100 + 40 * daily(day) + 4 * chance.gauss(0, 1),
    "weekly": lambda day, chance: 20 + (0.3 if is_weekend(day) else 1) * (60 + 50 * daily(day)) + 4 * chance.gauss(0, 1),
    "batch job": lambda day, chance: (80 if abs(day % 1 - 0.083) < 0.02 else 5) + chance.gauss(0, 1),
    "whole numbers": lambda day, chance: float(round(40 + 0.7 * chance.gauss(0, 1))),
}

# What goes wrong in one of these: which, from which day to which, what becomes of the value.
WRONG = {
    "level shift": ("noise", 17.3, 18.3, lambda day, usual: usual + 40),
    "spike": ("daily", 20.5, 20.52, lambda day, usual: usual + 200),
    "spikes": ("heavy tails", 19.2, 19.3, lambda day, usual: usual + 60),
    "leak": ("noise", 18, 21, lambda day, usual: usual + 15 * (day - 18)),
    "stuck": ("daily", 17.1, 18.1, lambda day, usual: 90.0),
    "outage": ("weekly", 22.3, 22.8, lambda day, usual: 0.0),
    "absent peak": ("daily", 17, 18, lambda day, usual: min(usual, 85 + usual / 100)),
    "job missing": ("batch job", 17.05, 17.5, lambda day, usual: min(usual, 5.0 + usual / 100)),
}


def made():
    """Four weeks of each, every five minutes: six in which nothing is wrong, and eight in which something is."""
    times = [BEGIN + STEP * row for row in range(DAYS * DAY // STEP)]

    def days_and_usual(kind, seed):
        chance = random.Random(seed)
        return [((time - BEGIN) / DAY, USUAL[kind]((time - BEGIN) / DAY, chance)) for time in times]

    corpus = [Series(f"usual/{kind}", times, [value for _, value in days_and_usual(kind, 7 + number)], [])
              for number, kind in enumerate(USUAL)]
    for number, (name, (kind, begin, end, change)) in enumerate(WRONG.items()):
        values = [change(day, usual) if begin <= day < end else usual for day, usual in days_and_usual(kind, 77 + number)]
        # A label is somewhat wider than what it is about, as those of the benchmark are.
        window = tuple(times[min(round(day * DAY / STEP), len(times) - 1)] for day in (begin - 0.1, end + 0.5))
        corpus.append(Series(f"wrong/{name}", times, values, [window]))
    return corpus
