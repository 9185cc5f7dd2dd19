// Pictures of a training on canvas: every head on one scale, and curves over the logarithm of the step.

import { along, cellsOf, counted, scoreAt, ticksOf } from "./lapse_state.js";
import { rampAt, ready } from "./translate_pictures.js";

const LABEL = 17; // pixels above each head
const BETWEEN = 8; // pixels between heads
const [LEAST_HEAD, LARGEST_HEAD] = [44, 190]; // pixels
const PLOT = { left: 40, right: 12, top: 8, bottom: 22, height: 190 }; // pixels around the room of a curve
const CHOSEN = "#e69f00"; // what is pointed at, as on other pages
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7f7f7f", "#56b4e9"]; // of layers; Okabe and Ito
const ON_DARK = ["#56b4e9", "#e8793a", "#2cc39a", "#dd9cc0", "#b0b0b0", "#7fd0ff"];

/** Where the heads are. A layer is a row; where that is too narrow, it goes on below. */
export function layOutHeads({ L, H }, width) {
  const across = Math.max(1, Math.min(H, Math.floor((width + BETWEEN) / (LEAST_HEAD + BETWEEN))));
  const side = Math.min(LARGEST_HEAD, Math.floor((width + BETWEEN) / across) - BETWEEN);
  const rows = L * Math.ceil(H / across);
  return { across, side, width, height: rows * (side + LABEL + BETWEEN) - BETWEEN };
}

/** The top left corner of a head's picture. */
export function cornerOf({ across, side }, { H }, layer, head) {
  const row = layer * Math.ceil(H / across) + Math.floor(head / across);
  return { x: (head % across) * (side + BETWEEN), y: row * (side + LABEL + BETWEEN) + LABEL };
}

/** The cell under a point, or null. */
export function cellUnder(room, data, x, y) {
  const per = Math.ceil(data.H / room.across);
  const row = Math.floor(y / (room.side + LABEL + BETWEEN));
  const layer = Math.floor(row / per);
  const head = (row % per) * room.across + Math.floor(x / (room.side + BETWEEN));
  if (!(layer >= 0 && layer < data.L && head >= 0 && head < data.H)) return null;
  const corner = cornerOf(room, data, layer, head);
  const [r, c] = [y - corner.y, x - corner.x].map((d) => Math.floor((d / room.side) * data.T));
  return r >= 0 && r < data.T && c >= 0 && c < data.T ? { layer, head, row: r, column: c } : null;
}

/** 256 colours of the square root of a weight, and one more for what is masked, as RGBA in one number each. */
export function paletteOf(ramp, masked) {
  const colours = Array.from({ length: 256 }, (_, i) => rampAt(ramp, i / 255));
  return Uint32Array.from([...colours, masked], ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0);
}

/** Every head at step n. @param {HTMLCanvasElement} canvas; sheet: one to work on */
export function drawHeads(canvas, sheet, room, { data, n, theme, palette, marked }) {
  const { T, L, H, causal, weights } = data;
  const ink = ready(canvas, room.width, room.height);
  if (sheet.width !== T || sheet.height !== T * L * H) [sheet.width, sheet.height] = [T, T * L * H];
  const paper = sheet.getContext("2d");
  const image = paper.createImageData(T, T * L * H);
  const pixels = new Uint32Array(image.data.buffer);
  let from = n * L * H * cellsOf(data);
  for (let row = 0, to = 0; row < T * L * H; row++) {
    const seen = causal ? (row % T) + 1 : T;
    for (let column = 0; column < T; column++, to++) {
      pixels[to] = palette[column < seen ? Math.round(255 * Math.sqrt(Math.min(1, weights[from++]))) : 256];
    }
  }
  paper.putImageData(image, 0, 0);
  ink.imageSmoothingEnabled = false;
  ink.font = `12px ${theme.font}`;
  ink.textBaseline = "middle";
  for (let layer = 0; layer < L; layer++) {
    for (let head = 0; head < H; head++) {
      const { x, y } = cornerOf(room, data, layer, head);
      ink.drawImage(sheet, 0, (layer * H + head) * T, T, T, x, y, room.side, room.side);
      const ours = marked && marked.layer === layer && marked.head === head;
      ink.fillStyle = theme.text;
      ink.fillText(`${layer}.${head}`, x + 1, y - LABEL / 2);
      ink.strokeStyle = ours ? CHOSEN : theme.edge;
      ink.lineWidth = ours ? 3 : 1;
      ink.strokeRect(x, y, room.side, room.side);
      if (ours && marked.row !== undefined) markCell(ink, marked, { x, y, cell: room.side / T });
    }
  }
}

function markCell(ink, { row, column }, { x, y, cell }) {
  ink.lineWidth = 2;
  ink.strokeRect(x + column * cell, y + row * cell, Math.max(3, cell), Math.max(3, cell));
}

// Curves --------------------------------------------------------------------------------------------------------------

/** The room of a chart, and where a step and a value are in it. */
export function chartRoom(width, last, [low, high]) {
  const inner = Math.max(10, width - PLOT.left - PLOT.right);
  const tall = PLOT.height - PLOT.top - PLOT.bottom;
  return {
    width, height: PLOT.height, last, low, high,
    x: (step) => PLOT.left + inner * along(step, last),
    y: (value) => PLOT.top + tall * (1 - (value - low) / (high - low)),
    valueAt: (y) => low + (1 - (y - PLOT.top) / tall) * (high - low),
  };
}

/** From just below the lowest to just above the highest number. */
export function spanOf(...curves) {
  let [low, high] = [Infinity, -Infinity];
  for (const curve of curves) {
    for (const value of curve) [low, high] = [Math.min(low, value), Math.max(high, value)];
  }
  if (!(low < high)) return [low < Infinity ? low - 0.5 : 0, low < Infinity ? low + 0.5 : 1];
  const edge = 0.04 * (high - low);
  return [Math.max(0, low - edge), high + edge];
}

/** Axes, with numbers at every power of ten of the steps and at about four values. */
function drawAxes(ink, room, theme) {
  ink.font = "12px sans-serif";
  ink.fillStyle = theme.text;
  ink.strokeStyle = theme.edge;
  ink.lineWidth = 1;
  ink.textBaseline = "middle";
  ink.textAlign = "right";
  const wide = (room.high - room.low) / 4;
  const unit = 10 ** Math.floor(Math.log10(wide));
  const every = [1, 2, 5, 10].map((m) => m * unit).find((m) => m >= wide);
  for (let i = Math.ceil(room.low / every); i * every <= room.high; i++) {
    const y = room.y(i * every);
    ink.fillText(String(Number((i * every).toPrecision(3))), PLOT.left - 5, y);
    drawLine(ink, [[PLOT.left, y], [room.width - PLOT.right, y]]);
  }
  ink.textBaseline = "top";
  ink.textAlign = "center";
  for (const tick of ticksOf(room.last)) ink.fillText(counted(tick), room.x(tick), PLOT.height - PLOT.bottom + 5);
}

function drawLine(ink, points) {
  ink.beginPath();
  for (const [x, y] of points) ink.lineTo(x, y);
  ink.stroke();
}

/** The losses: of the batches a thin line, of held-out text points on a thick one. */
export function drawLosses(canvas, room, data, theme) {
  const ink = ready(canvas, room.width, room.height);
  drawAxes(ink, room, theme);
  const [train, valid] = lossColours(theme);
  const curve = (steps, values) => [...steps].map((step, i) => [room.x(step), room.y(values[i])]);
  ink.lineJoin = "round";
  ink.strokeStyle = train;
  ink.lineWidth = 1.2;
  drawLine(ink, curve(data.train_steps, data.train));
  ink.strokeStyle = ink.fillStyle = valid;
  ink.lineWidth = 2;
  const points = curve(data.valid_steps, data.valid);
  drawLine(ink, points);
  for (const [x, y] of points) ink.fillRect(x - 2, y - 2, 4, 4);
}

/** Of training and of held-out text. */
export function lossColours({ dark }) {
  return dark ? [ON_DARK[0], ON_DARK[1]] : [COLOURS[0], COLOURS[1]];
}

/** The colour of a layer's lines. */
export function layerColour({ dark }, layer) {
  return (dark ? ON_DARK : COLOURS)[layer % COLOURS.length];
}

/** A score of every head over the steps; the marked one stands out. @param {"previous" | "induction"} which */
export function drawScores(canvas, room, which, { data, theme, marked }) {
  const ink = ready(canvas, room.width, room.height);
  drawAxes(ink, room, theme);
  ink.lineJoin = "round";
  const line = (layer, head) =>
    drawLine(ink, data.steps.map((step, n) => [room.x(step), room.y(scoreAt(data, which, n, layer, head))]));
  for (let layer = 0; layer < data.L; layer++) {
    ink.strokeStyle = layerColour(theme, layer);
    ink.lineWidth = 1.5;
    ink.globalAlpha = marked ? 0.35 : 1;
    for (let head = 0; head < data.H; head++) line(layer, head);
  }
  ink.globalAlpha = 1;
  if (!marked) return;
  ink.strokeStyle = layerColour(theme, marked.layer);
  ink.lineWidth = 3.5;
  line(marked.layer, marked.head);
}
