// Nothing to see: the arrow keys step through stages, and a control that was clicked gives the keyboard back to the page.
//
// What is said is the stage to go to, never a step: Streamlit makes one of two presses that wait, and loses a press that
// comes with another control's. Python's answer decides; what did not come about is said again.

import { isBusy } from "./busy.js";
import { giveBack } from "./give_back.js";

const STEPS = { ArrowRight: 1, ArrowLeft: -1 };
const OWN_ARROWS = "input, textarea, select, [contenteditable=true], [role=radio], [role=slider], [role=tab], [role=grid]";
const PATIENCE = 1000; // milliseconds for Python to show another stage
const TRIES = 5;
let shown = null; // the mount that was drawn last
let wanted = null; // the stage to go to, by its number, until Python shows it
let insisting = 0;

export default function ({ data: { at, stages }, parentElement, setTriggerValue }) {
  if (!shown) {
    document.addEventListener("click", click, true); // controls tell nobody above them of a click
    document.addEventListener("keydown", press);
  }
  shown = { at, last: stages.length - 1, say: (stage) => setTriggerValue("stage", stages[stage]), parentElement };
  if (wanted === at) forget();
  return () => {
    if (shown?.parentElement !== parentElement) return; // mounted once more, elsewhere
    forget();
    shown = null;
    document.removeEventListener("click", click, true);
    document.removeEventListener("keydown", press);
  };
}

function press(event) {
  const step = STEPS[event.key];
  if (!step || event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (event.composedPath().some((element) => element.matches?.(OWN_ARROWS))) return;
  event.preventDefault();
  const to = Math.min(Math.max((wanted ?? shown.at) + step, 0), shown.last);
  if (to === (wanted ?? shown.at)) return;
  wanted = to;
  shown.say(to);
  insist(TRIES);
}

function insist(tries) {
  clearTimeout(insisting);
  insisting = setTimeout(() => {
    if (!tries) return forget();
    if (isBusy()) return insist(tries);
    shown.say(wanted);
    insist(tries - 1);
  }, PATIENCE);
}

function forget() {
  clearTimeout(insisting);
  wanted = null;
}

function click(event) {
  forget(); // another choice is the later one
  giveBack(event);
}
