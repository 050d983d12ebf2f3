// The parts of the page but for the chart, each of one pool.

const words = (text) => text.replace(/_/g, " ");
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const empty = (text) => make("p", { class: "empty" }, text);

// A table that is wider than the screen scrolls by itself, also by keyboard.
function scroller(label, table, tall) {
  return make("div", { class: "scroll" + (tall ? " tall" : ""), tabindex: 0, role: "region", "aria-label": label }, table);
}
function badge(text, kind) {
  return make("span", { class: "badge" + (kind ? " " + kind : "") }, text);
}
const KINDS = { active: "good", succeeded: "good", pending: "warn", processing: "warn", pending_payment: "warn", scheduled: "warn", failed: "bad" };
const status = (name) => badge(capital(words(name)), KINDS[name]);

function head(columns) {
  return make("thead", null, make("tr", null, ...columns.map(([label, kind]) => make("th", { scope: "col", class: kind || null }, label))));
}
// A row whose first cell names it. On a phone each cell says its column.
function line(columns, cells) {
  return make("tr", null, ...cells.map((cell, place) => {
    const [label, kind] = columns[place], children = Array.isArray(cell) ? cell : [cell], none = children.every((child) => child === null || child === undefined || child === "");
    return make(place ? "td" : "th", { scope: place ? null : "row", class: [kind, none && "none"].filter(Boolean).join(" ") || null, "data-label": label }, ...children);
  }));
}
function facts(rows) {
  const list = make("dl", { class: "facts" });
  for (const [name, ...value] of rows) if (value[0] !== null && value[0] !== undefined) list.append(make("dt", null, name), make("dd", null, ...value));
  return list;
}
function left(shown, all, what, view) {
  if (shown >= all) return null;
  return make("p", { class: "left" }, (shown ? "Latest " + grouped(String(shown)) + " of " + plural(all, what[0], what[1]) : plural(all, what[0], what[1]) + " not on this page") + "; all are in the view credit_pools." + view + ".");
}

function overview(pool) {
  const tile = (name, value, sub, kind) => make("div", { class: "tile" + (kind ? " " + kind : "") }, make("dt", null, name),
    make("dd", { class: isNegative(value) ? "neg" : null }, isNegative(value) || !isZero(value) || sub !== undefined ? grouped(value) : "0", sub ? make("span", { class: "sub" }, sub) : null));
  const unit = data.types[pool.type][3] || typeName(pool.type);
  const main = tile("Balance", pool.balance, null, "main");
  main.querySelector("dd").append(make("span", { class: "sub" }, own(unit)));
  const notes = [];
  if (!isZero(pool.restricted)) notes.push(grouped(pool.restricted) + " of it for certain features only");
  if (pool.overdraft === "Infinity") notes.push("overdraft without limit"); else if (!isZero(pool.overdraft)) notes.push("overdraft up to " + grouped(pool.overdraft));
  if (notes.length) main.append(make("span", { class: "sub" }, capital(notes.join("; "))));

  const percent = pool.utilization === "" ? null : sum(Array(100).fill(pool.utilization));
  const utilized = make("div", { class: "tile" }, make("dt", null, "Utilization"), make("dd", null, percent === null ? "\u2013" : grouped(percent) + "\u00a0%"));
  if (percent !== null) {
    const part = make("i");
    part.style.width = Math.min(100, Math.max(0, Number(percent))) + "%";
    utilized.append(make("span", { class: "bar", "aria-hidden": "true" }, part));
  }
  let ends = "nothing expires";
  if (pool.nextExpiry !== null) ends = (isZero(pool.expiring) ? "next: " : "first: ") + grouped(pool.nextAmount) + " on " + day(pool.nextExpiry);
  let lasts = "no usage in " + data.days + " days";
  if (!isZero(pool.perDay)) lasts = pool.depletion === null ? "lasts for ever at this rate" : isNegative(pool.balance) || isZero(pool.balance) ? "used up" : "lasts until " + day(pool.depletion);
  body("overview").replaceChildren(make("dl", { class: "tiles" }, main,
    tile("Granted", pool.granted), tile("Consumed", pool.consumed, pool.used === "0" ? "nothing in " + data.days + " days" : grouped(pool.used) + " in " + data.days + " days"),
    tile("Expired", pool.expired, isZero(pool.voided) ? "nothing voided" : "and " + grouped(pool.voided) + " voided"),
    utilized, tile("Held", pool.held, isZero(pool.held) ? "no open holds" : "for running jobs"),
    tile("Debt", pool.debt, isZero(pool.debt) ? "none" : "paid by the next credits"),
    tile("Expiring in 30 days", pool.expiring, ends)));
  const burn = tile("Burn per day", pool.perDay, lasts);
  body("overview").querySelector(".tiles").append(burn);
  return [pool.frozen ? "This pool is frozen: it takes no usage and no new holds." : null,
    pool.due ? "Something fell due that maintenance has not booked yet. Figures and grants are as of now; the ledger has what is booked." : null];
}

function recharge(pool) {
  const policy = pool.policy, parts = [];
  const flying = pool.recharges.find((row) => texts[row[1]] === "pending" || texts[row[1]] === "processing");
  if (policy === null) {
    parts.push(empty(data.part ? "This resource has no auto-recharge policy of its own." : "No auto-recharge policy covers this pool."));
  } else {
    const [isOwn, enabled, threshold, target, amount, each, currency, most, spent, count, period, cooldown, expires, immediate, failures] = policy;
    const state = pool.breaker !== null ? badge("Breaker open", "bad") : !enabled ? badge("Off") : flying ? badge("Recharge in flight", "warn") : badge("On", "good");
    parts.push(facts([
      ["State", state],
      ["Policy", isOwn ? "of this resource alone" : "of all pools of this credit type"],
      ["Fires below", grouped(threshold)],
      target === null ? ["Adds", grouped(amount)] : ["Fills up to", grouped(target)],
      ["Price per credit", each === null || each === undefined ? null : price(each, currency)],
      ["Spending limit", most === null || most === undefined ? null : price(most, currency) + " per " + period.replace(/^1 /, "") + (spent ? ", " + price(spent, currency) + " spent" : "")],
      ["Count limit", count === null || count === undefined ? null : grouped(String(count)) + " per " + period.replace(/^1 /, "")],
      ["Pause between", cooldown],
      ["Credits last", expires || "for ever"],
      ["Credits come", immediate ? "at once" : "when the payment has succeeded"],
      ["Breaker", pool.breaker !== null ? "opened " : "opens after " + plural(failures, "failure", "failures"), pool.breaker !== null ? time(pool.breaker) : ""],
    ]));
  }
  if (flying) {
    const next = at(flying[8]);
    parts.push(make("h3", null, "In flight"), make("p", null, grouped(flying[3] || "0") + " credits" + (flying[4] ? " for " + price(flying[4], flying[5] === null || flying[5] === undefined ? "" : texts[flying[5]]) : "") + ", " + plural(flying[7] || 0, "attempt", "attempts") + " so far" + (next === null ? "." : ", next on " + instant(next) + ".")));
  }
  if (!pool.recharges.length) {
    if (policy !== null) parts.push(make("h3", null, "Last recharges"), empty("None yet."));
  } else {
    const list = make("ul", { class: "log" });
    for (const [id, state, when, amount, cost, currency, reason, , , reference] of pool.recharges) {
      const said = make("div", null, status(texts[state]), " ", amount ? grouped(amount) + (cost ? " for " + price(cost, currency === null || currency === undefined ? "" : texts[currency]) : "") : "");
      const why = [reason ? words(reason) : null, reference || null].filter(Boolean);
      said.append(make("span", { class: "small" }, "Recharge " + id, ...why.flatMap((text) => [", ", own(text)])));
      list.append(make("li", null, time(at(when)), said));
    }
    parts.push(make("h3", null, "Last recharges"), list);
  }
  body("recharge").replaceChildren(...parts);
}

const HISTORY = { o: "Pool opened", s: "Subscription began: ", p: "Plan changed to ", m: "Subscription moved here: ", c: "Subscription cancelled", e: "Subscription ended" };

function subscription(pool) {
  const parts = [], sub = pool.subscription;
  if (sub === null) {
    parts.push(empty(pool.resource === null ? "The customer has no subscription of its own; its resources may have some." : "This resource has no subscription."));
  } else {
    const [id, plan, state, starts, ends, from, until, cancelled, quantities] = sub;
    parts.push(facts([
      ["Plan", own(planName(texts[plan]))],
      ["Status", status(texts[state])],
      ["Period", from === null || from === undefined ? null : day(at(from)) + " to " + day(at(until))],
      ["Began", time(at(starts))],
      ["Ends", ends === null || ends === undefined ? "no end" : time(at(ends))],
      ["Cancelled", cancelled === null || cancelled === undefined ? null : time(at(cancelled))],
      ["Quantities", quantities ? own(quantities) : null],
      ["Subscription", own(id)],
    ]));
  }
  // What the plan granted is among the grants.
  const events = pool.history.map(([kind, before, plan]) => ({ at: at(before), said: [HISTORY[kind], plan !== null && plan !== undefined && "spm".includes(kind) ? own(planName(texts[plan])) : null] }));
  for (const row of pool.grants) {
    const source = texts[row[3]];
    if ((source === "plan" || source === "rollover") && texts[row[1]] !== "scheduled") events.push({ at: at(row[8]), said: [(source === "plan" ? "Plan granted " : "Rolled over ") + grouped(row[5])] });
  }
  events.sort((one, other) => other.at - one.at);
  const list = make("ul", { class: "log" });
  for (const event of events.slice(0, 12)) list.append(make("li", null, time(event.at), make("div", null, ...event.said.filter(Boolean))));
  if (events.length) parts.push(make("h3", null, "History of this pool"), list);
  body("subscription").replaceChildren(...parts);
}

// The first rows of a table, and a button for the others: nobody wants to pass by a hundred rows on the way to the next part.
const FIRST = 12;
function long(rows, parts, what) {
  const all = [...rows.children];
  if (all.length <= FIRST + 3) return;
  all.slice(FIRST).forEach((row) => { row.hidden = true; });
  const button = make("button", { type: "button" }, "Show all " + grouped(String(all.length)) + " " + what);
  button.addEventListener("click", () => {
    all.forEach((row) => { row.hidden = false; });
    button.remove();
    const first = all[FIRST].firstElementChild;
    first.tabIndex = -1;
    first.focus();
  });
  parts.push(button);
}

const GRANT_COLUMNS = [["Grant"], ["Status", "t"], ["Category", "t"], ["Priority", "n"], ["Amount", "n"], ["Remaining", "n"], ["Expires", "t"], ["Price", "n"]];

function grants(pool) {
  if (!pool.grantCount && !pool.grants.length) return body("grants").replaceChildren(empty("No credits have been granted to this pool yet."));
  const rows = make("tbody");
  for (const row of pool.grants) {
    const [id, state, category, source, priority, amount, remaining, available, from, until, cost, currency, name, held, reason, features, metadata] = row;
    const small = (...children) => make("span", { class: "small" }, ...children);
    const title = [name ? own(name) : id === null ? "Not booked yet" : id];
    const notes = [name && id !== null ? id : null, source === null ? null : "by " + ({ plan: "plan", manual: "hand" }[texts[source]] || texts[source])].filter(Boolean).join(", ");
    title.push(small(notes));
    if (reason) title.push(small(own(reason)));
    if (features) title.push(small("for ", own(features.map(featureName).join(", ")), " only"));
    if (metadata) title.push(small(own(metadata)));
    const rest = [grouped(remaining)];
    if (held) rest.push(small(grouped(held) + " held"));
    if (available && texts[state] === "active" && !held) rest.push(small(grouped(available) + " available"));
    const expires = until === null || until === undefined ? ["never"] : [time(at(until))];
    if (at(from) > data.now) expires.push(small("begins " + instant(at(from))));
    rows.append(line(GRANT_COLUMNS, [title, status(texts[state]), capital(texts[category]), String(priority), grouped(amount), rest, expires,
      cost === null || cost === undefined ? "" : price(cost, currency === null || currency === undefined ? "" : texts[currency])]));
  }
  const table = make("table", { class: "cards" }, make("caption", null, "In order of consumption; then what is over, the newest first"), head(GRANT_COLUMNS), rows);
  const missing = pool.grants.length < pool.grantCount
    ? make("p", { class: "left" }, (pool.grants.length ? "The first " + grouped(String(pool.grants.length)) + " of " + plural(pool.grantCount, "grant", "grants") : plural(pool.grantCount, "grant", "grants") + " not on this page") + "; all are in the view credit_pools.grants.") : null;
  const parts = pool.grants.length ? [scroller("Grants", table)] : [];
  if (missing) parts.push(missing);
  long(rows, parts, "grants");
  body("grants").replaceChildren(...parts);
}

const LEDGER_COLUMNS = [["No.", "t"], ["Recorded", "t"], ["Type", "t"], ["Feature"], ["Amount", "n"], ["Balance", "n"], ["Details", "free"]];
const MORE = { value: "units", usage: "usage", recharge: "recharge", reservation: "hold", key: "key", dimensions: "dimensions", metadata: "metadata" };

function ledger(pool, kind) {
  const kinds = [...new Set(pool.ledger.map((row) => texts[row[0]]))].sort();
  const pick = byId("kind"), wanted = kinds.includes(kind) ? kind : "";
  pick.replaceChildren(make("option", { value: "" }, "All types"), ...kinds.map((name) => make("option", { value: name }, capital(words(name)))));
  pick.value = wanted;
  pick.disabled = !kinds.length;
  const rows = make("tbody");
  let shown = 0;
  pool.ledger.forEach((row, place) => {
    const [type, amount, balance, recorded, feature, grant, effective, reason, actor, more] = row;
    if (wanted && texts[type] !== wanted) return;
    shown++;
    const details = [];
    if (reason) details.push([own(reason)]);
    if (effective !== null && effective !== undefined) details.push(["counts from " + instant(at(effective))]);
    const small = [];
    if (grant) small.push("grant " + grant);
    for (const [key, value] of Object.entries(more || {})) small.push([MORE[key] + " ", own(key === "value" ? grouped(value) : value)]);
    if (actor !== null && actor !== undefined) small.push(["by ", own(texts[actor])]);
    const cell = details.map((detail) => make("div", null, ...detail));
    if (small.length) cell.push(make("span", { class: "small" }, ...small.flatMap((part, index) => [index ? ", " : null, ...[].concat(part)])));
    rows.append(line(LEDGER_COLUMNS, [String(pool.ledgerCount - place), time(at(recorded)), capital(words(texts[type])),
      feature === null || feature === undefined ? "" : own(featureName(feature)), make("span", { class: isNegative(amount) ? "neg" : null }, signed(amount)), grouped(balance), cell]));
  });
  const parts = [];
  if (pool.ledger.length) parts.push(scroller("Ledger", make("table", { class: "cards" }, make("caption", null, (wanted ? plural(shown, "entry", "entries") + " of type " + words(wanted) : "The newest first")), head(LEDGER_COLUMNS), rows)));
  const missing = left(pool.ledger.length, pool.ledgerCount, ["entry", "entries"], "ledger");
  if (missing) parts.push(missing);
  long(rows, parts, "entries");
  body("ledger").replaceChildren(...parts);
}
