"""What the tests from outside share: a `vitals serve` of their own on free loopback ports, its REST API, and an
account of what passed.

Standard library only. Every process started here ends with the program that started it.
"""

import atexit
import csv
import ctypes
import datetime
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
PREFIX = "/api/v1/telemetry"
TICKS = os.sysconf("SC_CLK_TCK")


def binary():
    """The `vitals` to test: the first argument, else the release build."""
    path = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/release/vitals").resolve()
    if not os.access(path, os.X_OK):
        sys.exit(f"no program at {path}: run `cargo build --release --locked`, or name one")
    return path


def free_port():
    """A loopback port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, seconds, condition, every=0.1):
    """The first true answer of `condition`; raises with `what` after `seconds`."""
    until = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > until:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(every)


def listening(port):
    """Whether something accepts connections on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Work:
    """A temporary folder and the processes of one run; all of it goes with the program.

    The folder stays when something failed, so that the logs in it can be read.
    """

    def __init__(self, name):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix=f"vitals-{name}-"))
        self.keep = False
        self.children = []
        atexit.register(self.close)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda got, _frame: sys.exit(128 + got))

    def start(self, name, *command, env=None, stdin=subprocess.DEVNULL):
        """Starts a program whose output goes to `NAME.log` in the folder."""
        with open(self.path / f"{name}.log", "ab") as log:
            child = subprocess.Popen(
                [str(part) for part in command],
                stdin=stdin,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        self.children.append(child)
        return child

    def log(self, name):
        """What the program printed so far."""
        return (self.path / f"{name}.log").read_text(errors="replace")

    def close(self):
        for child in reversed(self.children):
            end(child, 5)
        self.children.clear()
        if self.keep:
            print(f"logs are in {self.path}", file=sys.stderr)
        else:
            shutil.rmtree(self.path, ignore_errors=True)


def die_with_parent():
    """For a child between fork and exec: SIGKILL when the parent is gone, however it went (Linux)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def end(child, seconds):
    """Asks a process to stop, and kills it if it has not after `seconds`; its exit code."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
    return child.wait()


def cpu_seconds(pid):
    """User and system time that a process has used, its threads' included."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mib(pid):
    """Memory that a process holds, MiB."""
    pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


class Answer:
    """An HTTP answer."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


class Rest:
    """The REST API, over one kept-alive connection."""

    def __init__(self, port, token=None):
        self.port, self.token = port, token
        self.connection = None

    def call(self, method, path, body=None, timeout=15):
        headers = {}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        if body is not None:
            body = json.dumps(body)
            headers["content-type"] = "application/json"
        fresh = self.connection is None
        if fresh:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            self.connection.request(method, path, body, headers)
            answer = self.connection.getresponse()
            if answer.headers.get_content_type() == "text/event-stream":
                # It does not end by itself: its first line is what there is of it.
                line = answer.readline()
                self.connection.close()
                self.connection = None
                return Answer(answer.status, answer.headers, line)
            return Answer(answer.status, answer.headers, answer.read())
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            # A server may close an idle connection at any time; the second try is on a new one.
            if fresh:
                raise
            return self.call(method, path, body and json.loads(body), timeout)

    def get(self, path, **query):
        """What a route under the prefix answers, as JSON; raises unless it is a success."""
        if query:
            path += "?" + urllib.parse.urlencode(query)
        answer = self.call("GET", PREFIX + path)
        if not 200 <= answer.status < 300:
            raise RuntimeError(f"GET {path}: {answer.status} {answer.body[:300]!r}")
        return answer.json()

    def post(self, path, body):
        answer = self.call("POST", PREFIX + path, body)
        if not 200 <= answer.status < 300:
            raise RuntimeError(f"POST {path}: {answer.status} {answer.body[:300]!r}")
        return answer.json()


class Vitals:
    """A `vitals serve` on free ports."""

    def __init__(self, work, program, name="vitals", config="", data=None, env=None):
        self.work, self.program, self.name, self.env = work, program, name, env or {}
        self.data = data or work.path / f"{name}-data"
        self.grpc, self.http, self.rest_port = free_port(), free_port(), free_port()
        self.file = work.path / f"{name}.toml"
        self.file.write_text(config)
        self.child = None
        self.rest = None

    def environment(self):
        """Ports by environment, so that the file holds what a test is about and nothing else."""
        return {
            "VITALS__RECEIVE__GRPC": f"127.0.0.1:{self.grpc}",
            "VITALS__RECEIVE__HTTP": f"127.0.0.1:{self.http}",
            "VITALS__EXPOSE__REST": f"127.0.0.1:{self.rest_port}",
            **self.env,
        }

    def start(self, seconds=60):
        """Starts it and waits until it says that it is ready."""
        self.child = self.work.start(
            self.name, self.program, "serve", "--config", self.file, "--data", self.data, env=self.environment()
        )
        wait_for(f"{self.name} is ready", seconds, self.ready)
        self.rest = Rest(self.rest_port, self.token())
        return self

    def ready(self):
        if self.child.poll() is not None:
            raise RuntimeError(f"vitals serve ended with {self.child.returncode}:\n{self.work.log(self.name)[-3000:]}")
        try:
            return Rest(self.rest_port).call("GET", "/health", timeout=2).status == 200
        except (OSError, http.client.HTTPException):
            return False

    def token(self, subject="ops", *options):
        """A token as `vitals token` makes it."""
        command = [
            self.program, "token", "--subject", subject, "--email", f"{subject}@example.com", "--data", self.data,
            *options,
        ]
        made = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, timeout=30, check=False,
            env={**os.environ, **self.environment()},
        )
        if made.returncode != 0:
            raise RuntimeError(f"vitals token ended with {made.returncode}: {made.stderr.strip()}")
        return made.stdout.strip()

    def stop(self, seconds=30):
        """Asks it to stop; its exit code."""
        return end(self.child, seconds)

    def kill(self):
        """SIGKILL: no chance to write anything."""
        self.child.kill()
        self.child.wait()


class Influx:
    """An `influxd` of this run, with an organisation, a bucket and a token, on a free loopback port."""

    ORG, BUCKET, TOKEN = "vitals-test", "vitals", "a-token-of-this-run"

    def __init__(self, work, program, name="influxd"):
        self.work, self.program, self.name, self.port = work, program, name, free_port()
        self.child = None

    def start(self):
        """Starts it, sets it up the first time, and waits until it answers."""
        data = self.work.path / self.name
        self.child = self.work.start(
            self.name, self.program, "--http-bind-address", f"127.0.0.1:{self.port}", "--bolt-path", data / "bolt",
            "--engine-path", data / "engine", "--sqlite-path", data / "sqlite", "--reporting-disabled",
        )
        rest = Rest(self.port)
        wait_for(f"{self.name} answers", 60, lambda: listening(self.port) and rest.call("GET", "/health").status == 200)
        rest.call("POST", "/api/v2/setup", {
            "username": "test", "password": "a-password", "org": self.ORG, "bucket": self.BUCKET, "token": self.TOKEN,
        })
        return self

    def make_bucket(self, name):
        """One more bucket, for a service of its own."""
        rest = Rest(self.port, self.TOKEN)
        org = rest.call("GET", f"/api/v2/orgs?org={self.ORG}").json()["orgs"][0]["id"]
        made = rest.call("POST", "/api/v2/buckets", {"orgID": org, "name": name, "retentionRules": []})
        if made.status != 201:
            raise RuntimeError(f"bucket {name}: {made.status} {made.body[:300]!r}")

    def kill(self):
        """SIGKILL: no chance to write anything."""
        self.child.kill()
        self.child.wait()

    def store(self, **changes):
        """The section of vitals' configuration that stores here; the token goes by the environment."""
        settings = {"url": f"http://127.0.0.1:{self.port}", "org": self.ORG, "bucket": self.BUCKET} | changes
        lines = "".join(f'{key} = "{value}"\n' for key, value in settings.items())
        return f'[store]\nkind = "influxdb"\n[store.influxdb]\n{lines}'

    def environment(self, token=TOKEN):
        return {"VITALS__STORE__INFLUXDB__TOKEN": token}

    def query(self, flux):
        """The rows that a Flux query answers, as dictionaries of texts."""
        answer = Rest(self.port, self.TOKEN).call("POST", f"/api/v2/query?org={self.ORG}", {"query": flux}, timeout=60)
        if answer.status != 200:
            raise RuntimeError(f"{flux}: {answer.status} {answer.body[:300]!r}")
        rows = []
        # Tables of other columns are apart by an empty line, each with a head of its own.
        for table in answer.body.decode().replace("\r\n", "\n").split("\n\n"):
            rows += csv.DictReader(table.splitlines())
        return rows


class Account:
    """Counts what passed; the closing line is `N passed, N failed`."""

    def __init__(self, work):
        self.work, self.passed, self.failed = work, 0, 0

    def check(self, what, holds, detail=""):
        """Notes whether something holds."""
        if holds:
            self.passed += 1
            print(f"  ok    {what}", flush=True)
        else:
            self.failed += 1
            print(f"  FAIL  {what}" + (f": {detail}" if detail else ""), flush=True)
        return bool(holds)

    def part(self, title, body, *arguments):
        """Runs one part; what it raises is a failure of this part and of no other."""
        print(title, flush=True)
        try:
            return body(*arguments)
        except Exception as error:  # noqa: BLE001 any failure is this part's
            self.check(f"{title} runs to its end", False, f"{type(error).__name__}: {error}")
            return None

    def close(self):
        """Prints the closing line and ends the program."""
        self.work.keep = self.failed > 0
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(1 if self.failed or not self.passed else 0)


def nanos(text):
    """Nanoseconds since the epoch of an RFC 3339 time in UTC, to the last digit."""
    base, _, rest = text.rstrip("Z").replace("+00:00", "").partition(".")
    seconds = datetime.datetime.fromisoformat(base).replace(tzinfo=datetime.timezone.utc).timestamp()
    return int(seconds) * 1_000_000_000 + int((rest or "0").ljust(9, "0")[:9])


def rfc3339(at_nanos):
    """An RFC 3339 time in UTC of nanoseconds since the epoch."""
    seconds, rest = divmod(at_nanos, 1_000_000_000)
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


def load(program, work, name, seconds, **options):
    """Runs `vitals load` to its end, `seconds` at most, and gives its report."""
    start_load(program, work, name, **options).wait(seconds)
    return load_report(work, name)


def start_load(program, work, name, **options):
    """Starts `vitals load`; its options as keywords."""
    flags = [part for key, value in options.items() for part in (f"--{key}", str(value))]
    return work.start(name, program, "load", "--json", *flags)


def load_report(work, name):
    """The report that `vitals load --json` printed last: `points` has `sent`, `acknowledged`, `refused` and others."""
    printed = "\n" + work.log(name)
    at = printed.rfind("\n{")
    if at < 0:
        raise RuntimeError(f"no report of {name}:\n{printed[-2000:]}")
    return json.JSONDecoder().raw_decode(printed[at + 1 :])[0]
