// The losses of a training, drawn anew as records come, in place: nothing flickers, and what is pointed at stays.

import { evenTicks, logTicks, nearest, path, scale, span, words } from "./curve_scale.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 300;
const EDGE = { left: 46, right: 10, top: 10, bottom: 40 };
const curves = new WeakMap(); // parentElement, which stays the same over updates -> what is drawn in it

export default function ({ data, parentElement }) {
  let curve = curves.get(parentElement);
  if (!curve) {
    curve = build(parentElement);
    curves.set(parentElement, curve);
  }
  curve.data = data;
  paint(curve);
  return () => curve.watch.disconnect();
}

function make(tag, name, text) {
  const drawn = ["svg", "g", "path", "line", "text", "circle"].includes(tag);
  const element = drawn ? document.createElementNS(SVG, tag) : document.createElement(tag);
  if (name) element.setAttribute("class", name);
  if (text !== undefined) element.textContent = text;
  return element;
}

function set(element, given) {
  for (const [name, value] of Object.entries(given)) element.setAttribute(name, value);
  return element;
}

/** The parts of a curve, empty. Listeners are set once and look up what is drawn. */
function build(parentElement) {
  const curve = { box: make("div", "curve"), svg: make("svg"), said: make("div", "said"), legend: make("div", "legend") };
  for (const name of ["grid", "points"]) curve[name] = make("g", name);
  for (const name of ["raw", "smooth", "held"]) curve[name] = make("path", name);
  for (const name of ["guess", "here"]) curve[name] = make("line", name);
  curve.svg.append(curve.grid, curve.guess, curve.raw, curve.held, curve.points, curve.smooth, curve.here);
  set(curve.svg, { role: "img", tabindex: "0" });
  curve.svg.style.height = `${HEIGHT}px`;
  curve.box.append(curve.legend, curve.svg, curve.said);
  parentElement.append(curve.box);
  curve.svg.onpointermove = (event) => point(curve, event.clientX - curve.svg.getBoundingClientRect().left);
  curve.svg.onpointerleave = () => point(curve, null);
  curve.svg.onkeydown = (event) => walk(curve, event);
  curve.watch = new ResizeObserver(() => paint(curve));
  curve.watch.observe(curve.box);
  return curve;
}

function paint(curve) {
  const { data } = curve;
  const width = curve.box.clientWidth;
  if (!width || !data) return;
  colour(curve);
  set(curve.svg, { viewBox: `0 0 ${width} ${HEIGHT}`, "aria-label": data.label });
  const heights = span([...data.train, ...data.valid, ...(data.steps.length ? [] : [data.guess])]);
  const [low, high] = [Math.max(0, heights[0]), heights[1]];
  const last = Math.max(2, data.total);
  const x = scale(data.log ? 1 : 0, last, EDGE.left, width - EDGE.right, data.log);
  const y = scale(low, high, HEIGHT - EDGE.bottom, EDGE.top);
  curve.step = (place) => stepAt(data, x, place);
  curve.x = x;
  axes(curve, { x, y, low, high, last, width });
  curve.raw.setAttribute("d", path(data.steps, data.train, x, y));
  curve.smooth.setAttribute("d", path(data.steps, data.smooth, x, y));
  curve.held.setAttribute("d", path(data.valid_steps, data.valid, x, y));
  curve.points.replaceChildren(
    ...data.valid_steps.map((at, i) => set(make("circle"), { cx: x(at), cy: y(data.valid[i]), r: 3 }))
  );
  const seen = data.guess <= high && data.guess >= low;
  set(curve.guess, { x1: EDGE.left, x2: width - EDGE.right, y1: y(data.guess), y2: y(data.guess) });
  curve.guess.style.display = seen ? "" : "none";
  curve.legend.replaceChildren(
    make("span", "of-train", "training, smoothed; thin: of every step"),
    make("span", "of-held", "held-out"),
    make("span", "of-guess", `guessing evenly: ${data.guess.toFixed(2)}${seen ? "" : ", above the picture"}`)
  );
  point(curve, curve.pointed ?? null);
}

/** Two of the theme's colours, light or dark: the first for what is trained on, the second for what is held out. */
function colour(curve) {
  const colours = getComputedStyle(curve.box).getPropertyValue("--st-chart-categorical-colors").split(",");
  curve.box.style.setProperty("--curve-train", colours[0]?.trim() || "#0072b2");
  curve.box.style.setProperty("--curve-held", colours[1]?.trim() || "#d55e00");
}

function axes(curve, { x, y, low, high, last, width }) {
  const parts = [];
  const text = (words, at, anchor) => parts.push(set(make("text", "", words), { ...at, "text-anchor": anchor }));
  for (const tick of evenTicks(low, high, 6)) {
    parts.push(set(make("line"), { x1: EDGE.left, x2: width - EDGE.right, y1: y(tick), y2: y(tick) }));
    text(String(Number(tick.toPrecision(3))), { x: EDGE.left - 6, y: y(tick) + 4 }, "end");
  }
  for (const tick of curve.data.log ? logTicks(1, last) : evenTicks(0, last, width < 500 ? 4 : 8)) {
    parts.push(set(make("line"), { x1: x(tick), x2: x(tick), y1: EDGE.top, y2: HEIGHT - EDGE.bottom }));
    text(String(tick), { x: x(tick), y: HEIGHT - EDGE.bottom + 16 }, tick === last ? "end" : "middle");
  }
  const middle = (EDGE.left + width - EDGE.right) / 2;
  text(`step${curve.data.log ? ", on a logarithmic scale" : ""}`, { x: middle, y: HEIGHT - 6 }, "middle");
  const across = { x: 0, y: 0, transform: `translate(12 ${(HEIGHT - EDGE.bottom) / 2}) rotate(-90)` };
  text("nats per token", across, "middle");
  curve.grid.replaceChildren(...parts);
}

/** The recorded step that is nearest to a place in pixels. */
function stepAt(data, x, place) {
  const places = data.steps.map(x);
  return data.steps[nearest(places, place)];
}

/** Show the numbers of the step at a place in pixels; of none where that is null. */
function point(curve, place) {
  curve.pointed = place;
  const step = place === null ? undefined : curve.step(place);
  curve.here.style.display = step === undefined ? "none" : "";
  curve.said.textContent = step === undefined ? "" : words(curve.data, step);
  if (step !== undefined) {
    set(curve.here, { x1: curve.x(step), x2: curve.x(step), y1: EDGE.top, y2: HEIGHT - EDGE.bottom });
  }
}

/** The arrow keys go from one recorded step to the next. */
function walk(curve, event) {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const { steps } = curve.data;
  if (!by || !steps.length) return;
  event.preventDefault();
  event.stopPropagation();
  const now = curve.pointed === null || curve.pointed === undefined ? steps.length - 1
    : steps.indexOf(curve.step(curve.pointed)) + by;
  point(curve, curve.x(steps[Math.min(steps.length - 1, Math.max(0, now))]));
}
