// When the badge asks for its check: after a moment of rest, and long after a press, which may be on its way elsewhere.

import assert from "node:assert/strict";
import { mock, test } from "node:test";

const heard = {};
const app = { dataset: { testScriptState: "notRunning" } };
globalThis.location = { pathname: "/tokens" };
globalThis.document = { querySelector: () => app };
globalThis.window = {
  addEventListener: (name, listener) => (heard[name] = listener),
  removeEventListener: (name) => delete heard[name],
};
mock.timers.enable({ apis: ["setTimeout"] });
const { default: wake } = await import("../../gptviz/ui/assets/wake.js");

function mounted(data) {
  const asked = [];
  const place = {};
  const draw = (more) => wake({ data: more, parentElement: place, setTriggerValue: (...said) => asked.push(said) });
  return { asked, draw, end: draw(data) };
}

test("a page at rest is asked about once, after half a second", () => {
  const { asked, end } = mounted({ ask: "a", run: 1 });
  mock.timers.tick(499);
  assert.deepEqual(asked, []);
  mock.timers.tick(1);
  mock.timers.tick(9000);
  assert.deepEqual(asked, [["check", "a"]]);
  end();
});

test("after a press it waits for five seconds, or for half a second after the run that the press brought", () => {
  const { asked, draw, end } = mounted({ ask: "a", run: 1 });
  mock.timers.tick(300);
  heard.keydown();
  mock.timers.tick(4900);
  assert.deepEqual(asked, []);
  draw({ ask: "b", run: 2 });
  mock.timers.tick(500);
  assert.deepEqual(asked, [["check", "b"]]);
  end();
});

test("nothing is asked while the app runs, of a page that was left, or after the end", () => {
  const { asked, end } = mounted({ ask: "a", run: 1 });
  app.dataset.testScriptState = "running";
  mock.timers.tick(3000);
  assert.deepEqual(asked, []);
  app.dataset.testScriptState = "notRunning";
  location.pathname = "/positions";
  mock.timers.tick(3000);
  assert.deepEqual(asked, []);
  end();
  assert.deepEqual(heard, {});
});
