// What the drawn views share: canvases sharp on every screen, the theme, and codes turned into pixels.

import { codeTable, errorColours, maskedColour } from "./colour.js";
import { fitLabel } from "./layout.js";
import { ERROR_CODE, MASKED_CODE, codeOf, exactWindow, pictureOf, rowAt } from "./payload.js";
import { maxPoolCodes } from "./pool.js";

/** A canvas that fills its parent. */
export function makeCanvas(parent, className) {
  const canvas = parent.ownerDocument.createElement("canvas");
  canvas.className = className;
  parent.appendChild(canvas);
  return canvas;
}

/** Size a canvas in CSS pixels for the screen's own pixels; its context then draws in CSS pixels. */
export function fitCanvas(canvas, width, height, ratio) {
  const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== w) canvas.width = w; // assigning clears the canvas and is slow
  if (canvas.height !== h) canvas.height = h;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

/** The colours and fonts of the page, read from the style sheet once per theme. */
export function readTheme(root, dark) {
  const style = getComputedStyle(root);
  const probe = root.ownerDocument.createElement("span");
  root.appendChild(probe);
  const resolved = (value) => {
    probe.style.color = value; // custom properties come unresolved: an element's own colour does not
    return getComputedStyle(probe).color;
  };
  const names = ["text", "background", "primary", "edge", "faint", "muted", "query", "key"];
  const colours = Object.fromEntries(names.map((name) => [name, resolved(`var(--${name})`)]));
  probe.remove();
  const code = style.getPropertyValue("--gv-code-font").trim() || "ui-monospace, monospace";
  return { ...colours, dark, font: style.fontFamily || "sans-serif", code };
}

/** [r, g, b] as one little-endian RGBA pixel. */
function packRgb([r, g, b]) {
  return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
}

/** Codes with every row divided by its own largest weight: (rows, columns) as given. Errors and masks stay. */
function divideRows(codes, [rows, columns]) {
  const out = new Uint8Array(codes.length);
  const tables = []; // by the largest code of a row, made when a row needs it
  for (let row = 0; row < rows; row++) {
    const [from, to] = [row * columns, (row + 1) * columns];
    let largest = 1;
    for (let at = from; at < to; at++) if (codes[at] < ERROR_CODE && codes[at] > largest) largest = codes[at];
    const table = (tables[largest] ??= dividedCodes(largest));
    for (let at = from; at < to; at++) out[at] = table[codes[at]];
  }
  return out;
}

/** What each code is in a row whose largest is given. */
function dividedCodes(largest) {
  // Codes go with the square root: the root of a quotient is the quotient of the roots.
  const divided = (code) => Math.min(254, 1 + Math.round((253 * (code - 1)) / Math.max(1, largest - 1)));
  const stays = (code) => code === MASKED_CODE || code === ERROR_CODE;
  return Uint8Array.from({ length: 256 }, (_, code) => (stays(code) ? code : divided(code)));
}

/**
 * How codes become pixels: 256 colours, the two of an error's stripes, and the one of the hatch over masked cells.
 * Rows divided by `divideRows` are drawn linearly up to 1.
 */
export function pixelLook({ scale, largest, dark }) {
  const rows = scale === "row";
  const colours = codeTable({ scale: rows ? "linear" : scale, largest: rows ? 1 : largest, dark }); // (256) RGB
  const hatch = packRgb(maskedColour(dark).map((channel) => channel + (dark ? 22 : -24)));
  return { table: Uint32Array.from(colours, packRgb), errors: errorColours().map(packRgb), hatch };
}

/**
 * An image of codes, ready for the screen: errors in stripes, masked cells hatched, so that neither is taken for
 * a weight.
 * @param {Uint8Array} codes (height, width), see `maxPoolCodes`
 * @param {Object} look see `pixelLook`
 * @param {number} stripe width of a stripe in pixels
 * @param {number} hatch distance of the hatch lines in pixels; 0 for none
 */
function codesToImage(codes, width, height, look, stripe, hatch) {
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const { table } = look;
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      const code = codes[at];
      if (code === ERROR_CODE) pixels[at] = look.errors[Math.floor((x + y) / stripe) & 1];
      else if (code === MASKED_CODE && hatch && (x + y) % hatch === 0) pixels[at] = look.hatch;
      else pixels[at] = table[code];
    }
  }
  return image;
}

/** Text cut with an ellipsis to a width, in the context's font. */
export function cutText(context, text, width) {
  return fitLabel(text, width, (part) => context.measureText(part).width);
}

/** A small box with lines of text, kept inside the canvas, beside (x, y). */
export function drawTip(context, theme, lines, x, y, width, height) {
  context.font = `14px ${theme.code}`;
  const cut = lines.map((line) => cutText(context, line, Math.min(420, width - 24)));
  const w = Math.max(...cut.map((line) => context.measureText(line).width)) + 16;
  const h = 19 * cut.length + 10;
  const left = x + 16 + w > width ? Math.max(2, x - w - 12) : x + 16;
  const top = y + 16 + h > height ? Math.max(2, y - h - 12) : y + 16;
  context.fillStyle = theme.background;
  context.strokeStyle = theme.text;
  context.lineWidth = 1;
  context.beginPath();
  context.roundRect(left, top, w, h, 6);
  context.fill();
  context.stroke();
  context.fillStyle = theme.text;
  context.textAlign = "left";
  context.textBaseline = "middle";
  cut.forEach((line, n) => context.fillText(line, left + 8, top + 15 + 19 * n));
}

/**
 * The picture of a window of a head at the pixels of the screen.
 * @param {number[]} window [q0, q1, k0, k1]
 */
export function imageOf(view, i, window, width, height, stripe, hatch) {
  const { codes, shape, part } = sourceOf(view, i, window);
  const pixels = maxPoolCodes(codes, shape[0], shape[1], height, width, part); // (height, width)
  return codesToImage(pixels, width, height, view.look(), stripe, hatch);
}

/** The picture of a whole head from the overview's own codes: the same for every head, whatever else has arrived. */
export function overviewImage(view, i, width, height, stripe) {
  const [rows, columns] = view.dataset.header.P;
  let codes = view.dataset.codes.subarray(i * rows * columns, (i + 1) * rows * columns);
  if (view.state.scale === "row") codes = divideRows(codes, [rows, columns]);
  const pixels = maxPoolCodes(codes, rows, columns, height, width);
  return codesToImage(pixels, width, height, view.look(), stripe, 0);
}

/** The finest codes there are for a window of a head, and which part of them it is. */
function sourceOf(view, i, [q0, q1, k0, k1]) {
  const { dataset, state } = view;
  const picture = pictureOf(dataset, i);
  const byRow = state.scale === "row";
  if (picture.factor > 1 && !byRow) {
    const exact = exactWindow(dataset, i, q0, q1, k0, k1);
    if (exact) {
      const shape = [exact.q1 - exact.q0, exact.k1 - exact.k0];
      const part = [q0 - exact.q0, q1 - exact.q0, k0 - exact.k0, k1 - exact.k0];
      return { codes: codesOf(view, exact), shape, part };
    }
  }
  const f = picture.factor;
  const part = [q0 / f, q1 / f, k0 / f, k1 / f];
  return { codes: byRow ? dividedOf(view, i, picture) : picture.codes, shape: picture.P, part };
}

/** Codes of an exact window. */
function codesOf(view, exact) {
  let codes = view.derived.get(exact);
  if (!codes) {
    view.derived.set(exact, (codes = Uint8Array.from(exact.weights, codeOf)));
  }
  return codes;
}

function dividedOf(view, i, picture) {
  let divided = view.divided.get(i);
  if (divided?.of !== picture.codes.buffer) {
    if (view.divided.size > 12) view.divided.clear();
    divided = { of: picture.codes.buffer, codes: divideRows(picture.codes, picture.P) };
    view.divided.set(i, divided);
  }
  return divided.codes;
}

/** Whether the row of a query is wrong in the data, NaN or with a sum that is not 1: it is not drawn as weights. */
export function rowIsWrong(dataset, i, q) {
  if (!dataset.header.errors?.[i]) return false;
  const { codes, P, factor } = pictureOf(dataset, i);
  if (factor === 1) return codes.subarray(q * P[1], (q + 1) * P[1]).includes(ERROR_CODE);
  const row = rowAt(dataset, i, q); // pooled codes do not say which of their rows it is
  return row !== null && row.weights.some(Number.isNaN);
}

/** A line in a colour, with a dark one around it, so that it is seen on every colour of the ramp. */
export function outline(context, colour, x, y, w, h) {
  context.strokeStyle = "rgb(0 0 0 / 0.6)";
  context.lineWidth = 3.5;
  context.strokeRect(x, y, w, h);
  context.strokeStyle = colour;
  context.lineWidth = 1.75;
  context.strokeRect(x, y, w, h);
}

/** A disc in the colour of a pinned head. */
export function pinDisc(context, colour, x, y, radius) {
  context.fillStyle = colour;
  context.beginPath();
  context.arc(x, y, radius, 0, 7);
  context.fill();
}
