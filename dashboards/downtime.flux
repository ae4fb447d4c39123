// Hours of downtime of each agent over 30 days: sessions and outages are written at their start, with their length at their end.
bucket = "vitals"

down = from(bucket: bucket)
    |> range(start: -30d)
    |> filter(fn: (r) => r._measurement == "vitals_heartbeat")
    |> filter(fn: (r) => r._field == "down" or r._field == "duration_seconds")
    |> toFloat()
    |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")
    |> filter(fn: (r) => exists r.duration_seconds and r.down == 1.0)

down
    |> group(columns: ["vitals_tenant", "vitals_agent"])
    |> sum(column: "duration_seconds")
    |> map(fn: (r) => ({r with hours: r.duration_seconds / 3600.0}))
