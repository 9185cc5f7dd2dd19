// Nothing to see: asks the server once, when visitor and page have been at rest for a moment, to do what `data.ask`
// names.
//
// Never while another page is on its way: the answer to a question of the old page would come to the new one.

const REST = 500; // milliseconds; clicks and keys come first
const ACTIVITY = ["pointerdown", "click", "keydown", "popstate"];
const ends = new WeakMap();

const busy = () => {
  const app = document.querySelector("[data-testid=stApp]");
  return app?.dataset.testScriptState !== undefined && app.dataset.testScriptState !== "notRunning";
};

export default function ({ data, parentElement, setTriggerValue }) {
  ends.get(parentElement)?.();
  const place = location.pathname;
  let timer;
  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(ask, REST);
  };
  const ask = () => {
    if (location.pathname !== place) return;
    if (busy()) wait();
    else setTriggerValue("check", data.ask);
  };
  const end = () => {
    clearTimeout(timer);
    for (const name of ACTIVITY) window.removeEventListener(name, restart, true);
  };
  const restart = () => timer && wait();
  ends.set(parentElement, end);
  if (data.ask) {
    for (const name of ACTIVITY) window.addEventListener(name, restart, true);
    wait();
  }
  return end;
}
