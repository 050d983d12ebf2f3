"""A small client of the WebDriver protocol: ChromeDriver and a headless Chromium, with Python's standard library alone."""

import base64
import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-default-apps", "--hide-scrollbars", "--force-color-profile=srgb",
         "--disable-dev-shm-usage"]
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Escape": "\ue00c", "End": "\ue010", "Home": "\ue011", "ArrowLeft": "\ue012",
        "ArrowRight": "\ue014", "ArrowDown": "\ue015", "Shift": "\ue008"}


class Browser:
    def __init__(self, chromium, driver):
        self.profile = tempfile.mkdtemp(prefix="credit_pools.chromium.")
        self.process = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.base = None
        for line in self.process.stdout:
            found = re.search(r"successfully on port (\d+)", line)
            if found:
                self.base = f"http://127.0.0.1:{found[1]}"
                break
        if not self.base:
            raise RuntimeError("ChromeDriver does not start")
        options = {"binary": chromium, "args": [*FLAGS, f"--user-data-dir={self.profile}", "--window-size=1280,900"]}
        made = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}}})
        self.session = f"/session/{made['sessionId']}"
        self.do("POST", "/timeouts", {"script": 60000, "pageLoad": 120000})

    def ask(self, method, path, content=None):
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        # The machine's proxies have no business here.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=180) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"].split("\n")[0]) from None

    def do(self, method, path, content=None):
        return self.ask(method, self.session + path, content)

    def open(self, address):
        self.do("POST", "/url", {"url": address})

    def run(self, script, *args):
        return self.do("POST", "/execute/sync", {"script": script, "args": list(args)})

    def devtools(self, command, **params):
        return self.do("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    def element(self, selector):
        return self.do("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def press(self, *keys):
        actions = []
        for key in keys:
            held = key.split("+")
            actions += [{"type": "keyDown", "value": KEYS.get(name, name)} for name in held]
            actions += [{"type": "keyUp", "value": KEYS.get(name, name)} for name in reversed(held)]
        self.do("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def point(self, selector, nth=0):
        """Puts the mouse on the middle of an element."""
        x, y = self.run("""const element = document.querySelectorAll(arguments[0])[arguments[1]];
            element.scrollIntoView({block: "center"});
            const box = element.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2];""", selector, nth)
        self.do("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": [
            {"type": "pointerMove", "duration": 0, "origin": "viewport", "x": round(x), "y": round(y)}]}]})

    def log(self, kind):
        return self.do("POST", "/se/log", {"type": kind})

    def screen(self, width, height=900, dark=False, scale=1, mobile=False):
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile)
        self.devtools("Emulation.setEmulatedMedia", media="", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def picture(self, path, full=False):
        clip = {}
        if full:
            width, height = self.run("return [innerWidth, document.documentElement.scrollHeight]")
            clip = {"clip": {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}, "captureBeyondViewport": True}
        data = self.devtools("Page.captureScreenshot", format="png", **clip)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))

    def wait(self, script, *args, seconds=10):
        end = time.time() + seconds
        while True:
            value = self.run(script, *args)
            if value or time.time() > end:
                return value
            time.sleep(0.05)

    def close(self):
        try:
            self.do("DELETE", "")
        finally:
            self.process.terminate()
            self.process.wait(20)
            shutil.rmtree(self.profile, ignore_errors=True)
