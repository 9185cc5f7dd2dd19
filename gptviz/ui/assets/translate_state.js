// A translation's steps, and which weights a token that is pointed at asks for. Pure.
// Letters: S source tokens, T tokens written. A step is 1 to T, and 0 for the whole translation, which comes after T.

/**
 * @typedef {{side: "source" | "output", at: number}} Place a token of one of the two strips
 */

/** The step that lies `by` further. */
export function stepped(step, by, T) {
  const place = Math.min(T + 1, Math.max(1, (step || T + 1) + by));
  return place > T ? 0 : place;
}

/** How many tokens stand there at a step, the one that is being written included. */
export function rowsAt(step, T) {
  return step || T;
}

/**
 * Which token is meant: the one under the pointer, else the one that was tapped, else the one that is being written.
 * @returns {?Place} null where that is none
 */
export function meant({ pointed, pinned, step }, T) {
  const stands = (place) => place && (place.side === "source" || place.at < rowsAt(step, T));
  if (stands(pointed)) return pointed;
  if (stands(pinned)) return pinned;
  return step ? { side: "output", at: step - 1 } : null;
}

/**
 * The cross-attention of a token, for the tokens of the other side.
 * @param {?Place} place
 * @param {Float32Array} cross T x S
 * @returns {?number[]} of a token of the output its row, S weights; of a source token its column, as far as it is there
 */
export function weightsOf(place, cross, S, rows) {
  if (!place) return null;
  if (place.side === "output") return [...cross.subarray(place.at * S, (place.at + 1) * S)];
  return Array.from({ length: rows }, (_, t) => cross[t * S + place.at]);
}

/** A weight with six digits, as everywhere; never in the form 1e-7, which is hard to read aloud. */
export function digits(weight) {
  return weight !== 0 && weight < 1e-6 ? "under 0.000001" : weight.toFixed(6);
}

/** A probability in per cent with the digits that it has, never rounded to 0 or 100. */
export function percent(p) {
  if (p === 0 || p === 1) return `${100 * p}%`;
  if (p > 0.9995) return ">99.9%";
  return p >= 0.0995 ? `${(100 * p).toFixed(1)}%` : `${Number((100 * p).toPrecision(2))}%`;
}

/** The places of the n largest weights. */
export function strongest(weights, n) {
  return [...weights.keys()].sort((a, b) => weights[b] - weights[a]).slice(0, n);
}

/** What is shown, in one sentence. @param {?Place} place @param {?number[]} weights as of `weightsOf` */
export function inWords(data, place, weights) {
  if (!place) return "Point at a token, or tap it: who attended to whom. The keys ← and → step through the output.";
  const others = place.side === "output" ? data.source : data.written;
  const most = strongest(weights, 3).map((at) => `“${others[at]}” ${digits(weights[at])}`).join(", ");
  if (place.side === "source") return `“${data.source[place.at]}” got most from ${most}`;
  const p = percent(data.probabilities[place.at]);
  return `Step ${place.at + 1}: to write “${data.written[place.at]}” (probability ${p}), most attention on ${most}`;
}

/** A cell of one of the three matrices, in words. @param {"encoder" | "decoder" | "cross"} side */
export function cellInWords(data, side, row, column, weight, rows) {
  const queries = { encoder: data.source, decoder: data.inputs, cross: data.inputs }[side];
  const keys = side === "decoder" ? data.inputs : data.source;
  if (side !== "encoder" && row >= rows) return "not written yet";
  const next = side === "encoder" ? "" : `, to write “${data.written[row]}”`;
  if (side === "decoder" && column > row) return `“${queries[row]}” may not look at “${keys[column]}”: masked`;
  return `“${queries[row]}”${next}, on “${keys[column]}”: ${digits(weight)}`;
}
