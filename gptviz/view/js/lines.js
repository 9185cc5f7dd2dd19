// The two columns of tokens and the lines between them: which lines are kept, where they run, which one is meant.
// Pure. Letters: T queries (left), S keys (right).

/**
 * @typedef {{q: number, k: number, w: number}} Line
 * @typedef {{side: "query" | "key", at: number}} TokenPlace
 */

const FAINTEST = 0.06; // opacity of a weight of nearly 0: still seen
const FAINTEST_OF_MANY = 0.03;

/**
 * The keys that hold `mass` of a row, largest first: as few as possible. Weights of 0 are never kept.
 * @param {Float32Array | number[]} rowWeights S weights of one query
 * @param {number} mass share of the row's sum, 0 to 1; 1 keeps all
 * @returns {number[]} positions of keys; none for a row with NaN in it, which has no sum
 */
export function keptLines(rowWeights, mass) {
  const sorted = new Float64Array(rowWeights).sort(); // ascending; without a comparator it is many times faster
  let total = 0;
  for (const w of sorted) total += w;
  const kept = countKept(sorted, mass >= 1 ? Infinity : mass * total); // none if one is NaN: it is sorted to the end
  const least = sorted[sorted.length - kept];
  const above = [];
  const equal = [];
  for (let k = 0; k < rowWeights.length; k++) {
    if (rowWeights[k] > least) above.push(k);
    else if (rowWeights[k] === least) equal.push(k);
  }
  above.sort((a, b) => rowWeights[b] - rowWeights[a]);
  return above.concat(equal.slice(0, kept - above.length));
}

/** How many of the largest weights reach a sum; zeros are not counted. */
function countKept(ascending, wanted) {
  let sum = 0;
  let kept = 0;
  while (kept < ascending.length && sum < wanted && ascending[ascending.length - 1 - kept] > 0) {
    sum += ascending[ascending.length - 1 - kept];
    kept += 1;
  }
  return kept;
}

/**
 * The lines of one head. A line is there if its query keeps it; which queries keep what does not depend on who looks.
 * @param {Object} given
 * @param {function(number): ?(Float32Array | number[])} given.row the S weights of a query, or null if not known
 * @param {number} given.T number of queries
 * @param {number[]} [given.queries] only lines from these, if there are any
 * @param {number[]} [given.keys] only lines to these, if there are any
 * @param {number} [given.mass] share of each query's weights kept
 * @param {?TokenPlace} [given.hovered] only the lines of this token, whatever is chosen
 * @param {?number[]} [given.window] [q0, q1, k0, k1]: only lines inside
 * @returns {Line[]} by query, the largest weight of each first
 */
export function lineSet({ row, T, queries = [], keys = [], mass = 0.9, hovered = null, window = null }) {
  const [q0, q1, k0, k1] = window ?? [0, T, 0, Infinity];
  const fromAll = Array.from({ length: q1 - q0 }, (_, n) => q0 + n);
  const chosen = hovered?.side === "query" ? [hovered.at] : hovered || !queries.length ? fromAll : queries;
  const ends = hovered?.side === "key" ? new Set([hovered.at]) : hovered || !keys.length ? null : new Set(keys);
  const lines = [];
  for (const q of chosen) {
    const weights = q >= q0 && q < q1 ? row(q) : null;
    if (!weights) continue;
    for (const k of keptLines(weights, mass)) {
      if (k >= k0 && k < k1 && (!ends || ends.has(k))) lines.push({ q, k, w: weights[k] });
    }
  }
  return lines;
}

/**
 * Opacity of a line by its weight alone: it is the same however many heads are drawn. Small weights are lifted by the
 * square root, but not where thousands of them would become one surface.
 * @param {boolean} [crowded] see `isCrowded` of state.js
 */
export function lineOpacity(weight, crowded = false) {
  const share = Math.min(1, Math.max(0, weight));
  return crowded ? FAINTEST_OF_MANY + (1 - FAINTEST_OF_MANY) * share : FAINTEST + (1 - FAINTEST) * Math.sqrt(share);
}

/**
 * Where the two columns stand. Rows have the same height on both sides; the shorter side is not stretched.
 * @param {Object} given
 * @param {number} given.T
 * @param {number} given.S
 * @param {number} given.width pixels in all
 * @param {number} given.margin pixels for the tokens, on each side
 * @param {number} [given.row] height of a token in pixels
 * @param {number} [given.top] pixels above the first token
 * @param {?number[]} [given.window] [q0, q1, k0, k1]: tokens that are drawn
 */
export function columnsGeometry({ T, S, width, margin, row = 22, top = 0, window = null }) {
  const [q0, q1, k0, k1] = window ?? [0, T, 0, S];
  const height = top + row * Math.max(q1 - q0, k1 - k0);
  const y = (side, at) => top + (at - (side === "query" ? q0 : k0) + 0.5) * row;
  return { left: margin, right: width - margin, width, height, row, top, window: [q0, q1, k0, k1], y };
}

/**
 * The two ends of a line. Heads that are drawn together are set off from each other, so that no one hides another.
 * @param {number} slot which of `slots` heads
 * @returns {[number, number, number, number]} x0, y0, x1, y1
 */
export function lineEnds(geometry, { q, k }, slot = 0, slots = 1) {
  const off = (slot - (slots - 1) / 2) * Math.min(4, (geometry.row - 4) / slots);
  return [geometry.left, geometry.y("query", q) + off, geometry.right, geometry.y("key", k) + off];
}

/** The token at a point, or null between the columns. @returns {?TokenPlace} */
export function hitToken(geometry, x, y) {
  const side = x <= geometry.left ? "query" : x >= geometry.right ? "key" : null;
  if (!side || x < 0 || x > geometry.width) return null;
  const [q0, q1, k0, k1] = geometry.window;
  const [first, end] = side === "query" ? [q0, q1] : [k0, k1];
  const at = first + Math.floor((y - geometry.top) / geometry.row);
  return at >= first && at < end ? { side, at } : null;
}

/**
 * The line nearest to a point, measured at right angles to it.
 * @param {number} reach pixels
 * @returns {number} its place in `lines`, or -1; of two as near, the one drawn last, which lies on top
 */
export function hitLine(geometry, lines, x, y, reach = 4, slot = 0, slots = 1) {
  if (x < geometry.left || x > geometry.right) return -1;
  let best = -1;
  let nearest = reach;
  for (let n = 0; n < lines.length; n++) {
    const [x0, y0, x1, y1] = lineEnds(geometry, lines[n], slot, slots);
    const slope = (y1 - y0) / (x1 - x0 || 1);
    const distance = Math.abs(y - (y0 + slope * (x - x0))) / Math.hypot(1, slope);
    if (distance <= nearest) [best, nearest] = [n, distance];
  }
  return best;
}
