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
  const single = across.ends.every((end, x) => end === across.starts[x] + 1);
  const tallest = new Uint8Array(P_s); // the largest code of each column, over the rows of one block
  for (let y = 0; y < h; y++) {
    if (y && down.starts[y] === down.starts[y - 1] && down.ends[y] === down.ends[y - 1]) {
      out.copyWithin(y * w, (y - 1) * w, y * w); // the same cells again
      continue;
    }
    maxOfRows(codes, down.starts[y], down.ends[y], tallest);
    if (single) for (let x = 0; x < w; x++) out[y * w + x] = tallest[across.starts[x]];
    else maxOfSpans(tallest, across, out, y * w);
  }
  return out;
}

/** For each of n pixels over [start, end), the first cell and the end of the cells that it stands for; at least one. */
function blockSpans(start, end, n, cells) {
  const [starts, ends] = [new Int32Array(n), new Int32Array(n)];
  const step = (end - start) / n;
  const whole = (at) => Math.floor(at + 1e-9); // so that 3 * (1 / 3) is 1
  for (let x = 0; x < n; x++) {
    // Pixels smaller than a cell take the one under their middle.
    const from = whole(step >= 1 ? start + x * step : start + (x + 0.5) * step);
    starts[x] = Math.min(cells - 1, Math.max(0, from));
    ends[x] = Math.max(starts[x] + 1, step >= 1 ? Math.min(cells, whole(start + (x + 1) * step)) : 0);
  }
  return { starts, ends };
}

// a - (d & (d >> 31)) with d = a - b is the larger of two bytes without a branch, which a processor would guess wrong.

/** The column-wise maximum of the rows top to bottom (without bottom), into `tallest`, as long as a row. */
function maxOfRows(codes, top, bottom, tallest) {
  const width = tallest.length;
  tallest.set(codes.subarray(top * width, (top + 1) * width));
  for (let q = top + 1; q < bottom; q++) {
    for (let k = 0, cell = q * width; k < width; k++, cell++) {
      const d = tallest[k] - codes[cell];
      tallest[k] -= d & (d >> 31);
    }
  }
}

/** The maximum of each span of one row, into `out` from `at` on. */
function maxOfSpans(row, { starts, ends }, out, at) {
  for (let x = 0; x < starts.length; x++) {
    let most = row[starts[x]];
    for (let k = starts[x] + 1; k < ends[x]; k++) {
      const d = most - row[k];
      most -= d & (d >> 31);
    }
    out[at + x] = most;
  }
}
