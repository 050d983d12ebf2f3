// What the data say (see wire.rs), and how figures and instants are written.

const data = JSON.parse(document.getElementById("data").textContent);
const texts = data.texts;

// Whole seconds on the customer's wall clock, from so many before the page's own.
const at = (before) => (before === null || before === undefined ? null : data.now - before);

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const two = (number) => String(number).padStart(2, "0");

// The wall clock is read as if it were UTC: the reader's own time zone has no part in it.
function day(seconds) {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return "beyond the calendar";
  return date.getUTCDate() + " " + MONTHS[date.getUTCMonth()] + " " + date.getUTCFullYear();
}
function instant(seconds) {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? day(seconds) : day(seconds) + ", " + two(date.getUTCHours()) + ":" + two(date.getUTCMinutes());
}
function machine(seconds) {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString().slice(0, 16);
}

// A decimal string with its digits in groups: no digit is changed.
function grouped(amount) {
  const minus = amount.startsWith("-");
  const [whole, fraction] = (minus ? amount.slice(1) : amount).split(".");
  const digits = whole.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
  return (minus ? "\u2212" : "") + digits + (fraction ? "." + fraction : "");
}
const signed = (amount) => (amount.startsWith("-") || amount === "0" ? "" : "+") + grouped(amount);
const isZero = (amount) => amount === "" || amount === "0";
const isNegative = (amount) => amount.startsWith("-");
const price = (amount, currency) => grouped(amount) + (currency ? "\u00a0" + currency : "");
const plural = (count, one, many) => grouped(String(count)) + " " + (count === 1 ? one : many);
// Decimal strings added digit by digit.
function sum(amounts) {
  const places = Math.max(0, ...amounts.map((amount) => (amount.split(".")[1] || "").length));
  let total = 0n;
  for (const amount of amounts) {
    const [whole, fraction = ""] = amount.replace("-", "").split(".");
    const units = BigInt(whole + fraction.padEnd(places, "0"));
    total += isNegative(amount) ? -units : units;
  }
  const digits = (total < 0n ? -total : total).toString().padStart(places + 1, "0");
  const fraction = places ? digits.slice(-places).replace(/0+$/, "") : "";
  return (total < 0n ? "-" : "") + (places ? digits.slice(0, -places) : digits) + (fraction ? "." + fraction : "");
}

const FIGURES = ["balance", "granted", "consumed", "expired", "voided", "held", "debt", "restricted", "overdraft", "used", "perDay",
  "expiring", "nextAmount", "utilization"];

function readPool(raw, index) {
  const words = raw.f.split(" ");
  const pool = {
    index, id: raw.i, resource: raw.r === undefined ? null : raw.r, type: raw.t, frozen: !!raw.z, due: !!raw.due, full: !!raw.full,
    nextExpiry: at(raw.w[0]), depletion: at(raw.w[1]), opened: at(raw.w[2]),
    grants: raw.g, grantCount: raw.gn, ledger: raw.l, ledgerCount: raw.ln, recharges: raw.x,
    breaker: at(raw.b), policy: raw.p === undefined ? null : data.policies[raw.p],
    subscription: raw.s === undefined ? null : data.subs[raw.s], history: raw.h || [],
    usage: (raw.u || []).map(([feature, days]) => ({ feature, days: days.split(" ") })),
  };
  FIGURES.forEach((name, place) => { pool[name] = words[place]; });
  return pool;
}

// Nothing is read before it is shown: a page may have a thousand pools.
const poolOf = (index) => readPool(data.pools[index], index);

const typeName = (index) => data.types[index][1] || data.types[index][0];
function featureName(index) {
  if (index === null || index === undefined) return "Plain credits";
  if (index === -1) return "All other features";
  return data.features[index][1] || data.features[index][0];
}
const planName = (id) => (Object.hasOwn(data.plans, id) ? data.plans[id] : id);
const resourceName = (resource) => (resource === null ? "Global pool" : resource);

// Elements. Whatever is text stays text.
function make(name, attributes, ...children) {
  const element = document.createElement(name);
  return dress(element, attributes, children);
}
function draw(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  return dress(element, attributes, children);
}
function dress(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}
const own = (text) => make("bdi", null, text);
const time = (seconds) => make("time", { datetime: machine(seconds) }, instant(seconds));
const byId = (id) => document.getElementById(id);
const body = (id) => byId(id).querySelector(".body");
