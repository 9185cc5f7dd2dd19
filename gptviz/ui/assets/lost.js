// Nothing to see: asks for a page again that the browser has lost.
//
// An answer to a question of the page before, which comes late, makes the browser take away all that the new page drew.
// Nothing tells the server so, and the visitor would look at an empty page for ever.

const EVERY = 500; // milliseconds
const AT_REST = 3; // looks at an empty page that is not being drawn, before it counts as lost
const TRIES = 3; // of one loss: a page that cannot be drawn is not asked for for ever
const watches = new WeakMap();
let tries = 0;

export default function ({ parentElement, setTriggerValue }) {
  clearInterval(watches.get(parentElement));
  let empty = 0;
  const look = () => {
    const app = document.querySelector("[data-testid=stApp]");
    const drawn = document.querySelector("h1") !== null; // every page has one
    if (drawn) tries = 0;
    empty = drawn || app?.dataset.testScriptState !== "notRunning" ? 0 : empty + 1;
    if (empty < AT_REST || tries === TRIES) return;
    [empty, tries] = [0, tries + 1];
    setTriggerValue("lost", true);
  };
  const watch = setInterval(look, EVERY);
  watches.set(parentElement, watch);
  return () => clearInterval(watch);
}
