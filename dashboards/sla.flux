// How each agent stands against its objective: availability, what is left of the error budget, and the risk of missing it.
bucket = "vitals"

from(bucket: bucket)
    |> range(start: -1h)
    |> filter(fn: (r) => r._measurement == "vitals_sla")
    |> filter(fn: (r) => r._field == "availability" or r._field == "budget_left" or r._field == "risk")
    |> last()
    |> keep(columns: ["vitals_tenant", "vitals_agent", "_field", "_value"])
