// The sentence: tokens as text that can be chosen, coloured by attention; and the small strip beside the matrix.

import { rowIsWrong } from "./canvas.js";
import { colourOf, inkOn } from "./colour.js";
import { columnAt, readingAt, roughText, rowAt, shortText } from "./payload.js";
import { sentenceChoice, sentenceSides } from "./state.js";
import { element, errorStripes } from "./toolbar.js";
import { describe, inUnit } from "./words.js";

/** The token lists of a dataset: one where queries and keys are the same text, else two. */
function sidesOf(header) {
  const both = [{ side: "query", tokens: header.queries }, { side: "key", tokens: header.keys }];
  return header.keys ? both : [{ side: "both", tokens: header.queries }];
}

/** Spans or buttons of a list of tokens, literal text all of them. */
function tokenElements(parent, tokens, tag) {
  return tokens.map((text, at) => {
    const made = element(parent, tag, "gptviz-token");
    element(made, "bdi", "", text);
    made.title = `${at}: ${text}`;
    made.dataset.at = String(at);
    return made;
  });
}

// The strip over the matrix -------------------------------------------------------------------------------------------

/** The sentence as a strip, in which the query and the key of the crosshair are marked. */
export function buildStrip(parent) {
  const strip = element(parent, "div", "gptviz-strip");
  strip.setAttribute("aria-hidden", "true"); // the status line says the same in words
  let shown = null;
  let lists = [];
  let marked = [];
  const mark = (side, at, name) => {
    const list = lists.find((one) => one.side === side || one.side === "both");
    const token = list?.elements[at];
    if (!token) return;
    token.classList.add(name);
    marked.push([token, name]);
  };
  return {
    element: strip,
    update(header) {
      if (shown === header.id) return;
      shown = header.id;
      strip.replaceChildren();
      marked = [];
      lists = sidesOf(header).map(({ side, tokens }) => {
        const list = element(strip, "div", "gptviz-tokens");
        if (side !== "both") element(list, "h3", "", header.axes[side === "query" ? 0 : 1]);
        return { side, elements: tokenElements(list, tokens, "span") };
      });
    },
    mark(cell) {
      for (const [token, name] of marked) token.classList.remove(name);
      marked = [];
      if (!cell) return;
      mark("query", cell.q, "is-query");
      mark("key", cell.k, "is-key");
      for (const [token] of marked) keepInSight(strip, token, token.offsetTop - strip.offsetTop);
    },
  };
}

/** Scroll a box so that a token in it is seen, without moving the page as scrollIntoView would. */
export function keepInSight(parent, token, top) {
  if (parent.scrollHeight <= parent.clientHeight) return;
  const bottom = top + token.offsetHeight;
  if (top < parent.scrollTop) parent.scrollTop = top - 4;
  else if (bottom > parent.scrollTop + parent.clientHeight) parent.scrollTop = bottom - parent.clientHeight + 4;
}

// The sentence view ---------------------------------------------------------------------------------------------------

/** What the colours of the sentence are, where they are not those of all pictures; else null. */
function sentenceLegend({ chosen, top }, scale) {
  if (scale === "row") return "colour: divided by the largest number here; heads are not comparable";
  if (chosen.length < 2) return null;
  const what = scale === "sqrt" ? "square root of the sum of the weights" : "the sum of the weights";
  return `colour: ${what}, 0 to ${Number(top.toPrecision(2))}`;
}

/** The sentence with its tokens as buttons; `onToggle(side, at)` when one is clicked. */
export function buildSentence(parent, onToggle) {
  const pane = element(parent, "div", "gptviz-sentence");
  let shown = "";
  let lists = [];
  const rebuild = (view) => {
    const { header } = view.dataset;
    pane.replaceChildren();
    lists = sidesOf(header).map(({ side, tokens }) => {
      const list = element(pane, "div", "gptviz-tokens");
      element(list, "h3");
      const elements = tokenElements(list, tokens, "button");
      for (const token of elements) {
        token.type = "button";
        token.tabIndex = -1; // arrow keys move over tokens: a tab stop each would be hundreds
        token.number = element(token, "small");
      }
      list.onclick = (event) => {
        const token = event.target.closest(".gptviz-token");
        if (token) onToggle(side === "both" ? sentenceSides(view.state.way).chosen : side, Number(token.dataset.at));
      };
      return { side, list, elements };
    });
  };
  return {
    element: pane,
    paint(view) {
      if (shown !== view.dataset.header.id) rebuild(view);
      shown = view.dataset.header.id;
      const colours = sentenceColours(view);
      for (const { side, list, elements } of lists) paintList(view, colours, side, list, elements);
      return { top: colours.top, legend: sentenceLegend(colours, view.state.scale) };
    },
  };
}

/**
 * What the tokens are coloured by: the weights of the chosen tokens, added up.
 * @returns {{sums: ?Float64Array, exact: boolean, top: number, chosen: number[], from: string, coloured: string}}
 *   `sums` of T or S numbers, or null if they are not known yet; `top` the number at the end of the ramp; `from`
 *   and `coloured` the sides, query or key, of what is chosen and of what is coloured
 */
function sentenceColours(view) {
  const { dataset, state } = view;
  const { T, S } = dataset.header;
  const { from, coloured, chosen } = sentenceChoice(state, dataset.header);
  const i = view.chosen();
  const sums = new Float64Array(coloured === "key" ? S : T);
  let exact = true;
  let known = true;
  for (const at of chosen) {
    const found = from === "query" ? rowAt(dataset, i, at) : columnAt(dataset, i, at);
    if (!found?.exact) {
      exact = false;
      if (from === "query") view.needWindow(i, at, at + 1, 0, S);
      else view.needWindow(i, 0, T, at, at + 1);
    }
    if (!found) known = false;
    else if (from === "query" && rowIsWrong(dataset, i, at)) sums.fill(NaN);
    else found.weights.forEach((w, n) => (sums[n] += from === "key" && rowIsWrong(dataset, i, n) ? NaN : w));
  }
  const most = sums.reduce((a, b) => (b > a ? b : a), 0);
  const top = state.scale === "row" ? most : chosen.length > 1 ? Math.max(1, most) : view.largest();
  return { sums: known ? sums : null, exact, top, chosen, from, coloured };
}

function paintList(view, colours, side, list, elements) {
  const { state, theme, dataset } = view;
  const { header } = dataset;
  const coloured = side === "both" || side === colours.coloured;
  list.querySelector("h3").textContent = headline(colours, side, header);
  const own = side === "query" ? state.queries : state.keys;
  const chosen = new Set(side === "both" || side === colours.from ? colours.chosen : own);
  const cursor = side === "key" || (side === "both" && colours.from === "key") ? state.cell[1] : state.cell[0];
  elements.forEach((token, at) => {
    token.setAttribute("aria-pressed", String(chosen.has(at)));
    token.classList.toggle("is-cursor", cursor === at);
    const value = coloured && colours.sums ? colours.sums[at] : null;
    paintToken(token, value, colours, state.scale, theme);
  });
  const at = elements[cursor];
  if (at) view.reveal(at);
}

/** Colour and number of a token; none where nothing is chosen. */
function paintToken(token, value, { exact, top }, scale, theme) {
  const wrong = Number.isNaN(value);
  token.classList.toggle("is-error", wrong);
  if (value === null || wrong) {
    token.style.background = wrong ? errorStripes() : "";
    token.style.color = "";
    token.number.textContent = wrong ? "error" : "\u00a0";
    return;
  }
  const colour = colourOf(value, { scale: scale === "row" ? "linear" : scale, largest: top, dark: theme.dark });
  token.style.background = `rgb(${colour.join(" ")})`;
  token.style.color = inkOn(colour);
  token.number.textContent = exact ? shortText(value, 3) : roughText(value);
}

function headline({ chosen, coloured }, side, { axes, unit }) {
  const name = (which) => axes[which === "query" ? 0 : 1];
  if (side !== "both" && side !== coloured) return `${name(side)}: choose here`;
  const one = chosen.length === 1;
  const they = `the chosen ${inUnit(one ? "token" : "tokens", { unit })}`;
  const what = coloured === "key" ? `how much ${they} attend${one ? "s" : ""} to it` : `how much it attends to ${they}`;
  return `${side === "both" ? "" : `${name(side)}: `}colour and number: ${what}${one ? "" : ", added up"}`;
}

// In words ------------------------------------------------------------------------------------------------------------

/** What a screen reader is told, and anyone else can read: the chosen head, cell or token, and its weights. */
export function wordsOf(view) {
  const { state, dataset } = view;
  const [q, k] = state.cell;
  const { T, S } = dataset.header;
  const i = view.chosen();
  if (q === null && k === null) return describe(state, dataset.header);
  if (q === null) view.needWindow(i, 0, T, k, k + 1);
  else view.needWindow(i, q, q + 1, 0, S);
  if (q !== null && k !== null) return describe(state, dataset.header, readingAt(dataset, i, q, k));
  const row = q === null ? columnAt(dataset, i, k) : rowAt(dataset, i, q);
  return describe(state, dataset.header, null, strongest(row, 3));
}

/** The places and weights of the n largest of a row or column. */
function strongest(row, n) {
  if (!row) return [];
  const places = [...row.weights.keys()].filter((at) => row.weights[at] > 0);
  places.sort((a, b) => row.weights[b] - row.weights[a]);
  const reading = (w) => ({ w, exact: row.exact, masked: false, error: false, block: 1 });
  return places.slice(0, n).map((at) => ({ at, reading: reading(row.weights[at]) }));
}
