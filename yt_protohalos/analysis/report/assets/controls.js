// ---- interaction ----------------------------------------------------------------------------------------------------

/** Select a protohalo. A selection in the table moves the slice to it; one in the slice turns the table to its page. */
function select(index, fromTable = false) {
  state.selected = index;
  gather();
  if (fromTable && view.points) {
    state.plane = view.centre[AXES.indexOf(state.axis)];
  } else if (order.includes(index)) {
    state.page = Math.floor(order.indexOf(index) / ROWS);
  }
  drawSlice();
  drawObject();
  drawMassFunction();
  drawRows();
}

function drawObject() {
  byId("object-title").textContent = state.selected < 0 ? "Protohalo" : `Protohalo ${state.selected}`;
  const sites = data.sizes[state.selected];
  byId("size").textContent = sites
    ? `${powerOfTen(sites * data.siteMass)} M☉ in ${sites} sites; frame in Mpc/h` : "";
  drawBody();
}

function radios(place, names, chosen, change) {
  for (const [value, title] of Object.entries(names)) {
    const label = element("label");
    const input = element("input", "", { type: "radio", name: place, value });
    input.checked = value === chosen;
    input.addEventListener("change", () => change(value));
    label.append(input, title);
    byId(place).append(label);
  }
}

function listen() {
  radios("field", FIELDS, state.field, (value) => { state.field = value; drawSlice(); });
  radios("axis", { x: "x", y: "y", z: "z" }, state.axis, (value) => {
    state.axis = value;
    state.plane = view.points ? view.centre[AXES.indexOf(value)] : data.plane[value];
    drawSlice();
  });
  byId("plane").max = data.n - 1;
  byId("plane").addEventListener("input", (event) => { state.plane = Number(event.target.value); drawSlice(); });
  byId("slice").addEventListener("mousemove", (event) => {
    const site = siteAt(event);
    byId("readout").textContent = site ? describe(site) : "";
  });
  byId("slice").addEventListener("mouseleave", () => { byId("readout").textContent = ""; });
  byId("slice").addEventListener("click", (event) => {
    const site = siteAt(event), label = site ? valueAt(cubes.labels, site) : 0;
    if (label) select(label - 1);
  });
  byId("turn").addEventListener("click", () => { state.turning = !state.turning; nameTurn(); });
  for (const [button, step] of [["previous", -1], ["next", 1]]) {
    byId(button).addEventListener("click", () => { state.page += step; drawRows(); });
  }
  dragToTurn(byId("body"));
  window.addEventListener("resize", () => { drawSlice(); drawBody(); drawMassFunction(); });
}

function nameTurn() { byId("turn").textContent = state.turning ? "Stop" : "Turn"; }

function dragToTurn(canvas) {
  let from = null;
  canvas.addEventListener("pointerdown", (event) => { from = event; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointerup", () => { from = null; });
  canvas.addEventListener("pointermove", (event) => {
    if (!from) return;
    state.turning = false;
    nameTurn();
    view.yaw -= 0.01 * (event.clientX - from.clientX);
    view.pitch = Math.max(-1.5, Math.min(1.5, view.pitch + 0.01 * (event.clientY - from.clientY)));
    from = event;
    drawBody();
  });
}

function pairsTable(pairs) {
  const table = element("table", "", { class: "pairs" });
  for (const [name, value] of pairs) {
    const row = table.insertRow();
    row.append(element("td", name), element("td", value));
  }
  return table;
}

function folded(title, pairs) {
  const details = element("details");
  details.append(element("summary", title), pairsTable(pairs));
  return details;
}

function fillTexts() {
  for (const [name, value] of data.facts) {
    const pair = element("div");
    pair.append(element("dt", name), element("dd", value));
    byId("facts").append(pair);
  }
  for (const place of ["settings", "card"]) {
    for (const [title, pairs] of data[place]) byId(place).append(title ? folded(title, pairs) : pairsTable(pairs));
  }
  const notes = data.notes.slice();
  const stride = Math.max(data.labels.stride, data.probability.stride);
  if (stride > 1) {
    notes.push(`To keep the page small, it holds one site in ${data.labels.stride} of the labels along each axis, and one in ` +
      `${data.probability.stride} of the probability. The table is of all sites.`);
  }
  if (data.rows.id.length < count) notes.push(`The table has the ${data.rows.id.length} largest of ${count} protohalos.`);
  byId("notes").append(...notes.map((note) => element("li", note)));
}

function fail(error) {
  byId("trouble").hidden = false;
  byId("trouble").textContent = `The cubes of this page cannot be read (${error.message}); open it with a browser of 2023 or later.`;
}

async function start() {
  fillTexts();
  sortRows();
  drawHead();
  nameTurn();
  cubes.labels = await unpacked(data.labels);
  cubes.probability = await unpacked(data.probability);
  listen();
  select(state.selected);
  requestAnimationFrame(turn);
  document.body.dataset.ready = "yes";
}

start().catch(fail);
