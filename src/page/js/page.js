// Which pool is shown: chosen by hand or by the address, and then everything on the page is that pool's.

// The resources with their pools, in the order of the data: the global pool first.
const resources = [];
data.pools.forEach((raw, index) => {
  const resource = raw.r === undefined ? null : raw.r, last = resources[resources.length - 1];
  if (last && last.resource === resource) last.pools.push(index); else resources.push({ resource, pools: [index] });
});
const FILTER_FROM = 12;
let shown = null;

// #resource=…&type=…, or #pool=global.
function address(pool) {
  const parts = new URLSearchParams();
  if (pool.resource === null) parts.set("pool", "global"); else parts.set("resource", pool.resource);
  if (resources.find((entry) => entry.resource === pool.resource).pools.length > 1) parts.set("type", data.types[pool.type][0]);
  return "#" + parts;
}
function addressed() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const resource = parts.get("pool") === "global" ? null : parts.get("resource");
  if (resource === null && parts.get("pool") !== "global") return null;
  const entry = resources.find((known) => known.resource === resource);
  if (!entry) return null;
  const type = parts.get("type");
  return entry.pools.find((index) => type === null || data.types[data.pools[index].t][0] === type) ?? null;
}

function options(filter) {
  const wanted = filter.trim().toLocaleLowerCase(), pick = byId("resource");
  const fitting = resources.filter((entry) => !wanted || resourceName(entry.resource).toLocaleLowerCase().includes(wanted));
  const current = shown && resources.find((entry) => entry.resource === shown.resource);
  // What is shown stays chosen, also where the filter passes over it.
  const listed = current && !fitting.includes(current) ? [current, ...fitting] : fitting;
  pick.replaceChildren(...listed.map((entry) => make("option", { value: resources.indexOf(entry), dir: "auto" }, resourceName(entry.resource))));
  if (current) pick.value = String(resources.indexOf(current));
  byId("found").textContent = wanted ? plural(fitting.length, "resource", "resources") : "";
}

function show(index, quietly) {
  const pool = poolOf(index), entry = resources.find((known) => known.resource === pool.resource);
  shown = pool;
  byId("none").hidden = true;
  byId("pool").hidden = false;
  const pick = byId("resource");
  pick.value = String(resources.indexOf(entry));
  if (pick.selectedIndex < 0) options(byId("find").value);
  byId("type-field").hidden = entry.pools.length < 2;
  byId("type").replaceChildren(...entry.pools.map((place) => make("option", { value: place, dir: "auto" }, typeName(data.pools[place].t))));
  byId("type").value = String(index);

  const notes = overview(pool).filter(Boolean);
  if (data.left) notes.push(plural(data.left, "further pool of this customer is", "further pools of this customer are") + " not on this page; ask for one with credits_page(customer_id, resource_id).");
  if (data.part) notes.push("Only the resources of this login are shown.");
  byId("notes").replaceChildren(...notes.map((note) => make("p", null, note)));
  chart(pool);
  recharge(pool);
  subscription(pool);
  grants(pool);
  ledger(pool, "");
  if (!quietly) byId("said").replaceChildren("Now showing ", own(resourceName(pool.resource)), ", ", own(typeName(pool.type)), ": balance " + grouped(pool.balance) + ".");
}

function go(index) {
  const hash = address(poolOf(index));
  // The address then shows it, so that the browser's way back works.
  if (location.hash === hash) show(index); else location.hash = hash;
}

byId("asof").append("As of ", time(data.now), " ", own("(" + data.zone + ")"));
byId("asof").title = data.utc;
byId("foot").textContent = "All times are of the time zone " + data.zone + ". " + plural(data.pools.length, "pool", "pools") + " on this page, made by credit_pools.credits_page.";

if (!data.pools.length || data.without !== null) {
  const none = byId("none");
  none.hidden = false;
  none.replaceChildren(make("h2", null, "No pool"), data.without === null ? empty("This customer has no pool of credits yet.")
    : make("p", { class: "empty" }, "The resource ", own(data.without), " has no pool of credits yet." + (data.pools.length ? " Choose another one above." : "")));
}
if (data.pools.length) {
  byId("pick").hidden = false;
  byId("find-field").hidden = resources.length < FILTER_FROM;
  if (data.without !== null) {
    options("");
    byId("resource").prepend(make("option", { value: "", disabled: true }, data.without));
    byId("resource").value = "";
  } else options("");
  const asked = addressed();
  if (asked !== null) show(asked, true); else if (data.asked !== null) show(data.asked, true);
}
byId("pick").addEventListener("submit", (event) => event.preventDefault());
byId("resource").addEventListener("change", (event) => { if (event.target.value !== "") go(resources[Number(event.target.value)].pools[0]); });
byId("type").addEventListener("change", (event) => go(Number(event.target.value)));
byId("find").addEventListener("input", (event) => options(event.target.value));
byId("kind").addEventListener("change", (event) => ledger(shown, event.target.value));
addEventListener("hashchange", () => {
  const index = addressed();
  if (index !== null && (!shown || shown.index !== index)) show(index);
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});
new ResizeObserver(() => redraw()).observe(byId("usage"));
