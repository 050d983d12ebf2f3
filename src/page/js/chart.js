// The usage of the last days: a bar a day, in parts by feature.

const HEIGHT = 240, LEFT = 56, RIGHT = 6, TOP = 10, BOTTOM = 26;
const COLOURS = 6;

// Features beyond the colours are drawn as one; the table has them all.
function series(pool) {
  const rows = pool.usage;
  if (rows.length <= COLOURS) return rows.map((row, place) => ({ name: featureName(row.feature), colour: row.feature === -1 ? "fr" : "f" + place, days: row.days }));
  const rest = rows.slice(COLOURS - 1);
  const shown = rows.slice(0, COLOURS - 1).map((row, place) => ({ name: featureName(row.feature), colour: "f" + place, days: row.days }));
  const days = [];
  for (let index = 0; index < data.days; index++) days.push(sum(rest.map((row) => row.days[index] || "0")));
  return [...shown, { name: "All other features", colour: "fr", days }];
}

// Steps of 1, 2 or 5 times a power of ten.
function step(most) {
  const rough = most / 4, power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough) || power * 10;
}
function short(value) {
  for (const [size, unit] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) if (value >= size) return String(Number((value / size).toPrecision(3))) + unit;
  return String(Number(value.toPrecision(3)));
}

let redraw = () => {};

function chart(pool) {
  const where = body("usage"), all = series(pool);
  const from = day(data.day0 * 86400), until = day((data.day0 + data.days - 1) * 86400);
  redraw = () => {};
  if (!all.length) {
    where.replaceChildren(make("p", { class: "empty" }, "No usage from " + from + " to " + until + "."));
    return;
  }
  const totals = [];
  for (let index = 0; index < data.days; index++) totals.push(sum(all.map((row) => row.days[index] || "0")));
  const legend = make("ul", { class: "legend" });
  for (const row of all) {
    legend.append(make("li", null, make("span", { class: "swatch " + row.colour }), own(row.name), make("b", null, grouped(sum(row.days.map((value) => value || "0"))))));
  }
  const box = make("div", { class: "chart" });
  const tip = make("div", { class: "tip", hidden: true });
  box.append(tip);
  where.replaceChildren(make("p", { class: "left" }, "Credits per day, " + from + " to " + until + ", " + grouped(pool.used) + " in all."), legend, box, usageTable(pool, totals));
  redraw = () => { if (box.clientWidth) bars(box, tip, all, totals, from, until); };
  redraw();
}

function bars(box, tip, all, totals, from, until) {
  const before = box.querySelector("svg"), width = Math.max(240, box.clientWidth);
  const focused = before && before.contains(document.activeElement) ? document.activeElement.dataset.day : null;
  // Where a bar ends is a matter of pixels; what it stands for is in the tooltip and the table.
  const size = (amount) => Math.max(0, Number(amount || "0"));
  const most = Math.max(...totals.map(size), 0) || 1, each = step(most), top = Math.ceil(most / each) * each;
  const inner = HEIGHT - TOP - BOTTOM, wide = (width - LEFT - RIGHT) / data.days, y = (value) => TOP + inner * (1 - value / top);
  const svg = draw("svg", { viewBox: "0 0 " + width + " " + HEIGHT, role: "group", "aria-label": "Usage by day, " + from + " to " + until + ". Left and right arrow keys go from day to day." });
  for (let line = 0; line <= top / each + 0.001; line++) {
    const value = line * each;
    svg.append(draw("line", { class: line ? "grid" : "axis", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
      draw("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end", "aria-hidden": "true" }, short(value)));
  }
  const labels = Math.max(2, Math.floor((width - LEFT) / 74)), every = Math.ceil(data.days / labels);
  const days = [];
  for (let index = 0; index < data.days; index++) {
    const x = LEFT + wide * index, date = (data.day0 + index) * 86400;
    const said = day(date) + ": " + grouped(totals[index]) + all.filter((row) => !isZero(row.days[index] || "0")).map((row) => ", " + row.name + " " + grouped(row.days[index])).join("");
    const group = draw("g", { class: "day", role: "img", "aria-label": said, tabindex: -1, "data-day": index },
      draw("rect", { class: "hit", x, y: TOP, width: wide, height: inner }));
    let base = 0;
    for (const row of all) {
      const part = size(row.days[index]);
      if (part <= 0) continue;
      const high = y(base) - y(base + part);
      group.append(draw("rect", { class: row.colour, x: x + wide * 0.14, y: y(base + part), width: wide * 0.72, height: Math.max(0.5, high - (base ? 1 : 0)) }));
      base += part;
    }
    if ((data.days - 1 - index) % every === 0) {
      svg.append(draw("text", { x: x + wide / 2, y: HEIGHT - 8, "text-anchor": "middle", "aria-hidden": "true" }, day(date).replace(/ \d+$/, "")));
    }
    group.addEventListener("mouseenter", () => show(index));
    group.addEventListener("focus", () => show(index));
    group.addEventListener("blur", hide);
    days.push(group);
    svg.append(group);
  }
  svg.addEventListener("mouseleave", hide);
  svg.addEventListener("keydown", (event) => {
    const now = days.indexOf(document.activeElement);
    if (event.key === "Escape") return hide();
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: data.days - 1 }[event.key];
    if (now < 0 || to === undefined) return;
    event.preventDefault();
    if (days[to]) move(to, true);
  });

  function move(index, focus) {
    for (const group of days) group.setAttribute("tabindex", "-1");
    days[index].setAttribute("tabindex", "0");
    if (focus) days[index].focus();
  }
  function show(index) {
    const list = make("ul");
    for (const row of all) {
      if (isZero(row.days[index] || "0")) continue;
      list.append(make("li", null, make("span", { class: "swatch " + row.colour }), own(row.name), make("b", null, grouped(row.days[index]))));
    }
    tip.replaceChildren(make("p", null, day((data.day0 + index) * 86400) + ": " + grouped(totals[index])), list);
    tip.hidden = false;
    const middle = LEFT + wide * (index + 0.5);
    tip.style.left = Math.max(0, Math.min(middle - tip.offsetWidth / 2, width - tip.offsetWidth)) + "px";
    tip.style.top = Math.max(-8, y(size(totals[index])) - tip.offsetHeight - 8) + "px";
  }
  function hide() { tip.hidden = true; }

  hide();
  if (before) before.replaceWith(svg); else box.prepend(svg);
  // The last day with usage is where the keyboard comes in.
  const last = totals.reduce((found, total, index) => (isZero(total) ? found : index), data.days - 1);
  move(focused === null ? last : Number(focused), focused !== null);
}

function usageTable(pool, totals) {
  const table = make("table", null, make("caption", null, "Credits used per day and feature"));
  const names = pool.usage.map((row) => featureName(row.feature));
  table.append(make("thead", null, make("tr", null, make("th", { scope: "col" }, "Day"), make("th", { scope: "col", class: "n" }, "All"),
    ...names.map((name) => make("th", { scope: "col", class: "n" }, own(name))))));
  const rows = make("tbody");
  for (let index = data.days - 1; index >= 0; index--) {
    rows.append(make("tr", null, make("th", { scope: "row", class: "t" }, day((data.day0 + index) * 86400)), make("td", { class: "n" }, grouped(totals[index])),
      ...pool.usage.map((row) => make("td", { class: "n" }, grouped(row.days[index] || "0")))));
  }
  table.append(rows);
  return make("details", null, make("summary", null, "Show as a table"), scroller("Usage per day", table, true));
}
