// The attention view in Streamlit: mounts the view's script in this component, and tells Python what is chosen and
// what is needed. Python answers through stores, see view_store.js, and through `data`.

const shown = new WeakMap(); // parentElement, which stays the same over updates -> what is shown in it

export default function ({ data, parentElement, setTriggerValue }) {
  const engine = (globalThis.__gptvizEngine ??= { waiting: [] });
  const here = shown.get(parentElement) ?? { needs: [] };
  shown.set(parentElement, here);
  if (data !== here.data) here.untold = null; // Python has heard
  Object.assign(here, { data, setTriggerValue });
  const show = (ready) => {
    if (here.gone) return;
    const given = { id: here.data.id, state: here.data.state, dark: isDark(parentElement) };
    if (here.view) here.view.update(given);
    else here.view = ready.mount(room(parentElement, ready.css), { ...given, height: data.height, ...reports(here) });
  };
  if (engine.mount) show(engine);
  else engine.waiting.push(show);
  return () => {
    here.gone = true;
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

/**
 * What the view calls. What it needs comes in several calls, and goes to Python in one; with a state that Python has not
 * answered yet, because a message replaces one that still waits.
 */
function reports(here) {
  const send = (event, more) => here.setTriggerValue(event, { id: here.data.id, state: here.untold, ...more });
  const sendNeeds = () => send("need", { needs: here.needs.splice(0) });
  return {
    onState: (state) => {
      here.untold = state;
      send("state");
    },
    onNeed: (need) => {
      if (here.needs.push(need) === 1) setTimeout(sendNeeds);
    },
  };
}

/** Whether the page behind is dark: its luminance says so, whatever its theme is called. */
function isDark(parentElement) {
  const style = getComputedStyle(parentElement.host ?? parentElement);
  const paper = document.createElement("canvas").getContext("2d");
  paper.fillStyle = style.getPropertyValue("--st-background-color").trim() || "#ffffff"; // any CSS colour in, #rrggbb out
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(paper.fillStyle.slice(at, at + 2), 16));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b < 128;
}
