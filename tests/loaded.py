"""What `vitals load` had acknowledged, against what is stored."""

import collections
import time

from harness import nanos, rfc3339


def value(series, at):
    """What `vitals load` sends of a series at a time; its help and `src/commands/load/template.rs` say the same."""
    mask = 2**64 - 1
    z = ((series << 48) + at) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    z ^= z >> 31
    return (100 * (20 + series % 50) + z % 1000 + (100_000 if z >> 52 == 0 else 0)) / 100


def acknowledged(file):
    """What the load program saw acknowledged: number of a series -> times in nanoseconds."""
    found = collections.defaultdict(set)
    for line in file.read_text().splitlines():
        first, count, start, step, rounds = (int(field) for field in line.split())
        for series in range(first, first + count):
            found[series].update(range(start, start + step * rounds, step))
    return found


def compare(rest, wanted, began):
    """Points missing, points twice, points with another value, points in all."""
    missing = twice = other = total = 0
    window = {"start": rfc3339(began), "end": rfc3339(time.time_ns() + 3600 * 1_000_000_000), "limit": 100_000}
    ids = {}
    for agent in {series // 100 for series in wanted}:
        for series in rest.get("/series", agent=f"load-{agent}@load-host-{agent}")["series"]:
            if series["metric_name"] == "load.gauge":
                ids[int(series["attributes"]["series"])] = series["series_id"]
    for number, times in wanted.items():
        total += len(times)
        if number not in ids:
            missing += len(times)
            continue
        stored = [(nanos(s["time"]), s["value"]) for s in rest.get(f"/series/{ids[number]}/samples", **window)["samples"]]
        values = dict(stored)
        twice += len(stored) - len(values)
        missing += len(times - values.keys())
        other += sum(1 for at in times & values.keys() if values[at] != value(number, at))
    return missing, twice, other, total
