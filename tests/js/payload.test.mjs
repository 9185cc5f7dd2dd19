import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import * as payload from "../../gptviz/view/js/payload.js";
import { blobOf, headerOf, overviewBlob, randomCodes, seeded, whole } from "./helpers.mjs";

beforeEach(() => {
  delete globalThis.__gptvizViews;
});

const exactBlob = (id, i, [q0, q1, k0, k1], weights) =>
  blobOf({ kind: "exact", id, i, q0, q1, k0, k1 }, Float32Array.from(weights));

test("a code is the nearest of 254 roots: no weight is read back wrong by more than 1 / 253", () => {
  assert.equal(payload.decodeCode(0), 0);
  assert.equal(payload.decodeCode(1), 0);
  assert.equal(payload.decodeCode(254), 1);
  assert.ok(Number.isNaN(payload.decodeCode(255)));
  for (let step = 0; step <= 10000; step++) {
    const w = step / 10000;
    const back = payload.decodeCode(1 + Math.round(253 * Math.sqrt(w)));
    assert.ok(Math.abs(back - w) <= 1 / 253, `${w} came back as ${back}`);
  }
});

test("only code 0 is masked: a weight of 0 is not", () => {
  assert.deepEqual([0, 1, 254, 255].map(payload.isMasked), [true, false, false, false]);
});

test("a blob is read wherever it lies in a larger buffer, and copied", () => {
  const numbers = Float32Array.from([0.25, 0.75, NaN]);
  for (let shift = 0; shift < 8; shift++) {
    const blob = blobOf({ kind: "exact", id: "ü".repeat(shift), i: 0, q0: 2, q1: 3, k0: 0, k1: 3 }, numbers);
    const host = new Uint8Array(blob.length + 20).fill(7);
    host.set(blob, shift);
    const { header, payload: floats } = payload.readBlob(host.subarray(shift, shift + blob.length));
    host.fill(9);
    assert.equal(header.id, "ü".repeat(shift));
    assert.deepEqual(floats, numbers);
  }
});

test("bytes that are no blob say what was expected, what was found and what to do", () => {
  const good = overviewBlob({ T: 3 });
  const wrong = {
    nothing: [new Uint8Array(0), /expected a header.*found 0/],
    "a cut header": [good.subarray(0, 40), /found 40 in all/],
    "a cut payload": [good.subarray(0, good.length - 1), /expected 9 bytes.*found 8/],
    "another version": [blobOf(headerOf({ v: 2 }), new Uint8Array(4)), /version 1, found 2; reload/],
    "another kind": [blobOf({ kind: "egg" }, new Uint8Array(4)), /overview, head or exact, found "egg"/],
  };
  for (const [name, [bytes, message]] of Object.entries(wrong)) {
    assert.throws(() => payload.putBlob(bytes), message, name);
  }
  assert.equal(payload.views().size, 0);
});

test("pieces of a dataset may come in any order; it is there once its overview is", () => {
  const heard = [];
  payload.views().listeners.add((id, header) => heard.push(`${id} ${header.kind}`));
  payload.putBlob(blobOf({ kind: "head", id: "a", i: 1, factor: 1, P: [4, 4] }, new Uint8Array(16).fill(9)));
  assert.equal(payload.viewOf("a"), null);
  assert.equal(payload.putBlob(overviewBlob({ H: 2, T: 4, factor: 2 })), "a");
  const dataset = payload.viewOf("a");
  assert.deepEqual(heard, ["a head", "a overview"]);
  assert.deepEqual([payload.pictureOf(dataset, 0).factor, payload.pictureOf(dataset, 1).factor], [2, 1]);
  assert.equal(payload.codeAt(payload.pictureOf(dataset, 1), 3, 3), 9);
  const wide = blobOf({ kind: "head", id: "b", i: 0, factor: 1, P: [2, 3] }, Uint8Array.from([1, 2, 3, 4, 5, 6]));
  assert.equal(payload.codeAt({ ...payload.readBlob(wide).header, codes: payload.readBlob(wide).payload }, 1, 2), 6);
});

test("the four datasets used last are kept, with what belongs to them", () => {
  for (const id of ["a", "b", "c", "d"]) payload.putBlob(overviewBlob({ id }));
  payload.putBlob(exactBlob("a", 0, [0, 1, 0, 2], [0.5, 0.5])); // used again
  payload.putBlob(overviewBlob({ id: "e" }));
  assert.deepEqual([...payload.views().keys()].sort(), ["a", "c", "d", "e"]);
  assert.equal(payload.viewOf("a").exact.length, 1);
});

test("exact windows: the newest first, none twice, and no more than eight large ones", () => {
  payload.putBlob(overviewBlob({ H: 30, T: 256, factor: 2 }));
  const large = new Float32Array(256 * 256);
  for (let i = 0; i < 20; i++) payload.putBlob(exactBlob("a", i, [0, 256, 0, 256], large));
  const { exact } = payload.viewOf("a");
  assert.deepEqual(exact.map((window) => window.i), [19, 18, 17, 16, 15, 14, 13, 12]);
  payload.putBlob(exactBlob("a", 15, [0, 256, 0, 256], large));
  assert.deepEqual(payload.viewOf("a").exact.map((w) => w.i), [15, 19, 18, 17, 16, 14, 13, 12]);
});

test("all heads of a short sentence stay exact", () => {
  payload.putBlob(overviewBlob({ L: 12, H: 12, T: 32 }));
  for (let i = 0; i < 144; i++) payload.putBlob(exactBlob("a", i, [0, 32, 0, 32], new Float32Array(1024)));
  assert.equal(payload.viewOf("a").exact.length, 144);
});

test("a reading is exact wherever a window holds the cell, and a code elsewhere", () => {
  const random = seeded(1);
  for (let round = 0; round < 40; round++) {
    delete globalThis.__gptvizViews;
    const [T, S] = [whole(random, 1, 12), whole(random, 1, 12)];
    const codes = randomCodes(random, 2 * T * S);
    payload.putBlob(overviewBlob({ H: 2, T, S }, codes));
    const [q0, k0] = [whole(random, 0, T - 1), whole(random, 0, S - 1)];
    const [q1, k1] = [whole(random, q0 + 1, T), whole(random, k0 + 1, S)];
    const weights = Float32Array.from({ length: (q1 - q0) * (k1 - k0) }, random);
    payload.putBlob(exactBlob("a", 1, [q0, q1, k0, k1], weights));
    for (const i of [0, 1]) {
      for (let q = 0; q < T; q++) {
        for (let k = 0; k < S; k++) {
          const reading = payload.readingAt(payload.viewOf("a"), i, q, k);
          const inside = i === 1 && q >= q0 && q < q1 && k >= k0 && k < k1;
          const code = codes[(i * T + q) * S + k];
          assert.equal(reading.exact, inside);
          assert.equal(reading.w, inside ? weights[(q - q0) * (k1 - k0) + k - k0] : payload.decodeCode(code));
          assert.equal(reading.masked, code === 0 && !(inside && reading.w > 0));
        }
      }
    }
  }
});

test("rows and columns agree with single readings, exact or not", () => {
  const random = seeded(2);
  for (let round = 0; round < 40; round++) {
    delete globalThis.__gptvizViews;
    const [T, S] = [whole(random, 1, 9), whole(random, 1, 9)];
    payload.putBlob(overviewBlob({ T, S }, randomCodes(random, T * S, { errors: 0.1 })));
    if (round % 2) payload.putBlob(exactBlob("a", 0, [0, T, 0, S], Array.from({ length: T * S }, random)));
    const dataset = payload.viewOf("a");
    const read = (q, k) => Math.fround(payload.readingAt(dataset, 0, q, k).w);
    for (let q = 0; q < T; q++) {
      const row = payload.rowAt(dataset, 0, q);
      assert.equal(row.exact, round % 2 === 1);
      assert.deepEqual([...row.weights], Array.from({ length: S }, (_, k) => read(q, k)));
    }
    const only = whole(random, 0, S - 1); // and columns that are exact where the rest is not
    const strip = Array.from({ length: T * (S - only) }, random);
    if (round % 4 === 0) payload.putBlob(exactBlob("a", 0, [0, T, only, S], strip));
    for (let k = 0; k < S; k++) {
      const column = payload.columnAt(dataset, 0, k);
      assert.equal(column.exact, round % 2 === 1 || (round % 4 === 0 && k >= only));
      assert.deepEqual([...column.weights], Array.from({ length: T }, (_, q) => read(q, k)));
    }
  }
});

test("of a pooled picture there is no row until its exact one has come; a reading says how many it stands for", () => {
  payload.putBlob(overviewBlob({ T: 6, factor: 3 }, Uint8Array.from([1, 100, 0, 255])));
  const dataset = payload.viewOf("a");
  assert.equal(payload.rowAt(dataset, 0, 5), null);
  assert.equal(payload.columnAt(dataset, 0, 5), null);
  assert.equal(payload.readingAt(dataset, 0, 2, 3).block, 3);
  assert.match(payload.weightText(payload.readingAt(dataset, 0, 2, 3)), /^≈ 0\.15, the largest of 3 x 3$/);
  payload.putBlob(exactBlob("a", 0, [4, 6, 0, 6], [1, 0, 0, 0, 0, 0, 0, 0.5, 0.25, 0.25, 0, 0]));
  assert.deepEqual([...payload.rowAt(dataset, 0, 4).weights], [1, 0, 0, 0, 0, 0]);
  assert.deepEqual([...payload.rowAt(dataset, 0, 5).weights], [0, 0.5, 0.25, 0.25, 0, 0]);
  assert.equal(payload.rowAt(dataset, 0, 3), null);
  const beside = payload.readingAt(dataset, 0, 5, 4); // its block holds an error, but the cell is known and right
  assert.deepEqual([beside.exact, beside.error], [true, false]);
});

test("an exact number in a wrong row is still an error, and so is NaN", () => {
  payload.putBlob(overviewBlob({ T: 2 }, Uint8Array.from([255, 255, 127, 127])));
  payload.putBlob(exactBlob("a", 0, [0, 2, 0, 2], [0.5, 0.2, NaN, 0.5]));
  const error = (q, k) => payload.readingAt(payload.viewOf("a"), 0, q, k).error;
  assert.deepEqual([error(0, 0), error(0, 1), error(1, 0), error(1, 1)], [true, true, true, false]);
});

test("a leak through the mask is a number, exact or not", () => {
  payload.putBlob(overviewBlob({ T: 2 }, Uint8Array.from([254, 3, 100, 100])));
  assert.equal(payload.readingAt(payload.viewOf("a"), 0, 0, 1).masked, false);
  payload.putBlob(overviewBlob({ id: "b", T: 2 }, Uint8Array.from([254, 0, 100, 100])));
  payload.putBlob(exactBlob("b", 0, [0, 2, 0, 2], [1, 1e-9, 0.5, 0.5]));
  assert.equal(payload.weightText(payload.readingAt(payload.viewOf("b"), 0, 0, 1)), "1.0e-9");
});

test("a number without ≈ is exact; masked, missing and wrong are words", () => {
  const say = (reading) => payload.weightText({ exact: false, masked: false, error: false, block: 1, ...reading });
  assert.equal(say({ w: 0.53127, exact: true }), "0.5313");
  assert.equal(say({ w: 0, exact: true }), "0.0000");
  assert.equal(say({ w: 0.00003, exact: true }), "3.0e-5");
  assert.equal(say({ w: 0.53127 }), "≈ 0.53");
  assert.equal(say({ w: 0 }), "≈ 0");
  assert.equal(say({ w: (1 / 253) ** 2 }), "≈ 0.00002");
  assert.equal(say({ w: 0, masked: true }), "masked");
  assert.equal(say({ w: NaN, exact: true, error: true }), "not a number");
  assert.equal(say({ w: NaN, error: true }), "an error in the data");
  assert.equal(say({ w: 0.7, exact: true, error: true }), "0.7000, in a row that is wrong");
});

test("lower triangles become whole pictures, masked above the diagonal", () => {
  const header = headerOf({ L: 1, H: 2, T: 3, packed: "lower" });
  const cells = Uint8Array.from([1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16]);
  const { payload: codes } = payload.readBlob(blobOf(header, cells));
  assert.deepEqual([...codes], [1, 0, 0, 2, 3, 0, 4, 5, 6, 11, 0, 0, 12, 13, 0, 14, 15, 16]);
  assert.throws(() => payload.readBlob(blobOf(header, cells.subarray(1))), /expected 12 bytes/);
});
