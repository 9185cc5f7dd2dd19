// The overview: every head of every layer as a small picture, all on one colour scale.

import { cutText, drawTip, overviewImage, pinDisc } from "./canvas.js";
import { headColours } from "./colour.js";
import { gridLayout, hitGrid } from "./layout.js";
import { order } from "./state.js";

const GAP = 10; // CSS pixels between panels, room for the ring around the chosen one
const LABEL = 35; // height of the two lines of text that each panel has
const EDGE = 6;
const SHORT_KINDS = { "previous token": "prev", "first token": "1st", diagonal: "diag", spread: "", error: "error" };

/** Where each head is drawn: boxes in the order of the screen, and `heads`, the head of each box. */
export function layoutOverview(view) {
  const { header } = view.dataset;
  const { width, height, state } = view;
  const heads = order(header, state.sort);
  const ratio = Math.min(2, Math.max(0.5, header.T / header.S));
  const given = { n: heads.length, width: width - 2 * EDGE, ratio, gap: GAP, label: LABEL, min: 64 };
  const grid = gridLayout({ ...given, ...wantedColumns(given, header, state, height) });
  return { ...grid, heads, contentHeight: grid.height + 2 * EDGE };
}

/**
 * As large as lets all heads be seen at once, if that is large enough to see anything. In the model's own order a row
 * holds whole layers.
 */
function wantedColumns({ n, width, ratio, gap, label, min }, header, state, height) {
  const columnSize = (columns) => Math.floor((width - gap * (columns - 1)) / columns);
  const layers = state.sort === "place" && header.H > 1 && columnSize(header.H) >= min;
  const step = layers ? header.H : 1;
  let best = { size: 0, columns: step };
  for (let columns = step; columns <= n && columnSize(columns) >= min; columns += step) {
    const size = Math.min(columnSize(columns), (height / Math.ceil(n / columns) - label - gap) / ratio, 340);
    if (size > best.size) best = { size, columns };
  }
  if (best.size >= min) return { columns: best.columns, max: Math.floor(best.size) };
  return { columns: layers ? header.H : undefined, max: 110 };
}

/** Paint the panels that are in sight. */
export function paintOverview(view, context) {
  const layout = (view.overview = layoutOverview(view));
  const { header } = view.dataset;
  const { state, theme } = view;
  const top = view.scrollTop;
  context.clearRect(0, 0, view.width, view.height);
  const pins = headColours(state.pins.length, theme.dark);
  const chosen = state.layer * header.H + state.head;
  layout.heads.forEach((head, n) => {
    const box = boxOf(layout, n, top);
    if (box.y + box.h + LABEL < 0 || box.y - LABEL > view.height) return;
    paintPanel(view, context, head, box);
    labelPanel(view, context, head, box, state.pins.includes(head) ? pins[state.pins.indexOf(head)] : null);
    if (head !== chosen) return;
    context.strokeStyle = theme.primary;
    context.lineWidth = 3;
    context.strokeRect(box.x - 3.5, box.y - 3.5, box.w + 7, box.h + 7);
  });
}

function boxOf(layout, n, top) {
  const { x, y, w, h } = layout.boxes[n];
  return { x: x + EDGE, y: y + EDGE - top, w, h };
}

function paintPanel(view, context, head, box) {
  const { ratio } = view;
  const [w, h] = [Math.max(1, Math.round(box.w * ratio)), Math.max(1, Math.round(box.h * ratio))];
  context.putImageData(panelImage(view, head, w, h), Math.round(box.x * ratio), Math.round(box.y * ratio));
}

/** One image a panel, kept until the data, the scale, the theme or the size is another. */
function panelImage(view, head, w, h) {
  const { state, theme, dataset } = view;
  const kind = `${dataset.header.id} ${state.scale} ${theme.dark} ${w} ${h}`;
  if (view.panels?.kind !== kind) view.panels = { kind, images: new Map() };
  let image = view.panels.images.get(head);
  if (!image) {
    image = overviewImage(view, head, w, h, Math.max(2, Math.round(3 * view.ratio)));
    view.panels.images.set(head, image);
  }
  return image;
}

function labelPanel(view, context, head, box, pinColour) {
  const { header } = view.dataset;
  const { theme, state } = view;
  const large = box.w >= 92;
  const size = large ? 13 : 11;
  let left = box.x;
  context.textBaseline = "alphabetic";
  if (pinColour) {
    pinDisc(context, pinColour, left + 5, box.y + box.h + 11, 5);
    left += 14;
  }
  context.textAlign = "left";
  context.fillStyle = theme.text;
  context.font = `700 ${size}px ${theme.font}`;
  context.fillText(header.names[head], left, box.y + box.h + 15);
  const used = left - box.x + context.measureText(header.names[head]).width + 6;
  context.font = `${size - 1}px ${theme.font}`;
  const kind = header.heads.kind[head];
  const word = large ? kind.replace(/ token$|^spread$/, "") : (SHORT_KINDS[kind] ?? kind);
  context.textAlign = "right";
  context.fillStyle = kind === "error" ? (theme.dark ? "#ff7ad1" : "#a8117a") : theme.muted;
  if (word) context.fillText(cutText(context, word, box.w - used), box.x + box.w, box.y + box.h + 15);
  paintBadge(context, theme, header.heads, head, box, state.sort);
}

/** The three numbers of a head in three columns; the one that heads are sorted by stands out. */
function paintBadge(context, theme, heads, head, box, sort) {
  const size = box.w >= 92 ? 12 : 10.5;
  const parts = badgeParts(heads, head);
  const places = ["left", "center", "right"];
  parts.forEach(([name, text], n) => {
    const by = name === sort;
    context.font = `${by ? "700 " : ""}${size}px ${theme.font}`;
    context.fillStyle = by ? theme.text : theme.muted;
    context.textAlign = places[n];
    context.fillText(text, box.x + (box.w * n) / 2, box.y + box.h + 30);
  });
}

function badgeParts(heads, head) {
  const short = (value) => (value === null || !Number.isFinite(value) ? "–" : value.toFixed(value < 10 ? 1 : 0));
  const first = heads.first[head];
  return [
    ["entropy", short(heads.entropy[head])],
    ["distance", heads.distance ? short(heads.distance[head]) : "–"],
    ["first", first === null || !Number.isFinite(first) ? "–" : `${Math.round(100 * first)}%`],
  ];
}

/** Only what follows the pointer and the keyboard: a frame around the head under it, and what it is. */
export function paintOverviewHover(view, context) {
  context.clearRect(0, 0, view.width, view.height);
  const { hover, theme, overview: layout } = view;
  if (!layout) return;
  if (view.focused) {
    const { state, dataset } = view;
    const box = boxOf(layout, layout.heads.indexOf(state.layer * dataset.header.H + state.head), view.scrollTop);
    context.strokeStyle = theme.text;
    context.lineWidth = 2;
    context.setLineDash([5, 3]);
    context.strokeRect(box.x - 6, box.y - 6, box.w + 12, box.h + 12);
    context.setLineDash([]);
  }
  if (hover?.head === undefined) return;
  const box = boxOf(layout, layout.heads.indexOf(hover.head), view.scrollTop);
  context.strokeStyle = theme.text;
  context.lineWidth = 1.5;
  context.strokeRect(box.x - 1, box.y - 1, box.w + 2, box.h + 2);
  drawTip(context, theme, tipOfHead(view, hover.head), hover.x, hover.y, view.width, view.height);
}

function tipOfHead(view, head) {
  const { header } = view.dataset;
  const [entropy, distance, first] = badgeParts(header.heads, head).map(([, text]) => text);
  const lines = [`head ${header.names[head]} · ${header.heads.kind[head]}`, `entropy ${entropy} bits`];
  if (header.heads.distance) lines.push(`mean distance ${distance} tokens`);
  lines.push(`mass on the first token ${first}`);
  const error = header.errors?.[head];
  return error ? [...lines, `error: ${error}`] : lines;
}

/** The head at a point of the stage, or undefined. */
function headAt(view, x, y) {
  const layout = view.overview;
  if (!layout) return undefined;
  const n = hitGrid(layout, x - EDGE, y + view.scrollTop - EDGE);
  return n < 0 ? undefined : layout.heads[n];
}

/** Pointer over the overview: hover, choose, pin, open. */
export function pointOverview(view, kind, event) {
  const head = headAt(view, event.x, event.y);
  const { H } = view.dataset.header;
  if (kind === "hover") view.setHover(head === undefined ? null : { head, x: event.x, y: event.y });
  if (head === undefined) return;
  const place = { layer: Math.floor(head / H), head: head % H };
  if (kind === "click" && event.shiftKey) view.act({ type: "pin", i: head });
  else if (kind === "click") view.act({ type: "pick", ...place });
  else if (kind === "double") view.act({ type: "open", ...place });
}

/** Where to scroll so that the chosen head is in sight. */
export function revealHead(view) {
  const layout = (view.overview = layoutOverview(view));
  const { state, dataset } = view;
  const n = layout.heads.indexOf(state.layer * dataset.header.H + state.head);
  const box = boxOf(layout, n, 0);
  if (box.y - EDGE < view.scrollTop) return Math.max(0, box.y - EDGE);
  const bottom = box.y + box.h + LABEL + GAP;
  return bottom > view.scrollTop + view.height ? bottom - view.height : view.scrollTop;
}

/** The middle of a head's panel, in CSS pixels of the stage. */
export function placeOfHead(view, { head }) {
  const box = boxOf(view.overview, view.overview.heads.indexOf(head), view.scrollTop);
  return [box.x + box.w / 2, box.y + box.h / 2];
}
