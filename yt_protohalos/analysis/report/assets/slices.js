// ---- slices ---------------------------------------------------------------------------------------------------------

const MARGIN = { left: 42, right: 80, top: 8, bottom: 44 };

/** Fit a canvas to its place in the page; returns its cleared context, in CSS pixels. */
function fitted(canvas, height) {
  const width = canvas.clientWidth, ratio = Math.max(1, window.devicePixelRatio || 1);
  canvas.style.height = `${height(width)}px`;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height(width) * ratio);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height(width));
  return context;
}

const sliceSide = () => byId("slice").clientWidth - MARGIN.left - MARGIN.right;

function drawSlice() {
  const context = fitted(byId("slice"), (width) => width - MARGIN.left - MARGIN.right + MARGIN.top + MARGIN.bottom);
  const size = sliceSide();
  const shown = slice(state.field === "probability" ? cubes.probability : cubes.labels, state.axis, state.plane);
  context.save();
  context.beginPath();
  context.rect(MARGIN.left, MARGIN.top, size, size);
  context.clip();
  drawPixels(context, shown, size);
  drawOutlines(context, slice(cubes.labels, state.axis, state.plane), size);
  context.restore();
  drawAxes(context, size);
  drawScale(context, size);
  const plane = ((state.plane + data.offset) * data.spacing).toFixed(2);
  byId("place").textContent = `${state.plane}: ${state.axis} = ${plane} Mpc/h`;
  byId("plane").value = state.plane;
}

function drawPixels(context, { values, side, stride }, size) {
  const small = new OffscreenCanvas(side, side);
  const pixels = new ImageData(side, side);
  for (let j = 0, k = 0; j < side; j++) {
    let at = 4 * side * (side - 1 - j);
    for (let i = 0; i < side; i++, at += 4) {
      const colour = pixelColour(values[k++]);
      pixels.data[at] = colour[0], pixels.data[at + 1] = colour[1], pixels.data[at + 2] = colour[2];
      pixels.data[at + 3] = 255;
    }
  }
  small.getContext("2d").putImageData(pixels, 0, 0);
  context.imageSmoothingEnabled = false;
  // a thinned cube may reach beyond the box by part of its last pixel
  const whole = (size * side * stride) / data.n;
  context.drawImage(small, MARGIN.left, MARGIN.top + size - whole, whole, whole);
}

/** Draw lines between neighbouring sites of different labels; those of the selected protohalo are orange and on top. */
function drawOutlines(context, { values, side, stride }, size) {
  const step = (size * stride) / data.n, bottom = MARGIN.top + size;
  const plain = new Path2D(), marked = new Path2D();
  const selected = state.selected + 1;
  const line = (a, b, x0, y0, x1, y1) => {
    if (a === b) return;
    const path = selected && (a === selected || b === selected) ? marked : plain;
    path.moveTo(MARGIN.left + x0 * step, bottom - y0 * step);
    path.lineTo(MARGIN.left + x1 * step, bottom - y1 * step);
  };
  for (let j = 0; j < side; j++) {
    for (let i = 0; i < side; i++) {
      const here = values[j * side + i];
      if (i + 1 < side) line(here, values[j * side + i + 1], i + 1, j, i + 1, j + 1);
      if (j + 1 < side) line(here, values[(j + 1) * side + i], i, j + 1, i + 1, j + 1);
    }
  }
  context.lineWidth = 0.8, context.strokeStyle = "#000";
  context.stroke(plain);
  context.lineCap = "square";
  context.lineWidth = 4.5, context.strokeStyle = "#fff", context.stroke(marked);
  context.lineWidth = 2.4, context.strokeStyle = MARK, context.stroke(marked);
}

/** Round numbers from low to high, about `wanted` of them. */
function ticks(low, high, wanted) {
  const rough = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

function drawAxes(context, size) {
  const [right, up] = AXES.filter((axis) => axis !== state.axis);
  const start = (data.offset - 0.5) * data.spacing, bottom = MARGIN.top + size;
  context.strokeStyle = context.fillStyle = "#1b1f24";
  context.lineWidth = 1, context.font = "12px system-ui, sans-serif";
  context.strokeRect(MARGIN.left, MARGIN.top, size, size);
  for (const value of ticks(start, start + data.boxSize, 6)) {
    const at = (size * (value - start)) / data.boxSize;
    context.fillRect(MARGIN.left + at, bottom, 1, 4);
    context.fillRect(MARGIN.left - 4, bottom - at, 4, 1);
    context.textAlign = "center", context.textBaseline = "top";
    context.fillText(value, MARGIN.left + at, bottom + 7);
    context.textAlign = "right", context.textBaseline = "middle";
    context.fillText(value, MARGIN.left - 8, bottom - at);
  }
  context.textAlign = "center", context.textBaseline = "bottom";
  context.fillText(`${right} [Mpc/h]`, MARGIN.left + size / 2, bottom + MARGIN.bottom - 4);
  upright(context, `${up} [Mpc/h]`, 14, MARGIN.top + size / 2);
}

function upright(context, text, x, y) {
  context.save();
  context.translate(x, y);
  context.rotate(-Math.PI / 2);
  context.textAlign = "center", context.textBaseline = "middle";
  context.fillText(text, 0, 0);
  context.restore();
}

function drawScale(context, size) {
  if (state.field === "label") return;
  const left = MARGIN.left + size + 14, width = 14, bottom = MARGIN.top + size;
  const [low, high] = state.field === "mass" ? massLimits : [0, 1];
  for (let i = 0; i < size; i++) {
    context.fillStyle = `rgb(${shade(state.field, 1 - i / size).join()})`;
    context.fillRect(left, MARGIN.top + i, width, 1.5);
  }
  context.strokeStyle = context.fillStyle = "#1b1f24";
  context.strokeRect(left, MARGIN.top, width, size);
  context.textAlign = "left", context.textBaseline = "middle";
  for (const value of ticks(low, high, 5)) {
    const y = bottom - (size * (value - low)) / (high - low);
    context.fillRect(left + width, y, 4, 1);
    context.fillText(value, left + width + 7, y);
  }
  const title = state.field === "mass" ? "log₁₀ mass [M☉]" : data.probabilityName;
  upright(context, title, left + width + 46, MARGIN.top + size / 2);
}

/** The site under the pointer, or null outside the box. */
function siteAt(event) {
  const box = byId("slice").getBoundingClientRect(), size = sliceSide();
  const across = (event.clientX - box.left - MARGIN.left) / size;
  const up = (MARGIN.top + size - (event.clientY - box.top)) / size;
  if (across < 0 || across >= 1 || up < 0 || up >= 1) return null;
  const site = [Math.floor(across * data.n), Math.floor(up * data.n)];
  site.splice(AXES.indexOf(state.axis), 0, state.plane);
  return site;
}

function valueAt({ values, side, stride }, site) {
  const [i, j, k] = site.map((s) => Math.floor(s / stride));
  return values[(i * side + j) * side + k];
}

function describe(site) {
  const place = site.map((s, i) => `${AXES[i]} ${((s + data.offset) * data.spacing).toFixed(2)}`).join(", ");
  const label = valueAt(cubes.labels, site), chance = valueAt(cubes.probability, site) / data.probabilitySteps;
  const what = label
    ? `protohalo ${label - 1}, ${powerOfTen(data.sizes[label - 1] * data.siteMass)} M☉` : "outside protohalos";
  return `${place} Mpc/h: ${what}, ${data.probabilityName} ${chance.toFixed(2)}`;
}
