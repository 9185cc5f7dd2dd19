// Nothing to see: asks the server once, when visitor and page have been at rest for a moment, to do what `data.ask`
// names. Every run of the page mounts or updates it, as `data.run` is another one.
//
// Never while another page is on its way: an answer to a question of the old page takes the new one down. A press may
// be such a way, and nothing here tells for as long as the server has not begun to draw what it asks for.

import { isBusy } from "./busy.js";

const REST = 500; // milliseconds after a run; clicks and keys come first
const ANSWER = 5000; // after a press; what it asks for is a run, which comes here anew
const ACTIVITY = ["pointerdown", "click", "keydown", "popstate"];
const ends = new WeakMap();

export default function ({ data, parentElement, setTriggerValue }) {
  ends.get(parentElement)?.();
  const place = location.pathname;
  let timer;
  const wait = (time) => {
    clearTimeout(timer);
    timer = setTimeout(ask, time);
  };
  const ask = () => {
    if (location.pathname !== place) return;
    if (isBusy()) wait(REST);
    else setTriggerValue("check", data.ask);
  };
  const end = () => {
    clearTimeout(timer);
    for (const name of ACTIVITY) window.removeEventListener(name, restart, true);
  };
  const restart = () => timer && wait(ANSWER);
  ends.set(parentElement, end);
  if (data.ask) {
    for (const name of ACTIVITY) window.addEventListener(name, restart, true);
    wait(REST);
  }
  return end;
}
