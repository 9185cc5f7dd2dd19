// The bytes of the attention view: read, checked, kept by id, and looked up cell by cell. Knows nothing about the page.
//
// A blob is <u32 little-endian length of the header><header, UTF-8 JSON><zeros up to a multiple of 4><payload>.
// Letters: N heads (panels), T queries, S keys, P = [P_t, P_s] cells of a picture, of `factor` x `factor` weights each.
//
// A code is one byte: 0 masked, 255 error, 1 to 254 the weight ((c - 1) / 253)^2. The order of codes is the order of
// what must stay visible when cells are pooled, so that pooling is a plain maximum. With {"packed": "lower"} in the
// header each picture is its lower triangle, row by row, and masked above. In an exact window a masked cell is -0.

/**
 * @typedef {{codes: Uint8Array, P: [number, number], factor: number}} Picture codes (P_t, P_s) of one head
 * @typedef {{i: number, q0: number, q1: number, k0: number, k1: number, weights: Float32Array}} Exact (q1-q0, k1-k0)
 * @typedef {{id: string, header: ?Object, codes: ?Uint8Array, heads: Map<number, Picture>, exact: Exact[]}} Dataset
 * @typedef {{w: number, exact: boolean, masked: boolean, error: boolean, block: number}} Reading one weight; `block`
 *   over 1 says that it is the largest of block x block weights
 */

export const MASKED_CODE = 0;
export const ERROR_CODE = 255;
const VERSION = 1;
const MOST_DATASETS = 4;
const MOST_EXACT = 8; // windows that are always kept; more of them while they are small
const EXACT_FLOATS = 1 << 18; // 1 MB: the windows of all heads of a short sentence

/** The weight that a code stands for: 0 where masked, NaN for an error. */
export function decodeCode(code) {
  if (code === ERROR_CODE) return NaN;
  return code === MASKED_CODE ? 0 : ((code - 1) / 253) ** 2;
}

/** The code of a weight from an exact window; see `isMaskedWeight`. */
export function codeOf(weight) {
  if (Number.isNaN(weight)) return ERROR_CODE;
  return isMaskedWeight(weight) ? MASKED_CODE : 1 + Math.round(253 * Math.sqrt(Math.min(1, Math.max(0, weight))));
}

const WEIGHTS = Float32Array.from({ length: 256 }, (_, code) => decodeCode(code)); // a row is decoded in a few µs

/** Whether a code says "masked": no weight at all, which is not the same as a weight of 0. */
export function isMasked(code) {
  return code === MASKED_CODE;
}

/** Whether a weight of an exact window says so: it travels as -0, which no weight is. */
function isMaskedWeight(weight) {
  return Object.is(weight, -0);
}

/**
 * Take a blob apart. The payload is copied: the host may use its buffer again, and floats must be aligned.
 * @param {Uint8Array} bytes
 * @returns {{header: Object, payload: Uint8Array | Float32Array}} floats for the kind "exact", else codes
 * @throws {Error} if the bytes are not a blob, or of another version, or too few or too many
 */
export function readBlob(bytes) {
  const size = bytes.byteLength < 4 ? -1 : new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  if (size < 0 || 4 + size > bytes.byteLength) {
    throw new Error(`attention view: expected a header of ${size} bytes, found ${bytes.byteLength} in all; send again`);
  }
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + size)));
  const cells = cellCount(header);
  const payload = bytes.slice(Math.ceil((4 + size) / 4) * 4);
  const expected = header.kind === "exact" ? 4 * cells : cells;
  if (payload.byteLength !== expected) {
    const found = `found ${payload.byteLength}`;
    throw new Error(`attention view: expected ${expected} bytes of kind "${header.kind}", ${found}; send it again`);
  }
  if (header.kind === "exact") return { header, payload: new Float32Array(payload.buffer) };
  return { header, payload: header.packed === "lower" ? wholePictures(payload, header.P[0]) : payload };
}

/**
 * Pictures of which the lower triangles have travelled, because all above the diagonal is masked.
 * @param {Uint8Array} cells (n, side * (side + 1) / 2)
 * @returns {Uint8Array} (n, side, side)
 */
function wholePictures(cells, side) {
  const rows = (2 * cells.length) / (side + 1); // of all pictures, one below the other
  const codes = new Uint8Array(rows * side); // 0: masked
  for (let row = 0, at = 0; row < rows; row++) {
    const length = (row % side) + 1;
    codes.set(cells.subarray(at, at + length), row * side);
    at += length;
  }
  return codes;
}

function cellCount(header) {
  const [rows, columns] = header.P ?? [];
  const picture = header.packed === "lower" ? (rows * (rows + 1)) / 2 : rows * columns;
  if (header.kind === "overview") {
    if (header.v === VERSION) return header.L * header.H * picture;
    throw new Error(`attention view: expected data of version ${VERSION}, found ${header.v}; reload the page`);
  }
  if (header.kind === "head") return picture;
  if (header.kind === "exact") return (header.q1 - header.q0) * (header.k1 - header.k0);
  throw new Error(`attention view: expected kind overview, head or exact, found "${header.kind}"; reload the page`);
}

/**
 * All datasets of the page, by id. Shared through globalThis, because a host may load this module more than once.
 * `listeners` holds functions that are called as listener(id, header) after every `putBlob`.
 * @returns {Map<string, Dataset> & {listeners: Set<function(string, Object): void>}}
 */
export function views() {
  if (!globalThis.__gptvizViews) {
    globalThis.__gptvizViews = Object.assign(new Map(), { listeners: new Set() });
  }
  return globalThis.__gptvizViews;
}

/** The dataset of an id, or null as long as its overview has not arrived. */
export function viewOf(id) {
  const dataset = views().get(id);
  return dataset?.header ? dataset : null;
}

/**
 * Keep a blob under its id and tell the listeners. Heads and exact windows may arrive before their overview.
 * @param {Uint8Array} bytes
 * @returns {string} the id
 */
export function putBlob(bytes) {
  const { header, payload } = readBlob(bytes);
  const all = views();
  const dataset = all.get(header.id) ?? { id: header.id, header: null, codes: null, heads: new Map(), exact: [] };
  all.delete(header.id); // and to the end: the one used last is dropped last
  all.set(header.id, dataset);
  if (header.kind === "overview") Object.assign(dataset, { header, codes: payload });
  if (header.kind === "head") dataset.heads.set(header.i, { codes: payload, P: header.P, factor: header.factor });
  if (header.kind === "exact") keepExact(dataset, header, payload);
  for (const id of [...all.keys()].slice(0, -MOST_DATASETS)) all.delete(id);
  for (const listener of [...all.listeners]) listener(header.id, header);
  return header.id;
}

function keepExact(dataset, { i, q0, q1, k0, k1 }, weights) {
  const covered = (w) => w.i === i && w.q0 >= q0 && w.q1 <= q1 && w.k0 >= k0 && w.k1 <= k1;
  const kept = [{ i, q0, q1, k0, k1, weights }, ...dataset.exact.filter((window) => !covered(window))];
  let floats = 0;
  dataset.exact = kept.filter((window, rank) => (floats += window.weights.length) <= EXACT_FLOATS || rank < MOST_EXACT);
}

/** The finest picture there is of head i. @returns {Picture} */
export function pictureOf(dataset, i) {
  const { P, factor } = dataset.header;
  const size = P[0] * P[1];
  return dataset.heads.get(i) ?? { codes: dataset.codes.subarray(i * size, (i + 1) * size), P, factor };
}

/** The code of the picture's cell that holds query q and key k. */
export function codeAt(picture, q, k) {
  return picture.codes[Math.floor(q / picture.factor) * picture.P[1] + Math.floor(k / picture.factor)];
}

/** An exact window of head i that holds all of [q0, q1) x [k0, k1), or null. @returns {?Exact} */
export function exactWindow(dataset, i, q0, q1, k0, k1) {
  const holds = (w) => w.i === i && w.q0 <= q0 && w.q1 >= q1 && w.k0 <= k0 && w.k1 >= k1;
  return dataset.exact.find(holds) ?? null;
}

/** What is known about one weight: exact where a window holds it, else what its code says. @returns {Reading} */
export function readingAt(dataset, i, q, k) {
  const picture = pictureOf(dataset, i);
  const code = codeAt(picture, q, k);
  const window = exactWindow(dataset, i, q, q + 1, k, k + 1);
  if (!window) {
    const says = { masked: isMasked(code), error: code === ERROR_CODE };
    return { w: decodeCode(code), exact: false, ...says, block: picture.factor };
  }
  const w = window.weights[(q - window.q0) * (window.k1 - window.k0) + (k - window.k0)];
  const error = Number.isNaN(w) || (code === ERROR_CODE && picture.factor === 1); // a pooled 255 may be a neighbour's
  return { w, exact: true, masked: isMaskedWeight(w) || (isMasked(code) && w === 0), error, block: 1 };
}

/**
 * The S weights of query q, exact or from codes; null where only a pooled picture is there: ask for the row then.
 * @returns {?{weights: Float32Array, exact: boolean}} NaN where the data is wrong, 0 where masked
 */
export function rowAt(dataset, i, q) {
  const S = dataset.header.S;
  const window = exactWindow(dataset, i, q, q + 1, 0, S);
  if (window) return { weights: window.weights.subarray((q - window.q0) * S, (q - window.q0 + 1) * S), exact: true };
  const { codes, factor } = pictureOf(dataset, i);
  return factor > 1 ? null : { weights: decodeStrip(codes, q * S, 1, S), exact: false };
}

/**
 * The T weights that key k receives, one of every query; as `rowAt`.
 * @returns {?{weights: Float32Array, exact: boolean}}
 */
export function columnAt(dataset, i, k) {
  const T = dataset.header.T;
  const window = exactWindow(dataset, i, 0, T, k, k + 1);
  if (window) {
    const width = window.k1 - window.k0;
    const weights = Float32Array.from({ length: T }, (_, q) => window.weights[(q - window.q0) * width + k - window.k0]);
    return { weights, exact: true };
  }
  const { codes, P, factor } = pictureOf(dataset, i);
  return factor > 1 ? null : { weights: decodeStrip(codes, k, P[1], T), exact: false };
}

/** Every `stride`-th code from `start` as a weight, `n` of them. */
function decodeStrip(codes, start, stride, n) {
  const weights = new Float32Array(n);
  for (let at = 0; at < n; at++) weights[at] = WEIGHTS[codes[start + at * stride]];
  return weights;
}

/**
 * A weight in words: a bare number is the model's own, "≈" says that it comes from an 8-bit code.
 * @param {Reading} reading
 * @param {number} digits decimals of an exact number
 */
export function weightText(reading, digits = 4) {
  if (reading.masked) return "masked";
  if (Number.isNaN(reading.w)) return reading.exact ? "not a number" : "an error in the data";
  const wrong = reading.error ? ", in a row that is wrong" : "";
  if (reading.exact) return `${exactText(reading.w, digits)}${wrong}`;
  const among = reading.block > 1 ? `, the largest of ${reading.block} x ${reading.block}` : "";
  return `${roughText(reading.w)}${among}${wrong}`;
}

/** An exact number, rounded to decimals; a very small one as a power of ten, since 0.0000 would say that it is 0. */
function exactText(weight, digits = 4) {
  const small = weight !== 0 && Math.abs(weight) < 10 ** -digits;
  return small ? weight.toExponential(1) : weight.toFixed(digits);
}

/** An exact number where there is little room: "<.01" says that it is small but not 0. */
export function shortText(weight, digits) {
  const least = 10 ** -digits;
  return weight > 0 && weight < least / 2 ? `<${String(least).slice(1)}` : weight.toFixed(digits);
}

/** A number from a code, which knows no more than this. */
export function roughText(weight) {
  if (weight === 0) return "≈ 0";
  return `≈ ${weight >= 0.01 ? weight.toFixed(2) : weight.toPrecision(1)}`;
}
