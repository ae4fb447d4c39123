"""Sends one fixed set of metrics with the OpenTelemetry SDK for Python; `expected.py` says what must arrive.

usage: send.py grpc|http ENDPOINT INSTANCE
Temporality comes from OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE.
"""

import sys
import time

import expected
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.sdk.resources import Resource


def exporter(protocol, endpoint):
    if protocol == "grpc":
        from grpc import Compression
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

        return OTLPMetricExporter(endpoint=endpoint, insecure=True, compression=Compression.Gzip, timeout=10)
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    return OTLPMetricExporter(endpoint=f"{endpoint}/v1/metrics", compression=Compression.Gzip, timeout=10)


def main(protocol, endpoint, instance):
    gauges = {"temperature": 0.0, "steady": 0.0}
    # Exports happen only when asked for: the interval is longer than the run.
    reader = PeriodicExportingMetricReader(exporter(protocol, endpoint), export_interval_millis=3_600_000)
    provider = MeterProvider(
        metric_readers=[reader],
        resource=Resource.create({"service.name": "interop-python", "service.instance.id": instance}),
        views=[
            View(
                instrument_name="latency",
                aggregation=ExplicitBucketHistogramAggregation(boundaries=expected.BOUNDS),
            ),
            View(instrument_name="size", aggregation=ExponentialBucketHistogramAggregation()),
        ],
    )
    meter = provider.get_meter("interop", "1.0")
    orders = meter.create_counter("orders", unit="{order}")
    queue = meter.create_up_down_counter("queue", unit="{item}")
    latency = meter.create_histogram("latency", unit="ms")
    size = meter.create_histogram("size", unit="By")
    for name in gauges:
        meter.create_observable_gauge(
            name, callbacks=[lambda _, name=name: [Observation(gauges[name], {"room": "lab"})]]
        )
    for turn in range(expected.TURNS):
        part = expected.turn(turn)
        for amount in part["orders"]:
            orders.add(amount, {"kind": "a"})
        for amount in part["queue"]:
            queue.add(amount)
        for value in part["latency"]:
            latency.record(value)
        for value in part["size"]:
            size.record(value)
        gauges["temperature"] = part["temperature"]
        gauges["steady"] = part["steady"]
        if not provider.force_flush(10_000):
            sys.exit("the export failed")
        time.sleep(0.02)
    provider.shutdown()


main(*sys.argv[1:])
