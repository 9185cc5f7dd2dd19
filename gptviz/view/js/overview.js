// The overview: every head of every layer as a small picture, all on one colour scale.

import { drawTip, overviewImage } from "./canvas.js";
import { headColours } from "./colour.js";
import { gridLayout, hitGrid } from "./layout.js";
import { badgeParts, labelPanel } from "./overview_labels.js";
import { order } from "./state.js";
import { headText, inUnit } from "./words.js";

const GAP = 10; // CSS pixels between panels, room for the ring around the chosen one
const UNDER = { label: 37, side: 0 }; // room for the text of each panel: two lines under it,
const BESIDE = { label: 0, side: 100 }; // or five lines to the right of it
const LEAST_BESIDE = 88; // height of a panel with five lines beside it
const EDGE = 6;
const LEAST = 64; // width of a panel: a thumb hits it;
const LEAST_IN_LAYERS = 56; // a little less where a row then holds a whole layer
const LARGEST = 340;

/** Where each head is drawn: boxes in the order of the screen, and `heads`, the head of each box. */
export function layoutOverview(view) {
  const { header } = view.dataset;
  const { width, height, state } = view;
  const heads = order(header, state.sort);
  const ratio = Math.min(2, Math.max(0.5, header.T / header.S));
  const given = { n: heads.length, width: width - 2 * EDGE, height: height - 2 * EDGE, ratio, gap: GAP, min: LEAST };
  const grid = gridLayout({ ...given, ...arrangement(given, state.sort === "place" ? header.H : 1) });
  return { ...grid, heads, contentHeight: grid.height + 2 * EDGE };
}

/**
 * As large as lets all heads be seen at once, if that is large enough to see anything; with the text under or beside
 * them, whichever leaves them more room. In the model's own order a row holds whole layers, of `H` heads.
 */
function arrangement(given, H) {
  const under = largestGrid(given, UNDER, H);
  const beside = largestGrid(given, BESIDE, H);
  const best = beside.size > under.size && beside.size * given.ratio >= LEAST_BESIDE ? beside : under;
  if (best.size >= LEAST) return { ...best.text, columns: best.columns, min: best.least, max: Math.floor(best.size) };
  return { ...UNDER, columns: under.layers ? H : undefined, min: under.least, max: 110 };
}

/** The number of columns at which panels are largest, with room for a text at each. */
function largestGrid({ n, width, height, ratio, gap, min }, text, H) {
  const columnSize = (columns) => Math.floor((width - gap * (columns - 1)) / columns) - text.side;
  const layers = H > 1 && columnSize(H) >= LEAST_IN_LAYERS;
  const [step, least] = layers ? [H, LEAST_IN_LAYERS] : [1, min];
  let best = { size: 0, columns: step };
  for (let columns = step; columns <= n && columnSize(columns) >= least; columns += step) {
    const rows = Math.ceil(n / columns);
    const size = Math.min(columnSize(columns), ((height + gap) / rows - gap - text.label) / ratio, LARGEST);
    if (size > best.size) best = { size, columns };
  }
  return { ...best, layers, least, text };
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
    if (box.y + box.h + layout.label < 0 || box.y - GAP > view.height) return;
    paintPanel(view, context, head, box);
    const pin = state.pins.includes(head) ? pins[state.pins.indexOf(head)] : null;
    labelPanel(view, context, head, box, pin, layout.side);
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
  const { kind } = header.heads;
  const lines = [headText(header.names[head]) + (kind[head] && ` · ${kind[head]}`), `entropy ${entropy} bits`];
  if (header.heads.distance) lines.push(`mean distance ${distance} tokens`);
  lines.push(`mass on the first token ${first}`);
  for (const [n, line] of lines.entries()) if (n) lines[n] = inUnit(line, header);
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
  const bottom = box.y + box.h + layout.label + GAP;
  return bottom > view.scrollTop + view.height ? bottom - view.height : view.scrollTop;
}

/** The middle of a head's panel, in CSS pixels of the stage. */
export function placeOfHead(view, { head }) {
  const box = boxOf(view.overview, view.overview.heads.indexOf(head), view.scrollTop);
  return [box.x + box.w / 2, box.y + box.h / 2];
}
