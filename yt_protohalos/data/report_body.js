// ---- one protohalo in 3-D -------------------------------------------------------------------------------------------

const view = { yaw: 0.6, pitch: 0.45, points: null, half: 1, sides: [0, 0, 0], centre: [0, 0, 0] };

/** Sites of the selected protohalo that have a free face, relative to its middle, in sites. */
function gather() {
  const { values, side, stride } = cubes.labels, label = state.selected + 1, n = data.n;
  const found = [];
  for (let at = values.indexOf(label); at >= 0; at = values.indexOf(label, at + 1)) found.push(at);
  const split = (at) => [Math.floor(at / (side * side)), Math.floor(at / side) % side, at % side];
  view.points = null;
  view.thinned = stride;
  if (!found.length) return;
  const middle = AXES.map((_, i) => circularMean(found.map((at) => split(at)[i]), side));
  const away = (site, i) => ((site - middle[i] + 1.5 * side) % side) - side / 2;
  const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
  const outer = [];
  for (const at of found) {
    const site = split(at), point = site.map(away);
    for (let i = 0; i < 3; i++) low[i] = Math.min(low[i], point[i]), high[i] = Math.max(high[i], point[i]);
    const free = [0, 1, 2].some((i) => [1, side - 1].some((move) => {
      const next = site.slice();
      next[i] = (next[i] + move) % side;
      return values[(next[0] * side + next[1]) * side + next[2]] !== label;
    }));
    if (free) outer.push(point);
  }
  view.sides = low.map((l, i) => (high[i] - l + 1) * stride);
  const centre = low.map((l, i) => (l + high[i]) / 2);
  view.half = 0.5 * Math.hypot(...view.sides); // reaches the corners of the frame
  view.points = outer.map((point) => point.map((p, i) => (p - centre[i]) * stride));
  // the box may be cut off at n where the last thinned cell is
  view.centre = centre.map((c, i) => ((((middle[i] + c) * stride) % n) + n) % n);
}

function circularMean(sites, side) {
  let sine = 0, cosine = 0;
  for (const site of sites) sine += Math.sin((2 * Math.PI * site) / side), cosine += Math.cos((2 * Math.PI * site) / side);
  return (((Math.atan2(sine, cosine) * side) / (2 * Math.PI)) % side + side) % side;
}

/** Rotation of the view: rows are the picture's right, up and towards the reader; z of the box points up. */
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

/** Name and length of each axis at one edge of the frame: z at the side, x and y below. */
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

/** The sites as shaded balls, nearer ones in front: a picture with a depth of its own for each pixel. */
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
  const seen = byId("body").getBoundingClientRect();
  if (state.turning && view.points && seen.bottom > 0 && seen.top < innerHeight && now - last > 33) {
    view.yaw += 0.0005 * Math.min(now - last, 100);
    last = now;
    drawBody();
  }
  requestAnimationFrame(turn);
}
