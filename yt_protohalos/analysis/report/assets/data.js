"use strict";

// ---- data -----------------------------------------------------------------------------------------------------------

const data = JSON.parse(document.getElementById("data").textContent);
const AXES = ["x", "y", "z"];
const FIELDS = { label: "Label", mass: "Mass", probability: data.probabilityTitle };
const OUTSIDE = [232, 232, 232];
const MARK = "#d55e00";
const count = data.sizes.length;
const state = {
  field: count ? "mass" : "probability", axis: "z", plane: data.plane.z, selected: count ? 0 : -1,
  sort: "id", descending: false, page: 0, turning: !matchMedia("(prefers-reduced-motion: reduce)").matches,
};
const cubes = {};
const byId = (id) => document.getElementById(id);

/** Decompress a cube of the page. */
async function unpacked(packed) {
  const bytes = Uint8Array.from(atob(packed.text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer();
  const kind = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array }[packed.type];
  return { values: new kind(buffer), side: packed.side, stride: packed.stride };
}

/** Plane of a thinned cube that holds or precedes a lattice plane: values of its pixels, the first remaining axis fastest. */
function slice(cube, axis, plane) {
  const { values, side, stride } = cube;
  const normal = AXES.indexOf(axis);
  const steps = [side * side, side, 1];
  const start = Math.floor(plane / stride) * steps[normal];
  const [u, v] = [0, 1, 2].filter((i) => i !== normal).map((i) => steps[i]);
  const out = new values.constructor(side * side);
  for (let j = 0, k = 0; j < side; j++) for (let i = 0; i < side; i++) out[k++] = values[start + i * u + j * v];
  return { values: out, side, stride };
}

// ---- text -----------------------------------------------------------------------------------------------------------

const POWERS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
const raised = (power) => (power < 0 ? "⁻" : "") + String(Math.abs(power)).replace(/\d/g, (digit) => POWERS[digit]);

function powerOfTen(value) {
  const [mantissa, power] = value.toExponential(2).split("e");
  return `${mantissa}×10${raised(Number(power))}`;
}

function formatted(value, form) {
  if (value === null || value === undefined) return "–";
  if (form === "power") return powerOfTen(value);
  return form === "whole" ? String(value) : value.toFixed(Number(form));
}

function element(name, text = "", attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// ---- colours --------------------------------------------------------------------------------------------------------

const massLimits = data.massLimits.map(Math.log10);
const massFraction = (sites) => (Math.log10(sites * data.siteMass) - massLimits[0]) / (massLimits[1] - massLimits[0]);
const shade = (map, t) => data.colours[map][Math.max(0, Math.min(255, Math.round(255 * t)))];
const labelColours = data.sizes.map((_, i) => data.colours.label[i % data.colours.label.length]);
const massColours = data.sizes.map((sites) => shade("mass", massFraction(sites)));

function pixelColour(value) {
  if (state.field === "probability") return shade("probability", value / data.probabilitySteps);
  if (!value) return OUTSIDE;
  return (state.field === "label" ? labelColours : massColours)[value - 1];
}
