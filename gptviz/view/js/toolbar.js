// The controls above the picture, the legend under them, and the help. All of it real buttons and literal text.

import { errorColours, legendText, legendTicks, maskedColour, ramp } from "./colour.js";
import { KEYS } from "./keys.js";
import { isSingle, massOf } from "./state.js";
import { inUnit } from "./words.js";

const MODE_BUTTONS = [
  ["overview", "Overview", "All heads, small, on one colour scale (1)"],
  ["matrix", "Matrix", "The chosen head, large (2)"],
  ["lines", "Lines", "A line per weight from each query to its keys (3)"],
  ["sentence", "Sentence", "The text, coloured by the attention of the chosen tokens (4)"],
];
const SCALE_BUTTONS = [
  ["linear", "Linear", "Colour: the weight itself"],
  ["sqrt", "√", "Colour: the square root of the weight, which shows small weights"],
  ["row", "Per row", "Colour: each row divided by its own largest weight"],
];
const SORT_OPTIONS = [
  ["place", "by layer"],
  ["entropy", "by entropy"],
  ["distance", "by mean distance"],
  ["first", "by first-token mass"],
  ["kind", "by kind"],
];
const WAY_BUTTONS = [
  ["to", "Attends to", "Colour: how much the chosen tokens attend to each token (w)"],
  ["from", "Attended by", "Colour: how much each token attends to the chosen ones (w)"],
];

/** An element with a class and literal text. */
export function element(parent, tag, className = "", text = "") {
  const made = parent.ownerDocument.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  parent.appendChild(made);
  return made;
}

function button(parent, text, title, onClick) {
  const made = element(parent, "button", "", text);
  made.type = "button";
  made.title = title;
  if (!/\w/.test(text)) made.setAttribute("aria-label", title);
  made.onclick = onClick;
  return made;
}

/** How the heads are sorted, in words. */
export function sortText(sort, header) {
  return `Heads sorted ${inUnit(SORT_OPTIONS.find(([value]) => value === sort)[1], header)}.`;
}

/** Buttons of which one is pressed. Returns a function that presses the one with a value. */
function choice(parent, name, options, onChoose) {
  const group = element(parent, "div", "gptviz-group gptviz-joined");
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", name);
  const buttons = options.map(([value, text, title]) => {
    const made = button(group, text, title, () => onChoose(value));
    made.dataset.value = value;
    return made;
  });
  const press = (value) => buttons.forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.value === value)));
  return { group, press };
}

/**
 * The toolbar. `act` takes actions of state.js, `tools` what is not state: zoom, help, fullScreen.
 * @returns {{update(state, header): void}}
 */
export function buildToolbar(parent, act, tools) {
  const toolbar = element(parent, "div", "gptviz-toolbar");
  toolbar.setAttribute("role", "toolbar");
  toolbar.setAttribute("aria-label", "Attention view");
  const modes = choice(toolbar, "View", MODE_BUTTONS, (mode) => act({ type: "mode", mode }));
  const bar = element(toolbar, "div", "gptviz-tools"); // those of one mode
  const scales = choice(bar, "Colour scale", SCALE_BUTTONS, (scale) => act({ type: "scale", scale }));
  const sort = sortControl(bar, act);
  const mass = massControl(bar, act);
  const ways = choice(bar, "Attention of the chosen tokens", WAY_BUTTONS, (way) => act({ type: "way", way }));
  const zoom = element(bar, "div", "gptviz-group gptviz-joined");
  button(zoom, "−", "Zoom out (−)", tools.zoomOut);
  button(zoom, "+", "Zoom in (+), or drag over the matrix", tools.zoomIn);
  const whole = button(zoom, "All", "The whole matrix (0), or double click", () => act({ type: "reset" }));
  const pin = button(bar, "Pin", "Keep this head beside the others, or no longer (p)", () => act({ type: "pin" }));
  const last = element(toolbar, "div", "gptviz-group gptviz-joined gptviz-push");
  button(last, "?", "Keys and gestures (?)", tools.help);
  fullScreenIcon(button(last, "", "Full screen (f)", tools.fullScreen));
  return {
    update(state, header) {
      modes.press(state.mode);
      modes.group.firstChild.hidden = isSingle(header);
      scales.press(state.scale);
      scales.group.hidden = state.mode === "lines";
      sort.update(state, header);
      mass.update(state, header);
      ways.press(state.way);
      ways.group.hidden = state.mode !== "sentence";
      zoom.hidden = state.mode !== "matrix";
      whole.disabled = !state.window;
      updatePin(pin, state, header);
    },
  };
}

/** Four corners, drawn: not every font has the sign. */
function fullScreenIcon(parent) {
  const svg = (name, given) => {
    const made = parent.ownerDocument.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(given)) made.setAttribute(key, value);
    return made;
  };
  const icon = svg("svg", { width: "16", height: "16", viewBox: "0 0 16 16", "aria-hidden": "true" });
  const d = "M1 6V1h5M10 1h5v5M15 10v5h-5M6 15H1v-5";
  icon.appendChild(svg("path", { d, fill: "none", stroke: "currentColor", "stroke-width": "2" }));
  parent.appendChild(icon);
}

function updatePin(pin, state, header) {
  const i = state.layer * header.H + state.head;
  const pinned = state.pins.includes(i);
  pin.hidden = isSingle(header) || state.mode === "sentence"; // where one head is seen, alone
  pin.textContent = `Pin ${header.names[i]}`;
  pin.setAttribute("aria-pressed", String(pinned));
  pin.disabled = !pinned && state.pins.length >= 4;
}

function sortControl(parent, act) {
  const label = element(parent, "label", "gptviz-sort");
  element(label, "span", "", "Sort");
  const select = element(label, "select");
  for (const [value, text] of SORT_OPTIONS) element(select, "option", "", text).value = value;
  select.onchange = () => act({ type: "sort", sort: select.value });
  return {
    update(state, header) {
      label.hidden = state.mode !== "overview" || isSingle(header);
      for (const [n, [, text]] of SORT_OPTIONS.entries()) select.options[n].textContent = inUnit(text, header);
      select.value = state.sort;
    },
  };
}

function massControl(parent, act) {
  const label = element(parent, "label", "gptviz-mass", "Mass kept");
  label.title = "The fewest lines of each query that hold this share of its attention";
  const slider = element(label, "input");
  Object.assign(slider, { type: "range", min: "0.05", max: "1", step: "0.05" });
  slider.setAttribute("aria-label", "Share of each query's attention that the lines keep");
  const shown = element(label, "output");
  slider.oninput = () => act({ type: "mass", mass: Number(slider.value) });
  return {
    update(state, header) {
      label.hidden = state.mode !== "lines";
      slider.value = String(massOf(state, header));
      shown.textContent = `${Math.round(100 * massOf(state, header))} %`;
    },
  };
}

// Legend --------------------------------------------------------------------------------------------------------------

const NOTES = {
  overview: "at a head: entropy in bits · mean distance in tokens · mass on the first token",
  matrix: "drag to zoom in, double click for all, Shift + drag to move; ? for the keys",
};

/** What the colours mean. `heads` are those drawn as lines; `own` is what to say where the colours are no weights. */
export function buildLegend(parent) {
  const legend = element(parent, "div", "gptviz-legend");
  return {
    update(shown) {
      legend.replaceChildren();
      if (shown.state.mode === "lines") linesLegend(legend, shown);
      else colourLegend(legend, shown);
    },
    /** What is known only when the picture is drawn. */
    note(text) {
      legend.querySelector(".gptviz-note").textContent = text;
    },
  };
}

function colourLegend(legend, { state, header, theme, largest, masked, own }) {
  const scale = element(legend, "span");
  const ticks = legendTicks(state.scale, largest);
  element(scale, "span", "", ticks[0].text);
  drawBar(element(scale, "canvas", "gptviz-bar"), theme.dark);
  element(scale, "span", "", ticks.at(-1).text);
  if (masked) swatch(legend, `rgb(${maskedColour(theme.dark).join(" ")})`, "masked");
  if (Object.keys(header.errors ?? {}).length) swatch(legend, errorStripes(), "error in the data");
  element(legend, "span", "", own ?? legendText(state.scale, largest));
  const rest = NOTES[state.mode];
  if (rest) element(legend, "span", "gptviz-note", inUnit(rest, header));
}

/** The stripes of an error as a CSS background. */
export function errorStripes() {
  const [one, other] = errorColours().map((colour) => `rgb(${colour.join(" ")})`);
  return `repeating-linear-gradient(135deg, ${one} 0 4px, ${other} 4px 8px)`;
}

function swatch(legend, background, text) {
  const made = element(legend, "span");
  element(made, "span", "gptviz-swatch").style.background = background;
  element(made, "span", "", text);
}

function linesLegend(legend, { header, heads }) {
  for (const { i, colour } of heads) {
    const one = element(legend, "span");
    element(one, "span", "gptviz-line").style.background = colour;
    element(one, "strong", "", header.names[i]);
  }
  const [left, right] = header.axes;
  element(legend, "span", "", `${left} left, ${right} right; the stronger the line, the larger the weight`);
  element(legend, "span", "gptviz-note");
}

function drawBar(canvas, dark) {
  const colours = ramp(dark); // (256 * 4)
  [canvas.width, canvas.height] = [256, 1];
  canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(colours), 256, 1), 0, 0);
  canvas.setAttribute("aria-hidden", "true");
}

// Help ----------------------------------------------------------------------------------------------------------------

const GESTURES = [
  ["click", "choose a head, a cell or a token"],
  ["double click", "overview: open the matrix; matrix: show all of it again"],
  ["drag", "matrix: zoom into a part"],
  ["Shift + drag, two fingers", "matrix: move"],
  ["Ctrl + wheel", "matrix: zoom"],
  ["Shift + click", "overview: pin a head"],
];

/** The overlay that says what keys and pointer do. */
export function buildHelp(parent, onClose) {
  const help = element(parent, "div", "gptviz-help");
  help.hidden = true;
  help.tabIndex = -1;
  help.setAttribute("role", "dialog");
  help.setAttribute("aria-label", "Keys and gestures");
  element(help, "h2", "", "Keys");
  definitions(help, KEYS);
  element(help, "h2", "", "Mouse and touch");
  definitions(help, GESTURES);
  const close = button(help, "Close", "Close (Escape)", onClose);
  help.onkeydown = (event) => {
    if (event.key !== "Escape" && event.key !== "?") return;
    event.stopPropagation();
    event.preventDefault();
    onClose();
  };
  return {
    get open() {
      return !help.hidden;
    },
    toggle(open) {
      help.hidden = !open;
      if (open) close.focus();
    },
  };
}

function definitions(parent, pairs) {
  const list = element(parent, "dl");
  for (const [name, meaning] of pairs) {
    element(list, "dt", "", name);
    element(list, "dd", "", meaning);
  }
}
