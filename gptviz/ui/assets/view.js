// The attention view in Streamlit: mounts the view's script in this component, and tells Python what is chosen and
// what is needed. Python answers through stores, see view_store.js, and through `data`.

const shown = new WeakMap(); // parentElement, which stays the same over updates -> what is shown in it
const PATIENCE = 600; // milliseconds for Python to answer a new state, before what is still missing is asked for

export default function ({ data, parentElement, setTriggerValue }) {
  const engine = (globalThis.__gptvizEngine ??= { waiting: [] });
  const here = shown.get(parentElement) ?? { needs: [] };
  shown.set(parentElement, here);
  const answered = data !== here.data;
  Object.assign(here, { data, setTriggerValue });
  if (answered) {
    here.unanswered = null;
    if (here.needs.length) askSoon(here, engine);
  }
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
    clearTimeout(here.timer);
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
      here.unanswered = state;
      here.setTriggerValue("state", { id: here.data.id, state });
    },
    onNeed: (need) => {
      here.needs.push(need);
      askSoon(here, engine);
    },
  };
}

/** Ask for all that is needed in one message. The answer to a new state is awaited first: it brings most of it. */
function askSoon(here, engine) {
  clearTimeout(here.timer);
  here.timer = setTimeout(() => ask(here, engine), here.unanswered ? PATIENCE : 20);
}

function ask(here, { viewOf, exactWindow }) {
  const { id } = here.data;
  const dataset = viewOf(id);
  const missing = ({ head, window }) =>
    head ? head.some((i) => !dataset.heads.has(i)) : !exactWindow(dataset, ...window);
  const needs = here.needs.splice(0).filter((need) => dataset && missing(need));
  // A message takes the place of one that still waits: a state that may not have arrived goes along.
  if (needs.length) here.setTriggerValue("need", { id, needs, state: here.unanswered });
}

/** Whether the page behind is dark: its luminance says so, whatever its theme is called. */
function isDark(parentElement) {
  const style = getComputedStyle(parentElement.host ?? parentElement);
  const paper = document.createElement("canvas").getContext("2d");
  paper.fillStyle = style.getPropertyValue("--st-background-color").trim() || "#ffffff"; // back comes #rrggbb
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(paper.fillStyle.slice(at, at + 2), 16));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b < 128;
}
