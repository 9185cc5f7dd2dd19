// What is shown in words, for the status line that a screen reader speaks. Pure.

import { weightText } from "./payload.js";
import { chosenHead, sentenceChoice } from "./state.js";

/** A head as it is called in a sentence; what sums up several has a name of its own. */
export function headText(name) {
  return /^\d/.test(name) ? `head ${name}` : name;
}

/** A text of ours in the data's own unit: words, where tokens are joined into words. */
export function inUnit(text, { unit = "token" }) {
  return text.replaceAll("token", unit);
}

/**
 * The state in words, for the status line that a screen reader speaks.
 * @param {State} state
 * @param {Object} header
 * @param {?Reading} [reading] of the cell under the cursor (see payload.js)
 * @param {{at: number, reading: Reading}[]} [strongest] the largest weights of the token under the cursor
 */
export function describe(state, header, reading = null, strongest = []) {
  const i = chosenHead(state, header);
  const head = headText(header.names[i]).replace(/^h/, "H");
  const error = header.errors?.[i] ? ` Error: ${header.errors[i]}.` : "";
  const [q, k] = state.cell;
  if (state.mode === "overview") return `${head}, ${badgeText(header, i)}${pinText(state, i)}.${error}`;
  if (q !== null && k !== null) {
    const value = reading ? weightText(reading) : "not loaded yet";
    return `${head}, ${tokenText(header, "query", q)}, ${tokenText(header, "key", k)}: ${value}.${error}`;
  }
  if (q !== null || k !== null) return `${head}, ${tokenOf(state, header, strongest)}.${error}`;
  return `${head}, ${state.mode}${pinText(state, i)}.${chosenText(state, header)}${error}`;
}

function badgeText(header, i) {
  const { kind, entropy, distance, first } = header.heads;
  const number = (values, digits) => (Number.isFinite(values?.[i]) ? values[i].toFixed(digits) : null);
  const parts = [[kind?.[i], ""], [number(entropy, 2), "entropy "], [number(distance, 1), "mean distance "]];
  const units = ["", " bits", " tokens"];
  const said = parts.map(([value, before], n) => value && before + value + units[n]).filter(Boolean);
  if (Number.isFinite(first?.[i])) said.push(`${Math.round(100 * first[i])} % on the first token`);
  return inUnit(said.join(", "), header);
}

function pinText(state, i) {
  return state.pins.includes(i) ? ", pinned" : "";
}

/** A token with its side and place: query 3 “dog”. */
function tokenText(header, side, at) {
  const tokens = side === "key" ? header.keys ?? header.queries : header.queries;
  return `${header.axes[side === "key" ? 1 : 0]} ${at} “${tokens[at]}”`;
}

function tokenOf({ cell: [q, k], queries, keys }, header, strongest) {
  const side = k === null ? "query" : "key";
  const [at, chosen] = side === "query" ? [q, queries] : [k, keys];
  const other = side === "query" ? "key" : "query";
  const most = strongest.map((one) => `${tokenText(header, other, one.at)} ${weightText(one.reading)}`);
  const said = most.length ? `: most with ${most.join(", ")}` : "";
  return `${tokenText(header, side, at)}${chosen.includes(at) ? ", chosen" : ""}${said}`;
}

function chosenText(state, header) {
  const { from, chosen } = sentenceChoice(state, header);
  const own = (side, all) => (state.mode === "sentence" && side === from ? chosen : all);
  const [queries, keys] = [own("query", state.queries), own("key", state.keys)];
  const some = (side, all) => all.slice(0, 4).map((at) => tokenText(header, side, at));
  const said = [...some("query", queries), ...some("key", keys)];
  const more = Math.max(0, queries.length - 4) + Math.max(0, keys.length - 4);
  return said.length ? ` Chosen: ${said.join(", ")}${more ? ` and ${more} more` : ""}.` : "";
}
