// One action of the visitor is one step of the browser's history, however many writes of the address it takes.
//
// The address has many owners, and the server tells of each on its own: a click that sets a layer and a head and opens
// a lesson would be seven steps, and Back would come to half of it. A typed sentence would be written over the one
// before, and what belongs to it would be a step of its own. So the first write after an action makes the step, and
// those that follow are written over it; what is written after Back or Forward, over the step that they came to.

let acted = false; // and nothing has been written since

export default function () {
  if (globalThis.gptvizHistory) return; // mounted once more, in the same document
  globalThis.gptvizHistory = true;
  for (const type of ["pointerdown", "keydown", "click"]) addEventListener(type, hear, true);
  addEventListener("popstate", () => (acted = false), true);
  const { pushState, replaceState } = history;
  history.pushState = history.replaceState = (state, unused, url) => {
    const step = acted && new URL(url ?? "", location).href !== location.href;
    acted &&= !step;
    (step ? pushState : replaceState).call(history, state, unused, url);
  };
}

function hear(event) {
  // The pointer that went down to click may have ended the typing of a sentence, which was written: of the clicks that
  // follow only those on links are actions of their own. A click without a pointer is a key's or a screen reader's.
  const link = () => event.composedPath().some((element) => element.localName === "a");
  if (event.type !== "click" || event.detail === 0 || link()) acted = true;
}
