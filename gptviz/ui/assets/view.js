// The attention view in Streamlit: mounts the view's script in this component, and tells Python what is chosen and
// what is needed. Python answers through stores, see view_store.js, and through `data`.

const shown = new WeakMap(); // parentElement, which stays the same over updates -> what is shown in it
const PATIENCE = 2000; // milliseconds for Python to answer a new state
const LOOK = 100; // milliseconds between looks at whether a run that takes longer has ended
const MOST_TRIES = 4; // to say it again: it may be that Python does not want it

export default function ({ data, parentElement, setTriggerValue }) {
  const engine = (globalThis.__gptvizEngine ??= { waiting: [] });
  const here = shown.get(parentElement) ?? { needs: [] };
  shown.set(parentElement, here);
  const answered = data !== here.data;
  Object.assign(here, { data, setTriggerValue });
  if (answered) goOn(here, engine);
  const show = (ready) => {
    if (here.gone) return;
    const given = { id: here.data.id, state: here.data.state, dark: isDark(parentElement) };
    const first = { ...given, height: data.height, ...reports(here, engine) };
    if (here.view) here.view.update(given);
    else here.view = ready.mount(room(parentElement, ready.css), first);
  };
  if (engine.mount) show(engine);
  else engine.waiting.push(show);
  return () => {
    here.gone = true;
    clearTimeout(here.asking);
    clearTimeout(here.waiting);
    here.view?.destroy();
    shown.delete(parentElement);
  };
}

/** The element to draw in, with the style sheet and the colours of the page. */
function room(parentElement, css) {
  const style = document.createElement("style");
  style.textContent = css;
  const root = document.createElement("div");
  const names = { text: "text-color", background: "background-color", primary: "primary-color", font: "font" };
  names["code-font"] = "code-font";
  for (const [ours, theirs] of Object.entries(names)) root.style.setProperty(`--gv-${ours}`, `var(--st-${theirs})`);
  parentElement.append(style, root);
  return root;
}

/** What the view calls. */
function reports(here, engine) {
  return {
    onState: (state) => {
      if (!here.untold) here.from = here.data.state;
      here.untold = state;
      here.tries = 0;
      tell(here, engine);
    },
    onNeed: (need) => {
      here.needs.push(need);
      askSoon(here, engine);
    },
  };
}

/**
 * Tell Python the newest state, one at a time, and the one that it comes from: what is equal in both was not chosen
 * here, and may have been chosen elsewhere on the page meanwhile. A message would stop the run that answers the one before, and a run that
 * is stopped between the page's controls and here leaves them with the old head in the address.
 */
function tell(here, engine) {
  if (here.unanswered || !here.untold) return;
  const state = here.untold;
  here.untold = null;
  if (JSON.stringify(state) === JSON.stringify(here.data.state)) return; // there and back: no news, and no answer
  here.unanswered = { state, from: here.from };
  here.waiting = setTimeout(() => goOn(here, engine), PATIENCE);
  here.setTriggerValue("state", { id: here.data.id, state, from: here.from });
}

/**
 * Python has answered, or takes too long: what came up meanwhile can be said. While a run goes on that may still answer,
 * nothing is said: it would stop that run, and on a busy machine every one after it.
 */
function goOn(here, engine) {
  clearTimeout(here.waiting);
  const lost = here.unanswered ? notTakenUp(here) : [];
  if (lost.length && isBusy()) {
    here.waiting = setTimeout(() => goOn(here, engine), LOOK);
    return;
  }
  if (lost.length && !here.untold && here.tries < MOST_TRIES) sayAgain(here, lost);
  here.unanswered = null;
  tell(here, engine);
  if (here.needs.length) askSoon(here, engine);
}

/** The names of what was chosen here and said, and that Python does not have. */
function notTakenUp({ unanswered: { state, from }, data }) {
  const differ = (a, b) => JSON.stringify(a) !== JSON.stringify(b);
  return Object.keys(state).filter(
    (name) => differ(state[name], from[name]) && differ(state[name], data.state[name]),
  );
}

/** Streamlit loses a message where another control is used at the same moment: what Python did not take up comes again. */
function sayAgain(here, lost) {
  const { state } = here.unanswered;
  here.from = here.data.state;
  here.untold = { ...here.from, ...Object.fromEntries(lost.map((name) => [name, state[name]])) };
  here.tries += 1;
}

/** Ask for all that is needed in one message. The answer to a new state is awaited first: it brings most of it. */
function askSoon(here, engine) {
  clearTimeout(here.asking);
  if (!here.unanswered) here.asking = setTimeout(() => ask(here, engine), 20);
}

function ask(here, { viewOf, exactWindow }) {
  if (here.unanswered) return; // `goOn` will ask
  const { id } = here.data;
  const dataset = viewOf(id);
  const missing = ({ head, window }) =>
    head ? head.some((i) => !dataset.heads.has(i)) : !exactWindow(dataset, ...window);
  const needs = here.needs.splice(0).filter((need) => dataset && missing(need));
  if (needs.length) here.setTriggerValue("need", { id, needs });
}

/** Whether the page behind is dark: its luminance says so, whatever its theme is called. */
function isDark(parentElement) {
  const style = getComputedStyle(parentElement.host ?? parentElement);
  const paper = document.createElement("canvas").getContext("2d");
  paper.fillStyle = style.getPropertyValue("--st-background-color").trim() || "#ffffff"; // back comes #rrggbb
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(paper.fillStyle.slice(at, at + 2), 16));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b < 128;
}
