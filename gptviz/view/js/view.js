// The attention view on a page: one root element with a toolbar, a picture, a legend and a line of words.
//
// One object keeps what belongs together and is read by the four pictures: the dataset, the state, the theme, the
// sizes, and what the pointer is over. A change of state is painted before the event that caused it ends.

import { fitCanvas, followPointers, makeCanvas, pixelLook, readTheme } from "./canvas.js";
import { drawnHeads, isLong, layoutLines, paintLines, paintLinesHover, pointLines, revealToken } from "./lines_view.js";
import { layoutMatrix, paintMatrix, paintMatrixHover, placeOfCell, pointMatrix, pointedCell } from "./matrix.js";
import {
  layoutOverview, paintOverview, paintOverviewHover, placeOfHead, pointOverview, revealHead,
} from "./overview.js";
import { exactWindow, viewOf, views } from "./payload.js";
import { buildSentence, buildStrip, keepInSight, wordsOf } from "./sentence.js";
import { chosenHead, initialState, keyAction, reduce, sharedState } from "./state.js";
import { buildHelp, buildLegend, buildToolbar, element } from "./toolbar.js";

const LATER = 150; // milliseconds that a hand may still move before the host is told or asked
const ASK_AGAIN = 4000;
const CONTINUOUS = new Set(["pan", "zoom", "mass", "move", "step"]); // actions that come in dozens
const LARGEST_WINDOW = 128; // cells a side that a host sends exactly

const PICTURES = {
  overview: {
    layout: layoutOverview, paint: paintOverview, hover: paintOverviewHover, point: pointOverview, reveal: revealHead,
    where: placeOfHead,
  },
  matrix: { layout: layoutMatrix, paint: paintMatrix, hover: paintMatrixHover, point: pointMatrix, where: placeOfCell },
  lines: { layout: layoutLines, paint: paintLines, hover: paintLinesHover, point: pointLines, reveal: revealToken },
};

/**
 * Show a dataset in an element. The dataset may arrive later, see `putBlob`.
 * @param {HTMLElement} root
 * @param {Object} given
 * @param {string} given.id of the dataset
 * @param {Object} [given.state] any part of a state, see state.js
 * @param {function(Object): void} [given.onState] told of every change that the reader makes
 * @param {function(Object): void} [given.onNeed] asked for {head: [i, ...]} or {window: [i, q0, q1, k0, k1]}; the
 *   answers come through `putBlob`
 * @param {boolean} [given.dark] the host's theme; if not given, that of the browser
 * @param {number} [given.height] of the whole view in CSS pixels
 * @returns {{update: function({id, state, dark}): void, destroy: function(): void, where: function}}
 *   `where({head, q, k})` is the middle of a head's panel or of a cell, in pixels of the window
 */
export function mount(root, given) {
  const view = new AttentionPicture(root, given);
  return {
    update: (changed) => view.update(changed),
    destroy: () => view.destroy(),
    where: (place) => view.where(place),
  };
}

class AttentionPicture {
  constructor(root, { id, state = {}, onState, onNeed, dark, height = 640 }) {
    Object.assign(this, { root, id, onState, onNeed, givenState: state, givenDark: dark, state: null, dataset: null });
    Object.assign(this, { hover: null, band: null, panning: null, focused: false, scrollTop: 0, painted: 0 });
    Object.assign(this, { width: 0, height: 0, ratio: 1, derived: new WeakMap(), divided: new Map() });
    Object.assign(this, { asked: new Map(), pending: new Map(), sent: [], received: null, timers: {} });
    root.classList.add("gptviz-view");
    root.style.height = `${height}px`;
    this.build();
    this.listen();
    this.setTheme();
    this.paint();
  }

  build() {
    const { root } = this;
    root.replaceChildren();
    const tools = {
      zoomIn: () => this.act({ type: "zoom", factor: 1.5 }),
      zoomOut: () => this.act({ type: "zoom", factor: 1 / 1.5 }),
      help: () => this.toggleHelp(),
      fullScreen: () => this.toggleFullScreen(),
    };
    this.toolbar = buildToolbar(root, (action) => this.act(action), tools);
    this.legend = buildLegend(root);
    this.body = element(root, "div", "gptviz-body");
    this.strip = buildStrip(this.body);
    const stage = element(this.body, "div", "gptviz-stage");
    this.scroller = element(stage, "div", "gptviz-scroller");
    this.scroller.tabIndex = 0;
    this.scroller.setAttribute("role", "application");
    this.spacer = element(this.scroller, "div", "gptviz-spacer");
    this.pane = element(this.spacer, "div", "gptviz-pane");
    this.picture = makeCanvas(this.pane, "gptviz-picture");
    this.picture.setAttribute("role", "img");
    this.overlay = makeCanvas(this.pane, "gptviz-overlay");
    this.overlay.setAttribute("aria-hidden", "true");
    this.sentence = buildSentence(this.spacer, (side, at) => this.act({ type: "toggle", side, at }));
    this.empty = element(stage, "p", "gptviz-empty", "Waiting for the attention weights …");
    this.status = element(root, "div", "gptviz-status");
    this.status.setAttribute("role", "status");
    this.status.setAttribute("aria-live", "polite");
    this.help = buildHelp(root, () => this.toggleHelp());
  }

  listen() {
    const stop = (this.stopper = new AbortController());
    const { signal } = stop;
    this.root.addEventListener("keydown", (event) => this.onKey(event), { signal });
    followPointers(this.scroller, (kind, event) => this.point(kind, event), signal);
    this.scroller.addEventListener("scroll", () => this.onScroll(), { signal });
    this.scroller.addEventListener("focus", () => this.setFocused(this.scroller.matches(":focus-visible")), { signal });
    this.scroller.addEventListener("blur", () => this.setFocused(false), { signal });
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", () => this.repaintAll(), { signal });
    this.resizes = new ResizeObserver(() => this.onResize());
    this.resizes.observe(this.scroller);
    this.onData = (id) => id === this.id && this.paint();
    views().listeners.add(this.onData);
  }

  destroy() {
    this.stopper.abort();
    this.resizes.disconnect();
    views().listeners.delete(this.onData);
    Object.values(this.timers).forEach(clearTimeout);
    this.root.replaceChildren();
    this.root.classList.remove("gptviz-view");
  }

  // From the host ---------------------------------------------------------------------------------------------------

  update({ id = this.id, state, dark = this.givenDark }) {
    const themed = dark !== this.givenDark;
    Object.assign(this, { id, givenDark: dark });
    if (themed) this.setTheme();
    const dataset = viewOf(id);
    if (state && (!dataset || !this.state)) this.givenState = state;
    else if (state) this.receive(state, dataset.header);
    this.paint();
  }

  /** A state from the host: an echo of what was sent from here is no news, least of all one that is out of date. */
  receive(state, header) {
    const text = JSON.stringify(sharedState(initialState(header, state)));
    if (text === this.received) return;
    this.received = text;
    const echo = this.sent.indexOf(text);
    this.sent.splice(0, echo + 1);
    if (echo >= 0) return;
    this.sent = [];
    this.state = initialState(header, { ...state, cell: this.state.cell });
    this.reveals = true;
  }

  // To the host -----------------------------------------------------------------------------------------------------

  /** Change the state and paint it; then tell the host. */
  act(action) {
    if (!this.state) return;
    const before = JSON.stringify(sharedState(this.state));
    this.state = reduce(this.state, action, this.dataset.header);
    this.reveals = !["pan", "zoom", "window", "mass", "toggle"].includes(action.type);
    this.paint();
    if (JSON.stringify(sharedState(this.state)) === before) return;
    clearTimeout(this.timers.tell);
    if (CONTINUOUS.has(action.type)) this.timers.tell = setTimeout(() => this.tell(), LATER);
    else this.tell();
  }

  tell() {
    const state = sharedState(this.state);
    this.sent = [...this.sent.slice(-20), JSON.stringify(state)];
    this.onState?.(state);
  }

  needHead(i) {
    if (this.dataset.header.factor > 1 && !this.dataset.heads.has(i)) this.ask(`head ${i}`, `head ${i}`, { head: [i] });
  }

  /** Exact weights: at most 128 x 128, or one row or column. Of the windows of a head only the last is asked for. */
  needWindow(i, q0, q1, k0, k1) {
    const strip = q1 - q0 === 1 || k1 - k0 === 1;
    if (!strip && Math.max(q1 - q0, k1 - k0) > LARGEST_WINDOW) return;
    if (exactWindow(this.dataset, i, q0, q1, k0, k1)) return;
    const window = [i, q0, q1, k0, k1];
    this.ask(strip ? window.join(" ") : `window ${i}`, window.join(" "), { window });
  }

  ask(slot, key, request) {
    if (!this.onNeed || performance.now() - (this.asked.get(`${this.id} ${key}`) ?? -ASK_AGAIN) < ASK_AGAIN) return;
    this.pending.set(slot, { key, request });
    clearTimeout(this.timers.ask);
    this.timers.ask = setTimeout(() => this.sendAsked(), LATER / 3);
  }

  sendAsked() {
    const requests = [...this.pending.values()];
    this.pending.clear();
    for (const { key } of requests) this.asked.set(`${this.id} ${key}`, performance.now());
    const head = requests.flatMap(({ request }) => request.head ?? []);
    if (head.length) this.onNeed({ head });
    for (const { request } of requests) if (request.window) this.onNeed(request);
  }

  // Painting --------------------------------------------------------------------------------------------------------

  setTheme() {
    const dark = this.givenDark ?? matchMedia("(prefers-color-scheme: dark)").matches;
    this.root.dataset.theme = dark ? "dark" : "light";
    this.theme = readTheme(this.root, dark);
    this.looks = null;
  }

  repaintAll() {
    this.setTheme();
    this.paint();
  }

  largest() {
    const { largest } = this.dataset.header;
    return largest > 0 && largest < 1 ? largest : 1;
  }

  /** Colours of codes; made once per scale, theme and dataset. */
  look() {
    const given = { scale: this.state.scale, largest: this.largest(), dark: this.theme.dark };
    const key = JSON.stringify(given);
    if (this.looks?.key !== key) this.looks = { key, look: pixelLook(given) };
    return this.looks.look;
  }

  chosen() {
    return chosenHead(this.state, this.dataset.header);
  }

  othersPinned() {
    return this.state.pins.some((i) => i !== this.chosen());
  }

  /** Everything: controls, words and picture. */
  paint() {
    const dataset = viewOf(this.id);
    this.empty.hidden = Boolean(dataset ?? this.dataset);
    if (!dataset) return; // what was there stays until the new one arrives
    if (dataset !== this.dataset) this.adopt(dataset);
    const { state, root } = this;
    if (root.dataset.mode !== state.mode) {
      Object.assign(this, { hover: null, band: null, panning: null, revealed: null, reveals: true });
    }
    const { id, names } = dataset.header;
    Object.assign(root.dataset, { id, mode: state.mode, head: names[this.chosen()] });
    this.paintChrome();
    this.draw();
    root.dataset.painted = String(++this.painted);
  }

  adopt(dataset) {
    this.dataset = dataset;
    Object.assign(this, { hover: null, band: null, panning: null, reveals: true });
    this.state = initialState(dataset.header, this.state ? { ...this.state, ...this.givenState } : this.givenState);
    this.givenState = {};
    this.anyMasked = dataset.codes.includes(0);
    const title = dataset.header.title ? `${dataset.header.title}: ` : "";
    this.scroller.setAttribute("aria-label", `${title}attention of every head. Press ? for the keys`);
  }

  paintChrome() {
    const { state, dataset, theme } = this;
    const { header } = dataset;
    this.toolbar.update(state, header);
    this.strip.element.hidden = state.mode !== "matrix";
    if (state.mode === "matrix") this.strip.update(header);
    // One matrix is square and a screen is wide: the sentence stands beside it.
    const beside = state.mode === "matrix" && !this.othersPinned() && this.root.clientWidth > 900;
    this.body.classList.toggle("is-wide", beside);
    const sentence = state.mode === "sentence";
    this.pane.hidden = sentence;
    this.sentence.element.hidden = !sentence;
    const colours = sentence ? this.sentence.paint(this) : null;
    const heads = state.mode === "lines" ? drawnHeads(state, header, theme.dark) : [];
    const largest = colours ? colours.top : this.largest();
    const masked = this.anyMasked && !sentence;
    const own = colours?.legend ?? null;
    this.legend.update({ state, header, theme, heads, largest, masked, own, long: isLong(header) });
    const words = wordsOf(this);
    if (this.status.textContent !== words) this.status.textContent = words;
    this.picture.setAttribute("aria-label", words);
  }

  /** The picture alone, at the size that there is. */
  draw() {
    const { state, scroller, spacer } = this;
    const picture = PICTURES[state.mode];
    this.ratio = globalThis.devicePixelRatio || 1;
    this.height = scroller.clientHeight;
    this.width = scroller.clientWidth;
    if (!this.width || !this.height || !picture) {
      spacer.style.height = "";
      return;
    }
    spacer.style.height = `${picture.layout(this).contentHeight}px`;
    this.width = scroller.clientWidth; // a scroll bar may have come or gone
    if (this.reveals && picture.reveal) {
      this.scrollTop = scroller.scrollTop;
      scroller.scrollTop = picture.reveal(this);
    }
    this.reveals = false;
    this.scrollTop = scroller.scrollTop;
    this.pane.style.height = `${this.height}px`;
    picture.paint(this, fitCanvas(this.picture, this.width, this.height, this.ratio));
    const part = state.window ?? [0, this.dataset.header.T, 0, this.dataset.header.S];
    const exact = Boolean(exactWindow(this.dataset, this.chosen(), ...part));
    Object.assign(this.root.dataset, { cells: part.join("-"), exact });
    this.drawHover();
  }

  drawHover() {
    const picture = PICTURES[this.state?.mode];
    if (!picture || !this.width) return;
    picture.hover(this, fitCanvas(this.overlay, this.width, this.height, this.ratio));
    if (this.state.mode === "matrix") this.strip.mark(pointedCell(this));
  }

  // Pointer, keys, sizes --------------------------------------------------------------------------------------------

  point(kind, event) {
    if (!this.state) return;
    if (kind === "leave") this.setHover(null);
    else PICTURES[this.state.mode]?.point(this, kind, event);
  }

  setHover(hover) {
    if (!hover && !this.hover) return;
    this.hover = hover;
    this.drawHover();
    clearTimeout(this.timers.rest);
    const q = hover?.q ?? (hover?.side === "query" ? hover.at : undefined);
    if (q === undefined) return;
    const ask = () => this.needWindow(hover.i ?? this.chosen(), q, q + 1, 0, this.dataset.header.S);
    this.timers.rest = setTimeout(ask, LATER); // exact numbers where the pointer rests
  }

  setBand(band) {
    this.band = band;
    this.drawHover();
  }

  setFocused(focused) {
    this.focused = focused;
    if (this.dataset) this.drawHover();
  }

  reveal(token) {
    if (this.revealed === token) return;
    this.revealed = token;
    keepInSight(this.scroller, token, token.offsetTop);
  }

  onKey(event) {
    const action = this.state && keyAction(event, this.state);
    if (!action) return;
    event.preventDefault();
    event.stopPropagation(); // the host has keys of its own
    this.hover = null;
    if (action.type === "help") this.toggleHelp();
    else if (action.type === "fullScreen") this.toggleFullScreen();
    else this.act(action.type === "move" ? { ...action, columns: this.overview?.columns } : action);
  }

  onScroll() {
    if (!this.dataset || this.scroller.scrollTop === this.scrollTop) return;
    this.hover = null;
    this.draw();
  }

  onResize() {
    const { clientWidth, clientHeight } = this.scroller;
    const same = clientWidth === this.width && clientHeight === this.height && devicePixelRatio === this.ratio;
    if (this.dataset && !same) this.paint();
  }

  toggleHelp() {
    this.help.toggle(!this.help.open);
    if (!this.help.open) this.scroller.focus();
  }

  /** The browser's full screen, or the whole window where it has none. */
  toggleFullScreen() {
    const { root } = this;
    if (document.fullscreenElement) document.exitFullscreen();
    else if (root.requestFullscreen) root.requestFullscreen().catch(() => root.classList.toggle("is-full"));
    else root.classList.toggle("is-full");
  }

  where({ head, q, k }) {
    const box = this.pane.getBoundingClientRect();
    const picture = PICTURES[this.state.mode];
    const [x, y] = picture.where ? picture.where(this, { head, q, k }) : [this.width / 2, this.height / 2];
    return { x: box.left + x, y: box.top + y };
  }
}
