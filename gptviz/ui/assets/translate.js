// A translation to step through: both sentences with bands between them, what else could have been written, and the
// three attentions. Tokens only ever go through textContent and canvas. Python is told at which step the visitor stops.

import { SIDES, build, fillStrips } from "./translate_parts.js";
import { paint, reveal } from "./translate_paint.js";
import { themeOf } from "./translate_pictures.js";
import { stepped } from "./translate_state.js";

const QUIET = 250; // milliseconds without a step before Python is told
const PACE = 650; // milliseconds a token while playing
const shown = new WeakMap(); // parentElement, which stays the same over updates -> the view in it

export default function ({ data, parentElement, setTriggerValue }) {
  let view = shown.get(parentElement);
  if (!view) {
    view = { step: 0, pointed: null, pinned: null, cell: null, told: [], playing: null };
    view.parts = build(parentElement, view);
    shown.set(parentElement, view);
  }
  view.tell = (step) => setTriggerValue("step", { id: view.data.id, step });
  receive(view, data);
  return () => {
    clearInterval(view.playing);
    clearTimeout(view.telling);
    view.resized.disconnect();
    document.removeEventListener("keydown", view.onKey);
    shown.delete(parentElement);
  };
}

/** New data: of another sentence, of other heads, or an answer to a step that Python was told. */
function receive(view, data) {
  const { id, step } = view.data ?? {};
  const another = data.id !== id;
  const answer = view.told.indexOf(data.step);
  if (another || (data.step !== step && answer < 0)) {
    stop(view, false);
    clearTimeout(view.telling);
    view.told = [];
    view.step = data.step;
  } else if (answer >= 0) view.told.splice(0, answer + 1);
  view.data = data;
  view.T = data.written.length;
  view.weights = Object.fromEntries(SIDES.map((side) => [side, unpack(data.weights[side])]));
  if (another) {
    view.pointed = view.pinned = view.cell = null;
    fillStrips(view);
  }
  view.theme = themeOf(view.parts.root);
  view.maps = null;
  paint(view);
}

/** float32 in base64. */
function unpack(text) {
  return new Float32Array(Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer);
}

// Steps ---------------------------------------------------------------------------------------------------------------

/** Show a step. Python hears of it when the visitor stays there. */
export function go(view, step, playing = false) {
  if (!playing) stop(view, false);
  view.step = step;
  view.pinned = view.cell = null;
  paint(view);
  reveal(view);
  clearTimeout(view.telling);
  if (!playing) view.telling = setTimeout(() => say(view), QUIET);
}

function say(view) {
  if (view.step === (view.told.at(-1) ?? view.data.step)) return;
  view.told.push(view.step);
  view.tell(view.step);
}

/** From the beginning where nothing is left to be written. */
export function start(view) {
  const tick = () => {
    if (!view.parts.root.isConnected) return stop(view, false);
    go(view, stepped(view.step, 1, view.T), true);
    if (!view.step) stop(view);
  };
  go(view, view.step && view.step < view.T ? view.step : 1, true);
  view.playing = setInterval(tick, PACE);
  paint(view);
}

export function stop(view, tell = true) {
  if (!view.playing) return;
  clearInterval(view.playing);
  view.playing = null;
  if (tell) say(view);
  paint(view);
}
