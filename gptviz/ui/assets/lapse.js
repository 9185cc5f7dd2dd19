// A training replayed on one sentence: heads, next tokens, loss and scores at each recorded step, all in the browser.
// Python hears where the visitor stopped, and which step to open in a lesson.

import { buildLapse, fillRows, layOutAll, paceOf, placeWords, SCORES } from "./lapse_parts.js";
import { drawHeads, drawLosses, drawScores, paletteOf } from "./lapse_pictures.js";
import { counted, lapseWords, nearest, placesOf, readBlob, scoreAt, scoreWords, valueAt } from "./lapse_state.js";
import { themeOf } from "./translate_pictures.js";
import { digits, percent } from "./translate_state.js";

const QUIET = 300; // milliseconds without a step before Python is told
const ALIVE = new WeakMap(); // parentElement, which stays the same over updates -> the view in it
const HELP = "Point at a cell, a bar or a line. Keys: ← and → step, space plays. A click on a curve goes to its step.";

export default function ({ data, parentElement, setTriggerValue }) {
  const store = (globalThis.__gptvizLapse ??= { blobs: new Map(), waiting: new Set() });
  let view = ALIVE.get(parentElement);
  if (!view) {
    view = { n: 0, marked: null, bar: null, told: [], playing: null, sheet: document.createElement("canvas") };
    view.parts = buildLapse(parentElement, view);
    ALIVE.set(parentElement, view);
  }
  view.send = setTriggerValue;
  const take = () => store.blobs.has(data.id) && receiveLapse(view, data, store.blobs.get(data.id));
  store.waiting.delete(view.take);
  view.take = take;
  store.waiting.add(take);
  take();
  return () => {
    clearInterval(view.playing);
    clearTimeout(view.telling);
    view.resized.disconnect();
    document.removeEventListener("keydown", view.onKey);
    store.waiting.delete(view.take);
    ALIVE.delete(parentElement);
  };
}

/** New data: of another sentence or recording, of another theme, or an answer to a step that Python was told. */
function receiveLapse(view, { id, step }, blob) {
  const another = id !== view.id;
  const answer = view.told.indexOf(step);
  if (another) view.data = Object.assign(readBlob(blob), { id });
  const { data } = view;
  if (another || (step !== view.step && answer < 0)) {
    stopPlay(view, false);
    clearTimeout(view.telling);
    view.told = [];
    view.n = nearest(data.steps, step);
  } else if (answer >= 0) view.told.splice(0, answer + 1);
  [view.id, view.step] = [id, step];
  if (another) {
    view.marked = view.bar = null;
    view.places = placesOf(data.ids);
    fillRows(view);
  }
  view.theme = themeOf(view.parts.root);
  view.palette = paletteOf(data.ramp, view.theme.masked.match(/\d+/g).map(Number));
  layOutAll(view);
}

// Steps ---------------------------------------------------------------------------------------------------------------

/** Show a recorded step. Python hears of it when the visitor stays there. */
export function goTo(view, n, playing = false) {
  if (!playing) stopPlay(view, false);
  view.n = Math.min(view.data.steps.length - 1, Math.max(0, n));
  paintMarked(view, view.marked && { ...view.marked, n: undefined });
  clearTimeout(view.telling);
  if (!playing) view.telling = setTimeout(() => tell(view), QUIET);
}

function tell(view) {
  const step = view.data.steps[view.n];
  if (step === (view.told.at(-1) ?? view.step)) return;
  view.told.push(step);
  view.send("step", { id: view.id, step });
}

/** From the first step where the last one is shown. */
export function startPlay(view) {
  clearInterval(view.playing);
  clearTimeout(view.telling);
  const last = view.data.steps.length - 1;
  const tick = () => {
    if (!view.parts.root.isConnected) return stopPlay(view, false);
    goTo(view, view.n + 1, true);
    if (view.n === last) stopPlay(view);
  };
  view.playing = setInterval(tick, paceOf(view));
  goTo(view, view.n === last ? 0 : view.n, true);
}

export function stopPlay(view, telling = true) {
  if (!view.playing) return;
  clearInterval(view.playing);
  view.playing = null;
  if (telling) tell(view);
  paintMarked(view, view.marked);
}

export function openStep(view) {
  stopPlay(view, false);
  view.send("open", { id: view.id, step: view.data.steps[view.n] });
}

// Painting ------------------------------------------------------------------------------------------------------------

/** Draw all at the step of now. @param {?Object} marked a head, or a cell of one, that stands out */
export function paintMarked(view, marked, anew = false) {
  view.marked = marked;
  const { parts, data, n, theme, room, palette, playing } = view;
  parts.play.textContent = playing ? "❚❚ Pause" : "▶ Play";
  parts.slider.value = n;
  parts.place.textContent = placeWords(view);
  parts.slider.setAttribute("aria-valuetext", parts.place.textContent);
  parts.back.disabled = n === 0;
  parts.next.disabled = n === data.steps.length - 1;
  parts.open.textContent = `Open step ${counted(data.steps[n])} in the attention lesson`;
  drawHeads(parts.heads, view.sheet, room, { data, n, theme, palette, marked });
  paintBars(view);
  paintCurves(view, anew);
  parts.words.textContent = wordsNow(view);
}

function paintBars({ parts, data, n, places }) {
  const { rows, rest } = parts.bars;
  data.ids[n].forEach((_, k) => {
    const { row, token, fill, number } = rows[places[n][k]];
    const p = data.probabilities[n * data.K + k];
    row.title = `probability ${p.toPrecision(6)}`;
    if (token.textContent !== data.next[n][k]) token.textContent = data.next[n][k];
    fill.style.width = `${100 * p}%`;
    number.textContent = percent(p);
  });
  rest.textContent = `all other tokens together: ${percent(data.rest[n])}`;
}

/** Curves are drawn when something else is marked; a step only moves the markers. */
function paintCurves(view, anew) {
  const { parts, data, n, theme, marked, rooms } = view;
  const name = marked ? `${marked.layer}.${marked.head}` : "";
  if (anew) drawLosses(parts.charts.loss.canvas, rooms.loss, data, theme);
  for (const [which, { marker, now, canvas }] of Object.entries(parts.charts)) {
    if (which !== "loss" && name !== view.drawn) drawScores(canvas, rooms[which], which, { data, theme, marked });
    marker.style.transform = `translateX(${rooms[which].x(data.steps[n])}px)`;
    now.textContent = which === "loss" ? lossWords(data, n) : bestWords(data, which, n, marked);
  }
  view.drawn = name;
}

function lossWords(data, n) {
  const said = [["training", data.train_steps, data.train], ["held-out", data.valid_steps, data.valid]];
  const values = said.map(([name, steps, losses]) => [name, valueAt(steps, losses, data.steps[n])]);
  const shown = values.filter(([, found]) => found).map(([name, { value }]) => `${name} ${value.toFixed(3)}`);
  return shown.join(", ") || "no losses were written down";
}

/** The score of the marked head, else the highest of all. */
function bestWords(data, which, n, marked) {
  if (marked) return `${marked.layer}.${marked.head}: ${scoreAt(data, which, n, marked.layer, marked.head).toFixed(3)}`;
  const from = n * data.L * data.H;
  const all = data[which].subarray(from, from + data.L * data.H);
  const best = all.indexOf(Math.max(...all));
  return `highest: ${Math.floor(best / data.H)}.${best % data.H}, ${all[best].toFixed(3)}`;
}

function wordsNow({ data, n, places, marked, bar }) {
  if (bar !== null) {
    const k = places[n].indexOf(bar);
    return `“${data.next[n][k]}”: probability ${digits(data.probabilities[n * data.K + k])} at step ` +
      counted(data.steps[n]);
  }
  if (!marked) return HELP;
  return marked.row === undefined ? scoreWords(data, marked.n ?? n, marked) : lapseWords(data, n, marked);
}
