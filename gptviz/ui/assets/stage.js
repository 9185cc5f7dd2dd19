// The bar of a scene: title, caption, number, jump list; keys, presenter remotes, swipes; tells the presenter's window.

import { isBusy } from "./busy.js";

const KEYS = { ArrowRight: 1, PageDown: 1, ArrowLeft: -1, PageUp: -1 };
const SWIPE = 80; // pixels to the side
const TYPED = "input, textarea, select, [contenteditable=true]";
const OWN_ARROWS = "[role=slider], [role=radio], [role=tab], [role=grid], [role=listbox], [data-testid^=stBidiComponent]";
const CONTRAST = "data-gptviz-contrast"; // of the document, "light" or "dark": the style sheet of the page looks at it
const PATIENCE = 3000; // milliseconds for Python to show another scene
let insisting = 0; // the timer of what was said last
let shown = null; // what the listeners of the window act on: the mount that was drawn last

export default function ({ data, parentElement, setTriggerValue }) {
  const go = (scene) => {
    const to = Math.min(Math.max(scene, 1), data.scenes.length);
    if (to === shown?.data.scene) return;
    setTriggerValue("go", to);
    insist(shown.data.scene, () => setTriggerValue("go", to));
  };
  const leave = () => {
    setContrast(false);
    globalThis.gptvizLecture = undefined;
    write({ lecture: null, scene: null });
    setTriggerValue("leave", true);
  };
  setContrast(globalThis.gptvizLecture === data.lecture ? hasContrast() : data.contrast);
  globalThis.gptvizLecture = data.lecture; // from then on the button decides
  shown = { data, go, leave, again: () => setTriggerValue("go", data.scene), parentElement };
  listen();
  draw();
  write({ lecture: data.lecture, scene: String(data.scene) });
  tell();
  return () => {
    if (shown?.parentElement === parentElement) shown = null;
  };
}

/** Streamlit loses a message where another is sent at the same moment: what did not come about is said again. */
function insist(from, say, tries = 3) {
  clearTimeout(insisting);
  insisting = setTimeout(() => {
    if (!shown || shown.data.scene !== from || !tries) return;
    if (!isBusy()) say();
    insist(from, say, tries - 1);
  }, PATIENCE);
}

function make(tag, text, more = {}) {
  const element = Object.assign(document.createElement(tag), more);
  element.textContent = text;
  return element;
}

function draw() {
  const { data, go, leave, again, parentElement } = shown;
  const { scene, scenes } = data;
  const button = (text, label, onclick, disabled = false) => {
    const made = make("button", text, { type: "button", title: label, onclick, disabled });
    made.setAttribute("aria-label", label);
    return made;
  };
  const halves = button("◐", "High contrast", contrast);
  halves.setAttribute("aria-pressed", String(hasContrast()));
  const jump = make("select", "", { onchange: (event) => go(Number(event.target.value)) });
  jump.setAttribute("aria-label", "Jump to a scene");
  jump.append(...scenes.map((each, i) => make("option", `${i + 1}  ${each.title}`, { value: i + 1 })));
  jump.value = scene;
  const row = make("div", "", { className: "row" });
  row.append(
    button("‹", "Previous scene", () => go(scene - 1), scene === 1),
    make("span", `${scene} / ${scenes.length}`, { className: "number" }),
    button("›", "Next scene", () => go(scene + 1), scene === scenes.length),
    jump,
    make("span", "", { className: "gap" }),
    button("Scene’s sentence", "Show the scene as the lecture has it", again),
    button("Notes", "Open the presenter’s window", notes),
    halves,
    button("Full screen", "Full screen (f)", full),
    button("×", "Leave the lecture (Escape)", leave),
  );
  const stage = make("section", "", { className: "stage" });
  stage.setAttribute("aria-label", data.title);
  stage.append(
    row,
    make("h1", scenes[scene - 1].title),
    make("p", data.caption, { className: "caption" }),
    make("p", data.problem, { className: "problem" }),
  );
  parentElement.querySelector(".stage")?.remove();
  parentElement.append(stage);
}

function write(names) {
  const url = new URL(location);
  for (const [name, text] of Object.entries(names)) {
    if (text === null) url.searchParams.delete(name);
    else url.searchParams.set(name, text);
  }
  if (url.href !== location.href) history.pushState(history.state, "", url);
}

// High contrast ----------------------------------------------------------------------------------------------------------

const hasContrast = () => document.documentElement.hasAttribute(CONTRAST);

/** Black and white, whichever way round the page is now: components read colours as text, so each is written out. */
function setContrast(on) {
  const app = document.querySelector("[data-testid=stApp]");
  if (on) document.documentElement.setAttribute(CONTRAST, getComputedStyle(app).colorScheme === "dark" ? "dark" : "light");
  else document.documentElement.removeAttribute(CONTRAST);
}

function contrast() {
  setContrast(!hasContrast());
  shown.parentElement.querySelector("[aria-pressed]").setAttribute("aria-pressed", String(hasContrast()));
}

function notes() {
  const address = `${location.pathname}?lecture=${encodeURIComponent(shown.data.lecture)}&notes=1`;
  open(address, "gptviz-notes", "popup,width=900,height=620");
}

function full() {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen();
}

// The presenter's window ------------------------------------------------------------------------------------------------

function tell() {
  const { lecture, title, scene, scenes } = shown.data;
  globalThis.gptvizChannel.postMessage({ lecture, title, scene, scenes });
}

function hear({ data }) {
  if (!shown || data.lecture !== shown.data.lecture) return;
  if (data.hello) tell();
  else if (data.step) shown.go(shown.data.scene + data.step);
}

// Keys, fingers, Back -----------------------------------------------------------------------------------------------------

function listen() {
  if (globalThis.gptvizChannel) return; // mounted once more, in the same document
  globalThis.gptvizChannel = new BroadcastChannel("gptviz-lecture");
  globalThis.gptvizChannel.onmessage = hear;
  addEventListener("keydown", press, true); // before a lesson that hears arrows wherever they are pressed
  addEventListener("popstate", () => setTimeout(came, 300));
  let start = null;
  addEventListener("touchstart", ({ touches }) => (start = touches.length === 1 ? touches[0] : null), { passive: true });
  addEventListener("touchend", ({ changedTouches: [end], target }) => {
    if (!shown || !start || target.closest?.(".js-plotly-plot, .gptviz-sideways, .gptviz-view")) return;
    const across = end.clientX - start.clientX;
    if (Math.abs(across) > SWIPE && Math.abs(across) > 2 * Math.abs(end.clientY - start.clientY)) {
      shown.go(shown.data.scene - Math.sign(across));
    }
  });
}

function press(event) {
  if (!shown || event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
  const path = event.composedPath().filter((element) => element.matches);
  if (path.some((element) => element.matches(TYPED))) return;
  const inBar = path.some((element) => element.matches(".stage"));
  if (!inBar && event.key.startsWith("Arrow") && path.some((element) => element.matches(OWN_ARROWS))) return;
  const { go, leave, data } = shown;
  if (event.key in KEYS) go(data.scene + KEYS[event.key]);
  else if (event.key === "Home") go(1);
  else if (event.key === "End") go(data.scenes.length);
  else if (event.key === "f") full();
  else if (event.key === "Escape" && !document.fullscreenElement) leave();
  else return;
  event.preventDefault();
  event.stopPropagation();
}

function came() {
  const scene = Number(new URL(location).searchParams.get("scene"));
  if (shown && scene) shown.go(scene);
}
