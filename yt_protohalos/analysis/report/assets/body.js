// ---- one protohalo in 3-D -------------------------------------------------------------------------------------------

const view = { yaw: 0.6, pitch: 0.45, points: null, half: 1, thinned: 1, sides: [0, 0, 0], centre: [0, 0, 0] };

/** Collect the sites of the selected protohalo that have a free face, relative to the middle of their frame, in sites. */
function gather() {
  const { values, side, stride } = cubes.labels, label = state.selected + 1;
  const sites = [];
  for (let at = values.indexOf(label); at >= 0; at = values.indexOf(label, at + 1)) {
    sites.push([Math.floor(at / (side * side)), Math.floor(at / side) % side, at % side]);
  }
  view.points = null;
  view.thinned = stride;
  if (!sites.length) return;
  const first = AXES.map((_, i) => lowerFace(sites.map((site) => site[i]), side));
  const local = (site) => site.map((s, i) => (s - first[i] + side) % side);
  const high = sites.map(local).reduce((most, p) => most.map((m, i) => Math.max(m, p[i])), [0, 0, 0]);
  view.sides = high.map((h) => (h + 1) * stride);
  view.half = 0.5 * Math.hypot(...view.sides); // reaches the corners of the frame
  view.centre = high.map((h, i) => ((first[i] + Math.floor(h / 2)) % side) * stride);
  const free = (site) => [0, 1, 2].some((i) => [1, side - 1].some((move) => {
    const next = site.slice();
    next[i] = (next[i] + move) % side;
    return values[(next[0] * side + next[1]) * side + next[2]] !== label;
  }));
  view.points = sites.filter(free).map((site) => local(site).map((p, i) => (p - high[i] / 2) * stride));
}

/** First coordinate of the smallest periodic interval that holds all of them: it begins after their widest gap. */
function lowerFace(coordinates, side) {
  const occupied = [...new Set(coordinates)].sort((a, b) => a - b);
  let widest = -1, first = 0, last = occupied.at(-1) - side;
  for (const here of occupied) {
    if (here - last > widest) widest = here - last, first = here;
    last = here;
  }
  return first;
}

/** Rotation of the view: its rows point right, up and towards the reader; z of the box points up. */
function rotation() {
  const [c, s, d, t] = [Math.cos(view.yaw), Math.sin(view.yaw), Math.cos(view.pitch), Math.sin(view.pitch)];
  return [[c, s, 0], [-s * t, c * t, d], [s * d, -c * d, t]];
}

const turned = (matrix, p) => matrix.map((row) => row[0] * p[0] + row[1] * p[1] + row[2] * p[2]);

function drawBody() {
  const canvas = byId("body");
  const context = fitted(canvas, (width) => Math.min(370, 0.8 * width));
  const width = canvas.clientWidth, height = parseFloat(canvas.style.height);
  if (!view.points) {
    context.fillStyle = "#57606a", context.font = "14px system-ui, sans-serif", context.textAlign = "center";
    context.fillText(count ? "No site of this protohalo is left in the thinned cube." : "There is no protohalo.", width / 2, height / 2);
    return;
  }
  const matrix = rotation(), scale = (0.5 * Math.min(width, height) - 26) / view.half;
  const place = (p) => { const [x, y, z] = turned(matrix, p); return [width / 2 + x * scale, height / 2 - y * scale, z]; };
  const corners = [...Array(8).keys()].map((k) => place(view.sides.map((s, i) => (k & (1 << i) ? 0.5 : -0.5) * s)));
  const nearest = corners.reduce((best, c, k) => (c[2] > corners[best][2] ? k : best), 0);
  drawFrame(context, corners, (a, b) => a !== nearest && b !== nearest, "#b8c0c8");
  context.drawImage(shaded(matrix, scale, width, height), 0, 0, width, height);
  drawFrame(context, corners, (a, b) => a === nearest || b === nearest, "rgba(60,66,72,.55)");
  drawLengths(context, corners, width, height);
}

function drawFrame(context, corners, wanted, colour) {
  context.strokeStyle = colour, context.lineWidth = 1;
  context.beginPath();
  for (let a = 0; a < 8; a++) for (let i = 0; i < 3; i++) {
    const b = a | (1 << i);
    if (b === a || !wanted(a, b)) continue;
    context.moveTo(corners[a][0], corners[a][1]);
    context.lineTo(corners[b][0], corners[b][1]);
  }
  context.stroke();
}

/** Write name and length of each axis at an edge of the frame: z at the side, x and y below. */
function drawLengths(context, corners, width, height) {
  context.fillStyle = "#1b1f24", context.font = "12px system-ui, sans-serif", context.textBaseline = "middle";
  for (let i = 0; i < 3; i++) {
    const edges = [0, 1, 2, 3, 4, 5, 6, 7].filter((a) => !(a & (1 << i))).map((a) => {
      const b = a | (1 << i);
      return [(corners[a][0] + corners[b][0]) / 2, (corners[a][1] + corners[b][1]) / 2];
    });
    const outer = i === 2 ? ([x]) => -x : ([, y]) => y;
    const [x, y] = edges.reduce((best, edge) => (outer(edge) > outer(best) ? edge : best));
    const text = `${AXES[i]} ${(view.sides[i] * data.spacing).toFixed(2)}`;
    context.textAlign = i === 2 ? "right" : x < width / 2 ? "right" : "left";
    if (i === 2) context.fillText(text, x - 8, y);
    else context.fillText(text, x + (x < width / 2 ? -4 : 4), Math.min(height - 8, y + 14));
  }
}

/** Draw the sites as shaded balls, with a depth buffer so that nearer balls hide those behind; returns the picture. */
function shaded(matrix, scale, width, height) {
  const ratio = Math.max(1, window.devicePixelRatio || 1);
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  const radius = Math.max(1, 0.72 * scale * ratio * view.thinned), reach = Math.ceil(radius);
  const ball = [];
  for (let y = -reach; y <= reach; y++) for (let x = -reach; x <= reach; x++) {
    const rest = radius * radius - x * x - y * y;
    if (rest < 0) continue;
    const z = Math.sqrt(rest);
    ball.push([x, y, z, 0.42 + 0.58 * Math.max(0, (-0.45 * x - 0.6 * y + 0.66 * z) / radius)]);
  }
  const depth = new Float32Array(w * h).fill(-Infinity), pixels = new ImageData(w, h);
  for (const point of view.points) {
    const [right, up, near] = turned(matrix, point);
    const column = Math.round(w / 2 + right * scale * ratio), row = Math.round(h / 2 - up * scale * ratio);
    const far = 0.5 - (0.5 * near) / view.half; // 0 in front, 1 behind
    for (const [x, y, z, light] of ball) {
      const i = column + x, j = row + y;
      if (i < 0 || i >= w || j < 0 || j >= h) continue;
      const at = j * w + i, here = near * scale * ratio + z;
      if (here <= depth[at]) continue;
      depth[at] = here;
      const bright = light * (1 - 0.35 * far);
      pixels.data[4 * at] = 70 * bright + 20 * far, pixels.data[4 * at + 1] = 165 * bright + 30 * far;
      pixels.data[4 * at + 2] = 225 * bright + 30 * far, pixels.data[4 * at + 3] = 255;
    }
  }
  const picture = new OffscreenCanvas(w, h);
  picture.getContext("2d").putImageData(pixels, 0, 0);
  return picture;
}

let last = 0;
function turn(now) {
  const place = byId("body").getBoundingClientRect();
  if (state.turning && view.points && place.bottom > 0 && place.top < innerHeight && now - last > 33) {
    view.yaw += 0.0005 * Math.min(now - last, 100);
    last = now;
    drawBody();
  }
  requestAnimationFrame(turn);
}
