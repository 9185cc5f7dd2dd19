// The parts of a translation on its page, and what a pointer and the keys do in them. Tokens are only ever text.

import { go, start, stop } from "./translate.js";
import { paint, resize } from "./translate_paint.js";
import { cellAt } from "./translate_pictures.js";
import { stepped } from "./translate_state.js";

export const SIDES = ["encoder", "decoder", "cross"];
const TITLES = {
  encoder: ["Encoder self-attention", "query: German ↓, keys: German →"],
  decoder: ["Decoder, masked", "query: read last ↓, keys: read so far →"],
  cross: ["Cross-attention", "query: written next ↓, keys: German →"],
};

export function element(parent, tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  parent.appendChild(made);
  return made;
}

function button(parent, text, title, onClick) {
  const made = element(parent, "button", "", text);
  made.type = "button";
  made.title = title;
  made.onclick = onClick;
  return made;
}

export function build(parentElement, view) {
  const root = element(parentElement, "div", "translate");
  const parts = { root, ...buildBar(root, view) };
  parts.scroller = element(root, "div", "scroller");
  parts.strips = element(parts.scroller, "div", "strips");
  parts.bands = element(parts.strips, "canvas", "bands");
  parts.bands.setAttribute("aria-hidden", "true");
  parts.source = buildStrip(parts.strips, view, "source", "German");
  parts.output = buildStrip(parts.strips, view, "output", "English");
  parts.words = element(root, "div", "words");
  parts.words.setAttribute("role", "status");
  const lower = element(root, "div", "lower");
  const maps = element(lower, "div", "maps");
  parts.maps = Object.fromEntries(SIDES.map((side) => [side, buildMap(maps, view, side)]));
  parts.panel = element(lower, "div", "panel");
  parts.legend = buildLegend(root);
  view.resized = new ResizeObserver(() => view.data && resize(view));
  view.resized.observe(root);
  view.onKey = (event) => onKey(event, view, root);
  document.addEventListener("keydown", view.onKey);
  return parts;
}

/** Play, back, slider, next, whole; and the text as far as it is written. */
function buildBar(root, view) {
  const bar = element(root, "div", "bar");
  const move = (by) => () => go(view, stepped(view.step, by, view.T));
  const play = button(bar, "▶ Play", "Write it token by token", () => (view.playing ? stop(view) : start(view)));
  const back = button(bar, "← Back", "One token back (left arrow key)", move(-1));
  const slider = element(bar, "input");
  Object.assign(slider, { type: "range", min: 1, oninput: () => go(view, stepped(1, slider.value - 1, view.T)) });
  slider.setAttribute("aria-label", "Step");
  const next = button(bar, "Next →", "One token on (right arrow key)", move(1));
  const whole = button(bar, "Whole", "The whole translation", () => go(view, 0));
  const place = element(bar, "output");
  const line = element(root, "div", "line");
  const text = element(line, "div", "text");
  const [here, later] = [element(text, "span"), element(text, "span", "later")];
  const copy = button(line, "Copy", "Copy the whole translation", () => copyText(copy, view.data.texts.at(-1)));
  return { play, back, slider, next, whole, place, text, here, later, copy };
}

function buildStrip(parent, view, side, label) {
  const strip = element(parent, "div", `strip ${side}`);
  strip.setAttribute("role", "group");
  strip.setAttribute("aria-label", `${label} tokens`);
  const placeOf = (event) => {
    const chip = event.target.closest(".token");
    return chip && { side, at: Number(chip.dataset.at) };
  };
  const point = (place) => {
    view.pointed = place;
    paint(view);
  };
  strip.onpointerover = (event) => event.pointerType === "mouse" && point(placeOf(event));
  strip.onpointerleave = (event) => event.pointerType === "mouse" && point(null);
  strip.addEventListener("focusin", (event) => event.target.matches(":focus-visible") && point(placeOf(event)));
  strip.addEventListener("focusout", () => point(null));
  strip.onclick = (event) => {
    const place = placeOf(event);
    if (!place) return;
    if (event.detail) event.target.closest("button").blur(); // clicked, not reached with Tab: arrow keys go on stepping
    view.pinned = view.pinned?.side === side && view.pinned.at === place.at ? null : place;
    paint(view);
  };
  strip.onkeydown = (event) => moveFocus(event, strip);
  return strip;
}

function buildMap(parent, view, side) {
  const figure = element(parent, "figure", side);
  const [title, rows] = TITLES[side];
  const caption = element(figure, "figcaption");
  element(caption, "strong", "", title);
  element(caption, "small", "", rows);
  const canvas = element(figure, "canvas");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${title}; arrow keys go from cell to cell`);
  const mark = (place) => {
    view.cell = place && { side, ...place };
    paint(view);
  };
  const at = (event) => cellAt(view.maps[side], event.offsetX, event.offsetY);
  canvas.onmousedown = (event) => event.preventDefault(); // takes no focus, either
  canvas.onpointermove = canvas.onpointerdown = (event) => mark(at(event));
  canvas.onpointerleave = (event) => event.pointerType === "mouse" && mark(null);
  canvas.onblur = () => mark(null);
  canvas.onkeydown = (event) => {
    const by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!by) return;
    event.preventDefault();
    const { row, column } = view.cell?.side === side ? view.cell : { row: -by[0], column: -by[1] };
    const within = (value, names) => Math.min(names.length - 1, Math.max(0, value));
    mark({ row: within(row + by[0], view.maps[side].rows), column: within(column + by[1], view.maps[side].columns) });
  };
  return canvas;
}

function buildLegend(root) {
  const legend = element(root, "div", "legend");
  const scale = element(legend, "span", "scale");
  const bar = element(scale, "span", "ramp");
  for (const weight of [0, 0.05, 0.25, 0.5, 1]) {
    element(scale, "small", "", String(weight)).style.left = `${100 * Math.sqrt(weight)}%`;
  }
  element(legend, "span", "", "attention weight, its square root as colour, everywhere on this page the same");
  for (const [name, text] of [["masked", "masked: comes later"], ["", "not written yet"]]) {
    const entry = element(legend, "span", "entry");
    element(entry, "span", `swatch ${name}`);
    element(entry, "span", "", text);
  }
  return bar;
}

/** The arrow keys step, unless what has the focus has a use for them. */
function onKey(event, view, root) {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (event.key === "Escape" && view.pinned) {
    view.pinned = null;
    paint(view);
  }
  const busy = "input, textarea, select, [contenteditable], [role=radiogroup] *, [role=slider], [role=grid] *, " +
    "[role=tab], [role=listbox] *, .token, canvas";
  const target = event.composedPath()[0];
  const modified = event.ctrlKey || event.altKey || event.metaKey || event.shiftKey;
  if (!by || modified || event.defaultPrevented || target.closest?.(busy) || !root.isConnected) return;
  event.preventDefault();
  go(view, stepped(view.step, by, view.T));
}

function moveFocus(event, strip) {
  const chips = [...strip.children].filter((chip) => !chip.classList.contains("later"));
  const at = chips.indexOf(event.target);
  const steps = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0 };
  const to = event.key === "End" ? chips.length - 1 : steps[event.key];
  if (at < 0 || to === undefined) return;
  event.preventDefault();
  if (!chips[to]) return;
  chips[at].tabIndex = -1;
  chips[to].tabIndex = 0;
  chips[to].focus();
}

async function copyText(copy, text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // no permission, or a page that is not on localhost and has no https
    const box = element(copy.parentElement, "textarea");
    box.value = text;
    box.select();
    document.execCommand("copy");
    box.remove();
  }
  copy.textContent = "Copied";
  setTimeout(() => (copy.textContent = "Copy"), 1500);
}

export function fillStrips({ parts, data }) {
  for (const [strip, tokens] of [[parts.source, data.source], [parts.output, data.written]]) {
    const chips = tokens.map((token, at) => {
      const chip = document.createElement("button");
      Object.assign(chip, { type: "button", className: "token", tabIndex: at ? -1 : 0 });
      chip.dataset.at = at;
      chip.classList.toggle("end", token === data.end);
      element(chip, "bdi", "", token);
      chip.number = element(chip, "small");
      return chip;
    });
    strip.replaceChildren(...chips);
  }
}
