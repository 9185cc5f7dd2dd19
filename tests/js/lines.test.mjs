import assert from "node:assert/strict";
import { test } from "node:test";

import * as lines from "../../gptviz/view/js/lines.js";
import { seeded, softmaxRow, whole } from "./helpers.mjs";

test("as few of the largest weights are kept as hold the mass", () => {
  const random = seeded(7);
  for (let round = 0; round < 300; round++) {
    const total = [1, 0.3, 7][round % 3]; // the share is of the row's own sum, also where that is not 1
    const row = softmaxRow(random, whole(random, 1, 40), 12 * random()).map((w) => w * total);
    const mass = 0.05 + 0.95 * random();
    const kept = lines.keptLines(row, mass);
    const share = (some) => some.reduce((sum, k) => sum + row[k], 0) / total;
    assert.ok(share(kept) >= mass - 1e-9);
    assert.ok(share(kept.slice(0, -1)) < mass, "one fewer would have been enough");
    assert.equal(new Set(kept).size, kept.length);
    for (let n = 1; n < kept.length; n++) assert.ok(row[kept[n - 1]] >= row[kept[n]], "largest first");
    const left = row.filter((_, k) => !kept.includes(k));
    assert.ok(left.every((w) => w <= row[kept.at(-1)]), "a larger one was left out");
  }
});

test("of equal weights the earlier ones are kept", () => {
  assert.deepEqual(lines.keptLines([0.25, 0.25, 0.25, 0.25], 0.5), [0, 1]);
  assert.deepEqual(lines.keptLines([0.2, 0.4, 0.2, 0.2], 0.5), [1, 0]);
  assert.deepEqual(lines.keptLines([0, 0.5, 0, 0.5], 0.6), [1, 3]);
  assert.deepEqual(lines.keptLines([0.1, 0.2, 0.1, 0.2, 0.4], 0.9), [4, 1, 3, 0]);
});

test("all of a row is all but its zeros, however small they are", () => {
  assert.deepEqual(lines.keptLines(Float32Array.from([0, 1e-30, 1, 0]), 1), [2, 1]);
  assert.deepEqual(lines.keptLines([1], 0.9), [0]);
});

test("nothing is kept of a row that is masked, wrong or wanted not at all", () => {
  assert.deepEqual(lines.keptLines([0, 0, 0], 0.9), []);
  for (const mass of [0.1, 0.9, 1]) assert.deepEqual(lines.keptLines([0.5, NaN, 0.5], mass), []);
  assert.deepEqual(lines.keptLines([0.5, 0.5], 0), []);
  assert.deepEqual(lines.keptLines([], 0.5), []);
});

test("the row itself is left as it was", () => {
  const row = Float32Array.from([0.1, 0.7, 0.2]);
  lines.keptLines(row, 0.9);
  assert.deepEqual([...row], [...Float32Array.from([0.1, 0.7, 0.2])]);
});

test("lines are those that queries keep, of the tokens that are meant", () => {
  const random = seeded(8);
  for (let round = 0; round < 200; round++) {
    const [T, S] = [whole(random, 1, 9), whole(random, 1, 9)];
    const rows = Array.from({ length: T }, () => softmaxRow(random, S));
    const some = (n) => Array.from({ length: n }, (_, i) => i).filter(() => random() < 0.4);
    const [queries, keys] = [some(T), some(S)];
    const [side, end] = random() < 0.5 ? ["query", T] : ["key", S];
    const hovered = random() < 0.4 ? null : { side, at: whole(random, 0, end - 1) };
    const k0 = whole(random, 0, S - 1);
    const window = random() < 0.5 ? null : [0, whole(random, 1, T), k0, whole(random, k0 + 1, S)];
    const mass = random();
    const found = lines.lineSet({ row: (q) => rows[q], T, queries, keys, mass, hovered, window });
    const meant = (q, k) => {
      if (window && (q < window[0] || q >= window[1] || k < window[2] || k >= window[3])) return false;
      if (hovered) return hovered.side === "query" ? hovered.at === q : hovered.at === k;
      return (!queries.length || queries.includes(q)) && (!keys.length || keys.includes(k));
    };
    const expected = [];
    rows.forEach((row, q) => {
      for (const k of lines.keptLines(row, mass)) if (meant(q, k)) expected.push({ q, k, w: row[k] });
    });
    assert.deepEqual(found, expected);
  }
});

test("a row that has not come yet has no lines", () => {
  assert.deepEqual(lines.lineSet({ row: () => null, T: 3 }), []);
});

test("opacity grows with the weight and with nothing else; a small weight is still seen", () => {
  const steps = Array.from({ length: 101 }, (_, step) => lines.lineOpacity(step / 100));
  for (let step = 1; step <= 100; step++) assert.ok(steps[step] > steps[step - 1]);
  assert.ok(lines.lineOpacity(1e-6) > 0.05);
  assert.equal(lines.lineOpacity(1), 1);
  assert.equal(lines.lineOpacity.length, 1); // not of how many heads there are
});

test("a token is hit where it is drawn, on either side, zoomed or not", () => {
  const random = seeded(9);
  for (let round = 0; round < 100; round++) {
    const [T, S] = [whole(random, 1, 30), whole(random, 1, 30)];
    const q0 = whole(random, 0, T - 1);
    const k0 = whole(random, 0, S - 1);
    const window = random() < 0.5 ? null : [q0, whole(random, q0 + 1, T), k0, whole(random, k0 + 1, S)];
    const row = whole(random, 8, 30);
    const geometry = lines.columnsGeometry({ T, S, width: 500, margin: 120, row, top: 17, window });
    const [first, end, kFirst, kEnd] = window ?? [0, T, 0, S];
    assert.deepEqual(geometry.window, [first, end, kFirst, kEnd]);
    assert.equal(geometry.height, 17 + row * Math.max(end - first, kEnd - kFirst));
    assert.equal(geometry.y("query", first), 17 + row / 2);
    for (let q = first; q < end; q++) {
      assert.deepEqual(lines.hitToken(geometry, 60, geometry.y("query", q)), { side: "query", at: q });
    }
    for (let k = kFirst; k < kEnd; k++) {
      assert.deepEqual(lines.hitToken(geometry, 440, geometry.y("key", k)), { side: "key", at: k });
    }
    assert.equal(lines.hitToken(geometry, 250, geometry.y("query", first)), null);
    assert.equal(lines.hitToken(geometry, 60, geometry.y("query", end)), null);
    for (const [x, y] of [[60, 5], [-1, 20], [501, 20]]) assert.equal(lines.hitToken(geometry, x, y), null);
  }
});

test("every point of a line hits it, or one that lies over it", () => {
  const random = seeded(10);
  const geometry = lines.columnsGeometry({ T: 12, S: 12, width: 600, margin: 150 });
  const all = Array.from({ length: 40 }, () => ({ q: whole(random, 0, 11), k: whole(random, 0, 11), w: random() }));
  for (let round = 0; round < 500; round++) {
    const n = whole(random, 0, all.length - 1);
    const [x0, y0, x1, y1] = lines.lineEnds(geometry, all[n], 1, 3);
    const along = random();
    const hit = lines.hitLine(geometry, all, x0 + along * (x1 - x0), y0 + along * (y1 - y0), 4, 1, 3);
    assert.ok(hit >= 0);
    const [, hy0, , hy1] = lines.lineEnds(geometry, all[hit], 1, 3);
    const there = hy0 + along * (hy1 - hy0);
    assert.ok(Math.abs(there - (y0 + along * (y1 - y0))) < 1e-6);
  }
  assert.equal(lines.hitLine(geometry, [{ q: 0, k: 0, w: 1 }], 300, geometry.y("query", 0) + 5), -1);
  assert.equal(lines.hitLine(geometry, all, 10, 50), -1);
  const twice = [0, 1].map(() => ({ q: 3, k: 3, w: 1 }));
  assert.equal(lines.hitLine(geometry, twice, 300, geometry.y("query", 3)), 1); // the one on top
});

test("a line is hit as far to its sides as asked, flat or steep", () => {
  const geometry = lines.columnsGeometry({ T: 90, S: 90, width: 600, margin: 100 });
  for (const line of [{ q: 0, k: 0, w: 1 }, { q: 2, k: 60, w: 1 }, { q: 80, k: 1, w: 1 }]) {
    const [x0, y0, x1, y1] = lines.lineEnds(geometry, line);
    const length = Math.hypot(x1 - x0, y1 - y0);
    const beside = (far) => [(x0 + x1) / 2 - (far * (y1 - y0)) / length, (y0 + y1) / 2 + (far * (x1 - x0)) / length];
    for (const far of [-3.9, 0, 3.9]) assert.equal(lines.hitLine(geometry, [line], ...beside(far), 4), 0);
    for (const far of [-4.1, 4.1]) assert.equal(lines.hitLine(geometry, [line], ...beside(far), 4), -1);
  }
});

test("heads that are drawn together start side by side, inside of their token's row", () => {
  for (const [slots, row] of [[1, 22], [2, 22], [3, 22], [5, 22], [5, 9], [2, 60]]) {
    const geometry = lines.columnsGeometry({ T: 3, S: 3, width: 400, margin: 100, row });
    const starts = Array.from({ length: slots }, (_, slot) => lines.lineEnds(geometry, { q: 1, k: 1 }, slot, slots)[1]);
    assert.equal(new Set(starts).size, slots);
    for (const y of starts) assert.ok(Math.abs(y - geometry.y("query", 1)) < row / 2);
    const apart = Math.min(4, (row - 4) / slots); // a bundle stays a bundle
    assert.ok(Math.abs(Math.max(...starts) - Math.min(...starts) - apart * (slots - 1)) < 1e-9);
    const middle = starts.reduce((sum, y) => sum + y, 0) / slots;
    assert.ok(Math.abs(middle - geometry.y("query", 1)) < 1e-9);
  }
});
