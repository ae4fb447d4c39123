// The health score of each agent, the lowest of every five minutes, and its status.
bucket = "vitals"

from(bucket: bucket)
    |> range(start: -24h)
    |> filter(fn: (r) => r._measurement == "vitals_health" and r._field == "score")
    |> group(columns: ["vitals_tenant", "vitals_agent"])
    |> aggregateWindow(every: 5m, fn: min, createEmpty: false)
