// A page without a heading that is not being drawn is asked for again, a few times; no other one is.

import assert from "node:assert/strict";
import { mock, test } from "node:test";

const app = { dataset: { testScriptState: "notRunning" } };
let heading = null;
globalThis.document = { querySelector: (what) => (what === "h1" ? heading : app) };
mock.timers.enable({ apis: ["setInterval"] });
const { default: watch } = await import("../../gptviz/ui/assets/lost.js");

const asked = [];
const end = watch({ parentElement: {}, setTriggerValue: (...said) => asked.push(said) });

test("a page that is there, or is being drawn, is left alone", () => {
  heading = {};
  mock.timers.tick(9000);
  heading = null;
  app.dataset.testScriptState = "running";
  mock.timers.tick(9000);
  assert.deepEqual(asked, []);
});

test("an empty page at rest is asked for after 1.5 s, three times at most, and anew after the next one", () => {
  app.dataset.testScriptState = "notRunning";
  mock.timers.tick(1499);
  assert.deepEqual(asked, []);
  mock.timers.tick(1);
  assert.deepEqual(asked, [["lost", true]]);
  mock.timers.tick(9000);
  assert.equal(asked.length, 3);
  heading = {};
  mock.timers.tick(500);
  heading = null;
  mock.timers.tick(1500);
  assert.equal(asked.length, 4);
  end();
});
