"""What JSON Schema cannot say of a request, made true of the generated ones that are meant to be accepted.

A heartbeat must be fresh, a range must not end before it starts, a batch must hold something, and each metric has a name of its
own, and maintenance is of agents. Negative cases are left as they are.
"""

import datetime
import uuid

import schemathesis

SECOND = datetime.timedelta(seconds=1)


def is_positive(case):
    meta = case.meta
    return meta is not None and meta.generation.mode.is_positive


@schemathesis.hook
def before_call(_context, case, _kwargs):
    if not is_positive(case):
        return
    if isinstance(case.query, dict):
        order(case.query, "start", "end")
    if isinstance(case.body, dict):
        if case.operation.path.endswith("/heartbeat"):
            case.body["timestamp"] = now()
        if case.operation.path.endswith("/system-metrics"):
            case.body["timestamp"] = now()
            for metric in case.body["metrics"]:
                metric["metric_name"] = f"{metric['metric_name'][:100]} {uuid.uuid4()}"
                if metric.get("timestamp"):
                    metric["timestamp"] = now()
        if case.operation.path.endswith("/batch") and not case.body.get("heartbeats") and not case.body.get("metrics"):
            case.body["heartbeats"] = [{}]
        if "/maintenance" in case.operation.path:
            # One of two fields names agents, and a zone is one that there is.
            case.body["agents"] = ["web-*"]
            if case.body.get("time_zone") is not None:
                case.body["time_zone"] = "Europe/Berlin"
        order(case.body, "start_time", "end_time")
        if isinstance(case.body.get("time_range"), dict):
            order(case.body["time_range"], "start_time", "end_time")


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat()


def order(fields, first, last):
    """Puts a range of the last hours where a range is."""
    if first in fields or last in fields:
        end = datetime.datetime.now(datetime.timezone.utc)
        fields[first] = (end - 3600 * SECOND).isoformat()
        fields[last] = end.isoformat()


@schemathesis.check
def a_bad_item_is_named(_context, response, case):
    """A batch is taken although items of it are bad; then each of them is named."""
    if case.operation.path.endswith("/batch") and response.status_code == 202 and not is_positive(case):
        result = response.json()
        assert result["validation_errors"], "a bad item of a batch was taken for a good one"
