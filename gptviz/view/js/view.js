// The attention view on a page: one root element with a toolbar, a picture, a legend and a line of words.
//
// One object keeps what belongs together and is read by the four pictures: the dataset, the state, the theme, the
// sizes, and what the pointer is over. A change of state is painted before the event that caused it ends.

import { fitCanvas, pixelLook, readTheme } from "./canvas.js";
import { buildFrame } from "./frame.js";
import { FullScreen } from "./full_screen.js";
import { Host } from "./host.js";
import { keyAction } from "./keys.js";
import { drawnHeads } from "./lines_view.js";
import { pointedCell } from "./matrix.js";
import { Needs } from "./needs.js";
import { exactWindow, viewOf, views } from "./payload.js";
import { PICTURES } from "./pictures.js";
import { followPointers } from "./pointers.js";
import { keepInSight, wordsOf } from "./sentence.js";
import { chosenHead, initialState, isSingle, reduce, sharedState } from "./state.js";
import { sortText } from "./toolbar.js";

const POINTER_RESTS = 150; // milliseconds
const CONTINUOUS = new Set(["pan", "zoom", "mass", "move", "step"]); // actions that come in dozens

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
    Object.assign(this, { root, id, givenState: state, givenDark: dark, state: null, dataset: null });
    Object.assign(this, { hover: null, band: null, panning: null, focused: false, scrollTop: 0, painted: 0 });
    Object.assign(this, { width: 0, height: 0, ratio: 1, derived: new WeakMap(), divided: new Map() });
    Object.assign(this, { needs: new Needs(onNeed), host: new Host(onState), news: "", rest: null });
    root.classList.add("gptviz-view");
    root.style.height = `${height}px`;
    this.build();
    this.listen();
    this.setTheme();
    this.paint();
  }

  build() {
    const tools = {
      zoomIn: () => this.act({ type: "zoom", factor: 1.5 }),
      zoomOut: () => this.act({ type: "zoom", factor: 1 / 1.5 }),
      help: () => this.toggleHelp(),
      fullScreen: () => this.fullScreen.toggle(),
    };
    Object.assign(this, buildFrame(this.root, (action) => this.act(action), tools));
  }

  listen() {
    const stop = (this.stopper = new AbortController());
    const { signal } = stop;
    this.fullScreen = new FullScreen(this.root, signal);
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
    clearTimeout(this.rest);
    this.host.stop();
    this.needs.stop();
    this.root.replaceChildren();
    this.root.classList.remove("gptviz-view");
    this.fullScreen.leave();
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

  receive(state, header) {
    if (!this.host.isNews(sharedState(initialState(header, state)))) return;
    this.state = initialState(header, { ...state, cell: this.state.cell });
    this.reveals = true;
  }

  // To the host -----------------------------------------------------------------------------------------------------

  /** Change the state and paint it; then tell the host. */
  act(action) {
    if (!this.state) return;
    const { header } = this.dataset;
    const shared = () => sharedState(this.state);
    const before = JSON.stringify(shared());
    this.state = reduce(this.state, action, header);
    this.news = action.type === "sort" && !isSingle(header) ? `${sortText(this.state.sort, header)} ` : "";
    this.reveals = !["pan", "zoom", "window", "mass", "toggle"].includes(action.type);
    this.paint();
    if (JSON.stringify(shared()) !== before) this.host.tell(shared, CONTINUOUS.has(action.type));
  }

  needHead(i) {
    this.needs.head(this.dataset, i);
  }

  needWindow(...window) {
    this.needs.window(this.dataset, ...window);
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
    const beside = state.mode === "matrix" && !this.othersPinned() && this.root.clientWidth > 760;
    this.body.classList.toggle("is-wide", beside);
    const sentence = state.mode === "sentence";
    this.pane.hidden = sentence;
    this.sentence.element.hidden = !sentence;
    const colours = sentence ? this.sentence.paint(this) : null;
    const heads = state.mode === "lines" ? drawnHeads(state, header, theme.dark) : [];
    const largest = colours ? colours.top : this.largest();
    const masked = this.anyMasked && !sentence;
    const own = colours?.legend ?? null;
    this.legend.update({ state, header, theme, heads, largest, masked, own });
    const words = this.news + wordsOf(this);
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
      this.markRest();
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
    if (picture.note) this.legend.note(picture.note(this));
    this.markRest();
    this.drawHover();
  }

  /** Show that there is more below what is in sight. */
  markRest() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    this.stage.classList.toggle("has-more", scrollHeight - scrollTop - clientHeight > 8);
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
    clearTimeout(this.rest);
    const q = hover?.q ?? (hover?.side === "query" ? hover.at : undefined);
    if (q === undefined) return;
    const ask = () => this.needWindow(hover.i ?? this.chosen(), q, q + 1, 0, this.dataset.header.S);
    this.rest = setTimeout(ask, POINTER_RESTS); // exact numbers where the pointer rests
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
    const left = event.key === "Escape" && this.fullScreen.tookEscape();
    const action = this.state && keyAction(event, this.state);
    if (!action && !left) return;
    event.preventDefault();
    event.stopPropagation(); // the host has keys of its own
    this.hover = null;
    if (left) this.drawHover();
    else if (action.type === "help") this.toggleHelp();
    else if (action.type === "fullScreen") this.fullScreen.toggle();
    else this.act(action.type === "move" ? { ...action, columns: this.overview?.columns } : action);
  }

  onScroll() {
    if (this.dataset) this.markRest();
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

  where({ head, q, k }) {
    const box = this.pane.getBoundingClientRect();
    const picture = PICTURES[this.state.mode];
    const [x, y] = picture.where ? picture.where(this, { head, q, k }) : [this.width / 2, this.height / 2];
    return { x: box.left + x, y: box.top + y };
  }
}
