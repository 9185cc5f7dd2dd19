// A training as it is replayed: where its numbers lie in what came, places of bars, and what is said. Pure.
// Letters: N recorded steps, L layers, H heads, T tokens shown, K candidates.

import { digits } from "./translate_state.js";

/**
 * A blob: <u32 length of the header><header, JSON><zero bytes up to a multiple of 4><float32>. The header's "parts" are
 * [name, length] in order.
 * @param {Uint8Array} blob
 * @returns {Object} the header's fields, and a Float32Array for each part by its name
 */
export function readBlob(blob) {
  const bytes = blob.byteOffset % 4 ? blob.slice() : blob;
  const length = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  let at = bytes.byteOffset + 4 + length;
  at += (4 - (at - bytes.byteOffset) % 4) % 4;
  for (const [name, count] of header.parts) {
    header[name] = new Float32Array(bytes.buffer, at, count);
    at += 4 * count;
  }
  return header;
}

/** How many numbers the matrix of a head has: under the mask nothing above the diagonal travels. */
export function cellsOf({ T, causal }) {
  return causal ? (T * (T + 1)) / 2 : T * T;
}

/** One weight, or null where the mask is. @param {number} n which recorded step */
export function weightAt(data, n, layer, head, row, column) {
  if (data.causal && column > row) return null;
  const place = data.causal ? (row * (row + 1)) / 2 + column : row * data.T + column;
  return data.weights[((n * data.L + layer) * data.H + head) * cellsOf(data) + place];
}

/** A score of a head. @param {"previous" | "induction"} which */
export function scoreAt(data, which, n, layer, head) {
  return data[which][(n * data.L + layer) * data.H + head];
}

/** The recorded step next to another one, as its place. */
export function nearest(steps, step) {
  let best = 0;
  steps.forEach((each, n) => {
    if (Math.abs(each - step) < Math.abs(steps[best] - step)) best = n;
  });
  return best;
}

/** 0 to 1: a step on a logarithmic axis that has a place for step 0, too. */
export function along(step, last) {
  return last > 0 ? Math.log1p(step) / Math.log1p(last) : 0;
}

/** The steps that are written at the axis. */
export function ticksOf(last) {
  const ticks = [0];
  for (let tick = 1; tick <= last; tick *= 10) ticks.push(tick);
  return ticks;
}

/**
 * A place for each candidate of each step, so that a token's bar stays where it is for as long as it is among them. At
 * the last step the likeliest is first; what was before is placed around it.
 * @param {number[][]} ids N x K, by falling probability
 * @returns {number[][]} N x K, the place of each candidate, each of 0 to K - 1 once
 */
export function placesOf(ids) {
  const places = Array(ids.length);
  let after = new Map();
  for (let n = ids.length - 1; n >= 0; n--) {
    const own = new Map(ids[n].filter((id) => after.has(id)).map((id) => [id, after.get(id)]));
    const taken = new Set(own.values());
    let free = 0;
    for (const id of ids[n]) {
      if (own.has(id)) continue;
      while (taken.has(free)) free += 1;
      taken.add(free);
      own.set(id, free);
    }
    places[n] = ids[n].map((id) => own.get(id));
    after = own;
  }
  return places;
}

/** A step with its thousands apart. */
export function counted(step) {
  return step.toLocaleString("en-US");
}

/** The number of a curve at a step: the last one that was written down at or before it, else the first. */
export function valueAt(steps, values, step) {
  if (!steps.length) return null;
  let at = 0;
  while (at + 1 < steps.length && steps[at + 1] <= step) at += 1;
  return { step: steps[at], value: values[at] };
}

/** A cell of a head, in words. @param {{layer: number, head: number, row: number, column: number}} cell */
export function lapseWords(data, n, cell) {
  const { layer, head, row, column } = cell;
  const weight = weightAt(data, n, layer, head, row, column);
  const pair = `head ${layer}.${head}: “${data.tokens[row]}” on “${data.tokens[column]}”`;
  return weight === null ? `${pair}: masked, it comes later` : `${pair}: ${digits(weight)}`;
}

/** A head with both its scores, in words. */
export function scoreWords(data, n, { layer, head }) {
  const [previous, induction] = ["previous", "induction"].map((which) => scoreAt(data, which, n, layer, head));
  return `head ${layer}.${head} at step ${counted(data.steps[n])}: previous token ${previous.toFixed(4)}, ` +
    `induction ${induction.toFixed(4)}`;
}

/** The head whose line is next to a point of a chart of scores. @param {number} score under the pointer */
export function headNear(data, which, n, score) {
  let best = null;
  for (let layer = 0; layer < data.L; layer++) {
    for (let head = 0; head < data.H; head++) {
      const far = Math.abs(scoreAt(data, which, n, layer, head) - score);
      if (!best || far < best.far) best = { layer, head, far };
    }
  }
  return { layer: best.layer, head: best.head };
}
