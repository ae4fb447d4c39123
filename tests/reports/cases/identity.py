"""What a stream is, as the OpenTelemetry metrics data model has it."""

from service import attributes, gauge, now, point, request


def case_one_stream_has_one_series(v):
    agent, at = v.agent(), now()
    scope = {"name": "lib", "version": "1.0"}
    for offset, value in ((0, 1.0), (1, 2.0)):
        v.take(request(attributes(host__name=agent), (scope, [gauge("q", point(at + offset, value))])))
    got = v.until([[1.0, 2.0]], lambda: list(v.values(agent).values()))
    v.check("two points of one stream are one series", [[1.0, 2.0]], got)
