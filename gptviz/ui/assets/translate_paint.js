// Draws a translation as it is now: the text, both strips, what could have been written, bands and matrices.

import { drawBands, drawMap, inkOn, layOut, rampAt } from "./translate_pictures.js";
import { SIDES, element } from "./translate_parts.js";
import { cellInWords, digits, inWords, meant, percent, rowsAt, weightsOf } from "./translate_state.js";

const NARROW = 560; // pixels: the strips stand side by side
const PANEL = 196; // pixels that the candidates take beside the matrices, at least
const [COLUMN, ROW, TITLE, SPACE] = [210, 23, 26, 18]; // pixels of the panel; the first three as in translate.css

export function resize(view) {
  view.parts.root.classList.toggle("narrow", view.parts.root.clientWidth < NARROW);
  view.maps = null;
  paint(view);
}

/** Draw everything as it is now. */
export function paint(view) {
  const { parts, data, T, step } = view;
  parts.root.classList.toggle("narrow", parts.root.clientWidth < NARROW);
  const place = meant(view, T);
  const weights = weightsOf(place, view.weights.cross, data.source.length, rowsAt(step, T));
  paintBar(view);
  paintChips(view, parts.source, place, place?.side === "output" ? weights : null);
  paintChips(view, parts.output, place, place?.side === "source" ? weights : null);
  paintPanel(view, place?.side === "output" ? place.at : null);
  paintBands(view, place);
  paintMaps(view, place);
  parts.words.textContent = wordsOf(view, place, weights);
}

function paintBar({ parts, data, T, step, playing }) {
  parts.play.textContent = playing ? "■ Stop" : "▶ Play";
  parts.slider.max = T + 1;
  parts.slider.value = step || T + 1;
  const where = step ? `step ${step} of ${T}` : `whole: ${T} steps`;
  parts.place.textContent = where;
  parts.slider.setAttribute("aria-valuetext", where);
  parts.back.disabled = step === 1;
  parts.next.disabled = parts.whole.disabled = !step;
  const [now, all] = [data.texts[Math.min(rowsAt(step, T), data.texts.length - 1)], data.texts.at(-1)];
  parts.here.textContent = now;
  parts.later.textContent = all.startsWith(now) ? all.slice(now.length) : ""; // unseen, so that no line moves
  parts.text.classList.toggle("open", Boolean(step));
}

/** @param {?number[]} weights what the tokens of this strip are coloured by */
function paintChips({ data, T, step, pinned }, strip, place, weights) {
  const output = strip.classList.contains("output");
  [...strip.children].forEach((chip, at) => {
    const weight = weights?.[at];
    const ours = place?.at === at && (place.side === "output") === output;
    chip.classList.toggle("later", output && at >= rowsAt(step, T));
    chip.classList.toggle("writing", output && at === step - 1);
    chip.classList.toggle("meant", ours);
    chip.setAttribute("aria-pressed", String(Boolean(ours && pinned)));
    const colour = weight === undefined ? null : rampAt(data.ramp, Math.sqrt(weight));
    chip.style.background = colour ? `rgb(${colour.join(" ")})` : "";
    chip.style.color = colour ? inkOn(colour) : "";
    chip.number.textContent = colour ? weight.toFixed(2) : "\u00a0";
    chip.title = (output ? data.written : data.source)[at] + (colour ? `\nattention weight ${digits(weight)}` : "");
  });
}

/** What could have been written at a step; or, where none is meant, how probable each written token was. */
function paintPanel({ parts, data, step, T }, at) {
  const one = at !== null;
  const title = one ? `What to write at step ${at + 1}?` : "Probability of each token";
  const bars = one
    ? data.candidates[at].map(([token, p], n) => ({ token, p, ours: n === data.chosen[at] }))
    : data.written.slice(0, rowsAt(step, T)).map((token, t) => ({ token, p: data.probabilities[t], ours: true }));
  if (one) bars.push({ token: "others", p: data.rest[at], rest: true });
  parts.panel.replaceChildren();
  element(parts.panel, "strong", "", title);
  const list = element(parts.panel, "div", "bars");
  list.tabIndex = 0;
  for (const { token, p, ours, rest } of bars) {
    const row = element(list, "div", `candidate${ours ? " ours" : ""}${rest ? " rest" : ""}`);
    row.title = `probability ${p.toPrecision(6)}`;
    element(row, "bdi", "", token);
    element(element(row, "span", "room"), "span", "fill").style.width = `${100 * p}%`;
    element(row, "small", "", percent(p));
  }
}

function paintBands({ parts, weights, step, T, theme }, place) {
  const upright = parts.root.classList.contains("narrow");
  const end = (chip, far) => ({
    x: chip.offsetLeft + (upright ? (far ? 0 : chip.offsetWidth) : chip.offsetWidth / 2),
    y: chip.offsetTop + (upright ? chip.offsetHeight / 2 : far ? 0 : chip.offsetHeight),
  });
  const size = [parts.strips.offsetWidth, parts.strips.offsetHeight];
  const sources = [...parts.source.children].map((chip) => end(chip, false));
  const outputs = [...parts.output.children].map((chip) => end(chip, true));
  const rows = rowsAt(step, T);
  drawBands(parts.bands, { sources, outputs, cross: weights.cross, rows, place, theme, upright, size });
}

/** Room for all rows, of a step and of the whole: a list that scrolls looks cut off, one that grows moves the page. */
function panelHeight({ parts, data, T }, beside) {
  const columns = beside ? 1 : Math.max(1, Math.floor((parts.root.clientWidth + SPACE) / (COLUMN + SPACE)));
  const most = Math.max(T, ...data.candidates.map((row) => row.length + 1));
  return TITLE + ROW * Math.ceil(most / columns);
}

function paintMaps(view, place) {
  const { parts, data, weights, theme, step, cell } = view;
  if (!view.maps) {
    const { maps, beside, inRow } = layOut(data, parts.root.clientWidth, PANEL, theme);
    view.maps = Object.fromEntries(maps.map((map) => [map.side, map]));
    parts.root.classList.toggle("apart", !beside);
    parts.root.classList.toggle("stacked", !inRow);
    parts.panel.style.height = `${panelHeight(view, beside)}px`;
    for (const { side, width } of maps) parts.maps[side].parentElement.style.width = `${width}px`;
    const stops = data.ramp.map((colour) => `rgb(${colour.join(" ")})`);
    parts.legend.style.background = `linear-gradient(90deg, ${stops.join(", ")})`;
  }
  for (const side of SIDES) {
    const own = cell?.side === side ? cell : framed(side, place);
    drawMap(parts.maps[side], view.maps[side], weights[side], { data, theme, step, marked: own });
  }
}

/** The row or the column of a matrix that belongs to a token. */
function framed(side, place) {
  const none = { row: null, column: null };
  if (!place) return none;
  if (place.side === "output") return side === "encoder" ? none : { row: place.at, column: null };
  return { encoder: { row: place.at, column: null }, decoder: none, cross: { row: null, column: place.at } }[side];
}

function wordsOf({ data, cell, weights, maps, step, T }, place, row) {
  if (!cell) return inWords(data, place, row);
  const weight = weights[cell.side][cell.row * maps[cell.side].columns.length + cell.column];
  return cellInWords(data, cell.side, cell.row, cell.column, weight, rowsAt(step, T));
}

/** Bring the token that is being written into sight, without moving the page. */
export function reveal({ parts, step }) {
  const chip = parts.output.children[step - 1];
  if (!chip) return;
  const { scroller } = parts;
  const [x, y] = [chip.offsetLeft, chip.offsetTop];
  if (x < scroller.scrollLeft) scroller.scrollLeft = x - 20;
  if (x + chip.offsetWidth > scroller.scrollLeft + scroller.clientWidth) {
    scroller.scrollLeft = x + chip.offsetWidth + 20 - scroller.clientWidth;
  }
  if (y < scroller.scrollTop) scroller.scrollTop = y - 20;
  if (y + chip.offsetHeight > scroller.scrollTop + scroller.clientHeight) {
    scroller.scrollTop = y + chip.offsetHeight + 20 - scroller.clientHeight;
  }
}
