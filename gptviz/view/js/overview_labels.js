// The text at each small picture of the overview: its name, what kind of head it is, and three numbers.

import { cutText, pinDisc } from "./canvas.js";
import { inUnit } from "./words.js";

const SHORT_KINDS = { "previous token": "prev", "first token": "1st", diagonal: "diag", spread: "" };
const LABEL_LINE = 18; // CSS pixels from one line beside a picture to the next

/** Write the text of a head: two lines under its box, or as many as it needs in the `side` pixels beside it. */
export function labelPanel(view, context, head, box, pinColour, side) {
  const { theme, state, dataset } = view;
  const place = side ? { x: box.x + box.w + 8, y: box.y + 13, width: side - 10 } : placeUnder(box);
  const size = side || box.w >= 120 ? 14 : box.w >= 76 ? 13 : 12;
  context.textBaseline = "alphabetic";
  context.textAlign = "left";
  context.font = `700 ${size}px ${theme.font}`;
  const used = paintHeadName(context, theme, dataset.header.names[head], place, pinColour);
  if (side) paintLabelBeside(view, context, head, place);
  else paintLabelUnder(view, context, head, place, used, state.sort);
}

function placeUnder(box) {
  return { x: box.x, y: box.y + box.h + 15, width: box.w };
}

/** The name, led by the disc of a pinned head. Returns how wide it is. */
function paintHeadName(context, theme, name, { x, y }, pinColour) {
  if (pinColour) pinDisc(context, pinColour, x + 5, y - 4.5, 5);
  const shift = pinColour ? 14 : 0;
  context.fillStyle = theme.text;
  context.fillText(name, x + shift, y);
  return shift + context.measureText(name).width;
}

function kindColour(kind, theme) {
  if (kind !== "error") return theme.muted;
  return theme.dark ? "#ff7ad1" : "#a8117a";
}

/** Under a picture: the kind beside the name, and the three numbers in three columns. */
function paintLabelUnder(view, context, head, { x, y, width }, used, sort) {
  const { header } = view.dataset;
  const { theme } = view;
  const kind = header.heads.kind[head];
  const word = width >= 92 ? kind.replace(/ token$|^spread$/, "") : (SHORT_KINDS[kind] ?? kind);
  const size = width >= 76 ? 12 : 11; // three numbers need as much
  context.font = `${size}px ${theme.font}`;
  context.textAlign = "right";
  context.fillStyle = kindColour(kind, theme);
  if (word) context.fillText(cutText(context, word, width - used - 6), x + width, y);
  const places = ["left", "center", "right"];
  const parts = badgeParts(header.heads, head);
  const tight = context.measureText(parts.map(([, text]) => text).join("  ")).width > width;
  parts.forEach(([name, text], n) => {
    emphasise(context, theme, name === sort, tight ? 10 : size);
    context.textAlign = places[n];
    context.fillText(text, x + (width * n) / 2, y + 16);
  });
}

/** Beside a picture: the kind in words, and each number with its name. */
function paintLabelBeside(view, context, head, { x, y, width }) {
  const { header } = view.dataset;
  const { theme, state } = view;
  const kind = inUnit(header.heads.kind[head], header);
  context.font = `13px ${theme.font}`;
  context.fillStyle = kindColour(kind, theme);
  context.fillText(cutText(context, kind, width), x, y + LABEL_LINE);
  const names = { entropy: "entropy", distance: "distance", first: `first ${header.unit ?? "token"}` };
  badgeParts(header.heads, head).forEach(([name, text], n) => {
    emphasise(context, theme, name === state.sort, 13);
    context.textAlign = "left";
    context.fillText(names[name], x, y + LABEL_LINE * (n + 2));
    context.textAlign = "right";
    context.fillText(text, x + width, y + LABEL_LINE * (n + 2));
  });
}

/** The number that heads are sorted by stands out. */
function emphasise(context, theme, sorted, size) {
  context.font = `${sorted ? "700 " : ""}${size}px ${theme.font}`;
  context.fillStyle = sorted ? theme.text : theme.muted;
}

/** The three numbers of a head as short texts: [name, text]. */
export function badgeParts(heads, head) {
  const short = (value) => (value === null || !Number.isFinite(value) ? "–" : value.toFixed(value < 10 ? 1 : 0));
  const first = heads.first[head];
  return [
    ["entropy", short(heads.entropy[head])],
    ["distance", heads.distance ? short(heads.distance[head]) : "–"],
    ["first", first === null || !Number.isFinite(first) ? "–" : `${Math.round(100 * first)}%`],
  ];
}
