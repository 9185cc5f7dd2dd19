// What is shown: the state of the view and every change of it. Pure: state in, state out. The fields down to `window`
// are those of gptviz.view.ViewState; `cell` stays in the browser.

import { SCALES } from "./colour.js";
import { fitWindow, follow, pan, zoomBy } from "./layout.js";

/**
 * @typedef {Object} State
 * @property {number} layer
 * @property {number} head
 * @property {"overview"|"matrix"|"lines"|"sentence"} mode
 * @property {number[]} queries chosen positions, sorted
 * @property {number[]} keys chosen positions, sorted
 * @property {number[]} pins indices of heads, at most 4, in the order of pinning
 * @property {"linear"|"sqrt"|"row"} scale
 * @property {"place"|"entropy"|"distance"|"first"|"kind"} sort
 * @property {?number} mass share of each row that lines keep, over 0 and up to 1; null: see `massOf`
 * @property {"to"|"from"} way of the sentence: "to" colours the keys that the chosen queries attend to, "from" the
 *   queries from which attention comes to the chosen keys
 * @property {?number[]} window [q0, q1, k0, k1], null for all
 * @property {[?number, ?number]} cell query and key under the cursor; one of them alone is a token
 */

export const VIEW_MODES = ["overview", "matrix", "lines", "sentence"];
const SORT_ORDERS = ["place", "entropy", "distance", "first", "kind"];
const SENTENCE_WAYS = ["to", "from"];
const KINDS = ["previous token", "first token", "diagonal", "spread", "error"];
const MOST_PINS = 4;
export const MASS_STEP = 0.05;
const NOWHERE = [null, null];
const MASS_KEPT = { few: 0.9, many: 0.5 };
const FEW_TOKENS = 64;

/**
 * The state to begin with: what is given, where it fits the data, else the default. Never throws.
 * @param {Object} header of the overview
 * @param {?Object} [asked] any part of a state, from anywhere
 * @returns {State}
 */
export function initialState(header, asked) {
  const given = asked ?? {};
  const { L, H, T, S } = header;
  const among = (value, all) => (all.includes(value) ? value : all[0]);
  const mode = among(given.mode, VIEW_MODES);
  const nearest = (value, n) => Math.min(n - 1, Math.max(0, Math.trunc(value) || 0));
  return {
    layer: nearest(given.layer, L),
    head: nearest(given.head, H),
    mode: isSingle(header) && mode === "overview" ? "matrix" : mode,
    queries: within(given.queries, T).sort((a, b) => a - b),
    keys: within(given.keys, S).sort((a, b) => a - b),
    pins: isSingle(header) ? [] : within(given.pins, L * H).slice(0, MOST_PINS),
    scale: among(given.scale, SCALES),
    sort: among(given.sort, SORT_ORDERS),
    mass: given.mass > 0 && given.mass <= 1 ? thousandths(given.mass) : null,
    way: among(given.way, SENTENCE_WAYS),
    window: fitWindow(given.window, T, S),
    cell: [0, 1].map((side) => within([given.cell?.[side]], [T, S][side])[0] ?? null),
  };
}

/** Whether there is one picture only, such as a mean over heads: then there is nothing to compare it with. */
export function isSingle({ L, H }) {
  return L * H === 1;
}

/** The share of each row that lines keep: what is chosen, else as much as lets structure be seen. */
export function massOf({ mass }, { T, S }) {
  return mass ?? (isCrowded({ T, S }) ? MASS_KEPT.many : MASS_KEPT.few);
}

/** Whether there are so many tokens that lines which hold most of each row would hide each other. */
export function isCrowded({ T, S }) {
  return Math.max(T, S) > FEW_TOKENS;
}

/** The part of the state that the host keeps, in the address of the page and over reruns. */
export function sharedState(state) {
  const { cell, ...shared } = state;
  return shared;
}

/** Those of some values that are whole numbers from 0 to n - 1, each once. */
function within(values, n) {
  const kept = (Array.isArray(values) ? values : []).filter((v) => Number.isInteger(v) && v >= 0 && v < n);
  return [...new Set(kept)];
}

/** The index of the chosen head. */
export function chosenHead(state, header) {
  return state.layer * header.H + state.head;
}

/**
 * The heads in the order of the overview. Entropy and distance begin with the smallest, first-token mass with the
 * largest; heads without a number come last, equal ones in their own order.
 * @returns {number[]} indices of all N heads
 */
export function order(header, sort) {
  const { entropy, distance, first, kind } = header.heads;
  const keys = { entropy, distance, first: first?.map((mass) => (mass === null ? null : -mass)) };
  keys.kind = kind?.map((name) => KINDS.indexOf(name));
  const values = keys[sort];
  const all = Array.from({ length: header.L * header.H }, (_, i) => i);
  const rank = (i) => values[i] ?? Number.MAX_VALUE;
  return values ? all.sort((a, b) => rank(a) - rank(b)) : all;
}

/** What each kind of action changes: (state, action, header) -> the fields that are new. */
const CHANGES = {
  pick: (state, { i, layer, head }, { H }) =>
    i === undefined ? { layer, head } : { layer: Math.floor(i / H), head: i % H },
  step: (state, { by }, header) => stepHead(state, by, header), // along the order of the overview
  move: (state, action, header) => (state.mode === "overview" ? moveHead : moveCell)(state, action, header),
  edge: (state, { end }, header) => moveToEdge(state, end, header), // end: -1 the first, 1 the last
  point: (state, { q = null, k = null }) => ({ cell: [q, k] }),
  open: (state, { layer = state.layer, head = state.head }) =>
    state.mode === "overview" ? { mode: "matrix", layer, head, cell: NOWHERE } : chooseCell(state),
  back: (state) => (hasCursor(state) ? { cell: NOWHERE } : { mode: "overview" }),
  mode: (state, { mode }) => ({ mode, cell: NOWHERE }),
  scale: (state, { scale }) => ({ scale: scale ?? nextOf(SCALES, state.scale) }),
  sort: (state, { sort }) => ({ sort: sort ?? nextOf(SORT_ORDERS, state.sort) }),
  way: (state, { way }) => ({ way: way ?? nextOf(SENTENCE_WAYS, state.way), cell: NOWHERE }),
  pin: (state, { i }, header) => ({ pins: flip(state.pins, i ?? chosenHead(state, header)).slice(-MOST_PINS) }),
  toggle: (state, { side, at }) =>
    side === "key" ? { keys: flip(state.keys, at) } : { queries: flip(state.queries, at) },
  clear: () => ({ queries: [], keys: [], cell: NOWHERE }),
  mass: (state, { mass, by = 0 }, header) => ({
    mass: Math.min(1, Math.max(MASS_STEP, mass ?? massOf(state, header) + by)),
  }),
  window: (state, { window }) => ({ window }),
  zoom: (state, { factor, about }, { T, S }) => ({
    window: zoomBy(state.window, factor, T, S, about ?? cursorOf(state)),
  }),
  pan: (state, { dq, dk }, { T, S }) => ({ window: pan(state.window, dq, dk, T, S) }),
  reset: () => ({ window: null }),
  help: () => ({}), // these two are for the page to do
  fullScreen: () => ({}),
};

/**
 * The state after an action, whole and within the data's limits, whatever the action says.
 * @param {State} state
 * @param {{type: string}} action `CHANGES` shows the fields of each type; "move" takes dx, dy and, in the overview, the
 *   `columns` of its grid
 * @param {Object} header of the overview
 * @returns {State}
 * @throws {Error} if there is no such action
 */
export function reduce(state, action, header) {
  const change = Object.hasOwn(CHANGES, action.type) ? CHANGES[action.type] : null;
  if (!change) throw new Error(`expected an action of ${Object.keys(CHANGES).join(", ")}, found "${action.type}"`);
  return initialState(header, { ...state, ...change(state, action, header) });
}

function nextOf(all, one) {
  return all[(all.indexOf(one) + 1) % all.length];
}

function flip(values, at) {
  return values.includes(at) ? values.filter((value) => value !== at) : [...values, at];
}

function clip(at, n) {
  return Math.min(n - 1, Math.max(0, at));
}

/** Rounded, so that a link stays short and 0.9 + 0.05 is 0.95. */
function thousandths(share) {
  return Math.max(1, Math.round(1000 * share)) / 1000;
}

function stepHead(state, by, header) {
  const heads = order(header, state.sort);
  const to = clip(heads.indexOf(chosenHead(state, header)) + by, heads.length);
  return CHANGES.pick(state, { i: heads[to] }, header);
}

/** Up and down by a row of the grid, left and right by a panel; a step out of the grid is not taken. */
function moveHead(state, { dx, dy, columns }, header) {
  const heads = order(header, state.sort);
  const to = heads.indexOf(chosenHead(state, header)) + dx + dy * (columns ?? header.H);
  return heads[to] === undefined ? {} : CHANGES.pick(state, { i: heads[to] }, header);
}

/** The cursor by cells in a matrix, by tokens elsewhere; the first step only shows it. The window follows it. */
function moveCell(state, { dx, dy }, { T, S }) {
  const [q0, , k0] = state.window ?? [0, T, 0, S];
  const [q, k] = state.cell;
  const along = (at, first, by, n) => (at === null ? first : clip(at + by, n));
  let cell;
  if (state.mode === "matrix") {
    const shown = q !== null && k !== null;
    cell = [along(q, q0, shown ? dy : 0, T), along(k, k0, shown ? dx : 0, S)];
  } else if (state.mode === "lines" && dx) {
    cell = dx > 0 ? [null, clip(k ?? q ?? k0, S)] : [clip(q ?? k ?? q0, T), null]; // to the other column
  } else {
    const by = state.mode === "lines" ? dy : dx + dy;
    cell = cursorSide(state) === "key" ? [null, along(k, k0, by, S)] : [along(q, q0, by, T), null];
  }
  return { cell, window: follow(state.window, cell[0], cell[1], T, S) };
}

/** Where there is one cursor for one token: is that a query or a key? */
function cursorSide(state) {
  if (state.mode === "sentence") return sentenceSides(state.way).chosen;
  return state.cell[1] === null ? "query" : "key";
}

/** What is chosen in the sentence and what is then coloured: the queries or the keys. */
export function sentenceSides(way) {
  return way === "to" ? { chosen: "query", coloured: "key" } : { chosen: "key", coloured: "query" };
}

/**
 * The tokens that the sentence is coloured by: those that are chosen. If none is, the last query, or the first key, at
 * which every query may look: a sentence without colours would say nothing.
 * @returns {{from: string, coloured: string, chosen: number[]}} the sides, query or key, and positions on the first
 */
export function sentenceChoice({ way, queries, keys }, { T }) {
  const { chosen: from, coloured } = sentenceSides(way);
  const [picked, otherwise] = from === "query" ? [queries, T - 1] : [keys, 0];
  return { from, coloured, chosen: picked.length ? picked : [otherwise] };
}

/** To the first or last head, key of the cursor's row, or token. */
function moveToEdge(state, end, header) {
  if (state.mode === "overview") return stepHead(state, end * header.L * header.H, header);
  const far = end * (header.T + header.S);
  const matrix = state.mode === "matrix";
  const start = cursorSide(state) === "key" ? [null, 0] : [0, null]; // for a cursor that is not shown yet
  const cell = matrix ? state.cell.map((at) => at ?? 0) : hasCursor(state) ? state.cell : start;
  return moveCell({ ...state, cell }, matrix ? { dx: far, dy: 0 } : { dx: 0, dy: far }, header);
}

/** The cursor's tokens become chosen, or no longer; in a matrix its query and its key go together. */
function chooseCell({ mode, cell: [q, k], queries, keys }) {
  const together = mode === "matrix" && q !== null && k !== null && queries.includes(q) !== keys.includes(k);
  if (together) return { queries: [...queries, q], keys: [...keys, k] };
  return { queries: q === null ? queries : flip(queries, q), keys: k === null ? keys : flip(keys, k) };
}

export function hasCursor({ cell }) {
  return cell.some((at) => at !== null);
}

function cursorOf({ cell: [q, k] }) {
  return q === null || k === null ? undefined : { q, k };
}
