"""Runs the blocks of code in README.md and docs/, in the order of each document. See run.sh."""

import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from harness import ROOT, Account, Influx, Rest, Vitals, Work, binary, end, wait_for  # noqa: E402

PEERS = pathlib.Path(os.environ["VITALS_PEERS"])
# curl says with its exit code that an answer is an error, which a reader would see.
CURL = '#!/bin/sh\nexec {curl} --fail-with-body --no-progress-meter "$@"\n'


def blocks(document):
    """(line, language, word behind it, text) of each fenced block."""
    text = (ROOT / document).read_text()
    for found in re.finditer(r"^```(\S+) ?(.*)\n((?:.*\n)*?)```$", text, re.MULTILINE):
        yield text.count("\n", 0, found.start()) + 1, found[1], found[2], found[3]


class Reader:
    """Someone who types what a document says, in a folder of their own."""

    def __init__(self, account, work, program, document):
        self.account, self.work, self.program, self.document = account, work, program, document
        self.name = pathlib.Path(document).stem
        self.folder = work.path / self.name
        self.tools = self.folder / "bin"
        self.tools.mkdir(parents=True)
        (self.tools / "vitals").symlink_to(program)
        (self.tools / "curl").write_text(CURL.format(curl=shutil.which("curl")))
        (self.tools / "curl").chmod(0o755)
        self.vitals = Vitals(work, program, name=f"{self.name}-serve", data=self.folder / "vitals-data")
        self.token = ""
        self.running = []

    def replaced(self, text):
        """Ports that are free in place of the documented ones, and the program in place of what builds it."""
        for documented, free in [(8080, self.vitals.rest_port), (4317, self.vitals.grpc), (4318, self.vitals.http)]:
            text = re.sub(rf"\b(localhost|127\.0\.0\.1):{documented}\b", f"127.0.0.1:{free}", text)
        return text.replace("cargo run --release -- ", "vitals ")

    def environment(self, **more):
        return {
            **os.environ, **self.vitals.environment(), "T": self.token,
            "PATH": f"{self.tools}:{os.environ['PATH']}", **more,
        }

    def run(self, line, text, **more):
        """Runs a block to its end; what it printed."""
        script = f"set -euo pipefail\ncd {self.folder}\n{self.replaced(text)}"
        done = subprocess.run(
            ["bash", "-c", script], env=self.environment(**more), capture_output=True, text=True, timeout=300, check=False,
        )
        told = f"exit {done.returncode}: {done.stdout[-500:]} {done.stderr[-1500:]}"
        self.account.check(f"{self.document}:{line} runs", done.returncode == 0, told)
        return done.stdout

    def start(self, line, text, ready):
        """Starts a block that goes on running, and waits until it says that it is ready."""
        name = f"{self.name}-{line}"
        script = f"cd {self.folder}\nexec {self.replaced(text)}"
        child = self.work.start(name, "bash", "-c", script, env=self.environment())
        self.running.append(child)

        def answers():
            if child.poll() is not None:
                raise RuntimeError(f"it ended with {child.returncode}: {self.work.log(name)[-2000:]}")
            return ready(name)

        wait_for(f"{self.document}:{line} is ready", 90, answers)
        self.account.check(f"{self.document}:{line} runs", True)

    def is_live(self, _name):
        try:
            return Rest(self.vitals.rest_port).call("GET", "/health", timeout=2).status == 200
        except OSError:
            return False

    def stop(self):
        """Ends what goes on running."""
        while self.running:
            end(self.running.pop(), 30)


def readme(account, work, program):
    reader = Reader(account, work, program, "README.md")
    for line, language, how, text in blocks(reader.document):
        if how == "starts=demo":
            reader.start(line, text, lambda name: "Ctrl-C stops it" in work.log(name))
            reader.stop()
        elif how == "starts=serve":
            reader.start(line, text, reader.is_live)
        elif how == "for=collector":
            collector(reader, work, line, text)
        elif (language, how) == ("sh", ""):
            printed = reader.run(line, text)
            account.check("the Collector's host is an agent and has a health", printed.count(socket.gethostname()) >= 2, printed)
    reader.stop()


def collector(reader, work, line, text):
    """Runs a Collector with this configuration until the service knows its host."""
    file = reader.folder / "collector.yaml"
    # Its own metrics have a port of their own, which may be taken.
    file.write_text(reader.replaced(text) + "  telemetry: {metrics: {level: none}}\n")
    reader.running.append(work.start("collector", PEERS / "otelcol", "--config", file))
    rest = Rest(reader.vitals.rest_port, reader.vitals.token())
    host = socket.gethostname()
    wait_for(f"{host} is known", 60, lambda: any(one["agent_id"] == host for one in rest.get("/agents")["agents"]))
    reader.account.check(f"{reader.document}:{line} reports its host", True)


def rest_api(account, work, program):
    reader = Reader(account, work, program, "docs/rest.md")
    reader.vitals.start()
    reader.token = reader.vitals.token()
    for line, language, how, text in blocks(reader.document):
        if (language, how) == ("sh", ""):
            reader.run(line, text)
    reader.vitals.stop()


def influxdb(account, work, program):
    """The configuration and the check of docs/influxdb.md, and that the check prints what is shown there."""
    reader = Reader(account, work, program, "docs/influxdb.md")
    influx = Influx(work, PEERS / "influxd").start()
    (reader.folder / "token").write_text(influx.TOKEN)
    printed = None
    for line, language, how, text in blocks(reader.document):
        if language == "toml" and printed is None:
            text = text.replace(":8086", f":{influx.port}").replace('"ops"', f'"{influx.ORG}"')
            text = text.replace("/etc/vitals/influxdb.token", "token").replace('bucket = "vitals"', 'bucket = "another"')
            (reader.folder / "vitals.toml").write_text(text)
        elif (language, how) == ("sh", ""):
            printed = reader.run(line, text)
        elif language == "text":
            words = [row.split()[:2] for row in text.splitlines()]
            account.check(f"{reader.document}:{line} is what it prints", words == [row.split()[:2] for row in printed.splitlines()], printed)


def plugins(account, work, program):
    """The plugin of docs/plugins.md, in a copy of the workspace that it is to be added to."""
    reader = Reader(account, work, program, "docs/plugins.md")
    target = ROOT / "target/docs-plugins"
    target.mkdir(parents=True, exist_ok=True)
    for folder in ("core", "plugins", "examples/plugins", "wit"):
        shutil.copytree(ROOT / folder, reader.folder / folder, ignore=shutil.ignore_patterns("target"))
    # The workspace that core inherits its settings from, without the service.
    whole = (ROOT / "Cargo.toml").read_text()
    (reader.folder / "Cargo.toml").write_text(whole[: whole.index("[package]")].replace('"core", "xtask"', '"core"'))
    (reader.folder / "plugins/target").symlink_to(target)
    for line, language, how, text in blocks(reader.document):
        if how == "for=too-hot":
            add_plugin(reader.folder / "plugins", "too-hot", text)
        elif (language, how) == ("sh", ""):
            reader.run(line, text)


def add_plugin(workspace, name, source):
    """A crate beside the built-in ones, made as the document says."""
    crate = workspace / name
    (crate / "src").mkdir(parents=True)
    (crate / "src/lib.rs").write_text(source)
    manifest = (workspace / "iqr-outlier/Cargo.toml").read_text()
    head = manifest[: manifest.index("[dependencies]")].replace("iqr-outlier", name)
    (crate / "Cargo.toml").write_text(
        head + "[dependencies]\nserde = { workspace = true }\nvitals-plugin = { workspace = true }\n"
    )
    members = (workspace / "Cargo.toml").read_text()
    (workspace / "Cargo.toml").write_text(members.replace('members = ["sdk"', f'members = ["{name}", "sdk"', 1))


def the_rest(account):
    """No command is in a document that nobody here reads."""
    read = {"README.md", "docs/rest.md", "docs/influxdb.md", "docs/plugins.md"}
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("dashboards/*.md")]):
        document = str(path.relative_to(ROOT))
        left = [line for line, language, how, _ in blocks(document) if language in ("sh", "rust", "yaml")
                and how != "in=ci" and not how.startswith("not-run=")]
        if document not in read and left:
            account.check(f"{document} has no command that is not run", False, f"lines {left}")


def main():
    program = binary()
    work = Work("docs")
    account = Account(work)
    account.part("README.md", readme, account, work, program)
    account.part("docs/rest.md", rest_api, account, work, program)
    account.part("docs/influxdb.md", influxdb, account, work, program)
    account.part("docs/plugins.md", plugins, account, work, program)
    account.part("other documents", the_rest, account)
    account.close()


main()
