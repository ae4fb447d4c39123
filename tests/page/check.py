"""The page of `vitals` in a real browser: signing in, live changes, what people do, hostile names, every view.

usage: check.py [VITALS]          started by run.sh, which installs what this needs
"""

import http.client
import json
import pathlib
import sys
import threading
import time
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import harness  # noqa: E402
import views  # noqa: E402
from browser import Browser, Keys  # noqa: E402

WORK = harness.Work("page")
ACCOUNT = harness.Account(WORK)
# Sets marks where it runs, and its element is on the page if a name became markup.
HOSTILE = "<img src=x onerror=\"window.owned='name'\"><script>window.owned='script'</script>"
INTERVAL = 1.0
# Longer than anything here is silent for, but for what shall be forgotten.
FORGET_SECONDS = 30
CONFIG = f"[evaluate]\nforget_seconds = {FORGET_SECONDS}\n{views.STATUS_PAGE}"


class Agents:
    """Agents that beat by themselves until they are told to stop or to say something else."""

    def __init__(self, vitals, token):
        self.port, self.token = vitals.rest_port, token
        self.lock = threading.Lock()
        self.beating = {}
        threading.Thread(target=self.run, daemon=True).start()

    def says(self, agent, **more):
        with self.lock:
            self.beating[agent] = more

    def silent(self, agent):
        with self.lock:
            self.beating.pop(agent, None)

    def run(self):
        rest = harness.Rest(self.port, self.token)
        while True:
            with self.lock:
                agents = list(self.beating.items())
            for agent, more in agents:
                try:
                    rest.call("POST", harness.PREFIX + "/heartbeat", beat(agent, **more), timeout=5)
                except (OSError, http.client.HTTPException):
                    # The test that kills the server; the next beat tells.
                    break
            time.sleep(INTERVAL)


def beat(agent, cpu=20, status="healthy", name="a name"):
    return {
        "agent_info": {"agent_id": agent, "agent_name": name, "agent_version": "1.0", "environment": "test"},
        "health_status": status, "timestamp": harness.rfc3339(time.time_ns()), "cpu_usage_percent": cpu,
        "heartbeat_interval_ms": int(INTERVAL * 1000),
    }


class Stream:
    """The live stream as another client of it: when each event came."""

    def __init__(self, vitals, token):
        self.connection = http.client.HTTPConnection("127.0.0.1", vitals.rest_port, timeout=60)
        self.connection.request("GET", f"{harness.PREFIX}/stream?kind=liveness", headers={"authorization": f"Bearer {token}"})
        self.answer = self.connection.getresponse()
        self.events = []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            for line in self.answer:
                if line.startswith(b"data: "):
                    self.events.append((time.time(), json.loads(line[6:])))
        except (OSError, http.client.HTTPException, ValueError):
            pass

    def turned(self, agent, health):
        """When this agent turned so; nothing before it has."""
        found = [at for at, event in self.events if event.get("agent_id") == agent and event.get("health") == health]
        return found[-1] if found else None


def row(agent):
    return f"tr[data-id={json.dumps(agent)}]"


def base(vitals):
    return f"http://127.0.0.1:{vitals.rest_port}/"


def sign_in(browser, token):
    """Pastes the token into the form that is open."""
    browser.until("the form to sign in", lambda: browser.all("#token"))
    browser.find("#token").send_keys(token, Keys.ENTER)


def signing_in(browser, vitals):
    browser.open(base(vitals))
    sign_in(browser, "not-a-token")
    browser.until("a wrong token is refused", lambda: browser.text("[role=alert]"))
    ACCOUNT.check("a wrong token is refused with words", "token" in browser.text("[role=alert]").lower(), browser.text("[role=alert]"))
    browser.complaints()
    browser.find("#token").clear()
    sign_in(browser, vitals.rest.token)
    browser.until_text("h1", "agents")
    ACCOUNT.check("a pasted token signs in", browser.text("#who") == "ops", browser.text("#who"))
    browser.until("the stream is live", lambda: browser.find("#live").is_displayed())
    kept = browser.run("return [document.cookie, JSON.stringify(localStorage), JSON.stringify(sessionStorage)].join()")
    ACCOUNT.check("no script can read the session or the token", vitals.rest.token not in kept and "vitals_session" not in kept, kept)
    cookie = next(one for one in browser.driver.get_cookies() if one["name"] == "vitals_session")
    ACCOUNT.check("the cookie is HttpOnly and SameSite=Strict", cookie["httpOnly"] and cookie["sameSite"] == "Strict", cookie)


def one_time_link(vitals):
    path = vitals.rest.call("POST", "/session/link").json()["path"]
    first, second = Browser(WORK, "link-1"), Browser(WORK, "link-2")
    try:
        first.open(base(vitals) + path)
        first.until_text("h1", "agents")
        ACCOUNT.check("a one-time link signs in", first.text("#who") == "ops")
        ACCOUNT.check("the link does not stay in the address", "open=" not in first.run("return location.href"))
        second.open(base(vitals) + path)
        second.until("the used link is refused", lambda: second.all("#token"))
        ACCOUNT.check("it signs in once", "used or is too old" in second.text("main"), second.text("main"))
    finally:
        first.close()
        second.close()


def live_changes(browser, vitals, agents, stream):
    browser.open(base(vitals))
    browser.until("rows", lambda: browser.all(row("quiet")))
    browser.until("the stream is live", lambda: browser.find("#live").is_displayed())
    # Notes when a row's state changes. It is there for as long as the page is not loaded anew, and without REST nothing but the
    # stream can tell of a change.
    browser.run("""
        window.fetch = () => Promise.reject(new Error('no REST here'));
        window.turned = {};
        const look = () => document.querySelectorAll('tr[data-id]').forEach((row) => { turned[`${row.dataset.id} ${row.dataset.state}`] ??= Date.now(); });
        look();
        new MutationObserver(look).observe(document.querySelector('.fleet tbody'), {subtree: true, childList: true, attributes: true});
    """)
    took = []
    for agent, state, act in (
        ("quiet", "offline", lambda: agents.silent("quiet")),
        ("sick", "critical", lambda: agents.says("sick", cpu=99, status="critical")),
        ("quiet", "healthy", lambda: agents.says("quiet")),
        ("newcomer", "healthy", lambda: agents.says("newcomer")),
    ):
        browser.run("delete turned[arguments[0]]", f"{agent} {state}")
        known = len(stream.events)
        act()
        judged = harness.wait_for(f"{agent} is judged {state}", 60, lambda: any(
            event.get("agent_id") == agent and event.get("health") == state for _, event in stream.events[known:]
        ) and stream.turned(agent, state))
        shown = browser.until(f"the row of {agent} turns {state}", lambda: browser.run("return turned[arguments[0]]", f"{agent} {state}"), 9)
        took.append(shown / 1000 - judged)
        ACCOUNT.check(f"{agent} turns {state} on the page, {took[-1]:.2f} s after the verdict", True)
        ACCOUNT.check(f"the word {state} is in the row", state in browser.text(row(agent)), browser.text(row(agent)))
    # On a machine that does much else, one of them may be slow; a page that polls is slow for all.
    took.sort()
    ACCOUNT.check("a row changes within a second of the verdict", took[len(took) // 2 - 1] < 1.0, took)
    browser.until_text("h1", "1 critical")
    ACCOUNT.check("the counts on top follow", "1 critical" in browser.text("h1"), browser.text("h1"))
    agents.silent("newcomer")
    harness.wait_for("newcomer is forgotten", FORGET_SECONDS + 60, lambda: any(
        event.get("agent_id") == "newcomer" and event.get("change") == "gone" for _, event in stream.events
    ))
    browser.until("a forgotten agent's row goes", lambda: not browser.all(row("newcomer")), 9)
    ACCOUNT.check("a forgotten agent's row goes", True)
    ACCOUNT.check("nothing was loaded anew for it", browser.run("return typeof window.turned") == "object")


def acknowledging(browser, vitals, agents):
    # One that is about a measurement, so that there is evidence to draw.
    alert = harness.wait_for("an alert of sick", 30, lambda: [
        one for one in vitals.rest.get("/alerts", agent="sick", state="open")["alerts"] if one["alert_type"] == "cpu_usage"
    ])[0]
    browser.open(base(vitals) + "alerts")
    chosen = f"li[data-id={json.dumps(alert['alert_id'])}] a"
    browser.until("the alert is listed", lambda: browser.all(chosen))
    browser.find(chosen).click()
    browser.until_text("article h2", alert["message"])
    ACCOUNT.check("the address holds the alert", alert["alert_id"] in browser.run("return location.search"))
    browser.until("the evidence is drawn", lambda: browser.all("article canvas"))
    button = next(one for one in browser.all("article button") if "Acknowledge" in one.text)
    button.click()
    now = harness.wait_for("REST says so", 10, lambda: next(
        (one for one in vitals.rest.get("/alerts", agent="sick", state="acknowledged")["alerts"] if one["alert_id"] == alert["alert_id"]), None,
    ))
    ACCOUNT.check("an alert acknowledged on the page is so in REST, with who", now["acknowledged_by"] == "ops", now)
    browser.until_text("article", "acknowledged by ops")
    ACCOUNT.check("the page says who did it", True)
    ACCOUNT.check("it cannot be acknowledged twice", not [one for one in browser.all("article button") if "Acknowledge" in one.text])
    # What somebody else does is seen too.
    agents.says("unwell", cpu=99, status="critical")
    other = harness.wait_for("an alert of unwell", 30, lambda: [
        one for one in vitals.rest.get("/alerts", state="open", limit=1000)["alerts"] if one["agent_id"] == "unwell"
    ])[0]
    its = f"li[data-id={json.dumps(other['alert_id'])}]"
    browser.until("an alert that is raised is listed", lambda: browser.all(its))
    vitals.rest.post(f"/alerts/{other['alert_id']}/acknowledge", {})
    browser.until_text(its, "by ops")
    ACCOUNT.check("what is raised and done elsewhere is seen on the page", True)
    agents.says("unwell")
    browser.until("it is among the resolved", lambda: browser.all(f"[aria-labelledby=h-resolved] {its}"), 60)
    ACCOUNT.check("an alert that is over is listed as resolved", True)


def press(browser, where, text):
    browser.until(f"a button {text}", lambda: [one for one in browser.all(f"{where} button") if text in one.text])
    next(one for one in browser.all(f"{where} button") if text in one.text).click()


def confirm(browser, text, **fields):
    """Fills the dialog, and presses the button with this text."""
    browser.until("the dialog", lambda: browser.all("dialog[open]"))
    for name, value in fields.items():
        browser.find(f"#f-{name}").send_keys(value)
    next(one for one in browser.all("dialog[open] button") if one.text == text).click()
    browser.until("the dialog is done", lambda: not browser.all("dialog[open]"))


def handling(browser, vitals, agents):
    """Alerts, maintenance windows and agents, in a person's hands."""
    agents.says("handled", cpu=99)
    alert = harness.wait_for("an alert of handled", 30, lambda: [
        one for one in vitals.rest.get("/alerts", type="cpu_usage", state="open", limit=1000)["alerts"] if one["agent_id"] == "handled"
    ])[0]

    def now():
        return next(one for one in vitals.rest.get("/alerts", agent="handled")["alerts"] if one["alert_id"] == alert["alert_id"])

    browser.open(base(vitals) + f"alerts?id={alert['alert_id']}")
    press(browser, "article", "Silence")
    confirm(browser, "Silence", comment="a batch job")
    browser.until_text("article", "silenced until")
    ACCOUNT.check("an alert is silenced on the page, with who and why", (now()["silenced_by"], now()["silence_comment"]) == ("ops", "a batch job"), now())
    press(browser, "article", "End silence")
    confirm(browser, "End")
    browser.until("the silence is over", lambda: [one for one in browser.all("article button") if one.text.startswith("Silence")])
    ACCOUNT.check("a silence is ended on the page", "silenced_until" not in now(), now())
    press(browser, "article", "Acknowledge")
    press(browser, "article", "Take back")
    confirm(browser, "Take back")
    browser.until("it is open again", lambda: [one for one in browser.all("article button") if "Acknowledge" in one.text])
    ACCOUNT.check("an acknowledgement is taken back on the page", now()["state"] == "open", now())
    press(browser, "article", "Close")
    confirm(browser, "Close", comment="done")
    browser.until_text("article", "closed by ops: done")
    ACCOUNT.check("an alert is closed on the page, with who and why", (now()["state"], now()["closed_by"], now()["close_comment"]) == ("resolved", "ops", "done"), now())
    browser.open(base(vitals) + "agent?id=handled")
    press(browser, "main", "Maintenance")
    confirm(browser, "Plan", reason="move")
    windows = harness.wait_for("the window", 10, lambda: vitals.rest.get("/maintenance", agent="handled")["windows"])
    ACCOUNT.check("maintenance is planned on the page", (windows[0]["agents"], windows[0]["reason"]) == (["handled"], "move"), windows)
    press(browser, "main", "Call off")
    confirm(browser, "Call off")
    state = harness.wait_for("it is called off", 10, lambda: vitals.rest.get("/maintenance", state="cancelled")["windows"])
    ACCOUNT.check("maintenance is called off on the page", state[0]["window_id"] == windows[0]["window_id"], state)
    browser.until("the page says so", lambda: not [one for one in browser.all("main button") if "Call off" in one.text])
    press(browser, "main", "Retire")
    confirm(browser, "Retire")
    browser.until("the fleet without it", lambda: browser.all(row("quiet")) and not browser.all(row("handled")), 30)
    ACCOUNT.check("an agent is retired on the page", vitals.rest.call("GET", "/api/v1/telemetry/agents/handled").status == 404)
    browser.open(base(vitals) + "service")
    browser.until_text("main", "agent retired: handled")
    ACCOUNT.check("the page says what was done", "alert closed: handled" in browser.text("main"), browser.text("main"))


def deep_links(vitals):
    browser = Browser(WORK, "deep")
    try:
        address = base(vitals) + "agent?id=sick&range=6h"
        browser.open(address)
        sign_in(browser, vitals.rest.token)
        browser.until_text("h1", "sick")
        ACCOUNT.check("a deep link is there behind the form to sign in", browser.run("return location.href") == address)
        pressed = browser.until("the range", lambda: browser.text("[aria-label=Range] [aria-pressed=true]"))
        ACCOUNT.check("its range is the link's", pressed == "6 h", pressed)
        next(one for one in browser.all("[aria-label=Range] button") if one.text == "24 h").click()
        browser.until("the address follows", lambda: "range=24h" in browser.run("return location.search"))
        browser.driver.back()
        browser.until("back works", lambda: "range=6h" in browser.run("return location.search"))
        pressed = browser.until("the range is back", lambda: browser.text("[aria-label=Range] [aria-pressed=true]") == "6 h")
        ACCOUNT.check("the address holds the range, and back works", pressed)
        browser.open(base(vitals) + "agent?id=nobody")
        browser.until_text("main", "There is no agent")
        ACCOUNT.check("an agent that is not there is said so", "nobody" in browser.text("main"))
        browser.open(base(vitals) + "?q=quiet")
        browser.until("the search of the link", lambda: browser.all(row("quiet")) and not browser.all(row("sick")))
        ACCOUNT.check("a link holds the search", True)
        other = vitals.token("narrow", "--agents", "quiet")
        browser.find("#sign-out").click()
        sign_in(browser, other)
        browser.until("the row that the token may see", lambda: browser.all(row("quiet")))
        browser.open(base(vitals) + "agent?id=sick")
        browser.until_text("main", "There is no agent")
        ACCOUNT.check("another's agent is as one that is not there", True)
    finally:
        browser.close()


def server_gone(browser, vitals):
    browser.open(base(vitals) + "?q=i")
    browser.until("rows", lambda: browser.all(row("quiet")))
    browser.run("window.same = true")
    vitals.kill()
    browser.until_text("#banner [role=alert]", "Not connected", 30)
    ACCOUNT.check("a lost server is said, with what is on the page kept", bool(browser.all(row("quiet"))), browser.text("main"))
    vitals.start()
    # A session is not kept over a restart.
    browser.until_text("#banner [role=alert]", "session has ended", 60)
    browser.find("#banner button").click()
    sign_in(browser, vitals.rest.token)
    browser.until("it is live again", lambda: browser.find("#live").is_displayed(), 60)
    browser.until("the rows are back", lambda: browser.all(row("quiet")))
    ACCOUNT.check("the page comes back as it was", browser.find("#q").get_attribute("value") == "i" and not browser.text("#banner"), browser.text("body"))
    ACCOUNT.check("nothing was loaded anew for it", browser.run("return window.same") is True)
    agents = Agents(vitals, vitals.rest.token)
    agents.says("after-i")
    browser.until("what happens then is seen", lambda: browser.all(row("after-i")))
    ACCOUNT.check("what happens after the restart is seen", True)


def hostile_names(browser, vitals):
    resource = [{"key": key, "value": {"stringValue": HOSTILE}} for key in ("service.name", "service.instance.id", "deployment.environment.name")]
    point = {"timeUnixNano": str(time.time_ns()), "asDouble": 1, "attributes": [{"key": HOSTILE, "value": {"stringValue": HOSTILE}}]}
    metric = {"name": "hostile.metric", "unit": HOSTILE[:60], "gauge": {"dataPoints": [point]}}
    body = {"resourceMetrics": [{"resource": {"attributes": resource}, "scopeMetrics": [{"metrics": [metric]}]}]}
    answer = harness.Rest(vitals.http, vitals.rest.token).call("POST", "/v1/metrics", body)
    ACCOUNT.check("the service takes a hostile name", answer.status == 200, answer.body)
    vitals.rest.post("/heartbeat", beat(HOSTILE, cpu=99, status="critical", name=HOSTILE))
    known = harness.wait_for("the hostile agents", 30, lambda: [
        one["agent_id"] for one in vitals.rest.get("/agents", limit=1000)["agents"] if "<script>" in one["agent_id"]
    ])
    browser.complaints()
    places = ["", "alerts", "objectives", "plugins", "service", *(f"agent?id={urllib.parse.quote(one, safe='')}" for one in known)]
    for place in places:
        browser.open(base(vitals) + place)
        browser.until("the view", lambda: browser.text("h1"))
        time.sleep(1)
        shown = place.split("?")[0] or "fleet"
        ACCOUNT.check(f"{shown}: no name became markup", not browser.all("main img, main script, header img"))
        ACCOUNT.check(f"{shown}: no script of a name ran", browser.run("return window.owned") is None)
        if shown in ("fleet", "agent", "alerts"):
            ACCOUNT.check(f"{shown}: the name is there as text", "<script>" in browser.run("return document.querySelector('main').textContent"), browser.text("main")[:500])
        complaints = browser.complaints()
        ACCOUNT.check(f"{shown}: the console says nothing of it", not complaints, complaints)


def main():
    vitals = harness.Vitals(WORK, harness.binary(), "vitals", CONFIG).start()
    browser = Browser(WORK, "browser")
    try:
        agents = Agents(vitals, vitals.rest.token)
        for agent in ("quiet", "sick", "idle"):
            agents.says(agent)
        harness.wait_for("three agents", 30, lambda: len(vitals.rest.get("/agents")["agents"]) == 3)
        stream = Stream(vitals, vitals.rest.token)
        ACCOUNT.part("signing in with a token", signing_in, browser, vitals)
        ACCOUNT.part("a one-time link", one_time_link, vitals)
        ACCOUNT.part("live changes", live_changes, browser, vitals, agents, stream)
        ACCOUNT.part("acknowledging", acknowledging, browser, vitals, agents)
        ACCOUNT.part("alerts, maintenance and agents in a person's hands", handling, browser, vitals, agents)
        ACCOUNT.part("deep links", deep_links, vitals)
        ACCOUNT.part("hostile names", hostile_names, browser, vitals)
        ACCOUNT.part("losing the server", server_gone, browser, vitals)
        ACCOUNT.check("nothing panicked", "panicked" not in WORK.log("vitals"))
    finally:
        browser.close()
    ACCOUNT.part("every view", views.check, WORK, ACCOUNT, harness.binary())
    ACCOUNT.close()


if __name__ == "__main__":
    main()
