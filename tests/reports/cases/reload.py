"""New settings in a running service: as a whole or not at all, and bodies that are held count over a reload."""

import socket
import time

from harness import PREFIX

LARGEST_BODY = 10 * 1024 * 1024
SMALL = f"[expose]\nmax_body_bytes = {LARGEST_BODY}\n"


def write(v, text):
    v.vitals.file.write_text(text)


def refused(v):
    """Whether the last file was refused, from the service's own metrics."""
    text = v.rest.call("GET", "/metrics").body
    text = text.decode() if isinstance(text, bytes) else text
    return next((line.split()[-1] for line in text.splitlines() if line.startswith("vitals_config_refused")), None)


def half_sent(v):
    """A request with the longest body, of which only the first byte is sent."""
    stream = socket.create_connection(("127.0.0.1", v.rest.port))
    head = (
        f"POST {PREFIX}/batch HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {v.rest.token}\r\n"
        f"content-length: {LARGEST_BODY}\r\n\r\n{{"
    )
    stream.sendall(head.encode())
    # It must not meet the bytes of the next request, or it would be the one that is refused.
    time.sleep(0.3)
    return stream


def case_a_reload_counts_the_bodies_that_are_held(v):
    own = v.another("reload-bodies", SMALL)
    status = lambda: own.rest.call("POST", PREFIX + "/heartbeat", {}).status
    with half_sent(own):
        v.check("a body that fills the budget refuses others", 429, own.until(429, status))
        write(own, SMALL + "heartbeat_max_age_seconds = 599\n")
        own.until("0", lambda: refused(own))
        v.check("another setting changes nothing of that", 429, own.until(422, status, seconds=2))
        write(own, SMALL.replace(str(LARGEST_BODY), str(2 * LARGEST_BODY)))
        v.check("a larger budget is there at once", 422, own.until(422, status))


def case_a_file_with_a_bad_channel_changes_nothing_else(v):
    own = v.another("reload-whole")
    channel = '[[channels]]\nname = "x"\nkind = "webhook"\nurl = "http://127.0.0.1:9/"\nsecret_file = "/nonexistent"\n'
    target = "[evaluate.objective]\ntarget = 95.5\n"
    agent = own.agent()
    own.beat(agent)
    seen = lambda: own.rest.get(f"/uptime-status/{agent}")["sla_target"]
    write(own, target + channel)
    v.check("the file is refused", "1", own.until("1", lambda: refused(own)))
    v.check("its objective is not in force", 99.9, seen())
    write(own, target)
    v.check("without the channel it is", 95.5, own.until(95.5, seen))
