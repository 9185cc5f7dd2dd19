import assert from "node:assert/strict";
import { test } from "node:test";

import { initialState } from "../../gptviz/view/js/state.js";
import { describe } from "../../gptviz/view/js/words.js";
import { headerOf } from "./helpers.mjs";

test("the words for a screen reader", () => {
  const header = headerOf({ H: 2, T: 3, queries: ["My", "·dog", "·has"] });
  Object.assign(header.heads, { entropy: [1.234, null], distance: [2.56, 1], first: [0.627, 0.2] });
  header.heads.kind = ["first token", "error"];
  header.errors = { 1: "row 2 sums to 0.7" };
  const state = initialState(header, { pins: [0] });
  const say = (given, ...more) => describe({ ...state, ...given }, header, ...more);
  const badge = "first token, entropy 1.23 bits, mean distance 2.6 tokens, 63 % on the first token";
  assert.equal(say({}), `Head 0.0, ${badge}, pinned.`);
  assert.equal(
    say({ head: 1 }), "Head 0.1, error, mean distance 1.0 tokens, 20 % on the first token. Error: row 2 sums to 0.7."
  );
  const reading = { w: 0.53, exact: true, masked: false, error: false, block: 1 };
  const cell = { mode: "matrix", cell: [1, 0] };
  assert.equal(say(cell, reading), "Head 0.0, query 1 “·dog”, key 0 “My”: 0.5300.");
  assert.equal(say(cell, { ...reading, exact: false }), "Head 0.0, query 1 “·dog”, key 0 “My”: ≈ 0.53.");
  assert.equal(say(cell, { ...reading, w: 0, masked: true }), "Head 0.0, query 1 “·dog”, key 0 “My”: masked.");
  assert.equal(say(cell), "Head 0.0, query 1 “·dog”, key 0 “My”: not loaded yet.");
  assert.equal(
    say({ mode: "lines", cell: [2, null], queries: [2] }, null, [{ at: 0, reading }]),
    "Head 0.0, query 2 “·has”, chosen: most with key 0 “My” 0.5300."
  );
  const chosen = say({ mode: "sentence", queries: [0, 1] });
  assert.equal(chosen, "Head 0.0, sentence, pinned. Chosen: query 0 “My”, query 1 “·dog”.");
});

test("words are called words, and a picture that is no head by its own name", () => {
  const header = headerOf({ T: 3, unit: "word", names: ["Mean over all heads"] });
  header.heads.kind = [""];
  const said = describe(initialState(header), header);
  assert.equal(said, "Mean over all heads, matrix.");
  const many = headerOf({ H: 2, T: 3, unit: "word" });
  many.heads.kind = ["", "first token"];
  const state = initialState(many);
  assert.equal(describe(state, many), "Head 0.0, entropy 1.00 bits, mean distance 1.0 words, 0 % on the first word.");
  assert.ok(describe({ ...state, head: 1 }, many).startsWith("Head 0.1, first word, "));
});

test("keys of another text are named with their own tokens", () => {
  const header = headerOf({ T: 6, S: 9 });
  const state = { ...initialState(header), cell: [5, 8] };
  assert.equal(describe(state, header), "Head 0.0, query 5 “q5”, key 8 “k8”: not loaded yet.");
});
