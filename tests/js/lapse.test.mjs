// A replayed training: where its numbers lie, places of bars, the axis of steps.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import {
  along, cellsOf, headNear, lapseWords, nearest, placesOf, readBlob, scoreAt, scoreWords, ticksOf, valueAt, weightAt,
} from "../../gptviz/ui/assets/lapse_state.js";

const ASSETS = new URL("../../gptviz/ui/assets/", import.meta.url);

function blobOf(header, numbers) {
  const text = new TextEncoder().encode(JSON.stringify(header));
  const start = 4 + text.length + (4 - (4 + text.length) % 4) % 4;
  const blob = new Uint8Array(start + 4 * numbers.length);
  new DataView(blob.buffer).setUint32(0, text.length, true);
  blob.set(text, 4);
  blob.set(new Uint8Array(new Float32Array(numbers).buffer), start);
  return blob;
}

const range = (count) => Array.from({ length: count }, (_, i) => i);

test("parts are read by name, wherever the blob begins and however long its header is", () => {
  for (const pad of ["", "a", "ab", "abc"]) {
    const blob = blobOf({ pad, parts: [["first", 2], ["none", 0], ["second", 1]] }, [0.5, 0.25, 3]);
    const moved = new Uint8Array(blob.length + 3);
    moved.set(blob, 3);
    for (const each of [blob, moved.subarray(3)]) {
      const read = readBlob(each);
      assert.deepEqual([[...read.first], [...read.none], [...read.second]], [[0.5, 0.25], [], [3]]);
    }
  }
});

test("a weight is found under the mask and without it", () => {
  for (const causal of [true, false]) {
    const data = { L: 2, H: 2, T: 3, causal };
    const count = causal ? 6 : 9;
    assert.equal(cellsOf(data), count);
    data.weights = Float32Array.from(range(2 * 2 * 2 * count));
    assert.equal(weightAt(data, 0, 0, 0, 0, 0), 0);
    assert.equal(weightAt(data, 1, 0, 1, 2, 1), (4 + 1) * count + (causal ? 4 : 7));
    assert.equal(weightAt(data, 1, 1, 1, 1, 2), causal ? null : 7 * 9 + 5);
  }
});

test("a token's bar keeps its place for as long as the token is there, and the last step is in order", () => {
  const ids = [[7, 8, 9], [3, 1, 7], [1, 3, 2]];
  const places = placesOf(ids);
  assert.deepEqual(places[2], [0, 1, 2]);
  assert.deepEqual(places[1], [1, 0, 2], "3 and 1 stay; 7 takes the place that is free");
  assert.deepEqual(places[0], [2, 0, 1]);
  for (const row of placesOf([range(10), range(10).map((i) => i * 3), range(10).map((i) => 9 - i)])) {
    assert.deepEqual([...row].sort((a, b) => a - b), range(10));
  }
});

test("steps have places on a logarithmic axis that begins with 0", () => {
  assert.deepEqual([along(0, 999), along(999, 999), along(0, 0)], [0, 1, 0]);
  assert.ok(Math.abs(along(9, 99) - 0.5) < 1e-12);
  assert.deepEqual(ticksOf(2757), [0, 1, 10, 100, 1000]);
  assert.deepEqual([nearest([0, 10, 15], 13), nearest([0, 10, 15], 99), nearest([0, 10], 4)], [2, 2, 0]);
});

test("a loss is the last one written at or before a step", () => {
  assert.deepEqual(valueAt([5, 10, 20], [3, 2, 1], 15), { step: 10, value: 2 });
  assert.equal(valueAt([5, 10], [3, 2], 10).value, 2);
  assert.equal(valueAt([5, 10], [3, 2], 0).value, 3);
  assert.equal(valueAt([], [], 3), null);
});

test("cells and scores are said with their numbers", () => {
  const data = { L: 1, H: 2, T: 2, causal: true, tokens: ["·a", "<b>"], steps: [0, 1309] };
  data.weights = Float32Array.from([1, 0.5, 0.5, 1, 0.25, 0.75, 1, 0.125, 0.875, 1, 0, 1]);
  data.previous = Float32Array.from([0, 0.25, 0.5, 0.75]);
  data.induction = Float32Array.from([0, 0, 0.125, 0.5]);
  assert.equal(lapseWords(data, 0, { layer: 0, head: 1, row: 1, column: 0 }), "head 0.1: “<b>” on “·a”: 0.250000");
  assert.match(lapseWords(data, 0, { layer: 0, head: 1, row: 0, column: 1 }), /masked/);
  assert.equal(scoreAt(data, "induction", 1, 0, 1), 0.5);
  assert.equal(scoreWords(data, 1, { layer: 0, head: 1 }),
    "head 0.1 at step 1,309: previous token 0.7500, induction 0.5000");
  assert.deepEqual(headNear(data, "previous", 1, 0.6), { layer: 0, head: 0 });
  assert.deepEqual(headNear(data, "previous", 1, 0.7), { layer: 0, head: 1 });
});

test("the files can be joined: no name twice, and no HTML is made of a token", () => {
  const files = readdirSync(ASSETS).filter((name) => /^lapse.*\.js$/.test(name) && name !== "lapse_store.js");
  const texts = [...files, "translate_state.js", "translate_pictures.js"].map((name) =>
    readFileSync(new URL(name, ASSETS), "utf-8"));
  const seen = new Set();
  for (const text of texts) {
    assert.ok(!/innerHTML|outerHTML|insertAdjacentHTML/.test(text));
    for (const [, name] of text.matchAll(/^(?:export )?(?:async )?(?:function|const|let|class) +(\w+)/gm)) {
      assert.ok(!seen.has(name), name);
      seen.add(name);
    }
  }
});
