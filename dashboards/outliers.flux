// Outliers of an agent, newest first, with the bounds that they were outside of. Bounds that are not there are infinite.
bucket = "vitals"
agent = "web-1"

from(bucket: bucket)
    |> range(start: -24h)
    |> filter(fn: (r) => r._measurement == "vitals_outlier" and r.vitals_agent == agent)
    |> filter(fn: (r) => r._field == "value" or r._field == "lower" or r._field == "upper")
    |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")
    |> group()
    |> sort(columns: ["_time"], desc: true)
    |> limit(n: 100)
