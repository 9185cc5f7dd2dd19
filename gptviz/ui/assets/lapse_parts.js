// The parts of a replayed training on its page, and what a pointer and the keys do in them. Tokens are only ever text.

import { goTo, openStep, paintMarked, startPlay, stopPlay } from "./lapse.js";
import { cellUnder, chartRoom, layerColour, layOutHeads, lossColours, spanOf } from "./lapse_pictures.js";
import { counted, headNear, nearest } from "./lapse_state.js";

export const SCORES = { previous: "Previous-token score", induction: "Induction score" };
const PACES = { "½×": 1200, "1×": 600, "2×": 300, "4×": 150 }; // milliseconds a step
const BUSY = "textarea, select, input:not([type=range]), [contenteditable], [role=radiogroup] *, [role=slider], " +
  "[role=grid] *, [role=tab], [role=combobox], [role=listbox] *";

function made(parent, tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  parent.appendChild(element);
  return element;
}

function control(parent, text, title, onclick) {
  return Object.assign(made(parent, "button", "", text), { type: "button", title, onclick });
}

export function buildLapse(parentElement, view) {
  const root = made(parentElement, "div", "lapse");
  const parts = { root, ...buildControls(root, view) };
  const upper = made(root, "div", "upper");
  parts.heads = buildHeads(made(upper, "section", "heads"), view);
  parts.bars = buildBars(made(upper, "section", "next"), view);
  parts.words = made(root, "div", "words");
  parts.words.setAttribute("role", "status");
  const charts = made(root, "div", "charts");
  parts.charts = { loss: buildChart(charts, "Loss, nats per token") };
  for (const [which, title] of Object.entries(SCORES)) parts.charts[which] = buildChart(charts, title);
  listenToCharts(parts.charts, view);
  let width = 0; // words that take a line more make it higher, and change nothing else
  view.resized = new ResizeObserver(() => {
    if (view.data && root.clientWidth !== width) layOutAll(view);
    width = root.clientWidth;
  });
  view.resized.observe(root);
  view.onKey = (event) => hearKey(event, view);
  document.addEventListener("keydown", view.onKey);
  return parts;
}

function buildControls(root, view) {
  const bar = made(root, "div", "controls");
  const play = control(bar, "▶ Play", "Play from here, or pause (space)", () =>
    view.playing ? stopPlay(view) : startPlay(view));
  const back = control(bar, "←", "One recorded step back (left arrow key)", () => goTo(view, view.n - 1));
  const slider = made(bar, "input");
  Object.assign(slider, { type: "range", min: 0, oninput: () => goTo(view, Number(slider.value)) });
  slider.setAttribute("aria-label", "Recorded step");
  const next = control(bar, "→", "One recorded step on (right arrow key)", () => goTo(view, view.n + 1));
  const pace = made(bar, "select");
  pace.setAttribute("aria-label", "Speed");
  for (const name of Object.keys(PACES)) made(pace, "option", "", name);
  pace.value = "1×";
  pace.onchange = () => view.playing && startPlay(view);
  const place = made(bar, "output");
  const open = control(bar, "", "With the weights of this step", () => openStep(view));
  return { play, back, slider, next, pace, place, open };
}

/** Milliseconds a step. */
export function paceOf({ parts }) {
  return PACES[parts.pace.value];
}

function buildHeads(section, view) {
  made(section, "strong", "", "Every head, on one scale");
  made(section, "small", "", "layer.head; rows are tokens that look, columns what they look at");
  const canvas = made(section, "canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "Attention of every head of every layer at this step");
  const at = (event) => view.data && cellUnder(view.room, view.data, event.offsetX, event.offsetY);
  canvas.onpointermove = canvas.onpointerdown = (event) => paintMarked(view, at(event));
  canvas.onpointerleave = (event) => event.pointerType === "mouse" && paintMarked(view, null);
  return canvas;
}

function buildBars(section, view) {
  made(section, "strong", "", "The likeliest next tokens");
  const bars = made(section, "div", "rows");
  const rest = made(section, "small");
  bars.onpointerover = (event) => {
    const bar = [...bars.children].indexOf(event.target.closest(".candidate"));
    view.bar = bar < 0 ? null : bar;
    paintMarked(view, null);
  };
  bars.onpointerleave = () => {
    view.bar = null;
    paintMarked(view, null);
  };
  return { section, bars, rest, rows: [] };
}

function buildChart(parent, title) {
  const figure = made(parent, "figure");
  const caption = made(figure, "figcaption");
  made(caption, "strong", "", title);
  const legend = made(caption, "span", "key");
  const now = made(caption, "output");
  const frame = made(figure, "div", "frame");
  made(figure, "small", "axis", "training step, logarithmic");
  const canvas = made(frame, "canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${title} over the training steps, on a logarithmic axis`);
  return { figure, legend, now, canvas, marker: made(frame, "div", "marker") };
}

/** Pointing at a chart of scores marks a head; a click on any chart goes to the recorded step next to it. */
function listenToCharts(charts, view) {
  for (const [which, { canvas }] of Object.entries(charts)) {
    const under = (event) => placeAt(view, view.rooms[which], event.offsetX);
    canvas.onclick = (event) => goTo(view, under(event));
    if (which === "loss") continue;
    canvas.onpointermove = (event) => {
      const n = under(event);
      const score = view.rooms[which].valueAt(event.offsetY);
      paintMarked(view, { ...headNear(view.data, which, n, score), n });
    };
    canvas.onpointerleave = () => paintMarked(view, null);
  }
}

/** The recorded step that is drawn next to x, as its place. */
function placeAt({ data }, room, x) {
  return nearest(data.steps.map((step) => room.x(step)), x);
}

// Sizes ---------------------------------------------------------------------------------------------------------------

/** Everything that depends on the data and on the width. */
export function layOutAll(view) {
  const { parts, data, theme } = view;
  view.room = layOutHeads(data, parts.heads.parentElement.clientWidth);
  const last = Math.max(data.steps.at(-1), data.train_steps.at(-1) ?? 0);
  const spans = {
    loss: spanOf(data.train, data.valid), previous: [0, 1.02], induction: [0, 1.02],
  };
  view.rooms = {};
  for (const [which, chart] of Object.entries(parts.charts)) {
    view.rooms[which] = chartRoom(chart.figure.clientWidth, last, spans[which]);
  }
  fillKeys(parts.charts.loss.legend, ["training", "held-out"].map((name, i) => [name, lossColours(theme)[i]]));
  const layers = Array.from({ length: data.L }, (_, layer) => [`layer ${layer}`, layerColour(theme, layer)]);
  for (const which of Object.keys(SCORES)) fillKeys(parts.charts[which].legend, layers);
  parts.slider.max = data.steps.length - 1;
  view.drawn = null;
  paintMarked(view, view.marked, true);
}

function fillKeys(legend, entries) {
  legend.replaceChildren();
  for (const [name, colour] of entries) made(legend, "small", "", name).style.setProperty("--ink", colour);
}

/** As many rows as there are candidates; each keeps its place and is written anew at every step. */
export function fillRows(view) {
  const { bars } = view.parts;
  bars.bars.replaceChildren();
  bars.rows = view.data.ids[0].map(() => {
    const row = made(bars.bars, "div", "candidate");
    const token = made(row, "bdi");
    const fill = made(made(row, "span", "room"), "span", "fill");
    return { row, token, fill, number: made(row, "small") };
  });
}

/** ← and → step, space plays, unless what has the focus has a use for them. */
function hearKey(event, view) {
  const target = event.composedPath()[0];
  const ours = target === view.parts.slider;
  const modified = event.ctrlKey || event.altKey || event.metaKey || event.shiftKey;
  const leave = modified || event.defaultPrevented || !view.parts.root.isConnected || target.closest?.(BUSY);
  if (leave || !view.data) return;
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (by && !ours) {
    event.preventDefault();
    goTo(view, view.n + by);
  }
  if (event.key !== " " || target.closest?.("button, a, summary")) return;
  event.preventDefault();
  if (view.playing) stopPlay(view);
  else startPlay(view);
}

/** Where it is, as the bar above says it. */
export function placeWords({ data, n }) {
  return `step ${counted(data.steps[n])} (${n + 1} of ${data.steps.length})`;
}
