// CPU of a host by state, from what a Collector's hostmetrics receiver sends, as the InfluxDB exporter would have written it.
bucket = "vitals"
host = "web-1"

from(bucket: bucket)
    |> range(start: -6h)
    |> filter(fn: (r) => r._measurement == "system.cpu.utilization" and r["host.name"] == host and r._field == "gauge")
    |> group(columns: ["state"])
    |> aggregateWindow(every: 1m, fn: mean, createEmpty: false)
