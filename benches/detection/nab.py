"""The scoring of the Numenta Anomaly Benchmark (v1.1), by its definition.

A detector gives points of a series a number above 0, the larger the stranger; all others have none. A point in a labelled
window earns the more the earlier it is, and only the best of a window counts; a point outside of windows costs; a window
without a point costs. What comes in the first 15 % of a series counts nothing. 0 is a detector that says nothing, 100 one
that finds each window at its beginning and nothing else. The benchmark chooses the threshold that scores best, the
same for all series; `at_threshold(..., 0)` is what an operator sees instead: everything that was found.
"""

import collections
import dataclasses
import math

# Name: what a false alarm costs, what a missed window costs.
PROFILES = {"standard": (0.11, 1.0), "low FP": (0.22, 1.0), "low FN": (0.11, 2.0)}
PROBATION_SHARE, PROBATION_MOST = 0.15, 750
NORMAL, PROBATION = -1, -2


@dataclasses.dataclass
class Series:
    """A labelled series: seconds, values, windows as (first second, last second)."""

    name: str
    times: list
    values: list
    windows: list

    def __post_init__(self):
        self.weights, self.places = weighed(self)

    @property
    def folder(self):
        return self.name.partition("/")[0]

    def windows_that_count(self):
        return {place for place in self.places if place >= 0}

    def normal_days(self):
        """Days outside of windows and probation; a gap counts as ten usual steps at most."""
        steps = [later - earlier for earlier, later in zip(self.times, self.times[1:])]
        steps.append(steps[-1])
        most = 10 * sorted(steps)[len(steps) // 2]
        return sum(min(max(step, 0), most) for step, place in zip(steps, self.places) if place == NORMAL) / 86_400


def sigmoid(x):
    return -1.0 if x > 3.0 else 2.0 / (1.0 + math.exp(5.0 * x)) - 1.0


def weighed(series):
    """What each point earns or costs as a finding, and where it lies: the number of its window, NORMAL or PROBATION."""
    first = {}
    for row, time in enumerate(series.times):
        first.setdefault(time, row)
    starts = {begin: (number, first[end], first[end] - first[begin] + 1, end)
              for number, (begin, end) in enumerate(series.windows)}
    weights, places, inside, before = [], [], None, None
    for row, time in enumerate(series.times):
        inside = starts.pop(time, None) or inside
        if inside:
            number, last, length, end = inside
            weights.append(sigmoid(-(last - row + 1) / length) / sigmoid(-1.0))
            places.append(number)
            if time == end:
                inside, before = None, (row, length)
        else:
            weights.append(-1.0 if before is None else sigmoid((row - before[0]) / (before[1] - 1)))
            places.append(NORMAL)
    count = min(math.floor(PROBATION_SHARE * len(places)), PROBATION_MOST)
    places[:count] = [PROBATION] * count
    return weights, places


def findings(corpus, found):
    """(score, weight, window) of all findings that count, the strangest first; windows are (name of the series, number)."""
    points = []
    for series in corpus:
        for row, score in found.get(series.name, {}).items():
            place = series.places[row]
            if place != PROBATION and score > 0:
                points.append((score, series.weights[row], (series.name, place) if place >= 0 else None))
    return sorted(points, key=lambda point: -point[0])


def windows_of(corpus):
    return sum(len(series.windows_that_count()) for series in corpus)


def scaled(total, windows, miss):
    return 100 * (total + miss * windows) / ((1 + miss) * windows) if windows else math.nan


def at_threshold(corpus, found, least, profile):
    """The score of all findings of at least `least`."""
    false_alarm, miss = PROFILES[profile]
    best, total = {}, 0.0
    for score, weight, window in findings(corpus, found):
        if score < least:
            break
        if window is None:
            total += false_alarm * weight
        else:
            best[window] = max(best.get(window, -miss), weight)
    windows = windows_of(corpus)
    return scaled(total + sum(best.values()) - miss * (windows - len(best)), windows, miss)


def best_threshold(corpus, found, profile):
    """The best score over all thresholds, and that threshold."""
    false_alarm, miss = PROFILES[profile]
    windows = windows_of(corpus)
    best = collections.defaultdict(lambda: -miss)
    total = -miss * windows
    top, threshold = total, math.inf
    points = findings(corpus, found)
    for number, (score, weight, window) in enumerate(points):
        if window is None:
            total += false_alarm * weight
        elif weight > best[window]:
            total += weight - best[window]
            best[window] = weight
        # Findings of the same score stand or fall together.
        is_last = number + 1 == len(points) or points[number + 1][0] != score
        if is_last and total > top:
            top, threshold = total, score
    return scaled(top, windows, miss), threshold


def rates(corpus, found, least=0.0):
    """(windows hit, windows, findings outside of them a series and day)."""
    points = [point for point in findings(corpus, found) if point[0] >= least]
    hit = {window for _, _, window in points if window}
    false_alarms = sum(1 for _, _, window in points if window is None)
    return len(hit), windows_of(corpus), false_alarms / sum(series.normal_days() for series in corpus)
