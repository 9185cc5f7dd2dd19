// Lines: queries on the left, keys on the right, a line per weight that is kept, and the numbers where they end.

import { cutText, drawTip, rowIsWrong } from "./canvas.js";
import { errorColours, headColours } from "./colour.js";
import { columnsGeometry, hitLine, hitToken, lineEnds, lineOpacity, lineSet } from "./lines.js";
import { roughText, rowAt, shortText } from "./payload.js";
import { isCrowded, massOf } from "./state.js";
import { headText } from "./words.js";

const ROW = { least: 24, most: 46 }; // CSS pixels: few tokens share the height that there is
const LARGE_ROW = 34; // from here on there is room for larger letters
const STEPS = 32; // of opacity
const TOP = 26; // the names of the two columns, which stay in place
const NUMBER = 54; // width of one head's numbers
const MOST_CELLS = 1 << 16; // see `isLong`

/** The heads that are drawn together, pinned ones first, each with its colour. @returns {{i, colour}[]} */
export function drawnHeads(state, header, dark) {
  const chosen = state.layer * header.H + state.head;
  const heads = state.pins.includes(chosen) ? state.pins : [...state.pins, chosen];
  const colours = headColours(heads.length, dark);
  return heads.map((i, n) => ({ i, colour: colours[n] }));
}

/** Widths of the columns: a token, the numbers beside it, and the lines with the rest. */
export function layoutLines(view) {
  const { header } = view.dataset;
  const heads = drawnHeads(view.state, header, view.theme.dark);
  const half = view.width / 2 - 45; // the lines need some room
  const numbers = Math.max(1, Math.min(heads.length, Math.floor((half * 0.55) / NUMBER)));
  const each = Math.floor((view.height - TOP - 6) / Math.max(header.T, header.S));
  const row = Math.max(ROW.least, Math.min(ROW.most, each));
  const longest = longestToken(view, row);
  const margin = Math.min(longest + 16 + numbers * NUMBER, half);
  const geometry = columnsGeometry({ T: header.T, S: header.S, width: view.width, margin, row, top: TOP });
  return { geometry, heads, numbers, margin, contentHeight: geometry.height + 6 };
}

/** Width of the longest token in CSS pixels; long ones are cut, and measured once per dataset and font. */
function longestToken(view, row) {
  const { header } = view.dataset;
  const font = tokenFont(view.theme, row);
  const key = `${header.id} ${font}`;
  if (view.longest?.key !== key) {
    const context = view.overlay.getContext("2d");
    context.font = font;
    const lengths = [...header.queries, ...(header.keys ?? [])].map((token) => Math.min(token.length, 30));
    view.longest = { key, width: context.measureText("0".repeat(Math.max(1, ...lengths))).width };
  }
  return view.longest.width;
}

function tokenFont(theme, row, bold = false) {
  return `${bold ? "700 " : ""}${row < LARGE_ROW ? 15 : 18}px ${theme.code}`;
}

/** Paint all lines that are kept, or those of the chosen tokens. */
export function paintLines(view, context) {
  const layout = (view.lines = layoutLines(view));
  context.clearRect(0, 0, view.width, view.height);
  const sets = linesOf(view, layout, null);
  layout.sets = sets;
  const { queries, keys } = view.state;
  paintSets(view, context, layout, sets, queries.length + keys.length > 0 ? { queries, keys } : null);
}

/** How many lines are drawn, of how many, and what share of the attention they hold. */
export function drawnText(view) {
  const sum = (of) => view.lines.sets.reduce((total, set) => total + of(set), 0);
  const { header } = view.dataset;
  const all = sum((set) => set.rows.count);
  const mass = sum((set) => set.rows.mass);
  if (!all) return "";
  const held = sum((set) => set.lines.reduce((total, { w }) => total + w, 0));
  const number = (n) => n.toLocaleString("en");
  const which = `each ${header.axes[0]}${isLong(header) ? " in sight" : ""}`;
  const rule = `the fewest that hold ${Math.round(100 * massOf(view.state, header))} % of ${which}`;
  const lines = `${number(sum((set) => set.lines.length))} of ${number(all)} lines`;
  return `${lines}, ${Math.round((100 * held) / mass)} % of the attention: ${rule}`;
}

/** Only the lines of the token under the pointer, with their numbers; over the others. */
export function paintLinesHover(view, context) {
  context.clearRect(0, 0, view.width, view.height);
  const { lines: layout, theme } = view;
  const hover = view.hover ?? linesCursor(view.state);
  if (!layout || !hover) return;
  if (hover.tip) {
    drawTip(context, theme, hover.tip, hover.x, hover.y, view.width, view.height);
    return;
  }
  context.fillStyle = theme.background;
  context.fillRect(0, 0, view.width, view.height);
  const chosen = hover.side === "query" ? { queries: [hover.at], keys: [] } : { queries: [], keys: [hover.at] };
  paintSets(view, context, layout, linesOf(view, layout, hover), chosen);
}

/** The token that the keyboard is on, or null. */
function linesCursor({ cell: [q, k] }) {
  if (q === null && k === null) return null;
  return q === null ? { side: "key", at: k } : { side: "query", at: q };
}

/** Where to scroll so that the token of the keyboard, or else the first chosen one, is in sight. */
export function revealToken(view) {
  const { geometry } = (view.lines = layoutLines(view));
  const { queries, keys } = view.state;
  const first = queries.length ? { side: "query", at: queries[0] } : keys.length ? { side: "key", at: keys[0] } : null;
  const token = linesCursor(view.state) ?? first;
  if (!token) return view.scrollTop;
  const [y, { row }] = [geometry.y(token.side, token.at), geometry];
  if (y - row < view.scrollTop + TOP) return Math.max(0, y - TOP - row);
  return y + row > view.scrollTop + view.height ? y + row - view.height : view.scrollTop;
}

/**
 * The kept lines of each drawn head: [{i, colour, lines, rows}], see `rowsOf`; only those of a token where one is
 * hovered. Of long texts only the queries in sight have lines: thousands of others would cross the picture.
 */
function linesOf(view, layout, hovered) {
  const { dataset, state } = view;
  const { T, S } = dataset.header;
  const { queries, keys } = state;
  const mass = massOf(state, dataset.header);
  const [first, last] = inSight(view, layout.geometry, T);
  const one = hovered?.side === "query" || (!hovered && queries.length > 0);
  const window = isLong(dataset.header) && !one ? [Math.min(first, last), last, 0, S] : null;
  return layout.heads.map(({ i, colour }) => {
    if (isLong(dataset.header) || one) {
      const rows = rowsOf(view, i);
      const given = { row: rows.of, T, queries, keys, mass, hovered, window };
      return { i, colour, lines: lineSet(given), rows };
    }
    const { lines, rows } = allLines(view, i, mass);
    const ends = hovered ? [hovered.at] : keys;
    return { i, colour, lines: ends.length ? lines.filter(({ k }) => ends.includes(k)) : lines, rows };
  });
}

/** The first and the end of n tokens of a column that are in sight. */
function inSight(view, { row }, n) {
  const first = Math.max(0, Math.floor((view.scrollTop - TOP) / row));
  return [first, Math.min(n, Math.ceil((view.scrollTop + view.height) / row))];
}

/** Whether a text has more cells than can all be drawn as lines at once. */
function isLong({ T, S }) {
  return T * S > MOST_CELLS;
}

/** All lines of a head, kept until the data or the threshold is another: the pointer asks for them at every move. */
function allLines(view, i, mass) {
  const { dataset } = view;
  const key = `${dataset.id} ${mass} ${dataset.exact.length} ${dataset.heads.size}`;
  if (view.kept?.key !== key) view.kept = { key, heads: new Map() };
  let found = view.kept.heads.get(i);
  if (!found) {
    const rows = rowsOf(view, i);
    found = { lines: lineSet({ row: rows.of, T: dataset.header.T, mass }), rows };
    view.kept.heads.set(i, found);
  }
  return found;
}

/**
 * The rows of a head, and what is known of those that were asked for: whether all came from exact windows, how many of
 * their weights are not 0, and what these sum to.
 * @returns {{of: function(number): ?Float32Array, exact: boolean, count: number, mass: number}}
 */
function rowsOf(view, i) {
  const rows = { exact: true, count: 0, mass: 0 };
  rows.of = (q) => {
    const row = rowAt(view.dataset, i, q);
    if (!row) view.needHead(i);
    if (!row?.exact) rows.exact = false;
    if (!row || rowIsWrong(view.dataset, i, q)) return null;
    for (const w of row.weights) {
      if (w > 0) rows.count += 1;
      rows.mass += w;
    }
    return row.weights;
  };
  return rows;
}

function paintSets(view, context, layout, sets, chosen) {
  const { geometry } = layout;
  context.save();
  context.beginPath();
  context.rect(0, TOP, view.width, view.height - TOP);
  context.clip();
  sets.forEach((set, slot) => strokeLines(view, context, geometry, set, slot, sets.length));
  const strong = chosen && { query: new Set(chosen.queries), key: new Set(chosen.keys) };
  paintColumn(view, context, layout, "query", strong?.query);
  paintColumn(view, context, layout, "key", strong?.key);
  if (chosen) paintLineNumbers(view, context, layout, sets, chosen);
  context.restore();
  paintTitles(view, context, geometry);
}

/** Lines by opacity, in few steps: one stroke per step and not per line. Opacity is the weight's and nothing else's. */
function strokeLines(view, context, geometry, { colour, lines }, slot, slots) {
  const crowded = isCrowded(view.dataset.header);
  const steps = Array.from({ length: STEPS + 1 }, () => []);
  for (const line of lines) {
    const ends = lineEnds(geometry, line, slot, slots);
    const [top, bottom] = [Math.min(ends[1], ends[3]), Math.max(ends[1], ends[3])];
    if (bottom < view.scrollTop || top > view.scrollTop + view.height) continue;
    steps[Math.round(STEPS * lineOpacity(line.w, crowded))].push(ends);
  }
  context.strokeStyle = colour;
  steps.forEach((ends, step) => {
    if (!ends.length) return;
    context.globalAlpha = step / STEPS;
    context.lineWidth = 1 + (2 * step) / STEPS;
    context.beginPath();
    for (const [x0, y0, x1, y1] of ends) {
      context.moveTo(x0 + 3, y0 - view.scrollTop);
      context.lineTo(x1 - 3, y1 - view.scrollTop);
    }
    context.stroke();
  });
  context.globalAlpha = 1;
}

function paintColumn(view, context, layout, side, strong) {
  const { header } = view.dataset;
  const { geometry, margin, numbers } = layout;
  const { theme } = view;
  const tokens = side === "query" ? header.queries : (header.keys ?? header.queries);
  const [first, last] = inSight(view, geometry, tokens.length);
  context.textAlign = side === "query" ? "right" : "left";
  context.textBaseline = "middle";
  const x = side === "query" ? geometry.left - 5 : geometry.right + 5;
  const room = margin - 12 - numbers * NUMBER;
  for (let at = first; at < last; at++) {
    const bold = strong?.has(at) ?? false;
    context.font = tokenFont(theme, geometry.row, bold);
    const wrong = side === "query" && layout.heads.some(({ i }) => rowIsWrong(view.dataset, i, at));
    context.fillStyle = wrong ? `rgb(${errorColours()[0].join(" ")})` : bold ? theme[side] : theme.text;
    const text = cutText(context, wrong ? `error ${tokens[at]}` : tokens[at], room);
    context.fillText(text, x, geometry.y(side, at) - view.scrollTop);
  }
}

/** Where lines of the chosen tokens end, their weights: a column of numbers per head, outermost of all. */
function paintLineNumbers(view, context, layout, sets, { queries, keys }) {
  const { geometry, numbers } = layout;
  context.textBaseline = "middle";
  context.font = `13px ${view.theme.font}`;
  sets.slice(-numbers).forEach((set, column, shown) => {
    context.fillStyle = set.colour;
    const write = (side, at, w) => {
      const outer = (shown.length - 1 - column) * NUMBER + 4;
      context.textAlign = side === "key" ? "right" : "left";
      const x = side === "key" ? view.width - outer : outer;
      const y = geometry.y(side, at) - view.scrollTop;
      const seen = y > -geometry.row && y < view.height + geometry.row;
      if (seen) context.fillText(lineNumber(w, set.rows.exact), x, y);
    };
    if (queries.length) endSums(set.lines, "k").forEach((w, at) => write("key", at, w));
    else if (keys.length) endSums(set.lines, "q").forEach((w, at) => write("query", at, w));
  });
}

/** Weights that end at each token, added up where several of the chosen ones look at it. */
function endSums(lines, end) {
  const sums = new Map();
  for (const line of lines) sums.set(line[end], (sums.get(line[end]) ?? 0) + line.w);
  return sums;
}

function lineNumber(w, exact) {
  return exact ? shortText(w, 3) : roughText(w);
}

function paintTitles(view, context, geometry) {
  const { axes } = view.dataset.header;
  context.fillStyle = view.theme.background;
  context.fillRect(0, 0, view.width, TOP);
  context.font = `700 14px ${view.theme.font}`;
  context.textBaseline = "middle";
  context.fillStyle = view.theme.query;
  context.textAlign = "right";
  context.fillText(axes[0], geometry.left - 5, TOP / 2);
  context.fillStyle = view.theme.key;
  context.textAlign = "left";
  context.fillText(axes[1], geometry.right + 5, TOP / 2);
}

/** Pointer over the lines: a token shows its own lines, a click chooses it, a line says its weight. */
export function pointLines(view, kind, event) {
  const layout = view.lines;
  if (!layout) return;
  const [x, y] = [event.x, event.y + view.scrollTop];
  const token = event.y < TOP ? null : hitToken(layout.geometry, x, y);
  if (kind === "hover") view.setHover(token ? { ...token } : tipOfLine(view, layout, event, y));
  if (kind === "click" && token) view.act({ type: "toggle", side: token.side, at: token.at });
}

/** What the line nearest to the pointer is; the head drawn last lies on top. */
function tipOfLine(view, layout, event, y) {
  const { header } = view.dataset;
  const sets = linesOf(view, layout, null);
  for (let slot = sets.length - 1; slot >= 0; slot--) {
    const { i, lines, rows } = sets[slot];
    const n = hitLine(layout.geometry, lines, event.x, y, 4, slot, sets.length);
    if (n < 0) continue;
    const { q, k, w } = lines[n];
    const keys = header.keys ?? header.queries;
    const what = `${header.axes[0]} ${q} ${header.queries[q]} → ${header.axes[1]} ${k} ${keys[k]}`;
    return { tip: [`${headText(header.names[i])}  ${lineNumber(w, rows.exact)}`, what], x: event.x, y: event.y };
  }
  return null;
}
