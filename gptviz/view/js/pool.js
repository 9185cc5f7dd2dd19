// Pictures made smaller without losing a bright cell, or larger. Pure; the same rule as gptviz/view/pool.py.

/**
 * Codes (P_t, P_s), or a part of them, at h x w pixels. Where cells are many, a pixel is the largest code of its block;
 * the blocks hold every cell exactly once. Where they are few, cells are repeated.
 *
 * Codes are ordered so that the maximum is the rule: an error (255) wins over every weight, a weight (1 to 254) over a
 * masked cell (0).
 * @param {Uint8Array} codes (P_t, P_s)
 * @param {[number, number, number, number]} [part] first row, end of rows, first column, end of columns, in cells that
 *   need not be whole; all if not given
 * @returns {Uint8Array} (h, w)
 */
export function maxPoolCodes(codes, P_t, P_s, h, w, part = [0, P_t, 0, P_s]) {
  const out = new Uint8Array(h * w);
  const down = blockSpans(part[0], part[1], h, P_t);
  const across = blockSpans(part[2], part[3], w, P_s);
  const tallest = new Uint8Array(P_s); // the largest code of each column, over the rows of one block
  for (let y = 0; y < h; y++) {
    const [top, bottom] = [down[2 * y], down[2 * y + 1]];
    if (y && top === down[2 * y - 2] && bottom === down[2 * y - 1]) {
      out.copyWithin(y * w, (y - 1) * w, y * w); // the same cells again
      continue;
    }
    maxOfRows(codes, top, bottom, tallest);
    for (let x = 0; x < w; x++) {
      let most = 0;
      for (let k = across[2 * x]; k < across[2 * x + 1]; k++) if (tallest[k] > most) most = tallest[k];
      out[y * w + x] = most;
    }
  }
  return out;
}

/** For each of n pixels over [start, end), the first cell and the end of the cells it stands for; at least one. */
function blockSpans(start, end, n, cells) {
  const spans = new Int32Array(2 * n);
  const step = (end - start) / n;
  const whole = (at) => Math.floor(at + 1e-9); // so that 3 * (1 / 3) is 1
  for (let x = 0; x < n; x++) {
    // Pixels smaller than a cell take the one under their middle.
    const from = Math.min(cells - 1, Math.max(0, whole(step >= 1 ? start + x * step : start + (x + 0.5) * step)));
    spans[2 * x] = from;
    spans[2 * x + 1] = Math.max(from + 1, step >= 1 ? Math.min(cells, whole(start + (x + 1) * step)) : 0);
  }
  return spans;
}

/** The column-wise maximum of the rows top to bottom (without bottom), into `tallest`, as long as a row. */
function maxOfRows(codes, top, bottom, tallest) {
  const width = tallest.length;
  tallest.set(codes.subarray(top * width, (top + 1) * width));
  for (let q = top + 1; q < bottom; q++) {
    const from = q * width;
    for (let k = 0; k < width; k++) if (codes[from + k] > tallest[k]) tallest[k] = codes[from + k];
  }
}
