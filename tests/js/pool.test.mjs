import assert from "node:assert/strict";
import { test } from "node:test";

import { maxPoolCodes } from "../../gptviz/view/js/pool.js";
import { randomCodes, seeded, whole } from "./helpers.mjs";

/** The rule in the words of the specification, one block at a time. */
function pooledBlock(codes) {
  if (codes.some((code) => code === 255)) return 255;
  const weights = codes.filter((code) => code !== 0);
  return weights.length ? Math.max(...weights) : 0;
}

function bruteForce(codes, T, S, factor) {
  const out = [];
  for (let top = 0; top < T; top += factor) {
    for (let left = 0; left < S; left += factor) {
      const block = [];
      for (let q = top; q < Math.min(T, top + factor); q++) {
        for (let k = left; k < Math.min(S, left + factor); k++) block.push(codes[q * S + k]);
      }
      out.push(pooledBlock(block));
    }
  }
  return out;
}

test("whole blocks are pooled as Python pools them", () => {
  const random = seeded(3);
  for (let round = 0; round < 200; round++) {
    const factor = whole(random, 1, 5);
    const [h, w] = [whole(random, 1, 9), whole(random, 1, 9)];
    const codes = randomCodes(random, h * w * factor ** 2, { masked: 0.6, errors: 0.05 });
    const pooled = maxPoolCodes(codes, h * factor, w * factor, h, w);
    assert.deepEqual([...pooled], bruteForce(codes, h * factor, w * factor, factor));
  }
});

test("at any size, every cell is seen in exactly one pixel", () => {
  const random = seeded(4);
  for (let round = 0; round < 150; round++) {
    const [T, S] = [whole(random, 1, 40), whole(random, 1, 40)];
    const [h, w] = [whole(random, 1, T), whole(random, 1, S)];
    for (let trial = 0; trial < 10; trial++) {
      const codes = new Uint8Array(T * S);
      codes[whole(random, 0, T * S - 1)] = 77; // a single bright cell
      const pooled = maxPoolCodes(codes, T, S, h, w);
      assert.equal(pooled.filter((code) => code === 77).length, 1, `${T} x ${S} to ${h} x ${w}`);
    }
  }
});

test("at its own size a picture stays as it is; larger, every cell becomes a block of its own colour", () => {
  const random = seeded(5);
  for (let round = 0; round < 60; round++) {
    const [T, S, zoom] = [whole(random, 1, 12), whole(random, 1, 12), whole(random, 1, 6)];
    const codes = randomCodes(random, T * S, { errors: 0.1 });
    const large = maxPoolCodes(codes, T, S, T * zoom, S * zoom);
    for (let y = 0; y < T * zoom; y++) {
      for (let x = 0; x < S * zoom; x++) {
        assert.equal(large[y * S * zoom + x], codes[Math.floor(y / zoom) * S + Math.floor(x / zoom)]);
      }
    }
  }
});

test("a part of a picture is the picture of that part", () => {
  const random = seeded(6);
  for (let round = 0; round < 100; round++) {
    const [T, S] = [whole(random, 2, 30), whole(random, 2, 30)];
    const codes = randomCodes(random, T * S);
    const [q0, k0] = [whole(random, 0, T - 1), whole(random, 0, S - 1)];
    const [q1, k1] = [whole(random, q0 + 1, T), whole(random, k0 + 1, S)];
    const cut = Uint8Array.from({ length: (q1 - q0) * (k1 - k0) }, (_, n) => {
      const [row, column] = [Math.floor(n / (k1 - k0)), n % (k1 - k0)];
      return codes[(q0 + row) * S + k0 + column];
    });
    const [h, w] = [whole(random, 1, 20), whole(random, 1, 20)];
    assert.deepEqual(
      maxPoolCodes(codes, T, S, h, w, [q0, q1, k0, k1]),
      maxPoolCodes(cut, q1 - q0, k1 - k0, h, w)
    );
  }
});

test("parts that reach over the edge show what is there", () => {
  const codes = Uint8Array.from([1, 2, 3, 4]);
  assert.deepEqual([...maxPoolCodes(codes, 2, 2, 1, 3, [0, 2, -1, 4])], [3, 4, 4]);
  assert.deepEqual([...maxPoolCodes(codes, 2, 2, 2, 2, [0.5, 2.5, 0.5, 2.5])], [1, 2, 3, 4]);
  assert.deepEqual([...maxPoolCodes(codes, 2, 2, 2, 2, [1.5, 3.5, 1, 3])], [4, 4, 4, 4]);
  assert.deepEqual([...maxPoolCodes(codes, 4, 1, 2, 1, [-2, 3, 0, 1])], [1, 3]); // both begin at the first row
});
