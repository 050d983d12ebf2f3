"""The page in a real browser. checks.py CHROMIUM CHROMEDRIVER FOLDER: FOLDER has the pages and what SQL says (run)."""

import http.server
import json
import os
import re
import sys
import threading
import urllib.parse

import palette
from webdriver import Browser

chromium, driver, folder = sys.argv[1:4]
passed = failed = 0


def check(name, condition, said=""):
    global passed, failed
    if condition:
        passed += 1
        print(f"ok       {name}")
    else:
        failed += 1
        print(f"FAILED   {name}{': ' + str(said)[:1500] if said != '' else ''}")


def same(name, expected, got):
    check(name, expected == got, f"\n  expected: {expected!r}\n  got:      {got!r}")


def load(name):
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return json.load(file)


def address(name, fragment=""):
    return "file://" + os.path.join(folder, name) + fragment


# All that is on the page, as text.
READ = r"""
const plain = (text) => text.replace(/,(?=\d{3})/g, "").replace(/\u2212/g, "-").replace(/[\u00a0\s]+/g, " ").trim();
const rows = (table) => table ? [...table.querySelectorAll("tbody tr")].map((row) => [...row.children].map((cell) => plain(cell.innerText))) : [];
document.querySelectorAll("#grants button, #ledger button").forEach((button) => button.click());
const part = (id) => document.querySelector("#" + id + " .body");
const tiles = {};
for (const tile of document.querySelectorAll("#overview .tile")) {
  const dd = tile.querySelector("dd"), sub = dd.querySelector(".sub");
  tiles[tile.querySelector("dt").textContent] = [plain([...dd.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data).join("")), sub ? plain(sub.textContent) : ""];
}
const details = document.querySelector("#usage details");
if (details) details.open = true;
const chart = {}, names = [...document.querySelectorAll("#usage thead th")].slice(2).map((cell) => cell.textContent);
for (const [day, total, ...parts] of rows(document.querySelector("#usage details table"))) {
  const used = parts.map((value, index) => [names[index], value]).filter(([, value]) => value !== "0");
  if (used.length) chart[day] = Object.fromEntries(used);
}
if (details) details.open = false;
return {
  tiles, chart, usage: plain(part("usage").innerText),
  bars: [...document.querySelectorAll("#usage .day")].filter((day) => day.querySelectorAll("rect").length > 1).length,
  grants: rows(part("grants").querySelector("table")), grantsText: plain(part("grants").innerText),
  ledger: rows(part("ledger").querySelector("table")), ledgerText: plain(part("ledger").innerText),
  recharge: plain(part("recharge").innerText), subscription: plain(part("subscription").innerText),
  resource: document.querySelector("#resource").selectedOptions[0].textContent, types: document.querySelector("#type-field").hidden ? [] : [...document.querySelectorAll("#type option")].map((option) => option.textContent),
  notes: plain(document.querySelector("#notes").innerText), hash: location.hash,
};
"""
CHOOSE = r"""
const pick = document.querySelector(arguments[0]), option = [...pick.options].find((option) => option.textContent === arguments[1]);
if (!option) return false;
pick.value = option.value;
pick.dispatchEvent(new Event("change", {bubbles: true}));
return true;
"""
TYPES = {"ai-tokens": "AI tokens", "images": "Images"}
words = lambda text: text.replace("_", " ").capitalize()


def compare(name, pool, page):
    """Every part of the page against SQL's answers for one pool."""
    tiles = page["tiles"]
    for tile, key in [("Balance", "balance"), ("Granted", "granted"), ("Consumed", "consumed"), ("Expired", "expired"),
                      ("Held", "held"), ("Debt", "debt"), ("Expiring in 30 days", "expiring"), ("Burn per day", "burn")]:
        same(f"{name}: {tile}", pool[key], tiles[tile][0])
    check(f"{name}: voided", ("nothing voided" if pool["voided"] == "0" else f"and {pool['voided']} voided") == tiles["Expired"][1], tiles["Expired"])
    same(f"{name}: Utilization", "\u2013" if pool["utilization"] is None else pool["utilization"] + " %", tiles["Utilization"][0])
    if pool["next_expiry_at"]:
        check(f"{name}: next expiry", f"{pool['next_expiry_amount']} on {pool['next_expiry_at']}" in tiles["Expiring in 30 days"][1], tiles["Expiring in 30 days"])
    else:
        same(f"{name}: nothing expires", "nothing expires", tiles["Expiring in 30 days"][1])
    if pool["depletion"] and float(pool["balance"]) > 0:
        same(f"{name}: depletion", f"lasts until {pool['depletion']}", tiles["Burn per day"][1])
    same(f"{name}: usage by day and feature", pool["chart"], page["chart"])
    same(f"{name}: days with bars", len(pool["chart"]), page["bars"])
    check(f"{name}: usage in all", f"{pool['used']} in all" in page["usage"] if pool["chart"] else page["usage"].startswith("No usage from"), page["usage"][:200])
    # A grant's name comes first where it has one, its id behind it.
    shown = sorted([next((word for word in re.findall(r"\d+", row[0]) if any(word == grant[0] for grant in pool["grants"])), row[0]),
                    row[1].lower().replace(" ", "_"), row[4], row[5].split(" ")[0], re.sub(r" begins.*", "", row[6])] for row in page["grants"])
    same(f"{name}: grants", sorted(pool["grants"]), shown)
    same(f"{name}: ledger", [[seq, words(kind), amount, after] for seq, kind, amount, after in pool["ledger"]],
         [[row[0], row[2], row[4].lstrip("+"), row[5]] for row in page["ledger"]])
    if pool["entries"] > 100:
        check(f"{name}: says what is left out of the ledger", f"Latest 100 of {pool['entries']} entries" in page["ledgerText"].replace(",", ""), page["ledgerText"][-200:])
    for recharge, state in pool["recharges"][:5]:
        check(f"{name}: recharge {recharge}", re.search(rf"{words(state)}\b[^\n]*Recharge {recharge}\b", page["recharge"]), page["recharge"])
    if pool["threshold"]:
        check(f"{name}: policy", f"Fires below {pool['threshold']}" in page["recharge"], page["recharge"])
    else:
        check(f"{name}: no policy, in words", "No auto-recharge policy" in page["recharge"], page["recharge"])
    if pool["subscription"]:
        subscription, plan, state = pool["subscription"]
        check(f"{name}: subscription", all(part in page["subscription"] for part in [f"Plan {plan}", f"Status {words(state)}", f"Subscription {subscription}"]), page["subscription"])
    else:
        check(f"{name}: no subscription, in words", "no subscription" in page["subscription"], page["subscription"])
    check(f"{name}: history", "Pool opened" in page["subscription"], page["subscription"])
    same(f"{name}: frozen is said", pool["status"] == "frozen", "frozen" in page["notes"])


def quiet(browser, name, pages):
    """Nothing was complained of, nothing was fetched but the page."""
    said = [entry["message"] for entry in browser.log("browser")]
    same(f"{name}: the console is silent", [], said)
    asked = []
    for entry in browser.log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.append(message["params"]["request"]["url"].split("#")[0])
    strangers = [one for one in asked if one not in pages and not one.startswith(("data:", "chrome:"))]
    same(f"{name}: no request but for the page", [], strangers)


def fits(browser, name):
    wide = browser.run("return [document.documentElement.scrollWidth, innerWidth]")
    check(f"{name}: nothing sticks out to the side", wide[0] <= wide[1], wide)


def demo(browser):
    pools = load("demo.json")
    name_of = lambda pool: pool["resource_id"] or "Global pool"
    browser.screen(1280, 900)
    browser.open(address("demo.html"))
    page = browser.run(READ)
    same("the resource that was asked for comes first", "workspace-docs", page["resource"])
    same("the selector has every resource, the global pool first", [name_of(pool) for pool in pools if pool["credit_type_id"] == "ai-tokens"],
         browser.run("return [...document.querySelectorAll('#resource option')].map((option) => option.textContent)"))
    for pool in pools:
        name = f"{name_of(pool)}, {TYPES[pool['credit_type_id']]}"
        check(f"{name}: can be chosen", browser.run(CHOOSE, "#resource", name_of(pool)))
        several = [other for other in pools if other["resource_id"] == pool["resource_id"]]
        if len(several) > 1:
            browser.wait("return !document.querySelector('#type-field').hidden")
            browser.run(CHOOSE, "#type", TYPES[pool["credit_type_id"]])
        wanted = "#pool=global" if pool["resource_id"] is None else "#resource=" + urllib.parse.quote_plus(pool["resource_id"])
        browser.wait("return location.hash.startsWith(arguments[0]) && (arguments[1] === null || location.hash.endsWith('type=' + arguments[1]))", wanted, pool["credit_type_id"] if len(several) > 1 else None)
        browser.wait("return document.querySelector('#said').textContent.includes(arguments[0])", TYPES[pool["credit_type_id"]])
        page = browser.run(READ)
        check(f"{name}: in the address", page["hash"].startswith(wanted), page["hash"])
        compare(name, pool, page)
    said = browser.run("return document.querySelector('#said').innerText")
    check("the change is said to screen readers", "Now showing" in said and "balance" in said, said)

    # By the address, and back.
    browser.run("location.hash = '#pool=global'")
    check("the address chooses", browser.wait("return document.querySelector('#resource').selectedOptions[0].textContent === 'Global pool'"))
    browser.run("location.hash = '#resource=team-berlin'")
    browser.wait("return document.querySelector('#resource').selectedOptions[0].textContent === 'team-berlin'")
    browser.do("POST", "/back", {})
    check("the way back chooses", browser.wait("return document.querySelector('#resource').selectedOptions[0].textContent === 'Global pool'"))
    browser.run("location.hash = '#resource=nothing-of-this-name'")
    same("an address of nothing changes nothing", "Global pool", browser.run(READ)["resource"])
    browser.open("about:blank")
    browser.open(address("demo.html", "#resource=workspace-docs&type=images"))
    same("a page that is opened by an address", ["workspace-docs", ["AI tokens", "Images"], "images"],
         [browser.run(READ)["resource"], browser.run(READ)["types"], browser.run("return document.querySelector('.tile.main .sub').textContent")])
    browser.open("about:blank")
    browser.open(address("global.html"))
    same("without a resource, the global pool comes first", "Global pool", browser.run(READ)["resource"])

    # The filter of resources.
    browser.run("const find = document.querySelector('#find'); find.value = 'TEAM-'; find.dispatchEvent(new Event('input'));")
    same("the filter passes what has the text, and what is shown", ["Global pool"] + [name_of(pool) for pool in pools if "team-" in name_of(pool)],
         browser.run("return [...document.querySelectorAll('#resource option')].map((option) => option.textContent)"))
    same("how many it passes is said", "10 resources", browser.run("return document.querySelector('#found').textContent"))

    # The ledger's filter.
    browser.open("about:blank")
    browser.open(address("demo.html"))
    docs = next(pool for pool in pools if pool["resource_id"] == "workspace-docs" and pool["credit_type_id"] == "ai-tokens")
    for kind in sorted({row[1] for row in docs["ledger"]}):
        check(f"ledger: {kind} can be chosen", browser.run(CHOOSE, "#kind", words(kind)))
        same(f"ledger: {kind} only", [row[0] for row in docs["ledger"] if row[1] == kind], [row[0] for row in browser.run(READ)["ledger"]])
    browser.run(CHOOSE, "#kind", "All types")
    same("ledger: all again", len(docs["ledger"]), len(browser.run(READ)["ledger"]))

    # The chart's tooltip, by mouse and by keyboard.
    tip = "const tip = document.querySelector('.tip'); return tip.hidden ? null : tip.innerText.replace(/,(?=\\d{3})/g, '').replace(/\\s+/g, ' ').trim()"
    day, features = "30 Mar 2026", docs["chart"]["30 Mar 2026"]
    same("no tooltip at first", None, browser.run(tip))
    browser.point("#usage .day", 28)
    shown = browser.wait(tip) or ""
    check("tooltip by mouse", shown.startswith(day) and all(f"{feature} {credits}" in shown for feature, credits in features.items()), shown)
    browser.point("h1")
    check("it goes away", browser.wait("return document.querySelector('.tip').hidden"))
    browser.run("document.querySelector('#usage .day[tabindex=\"0\"]').focus()")
    last = browser.run(tip)
    check("tooltip by keyboard: the last day with usage", last is not None and last.startswith(max(docs["chart"], key=lambda text: (text.split(" ")[1] == "Mar", int(text.split(" ")[0])))), last)
    browser.press("ArrowLeft")
    check("arrow keys go from day to day", browser.run(tip) != last and browser.run(tip) is not None, browser.run(tip))
    browser.press("Home")
    check("to the first day", (browser.run(tip) or "").startswith("2 Mar 2026"), browser.run(tip))
    browser.press("Escape")
    same("Escape puts it away", None, browser.run(tip))
    same("each day says its usage to screen readers", 30, browser.run("return [...document.querySelectorAll('#usage .day')].filter((day) => /^\\d+ \\w+ 2026: /.test(day.getAttribute('aria-label'))).length"))

    # Tab goes through the page in its order, and shows where it is.
    browser.open("about:blank")
    browser.open(address("demo.html"))
    stops = []
    where = """const now = document.activeElement, style = getComputedStyle(now);
        const shape = now.matches('.day') ? getComputedStyle(now.querySelector('.hit')).strokeWidth : style.outlineStyle === 'none' ? '0' : style.outlineWidth;
        return [now.id || now.getAttribute('aria-label') || now.className.baseVal || now.className || now.tagName, shape]"""
    for _ in range(10):
        browser.press("Tab")
        stops.append(browser.run(where))
    names = [re.sub(r"^\d.*", "a day", stop[0]) for stop in stops]
    same("tab order", ["skip", "find", "resource", "type", "a day", "SUMMARY", "Grants", "kind", "Ledger", "BUTTON"], names[:10])
    check("the focus is seen at each", all(float(re.sub("px", "", stop[1]) or 0) >= 2 for stop in stops[:10]), stops)
    browser.press("Enter")
    same("the button shows the other entries, and goes to the first of them", [100, 12],
         browser.run("return [[...document.querySelectorAll('#ledger tbody tr')].filter((row) => row.checkVisibility()).length, [...document.querySelectorAll('#ledger tbody tr')].indexOf(document.activeElement.parentElement)]"))
    browser.open("about:blank")
    browser.open(address("demo.html"))
    browser.press("Tab")
    browser.press("Enter")
    same("the skip link goes to the content", "main", browser.run("return document.activeElement.id"))

    # Structure.
    same("language, title, landmarks", ["en", "Credits of Acme GmbH & Co. KG", 1, 1, 1, 1],
         browser.run("return [document.documentElement.lang, document.title, ...['main', 'header', 'footer', 'h1'].map((name) => document.querySelectorAll(name).length)]"))
    same("headings", ["H1", "H2", "H2", "H2", "H3", "H2", "H3", "H2", "H2"],
         browser.run("return [...document.querySelectorAll('h1, h2, h3')].filter((heading) => heading.checkVisibility()).map((heading) => heading.tagName)"))
    same("tables have captions, and cells of a heading their scope", 0,
         browser.run("return [...document.querySelectorAll('table')].filter((table) => !table.caption || table.querySelector('th:not([scope])')).length"))
    same("fields have labels", 0, browser.run("return [...document.querySelectorAll('select, input')].filter((field) => !field.labels.length).length"))
    same("no id twice", 0, browser.run("const ids = [...document.querySelectorAll('[id]')].map((element) => element.id); return ids.length - new Set(ids).size"))

    # Screens.
    images = os.path.join(folder, "images")
    for width, height, dark, name in [(1280, 900, False, "light"), (1280, 900, True, "dark"), (768, 1024, False, "tablet"), (360, 740, False, "phone"), (320, 640, True, "small phone")]:
        browser.screen(width, height, dark, 1, width < 700)
        browser.open("about:blank")
        browser.open(address("demo.html"))
        fits(browser, f"{name}, {width} px")
        ground, text = browser.run("const style = getComputedStyle(document.body); return [style.backgroundColor, style.color]")
        check(f"{name}: its colours", (palette.luminance_of(ground) < 0.1) == dark and palette.contrast_of(ground, text) > 7, [ground, text])
        browser.picture(os.path.join(images, f"credits-{name.replace(' ', '-')}.png") if name in ("light", "dark", "phone") else os.path.join(images, f"other-{name.replace(' ', '-')}.png"), full=name != "phone")
        if width < 700:
            browser.picture(os.path.join(images, f"other-{name.replace(' ', '-')}-whole.png"), full=True)
            small = browser.run("return [...document.querySelectorAll('#pick select, #pick input')].filter((field) => field.checkVisibility() && field.getBoundingClientRect().height < 44).length")
            same(f"{name}: fields are large enough for a finger", 0, small)
    browser.screen(1280, 900)
    for dark in (False, True):
        browser.screen(1280, 900, dark)
        worst = browser.run(palette.WORST)
        worst = min(worst, key=lambda found: palette.contrast_of(found[1], found[2]))
        check(f"every text has a contrast of 4.5 or more ({'dark' if dark else 'light'})", palette.contrast_of(worst[1], worst[2]) >= 4.5, worst)
    browser.screen(1280, 900)
    quiet(browser, "demo", [address("demo.html"), address("global.html"), "about:blank"])

    # Printed.
    browser.devtools("Emulation.setEmulatedMedia", media="print")
    same("print: nothing is cut off", 0, browser.run("return [...document.querySelectorAll('.scroll')].filter((box) => getComputedStyle(box).maxHeight !== 'none').length"))
    browser.screen(1280, 900)


def hostile(browser):
    names = load("hostile.json")
    browser.open(address("hostile.html"))
    same("hostile: the customer is called as it is called", [names["customer"], "Credits of " + names["customer"]], browser.run("return [document.querySelector('h1').textContent, document.title]"))
    same("hostile: so are the resources", names["resources"], browser.run("return [...document.querySelectorAll('#resource option')].map((option) => option.textContent)"))
    # The first is shown already.
    for resource in names["resources"][1:] + names["resources"][:1]:
        browser.run("const pick = document.querySelector('#resource'); pick.value = String(arguments[0]); pick.dispatchEvent(new Event('change', {bubbles: true}));", names["resources"].index(resource))
        check(f"hostile: {ascii(resource)[:60]} is shown", browser.wait("const parts = new URLSearchParams(location.hash.slice(1)); return parts.get('resource') === arguments[0] && document.querySelector('#said').textContent.includes(arguments[0])", resource),
              browser.run("return location.hash + document.querySelector('#said').textContent"))
        text = browser.run("return document.querySelector('#grants').textContent + document.querySelector('#ledger').textContent")
        check("  as text, in grants and ledger", resource[:200] in text or "javascript" in resource, text[:300])
        fits(browser, "  1280 px")
    browser.screen(360, 740, False, 1, True)
    fits(browser, "hostile: 360 px")
    browser.picture(os.path.join(folder, "images", "other-hostile.png"), full=True)
    browser.screen(1280, 900)
    same("hostile: nothing ran", None, browser.run("return window.broken === undefined ? null : window.broken"))
    same("hostile: no element of theirs", [2, 0, 0], browser.run("return [document.querySelectorAll('script').length, document.querySelectorAll('img, iframe, b:not(.legend b, .tip b)').length, [...document.querySelectorAll('*')].filter((element) => [...element.attributes].some((attribute) => attribute.name.startsWith('on'))).length]"))
    quiet(browser, "hostile", [address("hostile.html"), "about:blank"])


def others(browser):
    browser.open(address("empty.html"))
    text = browser.run("return document.querySelector('main').innerText")
    check("an empty pool, in words", all(said in text for said in ["No usage from", "No auto-recharge policy", "no subscription", "No credits have been granted"]), text)
    balances = load("large.json")
    browser.open(address("large.html"))
    same("large: the selector", len(balances), browser.run("return document.querySelectorAll('#resource option').length"))
    for resource in ["workspace-0001", "workspace-0777", "workspace-1000"]:
        browser.run(CHOOSE, "#resource", resource)
        browser.wait("return location.hash.endsWith(arguments[0])", resource)
        page = browser.wait(READ + "") or browser.run(READ)
        same(f"large: balance of {resource}", balances[resource], page["tiles"]["Balance"][0])
        check(f"large: {resource} has a chart, and says what is left out", page["bars"] > 20 and re.search(r"Latest \d+ of \d+ entries; all are in the view credit_pools\.ledger", page["ledgerText"]), [page["bars"], page["ledgerText"][-200:]])
    took = browser.run("""const began = performance.now(); const pick = document.querySelector('#resource');
        for (let n = 0; n < 20; n++) { pick.value = String(n * 40); pick.dispatchEvent(new Event('change', {bubbles: true})); dispatchEvent(new HashChangeEvent('hashchange')); }
        return (performance.now() - began) / 20""")
    check(f"large: a change of the resource takes {took:.0f} ms", took < 500)
    quiet(browser, "others", [address("empty.html"), address("large.html"), "about:blank"])

    # Without JavaScript.
    browser.devtools("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(address("demo.html"))
    pools = load("demo.json")
    table = browser.do("POST", "/elements", {"using": "css selector", "value": "noscript table tbody tr"})
    cells = [browser.do("GET", f"/element/{list(row.values())[0]}/text") for row in table]
    same("without JavaScript: a table of balances", [f"{pool['resource_id'] or 'Global pool'} {TYPES[pool['credit_type_id']]} {pool['balance']}" for pool in pools], cells)
    browser.devtools("Emulation.setScriptExecutionDisabled", value=False)


def served(browser):
    """As PostgREST would send it: by HTTP, as text/html."""
    class Handler(http.server.BaseHTTPRequestHandler):
        asked = []

        def do_GET(self):
            Handler.asked.append(self.path)
            with open(os.path.join(folder, "hostile.html"), "rb") as file:
                page = file.read()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_):
            pass

    browser.log("performance")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    there = f"http://127.0.0.1:{server.server_address[1]}/rpc/credits_page"
    browser.open(there)
    check("by HTTP: the page works", browser.run("return document.querySelectorAll('#grants tbody tr').length") > 0)
    same("by HTTP: nothing ran", None, browser.run("return window.broken === undefined ? null : window.broken"))
    same("by HTTP: one request", ["/rpc/credits_page"], Handler.asked)
    quiet(browser, "by HTTP", [there])
    # The browser does keep the rules: a script and a style of others are refused.
    refused = browser.run("""const found = [];
        document.addEventListener("securitypolicyviolation", (event) => found.push(event.effectiveDirective));
        const script = document.createElement("script"); script.textContent = "window.broken = 9"; document.head.append(script);
        const image = new Image(); image.src = "/elsewhere.png"; document.body.append(image);
        document.body.insertAdjacentHTML("beforeend", "<p style='color: red' onclick='window.broken = 9'>x</p>"); document.body.lastChild.click();
        fetch("/elsewhere").catch(() => {});
        return new Promise((done) => setTimeout(() => done([found.sort(), window.broken === undefined]), 300))""")
    same("what is not its own is refused by the browser", [["connect-src", "img-src", "script-src-attr", "script-src-elem", "style-src-attr"], True], refused)
    same("and nothing was fetched", ["/rpc/credits_page"], Handler.asked)
    browser.log("browser")
    server.shutdown()


palette.check_all(check, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../src/page/page.css"))
browser = Browser(chromium, driver)
try:
    for part in (demo, hostile, others, served):
        part(browser)
finally:
    browser.close()
sys.exit(failed > 0)
