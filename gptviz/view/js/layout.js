// Where things stand: the grid of heads, the axes of a matrix with labels that fit, windows and how they move. Pure.
//
// A window [q0, q1, k0, k1] holds the queries q0 to q1 - 1 and the keys k0 to k1 - 1; null is the whole matrix.

const FEWEST = 4; // cells a side of the smallest window
const LINE = 1.25; // height of a label in font sizes

/**
 * Panels in rows, each with its label under it or beside it.
 * @param {Object} given
 * @param {number} given.n panels
 * @param {number} given.width pixels in all
 * @param {number} [given.ratio] height of a panel over its width: T / S
 * @param {number} [given.gap] pixels between panels
 * @param {number} [given.label] pixels of text under each
 * @param {number} [given.side] pixels of text to the right of each
 * @param {number} [given.min] smallest width of a panel in pixels
 * @param {number} [given.max] largest
 * @param {number} [given.columns] panels a row; else as many as fit at `min` width
 * @returns {{columns: number, size: [number, number], height: number, gap: number, label: number, side: number,
 *   boxes: {x: number, y: number, w: number, h: number}[]}} boxes of the pictures, without their labels
 */
export function gridLayout({ n, width, ratio = 1, gap = 8, label = 16, side = 0, min = 64, max = 200, columns }) {
  const fit = Math.max(1, Math.floor((width + gap) / (min + side + gap)));
  const across = Math.max(1, Math.min(columns ?? fit, fit, n));
  const w = Math.max(1, Math.min(max, Math.floor((width + gap) / across) - gap - side));
  const h = Math.max(8, Math.round(w * ratio));
  const down = h + label + gap;
  const box = (_, i) => ({ x: (i % across) * (w + side + gap), y: Math.floor(i / across) * down, w, h });
  const height = Math.max(0, Math.ceil(n / across) * down - gap);
  return { columns: across, size: [w, h], height, gap, label, side, boxes: Array.from({ length: n }, box) };
}

/** The panel at a point, its label included, or -1 between panels. @returns {number} its place in `boxes` */
export function hitGrid({ boxes, columns, size, gap, label, side }, x, y) {
  const column = Math.floor(x / (size[0] + side + gap));
  const row = Math.floor(y / (size[1] + label + gap));
  const place = row * columns + column;
  const box = column >= 0 && column < columns && row >= 0 ? boxes[place] : undefined;
  return box && x < box.x + box.w + side && y < box.y + box.h + label ? place : -1;
}

/**
 * Axes of a matrix: queries down, keys across, labels left and above, in margins that do not depend on the window, so
 * that nothing jumps while panning.
 * @param {Object} given
 * @param {{queries: string[], keys: string[]}} given.tokens T and S labels
 * @param {number} given.width pixels in all, margins included
 * @param {number} given.height
 * @param {?number[]} given.window
 * @param {function(string): number} given.measure width of a text in pixels
 * @param {number} [given.font] size of the labels in pixels
 * @param {number} [given.most] largest cell in pixels
 * @param {{left: number, top: number}} [given.margins] from `axisMargins`; give it where tokens are many
 * @returns {{left: number, top: number, cell: [number, number], size: [number, number], window: number[],
 *   rows: Label[], columns: Label[], upright: boolean, toCell: function, toPixel: function}}
 *   `upright`: labels of keys are turned by 90 degrees; `size`: pixels of the drawn cells
 * @typedef {{index: number, at: number, text: string}} Label `at`: the middle of the cell in pixels
 */
export function axisGeometry({ tokens, width, height, window, measure, font = 13, most = 56, margins }) {
  const [T, S] = [tokens.queries.length, tokens.keys.length];
  const [q0, q1, k0, k1] = fitWindow(window, T, S) ?? [0, T, 0, S];
  const { left, top } = margins ?? axisMargins({ tokens, width, height, measure, font });
  const side = Math.min(most, Math.max(1, width - left) / (k1 - k0), Math.max(1, height - top) / (q1 - q0));
  const cell = [side, side];
  const upright = tokens.keys.slice(k0, k1).some((text) => measure(text) > side - 4);
  const room = { rows: left - 6, columns: upright ? top - 6 : side - 4 };
  const label = (texts, first, end, start, space) =>
    thinned(first, end, side, font * LINE).map((index) => {
      const text = fitLabel(texts[index], space, measure);
      return { index, at: start + (index - first + 0.5) * side, text };
    });
  return {
    left,
    top,
    cell,
    size: [side * (k1 - k0), side * (q1 - q0)],
    window: [q0, q1, k0, k1],
    rows: label(tokens.queries, q0, q1, top, room.rows),
    columns: label(tokens.keys, k0, k1, left, room.columns),
    upright,
    toCell: (x, y) => {
      const q = q0 + Math.floor((y - top) / side);
      const k = k0 + Math.floor((x - left) / side);
      return q >= q0 && q < q1 && k >= k0 && k < k1 ? { q, k } : null;
    },
    toPixel: (q, k) => [left + (k - k0) * side, top + (q - q0) * side],
  };
}

/** Room for the labels of a matrix: for the longest token, but for no more than a third of the picture. */
export function axisMargins({ tokens, width, height, measure, font = 13 }) {
  const longest = (texts) => texts.reduce((most, text) => Math.max(most, measure(text)), 0);
  const least = Math.ceil(font * LINE) + 6;
  return {
    left: Math.round(Math.max(least, Math.min(longest(tokens.queries) + 10, 140, width / 3))),
    top: Math.round(Math.max(least, Math.min(longest(tokens.keys) + 10, 110, height / 3))),
  };
}

/**
 * Every n-th position, so that labels of `line` pixels do not overlap where cells have `side`. n is a number that
 * people count in, and positions are multiples of it: the same tokens keep their labels while panning.
 * @returns {number[]} positions from first to end, without end
 */
export function thinned(first, end, side, line) {
  const least = line / side;
  let step = 1;
  for (let ten = 1; step < least; ten *= 10) step = [2, 5, 10].map((n) => n * ten).find((n) => n >= least) ?? step;
  const kept = [];
  for (let at = Math.ceil(first / step) * step; at < end; at += step) kept.push(at);
  return kept;
}

/** A text cut with "…" so that it is at most `room` wide. Cuts between characters, never inside of one. */
export function fitLabel(text, room, measure) {
  if (measure(text) <= room) return text;
  const characters = [...text];
  let [fits, fails] = [0, characters.length];
  while (fails - fits > 1) {
    const half = (fits + fails) >> 1;
    if (measure(characters.slice(0, half).join("") + "…") <= room) fits = half;
    else fails = half;
  }
  return characters.slice(0, fits).join("") + "…";
}

/** The part of a window that lies in the matrix; null if that is all or nothing, or if it is no window. */
export function fitWindow(window, T, S) {
  if (!Array.isArray(window) || window.length !== 4 || !window.every(Number.isInteger)) return null;
  const [q0, q1, k0, k1] = [0, 1, 2, 3].map((n) => Math.min(n < 2 ? T : S, Math.max(0, window[n])));
  const all = q0 === 0 && q1 === T && k0 === 0 && k1 === S;
  return all || q0 >= q1 || k0 >= k1 ? null : [q0, q1, k0, k1];
}

/** A window moved into the matrix as it is, but with whole cells and at least 4 x 4 of them; null if it is all. */
function clampWindow(window, T, S) {
  const [q0, q1] = clampSpan(window[0], window[1], T);
  const [k0, k1] = clampSpan(window[2], window[3], S);
  return q1 - q0 === T && k1 - k0 === S ? null : [q0, q1, k0, k1];
}

function clampSpan(from, to, n) {
  const [low, high] = [Math.round(Math.min(from, to)), Math.round(Math.max(from, to))];
  const size = Math.min(n, Math.max(FEWEST, high - low));
  const start = Math.max(0, Math.min(n - size, low));
  return [start, start + size];
}

/** The window that a rubber band spans: from one cell to another, both inside. @returns {?number[]} */
export function zoomTo(from, to, T, S) {
  const span = (a, b) => [Math.min(a, b), Math.max(a, b) + 1];
  return clampWindow([...span(from.q, to.q), ...span(from.k, to.k)], T, S);
}

/**
 * The window made `factor` times smaller (larger under 1) about a cell, which keeps its place on the screen.
 * @param {{q: number, k: number}} [about] the middle if not given
 * @returns {?number[]}
 */
export function zoomBy(window, factor, T, S, about) {
  const [q0, q1, k0, k1] = window ?? [0, T, 0, S];
  const cell = about ?? { q: (q0 + q1) / 2 - 0.5, k: (k0 + k1) / 2 - 0.5 };
  const span = (from, to, at, n) => {
    const changed = Math.round((to - from) / factor);
    const step = factor > 1 ? Math.min(changed, to - from - 1) : Math.max(changed, to - from + 1); // never stuck
    const size = Math.max(Math.min(FEWEST, n), Math.min(n, step));
    const start = Math.round(at + 0.5 - ((at + 0.5 - from) / (to - from)) * size);
    return [start, start + size];
  };
  return clampWindow([...span(q0, q1, cell.q, T), ...span(k0, k1, cell.k, S)], T, S);
}

/** The window moved by cells, stopped at the edges. @returns {?number[]} */
export function pan(window, dq, dk, T, S) {
  if (!window) return null;
  const [q0, q1, k0, k1] = window;
  return clampWindow([q0 + dq, q1 + dq, k0 + dk, k1 + dk], T, S);
}

/** The window moved as little as needed to show a cell; on a side where q or k is null, it stays. */
export function follow(window, q, k, T, S) {
  if (!window) return null;
  const [q0, q1, k0, k1] = window;
  const shift = (from, to, at) => (at === null ? 0 : at < from ? at - from : Math.max(0, at - to + 1));
  return pan(window, shift(q0, q1, q), shift(k0, k1, k), T, S);
}
