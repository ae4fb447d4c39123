"""Every view on the fleet of `vitals demo`: axe-core, the console, the keyboard, screenshots."""

import re

import harness
from browser import NARROW, SCREENSHOTS, WIDE, Browser, Keys

STATUS_PAGE = """
[expose.status_page]
title = "Shop"
[[expose.status_page.components]]
name = "Web shop"
group = "Shop"
agents = ["shop-*"]
[[expose.status_page.components]]
name = "Search"
group = "Shop"
agents = ["search-*"]
[[expose.status_page.components]]
name = "Payments"
agents = ["payments-*"]
"""

SPIKING = "orders:orders-ap-1"
VIEWS = {
    "fleet": "", "agent": f"agent?id={SPIKING}", "agent-failing": "agent?id=payments-eu-1", "alerts": "alerts", "objectives": "objectives",
    "plugins": "plugins", "service": "service", "status": "status",
}


class Demo:
    """A `vitals demo` and the link that it prints."""

    def __init__(self, work, program):
        file = work.path / "demo.toml"
        file.write_text(STATUS_PAGE)
        self.child = work.start("demo", program, "demo", "--free-ports", "--config", file, env={"NO_COLOR": "1"})
        link = harness.wait_for("the demo's link", 120, lambda: self.said(work, r"http://\S+/#open=[\w-]+"))
        self.base, self.link = link.split("#")[0], link
        self.rest = harness.Rest(int(re.search(r":(\d+)/", self.base)[1]), self.said(work, r"(?<=TOKEN=)\S+"))

    def said(self, work, pattern):
        if self.child.poll() is not None:
            raise RuntimeError(f"vitals demo ended with {self.child.returncode}:\n{work.log('demo')[-2000:]}")
        found = re.search(pattern, work.log("demo"))
        return found and found[0]


def settled(browser):
    """Waits until a view is there and reads nothing any more."""
    browser.until("the view", lambda: browser.text("h1") and not browser.all("[aria-busy=true]"), 30)
    browser.run("""
        window.reads = window.reads ?? {last: performance.now()};
        window.observer ??= (new PerformanceObserver(() => { reads.last = performance.now(); })).observe({type: 'resource', buffered: true}) ?? true;
    """)
    # What repeats itself each few seconds does not count.
    browser.until("the view has read all", lambda: browser.run("return performance.now() - reads.last > 700 || performance.now() > 15000"), 30)


def look(browser, demo, account, name, place, scheme, size):
    """One view in one look: nothing for axe-core, nothing on the console, no sideways scroll."""
    which = f"{name}, {scheme}{', narrow' if size == NARROW else ''}"
    browser.scheme(scheme)
    browser.size(size)
    browser.complaints()
    browser.open(demo.base + place)
    settled(browser)
    if name == "alerts" and size == WIDE:
        browser.until("an alert", lambda: browser.all(".al li a"))
        browser.find(".al li a").click()
        settled(browser)
    browser.shot(f"{name}-{scheme}{'-narrow' if size == NARROW else ''}")
    findings = browser.axe()
    account.check(f"{which}: axe-core finds nothing", not findings, findings)
    complaints = browser.complaints()
    account.check(f"{which}: nothing on the console", not complaints, complaints)
    wide = browser.overflow()
    account.check(f"{which}: nothing scrolls sideways", not wide, wide)
    failures = browser.run("return [...document.querySelectorAll('main')].map((one) => one.innerText).join().match(/could not be read|undefined|NaN|Invalid Date|\\[object/g)")
    account.check(f"{which}: no part failed", not failures, failures)


def keyboard(browser, demo, account):
    """A walk without a pointer."""
    browser.size(WIDE)
    browser.open(demo.base)
    settled(browser)
    browser.keys(Keys.TAB)
    account.check("the first stop skips to the content", browser.focused()["href"] == "#main", browser.focused())
    stops = []
    for _ in range(40):
        browser.keys(Keys.TAB)
        stops.append(browser.focused())
    shown = [stop for stop in stops if stop["tag"] != "BODY"]
    account.check("each stop shows that it has the focus", all(stop["ring"] and stop["seen"] for stop in shown), [stop for stop in shown if not (stop["ring"] and stop["seen"])])
    said = " ".join(f"{stop['href']} {stop['id']} {stop['text']}" for stop in stops)
    account.check("the views, the search, the filters and the rows are reached", all(part in said for part in ("alerts", "service", "q", "env", "critical", "agent?id=")), said)
    account.check("the focus is not trapped", len({(stop["href"], stop["id"], stop["text"]) for stop in stops}) > 15, stops)
    browser.keys(Keys.ESCAPE, "/")
    account.check("/ goes to the search", browser.focused()["id"] == "q", browser.focused())
    browser.keys("payments", Keys.ESCAPE, "j")
    browser.until("j goes to the row", lambda: "payments" in browser.focused()["text"])
    browser.keys(Keys.ENTER)
    browser.until_text("h1", "payments-eu-1")
    account.check("search, j and Enter open an agent", True)
    browser.keys("?")
    browser.until("the keys", lambda: browser.all("dialog[open]"))
    browser.keys(Keys.ESCAPE)
    browser.until("Esc closes them", lambda: not browser.all("dialog[open]"))
    account.check("? shows the keys and Esc closes them", True)
    for keys, heading in (("ga", "open"), ("go", "objective"), ("gp", "plugin"), ("gs", "service"), ("ga", "open")):
        browser.keys(*keys)
        browser.until(f"{keys} goes there", lambda heading=heading: heading in browser.text("h1").lower())
        account.check(f"{keys[0]} {keys[1]} goes there", True)
    acknowledge(browser, demo, account)


def acknowledge(browser, demo, account):
    """An alert, found and acknowledged by keys alone."""
    before = {one["alert_id"] for one in demo.rest.get("/alerts", state="open")["alerts"]}
    browser.until("alerts", lambda: browser.all(".al li a"))
    browser.keys("j", Keys.ENTER)
    browser.until("one is open", lambda: browser.text("article h2"))
    browser.keys("a")
    after = harness.wait_for("it is acknowledged", 10, lambda: [one for one in demo.rest.get("/alerts", state="acknowledged")["alerts"] if one["alert_id"] in before])
    account.check("j, Enter and a acknowledge an alert", bool(after))


def life(browser, demo, account):
    """The demo shows something in each view."""
    def known(agent):
        return next((one for one in demo.rest.get("/agents")["agents"] if one["agent_id"] == agent), {})

    for agent, state in (("shop-eu-2", "maintenance"), ("cache-us-1", "degraded")):
        harness.wait_for(f"{agent} is {state}", 150, lambda agent=agent, state=state: known(agent).get("health") == state)
        browser.open(f"{demo.base}?q={agent}")
        browser.until(f"{agent} is {state} on the page", lambda state=state: state in browser.text("tr[data-id]"))
        account.check(f"the demo has an agent that is {state}", True)
    browser.open(demo.base + "plugins")
    browser.until("the plugins", lambda: browser.text("h1"))
    account.check("the link shows what plugins cost", "Counted since" in browser.text("main"), browser.text("main"))


def check(work, account, program):
    demo = Demo(work, program)
    browser = Browser(work, "views")
    try:
        browser.open(demo.link)
        settled(browser)
        account.check("the demo's link signs in", browser.text("#who") == "demo")
        for name, place in VIEWS.items():
            for scheme, size in (("light", WIDE), ("dark", WIDE), ("light", NARROW)):
                account.part(f"{name}, {scheme}, {size[0]} px", look, browser, demo, account, name, place, scheme, size)
        account.part("the life of the demo", life, browser, demo, account)
        account.part("the keyboard alone", keyboard, browser, demo, account)
        print(f"screenshots are in {SCREENSHOTS}")
    finally:
        browser.close()
    account.check("the demo stops when asked", harness.end(demo.child, 30) == 0)
