// The pictures of a translation on canvas: bands between the two strips, and the three matrices on one scale.

import { rowsAt } from "./translate_state.js";

const FRAME = "#e69f00"; // told from the ramp by everybody, on a light and on a dark page
const WIDEST_BAND = 13; // pixels, of a weight of 1
const LONGEST_LABEL = 9; // characters beside a matrix
const [LEAST_CELL, LARGEST_CELL] = [9, 40]; // pixels, of three matrices side by side
const ROOMY = 18; // pixels of a cell that the panel beside the matrices must leave
const [LARGEST_ALONE, HIGHEST] = [400, 300]; // pixels that a matrix is wide where each stands by itself, and is high
const [LEAST_FONT, LARGEST_FONT] = [10, 13]; // pixels
const GAP = 18; // pixels between matrices
const EDGE = 4;

/** The colour at a place on the ramp, 0 to 1. @param {number[][]} ramp colours at equal distances */
export function rampAt(ramp, share) {
  const at = Math.min(1, Math.max(0, share)) * (ramp.length - 1);
  const below = Math.min(Math.floor(at), ramp.length - 2);
  return ramp[below].map((channel, c) => Math.round(channel + (ramp[below + 1][c] - channel) * (at - below)));
}

/** Black or white: whichever is read better on a colour. */
export function inkOn(colour) {
  return luminance(colour) > 0.179 ? "#000000" : "#ffffff"; // at 0.179 both have the same contrast
}

function luminance(colour) {
  const linear = (c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear(colour[0]) + 0.7152 * linear(colour[1]) + 0.0722 * linear(colour[2]);
}

/** The colours and the fonts of the page. */
export function themeOf(root) {
  const style = getComputedStyle(root);
  const get = (name, otherwise) => style.getPropertyValue(name).trim() || otherwise;
  const paper = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  paper.fillStyle = get("--st-background-color", "#ffffff");
  paper.fillRect(0, 0, 1, 1);
  const dark = luminance(paper.getImageData(0, 0, 1, 1).data) < 0.2;
  return {
    dark,
    text: get("--st-text-color", dark ? "#ffffff" : "#000000"),
    masked: dark ? "rgb(72 72 74)" : "rgb(229 229 232)",
    edge: "rgb(128 128 128 / 0.45)",
    band: dark ? "#56b4e9" : "#0072b2",
    font: get("--st-code-font", "monospace"),
  };
}

/** A canvas made ready for drawing in CSS pixels. */
export function ready(canvas, width, height) {
  const scale = window.devicePixelRatio || 1;
  const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const ink = canvas.getContext("2d");
  ink.setTransform(scale, 0, 0, scale, 0, 0);
  ink.clearRect(0, 0, width, height);
  return ink;
}

// Bands ---------------------------------------------------------------------------------------------------------------

/**
 * A band from each token written to each source token, as wide and as strong as its weight.
 * @param {HTMLCanvasElement} canvas over both strips
 * @param {{x: number, y: number}[]} sources, outputs where the bands end
 * @param {?Place} place whose bands stand out
 * @param {boolean} upright the strips stand side by side
 */
export function drawBands(canvas, { sources, outputs, cross, rows, place, theme, upright, size }) {
  const ink = ready(canvas, ...size);
  ink.strokeStyle = theme.band;
  const S = sources.length;
  const bands = [];
  for (let t = 0; t < rows; t++) {
    for (let s = 0; s < S; s++) {
      const weight = cross[t * S + s];
      const ours = !place || (place.side === "output" ? place.at === t : place.at === s);
      const strength = place && !ours ? 0.12 * weight : Math.sqrt(weight) * (place ? 1 : 0.75);
      if (strength > 0.02) bands.push({ from: sources[s], to: outputs[t], weight, strength });
    }
  }
  bands.sort((a, b) => a.strength - b.strength);
  for (const { from, to, weight, strength } of bands) {
    ink.globalAlpha = Math.min(1, strength);
    ink.lineWidth = Math.max(0.75, weight * WIDEST_BAND);
    ink.beginPath();
    ink.moveTo(from.x, from.y);
    const [x, y] = [(from.x + to.x) / 2, (from.y + to.y) / 2];
    if (upright) ink.bezierCurveTo(x, from.y, x, to.y, to.x, to.y);
    else ink.bezierCurveTo(from.x, y, to.x, y, to.x, to.y);
    ink.stroke();
  }
  ink.globalAlpha = 1;
}

// Matrices ------------------------------------------------------------------------------------------------------------

/** A token as a label: cut if very long. */
function short(token) {
  const letters = [...token];
  return letters.length > LONGEST_LABEL ? `${letters.slice(0, LONGEST_LABEL - 1).join("")}…` : token;
}

/**
 * What the three matrices are, and where their cells are. Cells have one size, so that the rows of a step are side by
 * side; where that would be small, the panel goes from beside them to below, and at last each matrix stands by itself.
 * @returns {{maps: Object[], beside: boolean, inRow: boolean}} there is room for the panel; for three matrices in a row
 */
export function layOut(data, width, panel, theme) {
  const ruler = document.createElement("canvas").getContext("2d");
  ruler.font = `${LARGEST_FONT}px ${theme.font}`;
  const longest = (tokens) => Math.ceil(Math.max(...tokens.map((token) => ruler.measureText(token).width))) + 8;
  const named = (side, rows, columns) => ({ side, rows: rows.map(short), columns: columns.map(short) });
  const maps = [
    named("encoder", data.source, data.source),
    named("decoder", data.inputs, data.inputs),
    named("cross", data.written.map((token) => `→${token}`), data.source),
  ];
  for (const map of maps) [map.left, map.top] = [longest(map.rows), longest(map.columns)];
  const taken = maps.reduce((sum, map) => sum + map.left + EDGE, 0) + GAP * (maps.length - 1);
  const count = maps.reduce((sum, map) => sum + map.columns.length, 0);
  const most = Math.max(LEAST_CELL, Math.floor(HIGHEST / Math.max(...maps.map((map) => map.rows.length))));
  const cellIn = (room) => Math.min(LARGEST_CELL, most, Math.floor((room - taken) / count));
  const beside = cellIn(width - panel - GAP) >= ROOMY;
  const common = cellIn(beside ? width - panel - GAP : width);
  const inRow = common >= LEAST_CELL;
  const top = Math.max(...maps.map((map) => map.top));
  for (const map of maps) {
    const own = Math.floor((Math.min(width, LARGEST_ALONE) - map.left - EDGE) / map.columns.length);
    map.cell = inRow ? common : Math.min(most, Math.max(4, own));
    if (inRow) map.top = top;
    map.width = map.left + map.columns.length * map.cell + EDGE;
    map.height = map.top + map.rows.length * map.cell + EDGE;
  }
  return { maps, beside, inRow };
}

/** One matrix with its labels. @param {{row: ?number, column: ?number}} marked what is framed */
export function drawMap(canvas, map, weights, { data, theme, step, marked }) {
  const { rows, columns, left, top, cell, side } = map;
  const ink = ready(canvas, map.width, map.height);
  const stand = side === "encoder" ? rows.length : rowsAt(step, rows.length);
  const gap = cell >= 10 ? 1 : 0;
  for (let r = 0; r < stand; r++) {
    for (let c = 0; c < columns.length; c++) {
      const masked = side === "decoder" && c > r;
      const colour = rampAt(data.ramp, Math.sqrt(weights[r * columns.length + c]));
      ink.fillStyle = masked ? theme.masked : `rgb(${colour.join(" ")})`;
      ink.fillRect(left + c * cell, top + r * cell, cell - gap, cell - gap);
    }
  }
  ink.strokeStyle = theme.edge;
  ink.strokeRect(left - 0.5, top - 0.5, columns.length * cell + 1 - gap, rows.length * cell + 1 - gap);
  drawLabels(ink, map, theme, stand, marked);
  ink.strokeStyle = FRAME;
  ink.lineWidth = 2.5;
  const [w, h] = [columns.length * cell - gap, stand * cell - gap];
  if (marked.row !== null && marked.row < stand) ink.strokeRect(left, top + marked.row * cell, w, cell - gap);
  if (marked.column !== null) ink.strokeRect(left + marked.column * cell, top, cell - gap, h);
}

/** The tokens at the sides, every one or every n-th; those of rows that are not there yet stay away. */
function drawLabels(ink, { rows, columns, left, top, cell }, theme, stand, marked) {
  const size = Math.min(LARGEST_FONT, Math.max(LEAST_FONT, cell));
  const every = Math.max(1, Math.ceil((size - 1) / cell));
  ink.fillStyle = theme.text;
  ink.textBaseline = "middle";
  const font = (bold) => (ink.font = `${bold ? "bold " : ""}${size}px ${theme.font}`);
  ink.textAlign = "right";
  rows.forEach((token, r) => {
    if (r >= stand || (r % every && r !== marked.row)) return;
    font(r === marked.row);
    ink.fillText(token, left - 5, top + (r + 0.5) * cell);
  });
  ink.textAlign = "left";
  columns.forEach((token, c) => {
    if (c % every && c !== marked.column) return;
    font(c === marked.column);
    ink.save();
    ink.translate(left + (c + 0.5) * cell, top - 5);
    ink.rotate(-Math.PI / 2);
    ink.fillText(token, 0, 0);
    ink.restore();
  });
}

/** The cell at a point of a matrix's canvas, or null. */
export function cellAt({ rows, columns, left, top, cell }, x, y) {
  const [row, column] = [Math.floor((y - top) / cell), Math.floor((x - left) / cell)];
  return row >= 0 && row < rows.length && column >= 0 && column < columns.length ? { row, column } : null;
}
