// The arrow keys inside a head: every press counts, whatever becomes of the message that it sends.

import assert from "node:assert/strict";
import { afterEach, mock, test } from "node:test";

const heard = {};
const app = { dataset: { testScriptState: "notRunning" } };
globalThis.document = {
  querySelector: () => app,
  addEventListener: (name, listener) => (heard[name] = listener),
  removeEventListener: (name) => delete heard[name],
  activeElement: { blur: () => (app.blurred = true) },
};
mock.timers.enable({ apis: ["setTimeout"] });
const { default: steps } = await import("../../gptviz/ui/assets/steps.js");

const stages = ["x", "weights", "qkv", "scores", "scale"];
let end;
afterEach(() => end());

/** A page at a stage, of which `said` hears. */
function mounted(at) {
  const [said, parentElement] = [[], {}];
  const draw = (stage) =>
    steps({ data: { at: stage, stages }, parentElement, setTriggerValue: (...one) => said.push(one.join(" ")) });
  end = draw(at);
  return { said, draw };
}

function press(key, more = {}) {
  let taken = false;
  heard.keydown({ key, composedPath: () => [{ matches: () => false }], preventDefault: () => (taken = true), ...more });
  return taken;
}

const wait = (seconds) => {
  for (let i = 0; i < seconds; i++) mock.timers.tick(1000); // a timer that a timer sets starts at the end of a tick
};

test("each press goes on from the one before, and stops at the ends", () => {
  const { said } = mounted(2);
  for (const key of ["ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft"]) assert.ok(press(key));
  assert.deepEqual(said, ["stage scores", "stage scale", "stage scores"]);
});

test("what Python did not take up is said again while the app rests, and no longer once it has", () => {
  const { said, draw } = mounted(4);
  press("ArrowLeft");
  press("ArrowLeft"); // is lost
  draw(3); // the answer to the first one
  app.dataset.testScriptState = "running";
  wait(5);
  assert.equal(said.length, 2);
  app.dataset.testScriptState = "notRunning";
  wait(1);
  assert.deepEqual(said, ["stage scores", "stage qkv", "stage qkv"]);
  draw(2);
  wait(60);
  assert.equal(said.length, 3);
  press("ArrowLeft");
  assert.equal(said.at(-1), "stage weights");
});

test("a server that never answers is asked six times in all", () => {
  const { said } = mounted(0);
  press("ArrowRight");
  wait(60);
  assert.deepEqual(said, Array(6).fill("stage weights"));
});

test("another choice is the later one", () => {
  const { said } = mounted(0);
  press("ArrowRight");
  heard.click({ detail: 1, target: { closest: () => null } });
  wait(60);
  assert.equal(said.length, 1);
});

test("keys of a control, of a browser and those that were used stay what they are", () => {
  const { said } = mounted(0);
  const inside = { composedPath: () => [{ matches: (selector) => selector.includes("input") }] };
  for (const more of [inside, { altKey: true }, { shiftKey: true }, { defaultPrevented: true }]) {
    assert.equal(press("ArrowRight", more), false);
  }
  assert.equal(press("a"), false);
  assert.deepEqual(said, []);
});

test("a control that a mouse clicked gives the keyboard back, one that a key clicked keeps it", () => {
  mounted(0);
  for (const [detail, blurred] of [[0, undefined], [1, true]]) {
    heard.click({ detail, target: { closest: () => ({}) } });
    mock.timers.tick(0);
    assert.equal(app.blurred, blurred);
  }
});

test("nothing is heard or said after the page has gone", () => {
  const { said } = mounted(0);
  press("ArrowRight");
  end();
  wait(60);
  assert.deepEqual([said.length, heard], [1, {}]);
});
