// The steps of a translation, and which weights a token that is pointed at asks for.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import {
  cellInWords, digits, inWords, meant, percent, rowsAt, stepped, strongest, weightsOf,
} from "../../gptviz/ui/assets/translate_state.js";

const ASSETS = new URL("../../gptviz/ui/assets/", import.meta.url);
const CROSS = new Float32Array([0.5, 0.25, 0.25, 0.125, 0.75, 0.125]); // T 2, S 3
const DATA = {
  source: ["Ich", "·habe", "<end>"], inputs: ["<end>", "I"], written: ["I", "·have"], probabilities: [0.875, 0.5],
};

test("the whole comes after the last step, and nothing before the first", () => {
  const walk = (step, by) => stepped(step, by, 3);
  assert.deepEqual([1, 2, 3, 0].map((step) => walk(step, 1)), [2, 3, 0, 0]);
  assert.deepEqual([1, 2, 3, 0].map((step) => walk(step, -1)), [1, 1, 2, 3]);
  assert.deepEqual([rowsAt(0, 3), rowsAt(2, 3)], [3, 2]);
});

test("what is under the pointer comes before what was tapped, and that before what is being written", () => {
  const source = { side: "source", at: 2 };
  const output = { side: "output", at: 0 };
  assert.equal(meant({ pointed: source, pinned: output, step: 1 }, 2), source);
  assert.equal(meant({ pointed: null, pinned: output, step: 2 }, 2), output);
  assert.deepEqual(meant({ pointed: null, pinned: null, step: 2 }, 2), { side: "output", at: 1 });
  assert.equal(meant({ pointed: null, pinned: null, step: 0 }, 2), null);
  const later = { side: "output", at: 1 };
  assert.deepEqual(meant({ pointed: later, pinned: null, step: 1 }, 2), output, "not written yet");
});

test("a token of the output asks for its row, a source token for its column as far as it is there", () => {
  assert.deepEqual(weightsOf({ side: "output", at: 1 }, CROSS, 3, 2), [0.125, 0.75, 0.125]);
  assert.deepEqual(weightsOf({ side: "source", at: 1 }, CROSS, 3, 2), [0.25, 0.75]);
  assert.deepEqual(weightsOf({ side: "source", at: 1 }, CROSS, 3, 1), [0.25]);
  assert.equal(weightsOf(null, CROSS, 3, 2), null);
});

test("numbers are never rounded to what they are not", () => {
  assert.deepEqual([0, 0.25, 1e-7].map(digits), ["0.000000", "0.250000", "under 0.000001"]);
  const said = [1, 0.99996, 0.8649, 0.0034, 1.3e-5, 0].map(percent);
  assert.deepEqual(said, ["100%", ">99.9%", "86.5%", "0.34%", "0.0013%", "0%"]);
  assert.deepEqual(strongest([0.1, 0.6, 0.3], 2), [1, 2]);
});

test("what is shown is said in words", () => {
  const row = { side: "output", at: 1 };
  assert.equal(
    inWords(DATA, row, weightsOf(row, CROSS, 3, 2)),
    "Step 2: to write “·have” (probability 50.0%), most attention on “·habe” 0.750000, “Ich” 0.125000, “<end>” 0.125000"
  );
  const column = { side: "source", at: 1 };
  const said = inWords(DATA, column, weightsOf(column, CROSS, 3, 2));
  assert.equal(said, "“·habe” got most from “·have” 0.750000, “I” 0.250000");
  assert.match(inWords(DATA, null, null), /^Point at a token/);
  assert.equal(cellInWords(DATA, "cross", 1, 1, 0.75, 2), "“I”, to write “·have”, on “·habe”: 0.750000");
  assert.equal(cellInWords(DATA, "cross", 1, 1, 0.75, 1), "not written yet");
  assert.equal(cellInWords(DATA, "decoder", 0, 1, 0, 2), "“<end>” may not look at “I”: masked");
  assert.equal(cellInWords(DATA, "encoder", 0, 1, 0.5, 1), "“Ich”, on “·habe”: 0.500000");
});

test("files are short, and tokens are only ever text", () => {
  for (const name of readdirSync(ASSETS).filter((file) => /^translate.*\.js$/.test(file))) {
    const text = readFileSync(new URL(name, ASSETS), "utf-8");
    assert.ok(text.split("\n").length <= 351, name);
    assert.ok(text.split("\n").every((line) => [...line].length <= 120), name);
    assert.equal(text.match(/\binnerHTML\b|\bouterHTML\b|insertAdjacentHTML|\beval\(|https?:/), null, name);
  }
});
