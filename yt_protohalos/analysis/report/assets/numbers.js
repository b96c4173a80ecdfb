// ---- mass function --------------------------------------------------------------------------------------------------

function drawMassFunction() {
  const { mass, density, error, fitMass, fit } = data.massFunction, place = byId("mass-function");
  place.replaceChildren();
  if (!mass.length) {
    place.append(element("p", "There is no protohalo, and hence no mass function."));
    return;
  }
  // drawn as wide as it is shown, so that its words keep their size on a phone
  const width = Math.max(260, Math.min(560, place.clientWidth)), height = Math.max(250, 0.62 * width);
  const [left, right, top, bottom] = [58, 12, 44, 44];
  const log = Math.log10;
  const x = [massLimits[0] - 0.12, log(mass.at(-1)) + 0.22];
  const lows = density.map((d, i) => Math.max(d - error[i], d * 0.2));
  const y = [log(Math.min(...lows)) - 0.1, log(Math.max(...density.map((d, i) => d + error[i]), fit[0])) + 0.12];
  const px = (v) => left + ((width - left - right) * (v - x[0])) / (x[1] - x[0]);
  const py = (v) => height - bottom - ((height - top - bottom) * (v - y[0])) / (y[1] - y[0]);
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Mass function" });
  const line = (x1, y1, x2, y2, more = {}) => svg.append(drawn("line", { x1, y1, x2, y2, stroke: "#1b1f24", ...more }));
  const text = (at, words, more) => svg.append(drawn("text", { x: at[0], y: at[1], fill: "#1b1f24", ...more }, words));
  svg.append(drawn("rect", { x: left, y: top, width: width - left - right, height: height - top - bottom, fill: "none", stroke: "#1b1f24" }));
  for (const value of ticks(...x, 5)) {
    line(px(value), height - bottom, px(value), height - bottom + 4);
    text([px(value), height - bottom + 18], value, { "text-anchor": "middle" });
  }
  for (const value of ticks(...y, 4)) {
    line(left - 4, py(value), left, py(value));
    text([left - 8, py(value) + 4], value, { "text-anchor": "end" });
  }
  text([(left + width - right) / 2, height - 6], "log₁₀ mass [M☉]", { "text-anchor": "middle" });
  const up = [14, (top + height - bottom) / 2];
  text(up, "log₁₀ dn/dlog₁₀M [(Mpc/h)⁻³]", { "text-anchor": "middle", transform: `rotate(-90 ${up.join(" ")})` });
  line(px(massLimits[0]), top, px(massLimits[0]), height - bottom, { "stroke-dasharray": "5 3", stroke: "#57606a" });
  const inside = fitMass.map((m, i) => [log(m), log(fit[i])]).filter(([u, v]) => u <= x[1] && v >= y[0] && v <= y[1]);
  svg.append(drawn("polyline", { points: inside.map(([u, v]) => `${px(u)},${py(v)}`).join(" "), fill: "none", stroke: "#57606a", "stroke-width": 1.4, id: "fit" }));
  text([left, 16], "line: fit of Watson et al. 2013", { fill: "#57606a" });
  text([left, 34], `dashed: smallest, ${data.minSites} sites`, { fill: "#57606a" });
  mass.forEach((m, i) => {
    line(px(log(m)), py(log(lows[i])), px(log(m)), py(log(density[i] + error[i])), { stroke: "#0072b2", "stroke-width": 1.6 });
    svg.append(drawn("circle", { cx: px(log(m)), cy: py(log(density[i])), r: 4, fill: "#0072b2" }));
  });
  if (state.selected >= 0) {
    const at = px(log(data.sizes[state.selected] * data.siteMass));
    line(at, top, at, height - bottom, { stroke: MARK, "stroke-width": 1.6, id: "mark" });
    text([width - right, 34], `protohalo ${state.selected}`, { fill: "#a34700", "text-anchor": "end" });
  }
  place.append(svg);
}

function drawn(name, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

// ---- table ----------------------------------------------------------------------------------------------------------

const ROWS = 15;
let order = [];

function sortRows() {
  const values = data.rows[state.sort], sign = state.descending ? -1 : 1;
  const missing = (v) => v === null;
  order = data.rows.id.map((_, i) => i).sort((a, b) => {
    if (missing(values[a]) || missing(values[b])) return missing(values[a]) - missing(values[b]) || a - b;
    return sign * (values[a] - values[b]) || a - b;
  });
}

function drawHead() {
  const row = element("tr");
  for (const column of data.columns) {
    const cell = element("th", "", { scope: "col", title: column.meaning });
    const arrow = state.sort === column.name ? (state.descending ? " ▾" : " ▴") : "";
    const button = element("button", column.title + arrow, { type: "button", "data-column": column.name });
    if (arrow) cell.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
    button.append(element("small", column.unit));
    button.addEventListener("click", () => sortBy(column.name));
    cell.append(button);
    row.append(cell);
  }
  byId("table").tHead.replaceChildren(row);
}

function sortBy(name) {
  state.descending = state.sort === name ? !state.descending : name !== "id";
  state.sort = name, state.page = 0;
  sortRows();
  drawHead();
  drawRows();
  byId("table").querySelector(`[data-column="${name}"]`).focus();
}

function drawRows() {
  const pages = Math.max(1, Math.ceil(order.length / ROWS));
  const rows = order.slice(state.page * ROWS, (state.page + 1) * ROWS).map((i) => {
    const row = element("tr", "", { tabindex: 0, "data-id": i, "aria-selected": i === state.selected });
    for (const { name, form } of data.columns) row.append(element("td", formatted(data.rows[name][i], form)));
    row.addEventListener("click", () => select(i, true));
    row.addEventListener("keydown", (event) => { if (event.key === "Enter") select(i, true); });
    return row;
  });
  byId("table").tBodies[0].replaceChildren(...rows);
  byId("page").textContent = count ? `page ${state.page + 1} of ${pages}` : "There is no protohalo.";
  byId("previous").disabled = state.page === 0;
  byId("next").disabled = state.page + 1 >= pages;
}
