// The keys: what each one does, how the help writes it, and the action of state.js that it causes. Pure.

import { MASS_STEP, VIEW_MODES, hasCursor } from "./state.js";

const arrow = (dx, dy) => (state, event) => {
  if (!event.shiftKey) return { type: "move", dx, dy };
  return state.window ? { type: "pan", dq: dy * panStep(state, 0), dk: dx * panStep(state, 2) } : null;
};

/** An eighth of the window: some keys, not hundreds, from end to end. */
function panStep({ window }, side) {
  return Math.max(1, Math.round((window[side + 1] - window[side]) / 8));
}

const always = (action) => () => action;

/**
 * All keys: how the help writes them, what they do, and the action of each. Together they do all that a pointer does.
 * @type {[string, string, Object<string, function(State, Object): Object>][]}
 */
export const KEYS = [
  ["← ↑ → ↓", "move to another head, cell or token", {
    ArrowLeft: arrow(-1, 0), ArrowRight: arrow(1, 0), ArrowUp: arrow(0, -1), ArrowDown: arrow(0, 1),
  }],
  ["Shift + arrows", "matrix: move the part that is zoomed into", {}],
  ["Home, End", "first or last head, key of the row, or token", {
    Home: always({ type: "edge", end: -1 }), End: always({ type: "edge", end: 1 }),
  }],
  ["Page ↑, Page ↓", "the head before or after, in any view", {
    PageUp: always({ type: "step", by: -1 }), PageDown: always({ type: "step", by: 1 }),
  }],
  ["Enter, Space", "open the head; elsewhere choose the token or cell, or no longer", {
    Enter: always({ type: "open" }), " ": always({ type: "open" }),
  }],
  ["Escape", "back: first the cursor goes, then the overview comes", {
    Escape: (state) => (hasCursor(state) || state.mode !== "overview" ? { type: "back" } : null), // else the host's
  }],
  ["1 2 3 4", "overview, matrix, lines, sentence",
    Object.fromEntries(VIEW_MODES.map((mode, n) => [String(n + 1), always({ type: "mode", mode })]))],
  ["p", "pin the head beside the others, or no longer", { p: always({ type: "pin" }) }],
  ["s", "next colour scale", { s: always({ type: "scale" }) }],
  ["o", "next order of the heads", { o: always({ type: "sort" }) }],
  ["w", "sentence: what the chosen tokens attend to, or what attends to them", { w: always({ type: "way" }) }],
  ["x", "choose no tokens", { x: always({ type: "clear" }) }],
  ["[ ]", "lines: keep less or more of each row", {
    "[": always({ type: "mass", by: -MASS_STEP }), "]": always({ type: "mass", by: MASS_STEP }),
  }],
  ["+ −", "matrix: zoom in or out, about the cell under the cursor", {
    "+": always({ type: "zoom", factor: 1.5 }), "=": always({ type: "zoom", factor: 1.5 }),
    "-": always({ type: "zoom", factor: 1 / 1.5 }), "−": always({ type: "zoom", factor: 1 / 1.5 }),
  }],
  ["0", "the whole matrix", { 0: always({ type: "reset" }) }],
  ["f", "full screen", { f: always({ type: "fullScreen" }) }],
  ["?", "this help", { "?": always({ type: "help" }) }],
];

/**
 * What a key does, or null if it is none of ours: those with Ctrl, Alt or Meta are the browser's, and a field or a
 * button has keys of its own.
 * @param {{key: string, shiftKey: ?boolean, target: ?Object}} event a KeyboardEvent, or the like of it
 * @param {State} state
 * @returns {?{type: string}}
 */
export function keyAction(event, state) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return null;
  const tag = event.target?.tagName;
  const pressed = tag === "BUTTON" && ["Enter", " "].includes(event.key);
  if (pressed || ["INPUT", "SELECT", "TEXTAREA"].includes(tag)) return null;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const found = KEYS.find(([, , actions]) => Object.hasOwn(actions, key));
  return found ? found[2][key](state, event) : null;
}
