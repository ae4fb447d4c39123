"""The metrics that the SDK programs send, and what must be stored of them.

`send.mjs` reads the same numbers from `python3 expected.py`, which prints them as JSON.
"""

import json

BOUNDS = [5, 10, 25, 50, 100]
# Enough values for an outlier detector's window before the last one jumps.
STEADY = [10.0, 11.0, 12.0] * 5
SPIKE = 1000.0
TURNS = len(STEADY) + 1


def turn(number):
    """What is recorded before the export of this turn."""
    early = number < 2
    return {
        "orders": [[5], [3, 4]][number] if early else [],
        "queue": [[3], [-1]][number] if early else [],
        "latency": [[1, 7], [20, 200]][number] if early else [],
        "size": [[1, 2], [4, 8]][number] if early else [],
        "temperature": 21.5 - number,
        "steady": STEADY[number] if number < len(STEADY) else SPIKE,
    }


# (metric, part) -> the last value stored, whatever the temporality was: increments are added up.
LAST = {
    ("orders", "value"): 12,
    ("queue", "value"): 2,
    ("latency", "count"): 4,
    ("latency", "sum"): 228,
    ("latency", "le=5"): 1,
    ("latency", "le=10"): 2,
    ("latency", "le=25"): 3,
    ("latency", "le=100"): 3,
    ("size", "count"): 4,
    ("size", "sum"): 15,
    ("temperature", "value"): 21.5 - (TURNS - 1),
    ("steady", "value"): SPIKE,
}

# The same where the temporality is cumulative: an increment's extremes are not the total's.
LAST_CUMULATIVE = {
    ("latency", "min"): 1,
    ("latency", "max"): 200,
    ("size", "min"): 1,
    ("size", "max"): 8,
}

if __name__ == "__main__":
    print(json.dumps({"bounds": BOUNDS, "turns": [turn(number) for number in range(TURNS)]}))
