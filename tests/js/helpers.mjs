// What the tests share: a generator that gives the same numbers in every run, blobs made by hand, brute-force answers.

/** A generator of numbers in [0, 1), the same for the same seed (a linear congruence; Numerical Recipes, 7.1). */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => (state = (Math.imul(1664525, state) + 1013904223) >>> 0) / 2 ** 32;
}

/** A whole number from low to high, both included. */
export function whole(random, low, high) {
  return low + Math.floor(random() * (high - low + 1));
}

/** A row of n weights that sum to 1; `sharp` makes few of them large. */
export function softmaxRow(random, n, sharp = 8) {
  const row = Array.from({ length: n }, () => Math.exp(sharp * random()));
  const total = row.reduce((sum, w) => sum + w, 0);
  return row.map((w) => w / total);
}

/** Random codes, with masked cells and errors among them if wanted. */
export function randomCodes(random, n, { masked = 0.2, errors = 0 } = {}) {
  return Uint8Array.from({ length: n }, () => {
    const kind = random();
    return kind < masked ? 0 : kind < masked + errors ? 255 : whole(random, 1, 254);
  });
}

/** A blob as gptviz/view/payload.py writes it, from a header and typed numbers. */
export function blobOf(header, numbers) {
  const text = new TextEncoder().encode(JSON.stringify(header));
  const start = Math.ceil((4 + text.length) / 4) * 4;
  const bytes = new Uint8Array(start + numbers.byteLength);
  new DataView(bytes.buffer).setUint32(0, text.length, true);
  bytes.set(text, 4);
  bytes.set(new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength), start);
  return bytes;
}

/** The header of an overview. */
export function headerOf({ id = "a", L = 1, H = 1, T = 2, S = T, factor = 1, ...more } = {}) {
  const N = L * H;
  const each = (value) => Array.from({ length: N }, () => value);
  const tokens = (n, letter) => Array.from({ length: n }, (_, i) => `${letter}${i}`);
  return {
    kind: "overview", v: 1, id, L, H, T, S, factor, P: [Math.ceil(T / factor), Math.ceil(S / factor)],
    names: Array.from({ length: N }, (_, i) => `${Math.floor(i / H)}.${i % H}`),
    queries: tokens(T, "q"), keys: T === S ? null : tokens(S, "k"), axes: ["query", "key"],
    largest: 1, rows_sum_to_one: true, errors: {}, title: "",
    heads: {
      entropy: each(1), distance: each(1), first: each(0), previous: each(0), diagonal: each(0), kind: each("spread"),
    },
    ...more,
  };
}

/** An overview; its codes (N, P_t, P_s) are all the weight 0 if not given. */
export function overviewBlob(given, codes) {
  const header = headerOf(given);
  return blobOf(header, codes ?? new Uint8Array(header.L * header.H * header.P[0] * header.P[1]).fill(1));
}
