"""Heartbeats at a steady rate, and how long their answers take, from the moment at which each was due.

usage: send.py [VITALS]                    started by run.sh
"""

import asyncio
import collections
import datetime
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "tests"))

import harness  # noqa: E402

SECONDS = int(os.environ.get("SECONDS_OF_LOAD", "30"))
RATE = int(os.environ.get("HEARTBEATS_A_SECOND", "500"))
AGENTS = int(os.environ.get("AGENTS", "1000"))
CONNECTIONS = int(os.environ.get("CONNECTIONS", "32"))
# The first seconds make the agents and their series known.
WARM_UP = AGENTS / RATE


def request(token, agent):
    """A heartbeat with all its fields, as bytes ready to be sent."""
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    body = (
        f'{{"agent_info":{{"agent_id":"agent-{agent}","agent_name":"Agent {agent}","agent_version":"1.4.2",'
        '"environment":"production","geographic_location":"eu-central","availability_zone":"eu-central-1a"},'
        f'"health_status":"healthy","timestamp":"{now}","cpu_usage_percent":{20 + agent % 50},'
        '"memory_usage_mb":2048,"disk_usage_percent":61,"network_latency_ms":12,"bandwidth_usage_mbps":40,'
        '"packet_loss_percent":0,"active_connections":40,"request_count":900,"error_count":3,"response_time_ms":120,'
        f'"heartbeat_interval_ms":{max(1000, 1000 * AGENTS // RATE)}}}'
    ).encode()
    head = (
        "POST /api/v1/telemetry/heartbeat HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {token}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def connection(port, token, due, waits, statuses):
    """Sends what is due, one after the other, and notes how long each waited for its answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while True:
        at, agent = await due.get()
        if at is None:
            writer.close()
            return
        writer.write(request(token, agent))
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:] if line)
        await reader.readexactly(int(fields[b"content-length"]))
        waits.append((at, time.monotonic() - at))
        statuses[int(head.split(b" ", 2)[1])] += 1


async def load(port, token):
    due, waits, statuses = asyncio.Queue(), [], collections.Counter()
    senders = [asyncio.create_task(connection(port, token, due, waits, statuses)) for _ in range(CONNECTIONS)]
    began = time.monotonic()
    for number in range(int((WARM_UP + SECONDS) * RATE)):
        at = began + number / RATE
        delay = at - time.monotonic()
        if delay > 0:
            await asyncio.sleep(delay)
        due.put_nowait((at, number % AGENTS))
    for _ in senders:
        due.put_nowait((None, None))
    await asyncio.gather(*senders)
    measured = sorted(wait for at, wait in waits if at >= began + WARM_UP)
    return measured, statuses, time.monotonic() - began


def main():
    work = harness.Work("heartbeats")
    vitals = harness.Vitals(work, harness.binary(), "vitals").start()
    before = harness.cpu_seconds(vitals.child.pid)
    waits, statuses, took = asyncio.run(load(vitals.rest_port, vitals.token()))
    used = harness.cpu_seconds(vitals.child.pid) - before
    vitals.stop()

    def at(share):
        return 1e3 * waits[min(len(waits) - 1, int(share * len(waits)))]

    print(f"{len(waits)} heartbeats in {SECONDS} s after a warm-up of {WARM_UP:.0f} s, {AGENTS} agents; statuses {dict(statuses)}")
    print(f"answers: p50 {at(0.5):.1f} ms, p99 {at(0.99):.1f} ms, p99.9 {at(0.999):.1f} ms, max {1e3 * waits[-1]:.1f} ms")
    print(f"CPU of the service: {1e6 * used / sum(statuses.values()):.0f} us a heartbeat, {100 * used / took:.0f} % of a core")
    if set(statuses) != {201}:
        sys.exit("not every heartbeat was taken")


if __name__ == "__main__":
    main()
