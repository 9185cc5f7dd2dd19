// The matrix: the chosen head large, pinned ones beside it on the same scale, tokens on both axes.

import { cutText, drawTip, imageOf, outline, pinDisc } from "./canvas.js";
import { colourOf, headColours, inkOn } from "./colour.js";
import { axisGeometry, axisMargins } from "./layout.js";
import { readingAt, shortText, weightText } from "./payload.js";
import { chosenHead } from "./state.js";
import { headText } from "./words.js";

export const TITLE = 24; // height of a head's name over its matrix, CSS pixels
const LABEL_SIZE = 14;
const LARGEST_CELL = 110;
const LEAST_MARGIN = { left: 66, top: 44 }; // the names of the axes stand in the corner
const NUMBER_CELL = 30; // cells as large as this have room for their weight with two decimals,
const LARGE_NUMBER_CELL = 70; // and as this with three
const BETWEEN = 16;

/** The heads of the matrix view: the chosen one first. */
function matrixHeads(state, header) {
  const chosen = chosenHead(state, header);
  return [chosen, ...state.pins.filter((i) => i !== chosen)];
}

/** A frame with axes for each head, arranged so that cells are as large as they can be. */
export function layoutMatrix(view) {
  const { header } = view.dataset;
  const heads = matrixHeads(view.state, header);
  let best = null;
  for (let columns = 1; columns <= heads.length; columns++) {
    const rows = Math.ceil(heads.length / columns);
    const width = (view.width - BETWEEN * (columns - 1)) / columns;
    const height = (view.height - BETWEEN * (rows - 1)) / rows;
    const axes = axesFor(view, width - 4, height - TITLE - 4);
    if (!best || axes.cell[0] > best.axes.cell[0]) best = { axes, columns, width, height };
  }
  const frame = (i, n) => ({
    i,
    x: (n % best.columns) * (best.width + BETWEEN),
    y: Math.floor(n / best.columns) * (best.height + BETWEEN),
  });
  return { ...best, frames: heads.map(frame), contentHeight: 0 };
}

function axesFor(view, width, height) {
  const { header } = view.dataset;
  const tokens = { queries: header.queries, keys: header.keys ?? header.queries };
  const measure = measurer(view);
  const given = { tokens, width, height, measure, font: LABEL_SIZE };
  const key = `${header.id} ${view.theme.code} ${width} ${height}`;
  view.margins ??= new Map();
  if (!view.margins.has(key)) {
    const { left, top } = axisMargins(given);
    const wide = { left: Math.max(left, LEAST_MARGIN.left), top: Math.max(top, LEAST_MARGIN.top) };
    if (view.margins.size > 20) view.margins.clear();
    view.margins.set(key, wide);
  }
  return axisGeometry({ ...given, window: view.state.window, most: LARGEST_CELL, margins: view.margins.get(key) });
}

/** Width of a text in the font of tokens; each text is measured once. */
function measurer(view) {
  if (view.measured?.font !== view.theme.code) view.measured = { font: view.theme.code, widths: new Map() };
  const { widths } = view.measured;
  const context = view.overlay.getContext("2d");
  return (text) => {
    let width = widths.get(text);
    if (width === undefined) {
      context.font = `${LABEL_SIZE}px ${view.theme.code}`;
      width = context.measureText(text).width;
      if (widths.size > 20_000) widths.clear();
      widths.set(text, width);
    }
    return width;
  };
}

/** Paint all matrices with their labels. */
export function paintMatrix(view, context) {
  const layout = (view.matrix = layoutMatrix(view));
  const { header } = view.dataset;
  context.clearRect(0, 0, view.width, view.height);
  const colours = headColours(view.state.pins.length, view.theme.dark);
  for (const frame of layout.frames) {
    if (view.dataset.header.factor > 1) view.needHead(frame.i);
    paintCells(view, context, layout.axes, frame);
    paintWeights(view, context, layout.axes, frame);
    const pin = view.state.pins.indexOf(frame.i);
    paintName(view, context, frame, header.names[frame.i], pin < 0 ? null : colours[pin]);
    paintAxes(view, context, layout.axes, frame);
  }
  const [q0, q1, k0, k1] = layout.axes.window;
  const small = q1 - q0 <= 128 && k1 - k0 <= 128;
  if (small) for (const { i } of layout.frames) view.needWindow(i, q0, q1, k0, k1);
}

function paintCells(view, context, axes, frame) {
  const { ratio } = view;
  const [x, y] = [frame.x + axes.left, frame.y + TITLE + axes.top];
  const [width, height] = axes.size.map((size) => Math.max(1, Math.round(size * ratio)));
  const stripe = Math.max(2, Math.round(4 * ratio));
  const hatch = axes.cell[0] >= 6 ? Math.round(7 * ratio) : 0;
  const image = imageOf(view, frame.i, axes.window, width, height, stripe, hatch);
  context.putImageData(image, Math.round(x * ratio), Math.round(y * ratio));
  context.strokeStyle = view.theme.edge;
  context.lineWidth = 1;
  context.strokeRect(x - 0.5, y - 0.5, axes.size[0] + 1, axes.size[1] + 1);
  if (axes.cell[0] >= 12) paintGrid(view, context, axes, x, y);
}

function paintGrid(view, context, axes, x, y) {
  context.strokeStyle = view.theme.dark ? "rgb(255 255 255 / 0.14)" : "rgb(255 255 255 / 0.3)";
  context.beginPath();
  for (let at = axes.cell[0]; at < axes.size[0] - 1; at += axes.cell[0]) {
    context.moveTo(x + at, y);
    context.lineTo(x + at, y + axes.size[1]);
  }
  for (let at = axes.cell[1]; at < axes.size[1] - 1; at += axes.cell[1]) {
    context.moveTo(x, y + at);
    context.lineTo(x + axes.size[0], y + at);
  }
  context.stroke();
}

/** The weights themselves, where cells have room for them and the exact ones are there. */
function paintWeights(view, context, axes, frame) {
  if (axes.cell[0] < NUMBER_CELL) return;
  const [q0, q1, k0, k1] = axes.window;
  const side = axes.cell[0];
  const digits = side >= LARGE_NUMBER_CELL ? 3 : 2;
  context.font = `${side >= LARGE_NUMBER_CELL ? 17 : side >= 44 ? 15 : side >= 34 ? 13 : 12}px ${view.theme.font}`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (let q = q0; q < q1; q++) {
    const row = Array.from({ length: k1 - k0 }, (_, n) => readingAt(view.dataset, frame.i, q, k0 + n));
    const rowLargest = Math.max(...row.map((reading) => reading.w));
    for (const [n, reading] of row.entries()) {
      if (!reading.exact || reading.masked || reading.error) continue;
      const look = { scale: view.state.scale, largest: view.largest(), rowLargest, dark: view.theme.dark };
      context.fillStyle = inkOn(colourOf(reading.w, look));
      const [x, y] = axes.toPixel(q, k0 + n);
      const text = shortText(reading.w, digits);
      context.fillText(text, frame.x + x + axes.cell[0] / 2, frame.y + TITLE + y + axes.cell[1] / 2);
    }
  }
}

function paintName(view, context, frame, name, pinColour) {
  context.textAlign = "left";
  context.textBaseline = "middle";
  context.font = `700 16px ${view.theme.font}`;
  let x = frame.x + 2;
  if (pinColour) {
    pinDisc(context, pinColour, x + 6, frame.y + TITLE / 2, 6);
    x += 18;
  }
  context.fillStyle = view.theme.text;
  context.fillText(headText(name), x, frame.y + TITLE / 2);
}

function paintAxes(view, context, axes, frame) {
  const { theme, dataset } = view;
  const [left, top] = [frame.x + axes.left, frame.y + TITLE + axes.top];
  context.textBaseline = "middle";
  context.font = `700 13px ${theme.font}`;
  context.textAlign = "right";
  context.fillStyle = theme.key;
  context.fillText(`${dataset.header.axes[1]} →`, left - 10, top - 28);
  context.fillStyle = theme.query;
  context.fillText(`${dataset.header.axes[0]} ↓`, left - 10, top - 10);
  context.font = `${LABEL_SIZE}px ${theme.code}`;
  context.fillStyle = theme.text;
  for (const label of axes.rows) context.fillText(label.text, left - 6, frame.y + TITLE + label.at);
  for (const label of axes.columns) keyLabel(context, axes, frame, label.at, label.text);
}

function keyLabel(context, axes, frame, at, text) {
  context.save();
  context.translate(frame.x + at, frame.y + TITLE + axes.top - 6);
  if (axes.upright) context.rotate(-Math.PI / 2);
  context.textAlign = axes.upright ? "left" : "center";
  context.textBaseline = axes.upright ? "middle" : "bottom";
  context.fillText(text, 0, 0);
  context.restore();
}

/** Which cell is pointed at, by the pointer or else by the keyboard; null for none. */
export function pointedCell(view) {
  if (view.hover?.q !== undefined) return view.hover;
  const [q, k] = view.state.cell;
  return q === null || k === null ? null : { q, k };
}

/** Crosshair, value and rubber band: nothing else is painted while the pointer moves. */
export function paintMatrixHover(view, context) {
  context.clearRect(0, 0, view.width, view.height);
  const { matrix: layout, theme } = view;
  if (!layout) return;
  const { axes } = layout;
  const [q0, q1, k0, k1] = axes.window;
  const cell = pointedCell(view);
  const shown = cell && cell.q >= q0 && cell.q < q1 && cell.k >= k0 && cell.k < k1;
  for (const frame of layout.frames) {
    paintChosen(view, context, axes, frame);
    if (shown) paintCrosshair(view, context, axes, frame, cell);
    if (view.band) paintBand(context, theme, axes, frame, view.band);
  }
  if (!shown || view.band) return;
  const frame = layout.frames.find(({ i }) => i === cell.i) ?? layout.frames[0];
  const [x, y] = axes.toPixel(cell.q, cell.k);
  const at = cell.x === undefined ? [frame.x + x + axes.cell[0], frame.y + TITLE + y + axes.cell[1]] : [cell.x, cell.y];
  drawTip(context, theme, tipOfCell(view, layout, cell), ...at, view.width, view.height);
}

/** Marks at the edge of the cells for chosen queries and keys. */
function paintChosen(view, context, axes, frame) {
  const { queries, keys } = view.state;
  const [q0, q1, k0, k1] = axes.window;
  const [left, top] = [frame.x + axes.left, frame.y + TITLE + axes.top];
  context.fillStyle = view.theme.query;
  for (const q of queries) {
    if (q >= q0 && q < q1) context.fillRect(left - 5, top + (q - q0) * axes.cell[1], 4, axes.cell[1]);
  }
  context.fillStyle = view.theme.key;
  for (const k of keys) {
    if (k >= k0 && k < k1) context.fillRect(left + (k - k0) * axes.cell[0], top - 5, axes.cell[0], 4);
  }
}

function paintCrosshair(view, context, axes, frame, { q, k }) {
  const { theme, dataset } = view;
  const [cellX, cellY] = axes.toPixel(q, k);
  const [x, y] = [frame.x + cellX, frame.y + TITLE + cellY];
  const [left, top] = [frame.x + axes.left, frame.y + TITLE + axes.top];
  const [w, h] = [Math.max(axes.cell[0], 3), Math.max(axes.cell[1], 3)];
  outline(context, theme.query, left, y, axes.size[0], h);
  outline(context, theme.key, x, top, w, axes.size[1]);
  context.strokeStyle = "#ffffff";
  context.lineWidth = 2;
  context.strokeRect(x, y, w, h);
  const tokens = { query: dataset.header.queries[q], key: (dataset.header.keys ?? dataset.header.queries)[k] };
  pointedLabels(view, context, axes, frame, tokens, x + axes.cell[0] / 2, y + axes.cell[1] / 2);
}

/** The two tokens of the crosshair, written over the labels in the margins, also where those are thinned. */
function pointedLabels(view, context, axes, frame, tokens, x, y) {
  const { theme } = view;
  context.font = `700 ${LABEL_SIZE}px ${theme.code}`;
  const row = cutText(context, tokens.query, axes.left - 10);
  box(context, theme.background, theme.query, frame.x + 1, y - 10, axes.left - 3, 20);
  context.fillStyle = theme.query;
  context.textAlign = "right";
  context.textBaseline = "middle";
  context.fillText(row, frame.x + axes.left - 6, y);
  pointedKey(context, theme, axes, tokens.key, x, frame.y + TITLE);
}

/** The key under the crosshair, turned as the other labels are. */
function pointedKey(context, theme, axes, token, x, y) {
  const text = cutText(context, token, axes.upright ? axes.top - 12 : 200);
  const width = axes.upright ? 20 : context.measureText(text).width + 8;
  const [top, height] = axes.upright ? [1, axes.top - 3] : [axes.top - 24, 21];
  box(context, theme.background, theme.key, x - width / 2, y + top, width, height);
  context.fillStyle = theme.key;
  context.save();
  context.translate(x, y + axes.top - (axes.upright ? 6 : 13));
  if (axes.upright) context.rotate(-Math.PI / 2);
  context.textAlign = axes.upright ? "left" : "center";
  context.fillText(text, 0, 0);
  context.restore();
}

function box(context, background, edge, x, y, w, h) {
  context.fillStyle = background;
  context.fillRect(x, y, w, h);
  context.strokeStyle = edge;
  context.lineWidth = 1;
  context.strokeRect(x, y, w, h);
}

function paintBand(context, theme, axes, frame, { from, to }) {
  const [x0, y0] = axes.toPixel(Math.min(from.q, to.q), Math.min(from.k, to.k));
  const [x1, y1] = axes.toPixel(Math.max(from.q, to.q) + 1, Math.max(from.k, to.k) + 1);
  context.fillStyle = "rgb(255 255 255 / 0.2)";
  context.fillRect(frame.x + x0, frame.y + TITLE + y0, x1 - x0, y1 - y0);
  outline(context, theme.primary, frame.x + x0, frame.y + TITLE + y0, x1 - x0, y1 - y0);
}

function tipOfCell(view, layout, { q, k }) {
  const { header } = view.dataset;
  const keys = header.keys ?? header.queries;
  const several = layout.frames.length > 1;
  const values = layout.frames.map(({ i }) => {
    const text = weightText(readingAt(view.dataset, i, q, k));
    return several ? `${header.names[i]}  ${text}` : text;
  });
  const errors = layout.frames.flatMap(({ i }) => (header.errors?.[i] ? [`error: ${header.errors[i]}`] : []));
  return [...values, `${header.axes[0]} ${q}  ${header.queries[q]}`, `${header.axes[1]} ${k}  ${keys[k]}`, ...errors];
}

/** The middle of a cell of a head, in CSS pixels of the stage. */
export function placeOfCell(view, { head, q, k }) {
  const { axes, frames } = view.matrix;
  const frame = frames.find(({ i }) => i === head) ?? frames[0];
  const [x, y] = axes.toPixel(q, k);
  return [frame.x + x + axes.cell[0] / 2, frame.y + TITLE + y + axes.cell[1] / 2];
}
