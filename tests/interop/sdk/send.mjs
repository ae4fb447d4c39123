// Sends one fixed set of metrics with the OpenTelemetry SDK for JavaScript; `expected.py` says what must arrive.
//
// usage: node send.mjs grpc|http ENDPOINT INSTANCE < JSON of expected.py
// Temporality comes from OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE; modules from INTEROP_MODULES.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';

const require = createRequire(`${process.env.INTEROP_MODULES}/`);
const { AggregationType, MeterProvider, PeriodicExportingMetricReader } = require('@opentelemetry/sdk-metrics');
const { resourceFromAttributes } = require('@opentelemetry/resources');

const [protocol, endpoint, instance] = process.argv.slice(2);
const { bounds, turns } = JSON.parse(readFileSync(0, 'utf8'));

function exporter() {
  const options = { timeoutMillis: 10_000, compression: 'gzip' };
  if (protocol === 'grpc') {
    const { OTLPMetricExporter } = require('@opentelemetry/exporter-metrics-otlp-grpc');
    return new OTLPMetricExporter({ ...options, url: endpoint });
  }
  const { OTLPMetricExporter } = require('@opentelemetry/exporter-metrics-otlp-proto');
  return new OTLPMetricExporter({ ...options, url: `${endpoint}/v1/metrics` });
}

const gauges = { temperature: 0, steady: 0 };
const provider = new MeterProvider({
  resource: resourceFromAttributes({ 'service.name': 'interop-javascript', 'service.instance.id': instance }),
  // Exports happen only when asked for: the interval is longer than the run.
  readers: [new PeriodicExportingMetricReader({ exporter: exporter(), exportIntervalMillis: 3_600_000 })],
  views: [
    {
      instrumentName: 'latency',
      aggregation: { type: AggregationType.EXPLICIT_BUCKET_HISTOGRAM, options: { boundaries: bounds } },
    },
    { instrumentName: 'size', aggregation: { type: AggregationType.EXPONENTIAL_HISTOGRAM } },
  ],
});
const meter = provider.getMeter('interop', '1.0');
const orders = meter.createCounter('orders', { unit: '{order}' });
const queue = meter.createUpDownCounter('queue', { unit: '{item}' });
const latency = meter.createHistogram('latency', { unit: 'ms' });
const size = meter.createHistogram('size', { unit: 'By' });
for (const name of Object.keys(gauges)) {
  meter.createObservableGauge(name).addCallback((result) => result.observe(gauges[name], { room: 'lab' }));
}

for (const turn of turns) {
  for (const amount of turn.orders) orders.add(amount, { kind: 'a' });
  for (const amount of turn.queue) queue.add(amount);
  for (const value of turn.latency) latency.record(value);
  for (const value of turn.size) size.record(value);
  gauges.temperature = turn.temperature;
  gauges.steady = turn.steady;
  await provider.forceFlush();
  await sleep(20);
}
await provider.shutdown();
