import assert from "node:assert/strict";
import { test } from "node:test";

import { KEYS, keyAction } from "../../gptviz/view/js/keys.js";
import { initialState, reduce } from "../../gptviz/view/js/state.js";
import { headerOf } from "./helpers.mjs";

const HEADER = headerOf({ L: 3, H: 4, T: 6, S: 9 });
const DEFAULT = initialState(HEADER);

test("every action that there is can be done by a key, but for what only a pointer has", () => {
  const mode = { ...DEFAULT, mode: "matrix", window: [0, 5, 0, 5], cell: [0, 0] };
  const types = new Set();
  for (const [, , actions] of KEYS) {
    for (const make of Object.values(actions)) {
      for (const shiftKey of [false, true]) types.add(make(mode, { shiftKey })?.type);
    }
  }
  const message = (() => {
    try {
      reduce(DEFAULT, { type: "?" }, HEADER);
    } catch (error) {
      return error.message;
    }
  })();
  const all = message.match(/of (.*), found/)[1].split(", ");
  const byPointer = { pick: "move", point: "move", toggle: "open", window: "zoom" }; // what a key does instead
  for (const type of all) assert.ok(types.has(byPointer[type] ?? type), `no key for "${type}"`);
});

test("no key is bound twice, and the help names every one", () => {
  const names = KEYS.flatMap(([, , actions]) => Object.keys(actions));
  assert.equal(new Set(names).size, names.length);
  const written = {
    ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", PageUp: "Page ↑", PageDown: "Page ↓",
    " ": "Space", "=": "+", "-": "−", // "=" is "+" without Shift
  };
  for (const [label, does, actions] of KEYS) {
    assert.ok(does.length > 5);
    for (const key of Object.keys(actions)) assert.ok(label.includes(written[key] ?? key), `${key}: ${label}`);
  }
});

test("the browser's own keys and those of fields and buttons are left alone", () => {
  const none = [
    { key: "f", ctrlKey: true }, { key: "s", metaKey: true }, { key: "ArrowLeft", altKey: true }, { key: "Tab" },
    { key: "p", isComposing: true }, { key: "F5" }, { key: "toString" }, { key: "p", target: { tagName: "INPUT" } },
    { key: "ArrowDown", target: { tagName: "SELECT" } }, { key: "Enter", target: { tagName: "BUTTON" } },
    { key: " ", target: { tagName: "BUTTON" } },
  ];
  for (const event of none) assert.equal(keyAction(event, DEFAULT), null, JSON.stringify(event));
  assert.deepEqual(keyAction({ key: "P", shiftKey: true }, DEFAULT), { type: "pin" }); // as with Caps Lock
  assert.deepEqual(keyAction({ key: "p", target: { tagName: "BUTTON" } }, DEFAULT), { type: "pin" });
});
