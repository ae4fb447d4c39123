"""A Chromium without a window, driven over WebDriver: what the tests of the page do with it."""

import os
import pathlib
import shutil

from selenium import webdriver
from selenium.common.exceptions import JavascriptException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

AXE = pathlib.Path(os.environ["AXE"]).read_text()
SCREENSHOTS = pathlib.Path(os.environ["PAGE_SCREENSHOTS"])
# Best practices too, not the criteria of WCAG alone.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WIDE, NARROW = (1440, 900), (390, 844)


def program(*names):
    """The first of these programs that is on the PATH."""
    for name in names:
        if shutil.which(name):
            return shutil.which(name)
    raise RuntimeError(f"none of {', '.join(names)} is installed: apt-get install chromium chromium-driver")


class Browser:
    """A browser with a profile of its own: nobody is signed in."""

    def __init__(self, work, name):
        options = webdriver.ChromeOptions()
        options.binary_location = program("chromium", "chromium-browser", "google-chrome")
        # In a container there is neither a sandbox for root nor much shared memory.
        for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "hide-scrollbars"):
            options.add_argument(f"--{flag}")
        options.add_argument(f"--user-data-dir={work.path / name}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = webdriver.ChromeService(program("chromedriver"), log_output=str(work.path / f"{name}.log"))
        self.driver = webdriver.Chrome(options=options, service=service)
        self.driver.set_script_timeout(60)
        self.driver.set_page_load_timeout(60)
        self.size(WIDE)

    def close(self):
        self.driver.quit()

    def size(self, size):
        """The size of what is seen, in CSS pixels; a window cannot be as narrow as a phone."""
        width, height = size
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == NARROW,
        })

    def scheme(self, name):
        """Light or dark, as the system would say it."""
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
            "features": [{"name": "prefers-color-scheme", "value": name}, {"name": "prefers-reduced-motion", "value": "reduce"}],
        })

    def open(self, address):
        self.driver.get(address)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def find(self, css):
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css):
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def text(self, css):
        """The text of the first such element, empty if there is none."""
        return self.run("return document.querySelector(arguments[0])?.innerText ?? ''", css)

    def until(self, what, condition, seconds=20):
        """The first true answer of `condition`."""
        ignored = (StaleElementReferenceException, JavascriptException)
        try:
            return WebDriverWait(self.driver, seconds, 0.05, ignored).until(lambda _: condition())
        except Exception as error:
            shot = self.shot(f"failed-{what}")
            seen = self.text("body")[:600]
            raise TimeoutError(f"{what}: not within {seconds} s; {shot}; the page says {seen!r}") from error

    def until_text(self, css, text, seconds=20):
        """Waits until the element has this in its text."""
        return self.until(f"{css} says {text}", lambda: text in self.text(css), seconds)

    def keys(self, *keys):
        """Keys pressed wherever the focus is."""
        for key in keys:
            webdriver.ActionChains(self.driver).send_keys(key).perform()

    def focused(self):
        """What has the focus: its tag, its text or label, and whether one can see that it has the focus."""
        return self.run("""
            const one = document.activeElement, style = getComputedStyle(one), box = one.getBoundingClientRect();
            return {tag: one.tagName, id: one.id, href: one.getAttribute('href'), text: (one.innerText || one.ariaLabel || '').trim(),
                    ring: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0,
                    seen: box.bottom > 0 && box.top < innerHeight && box.width > 0};
        """)

    def complaints(self):
        """What the browser's console has said since the last call: errors, and what the policy refused."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def axe(self):
        """What axe-core finds on the page, a line each."""
        self.run(AXE)
        found = self.driver.execute_async_script("""
            const done = arguments[arguments.length - 1];
            axe.run(document, {runOnly: arguments[0], resultTypes: ['violations']}).then((found) => done(found.violations), (error) => done([{id: String(error), nodes: []}]));
        """, RULES)
        return [f"{one['id']}: {[(node['target'], node.get('failureSummary', '')[:160]) for node in one['nodes'][:3]]}" for one in found]

    def overflow(self):
        """Elements that make the page scroll sideways."""
        return self.run("""
            if (document.documentElement.scrollWidth <= innerWidth) return [];
            return [...document.querySelectorAll('body *')].filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
                .slice(0, 5).map((one) => `${one.tagName}.${one.className} ${Math.round(one.getBoundingClientRect().right)}`);
        """)

    def shot(self, name):
        """A screenshot of the whole page, kept."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        safe = "".join(letter if letter.isalnum() or letter in "-." else "-" for letter in name)[:80]
        path = SCREENSHOTS / f"{safe}.png"
        self.driver.save_screenshot(str(path))
        return path


__all__ = ["Browser", "Keys", "NARROW", "SCREENSHOTS", "WIDE"]
