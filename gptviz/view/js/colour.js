// Weights as colours: one ramp for every picture, three named scales, and what is drawn where there is no weight.
// Pure: takes numbers and codes, gives colours. Lightness rises steadily along the ramp, so that the order of weights
// survives colour blindness and grey print; tests/js/colour.test.mjs checks that.

import { MASKED_CODE, decodeCode } from "./payload.js";

/**
 * @typedef {[number, number, number]} RGB 0 to 255
 * @typedef {{scale: string, largest?: number, rowLargest?: number, dark?: boolean}} Look `largest`: the weight at the
 *   end of the ramp, the same for all heads; `rowLargest`: that of the row, for the scale "row"
 */

/** How a weight becomes a place on the ramp, in the order in which a key cycles through them. */
export const SCALES = ["linear", "sqrt", "row"];

// The stops of SEQUENTIAL in gptviz/figures/style.py, at equal distances from 0 to 1.
const STOPS = [
  [19, 32, 54], [24, 54, 87], [24, 79, 113], [25, 106, 130], [38, 133, 138],
  [74, 160, 139], [127, 186, 138], [188, 210, 146], [250, 236, 173],
];
const MASKED_LIGHT = [229, 229, 232];
const MASKED_DARK = [72, 72, 74];
const ERROR = [235, 0, 255]; // of all magentas the one farthest from the ramp to eyes without red or green cones
const ERROR_STRIPE = [0, 0, 0];
// Okabe and Ito's colours, which the colour-blind can tell apart; on a dark page the brighter ones come first.
const ON_LIGHT = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9"];
const ON_DARK = ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#ffffff", "#f0e442", "#d55e00"];

/** The colour at a place on the ramp. @param {number} share 0 to 1 @returns {RGB} */
export function rampAt(share) {
  const at = Math.min(1, Math.max(0, share)) * (STOPS.length - 1);
  const below = Math.min(Math.floor(at), STOPS.length - 2);
  return STOPS[below].map((channel, c) => Math.round(channel + (STOPS[below + 1][c] - channel) * (at - below)));
}

/** The ramp as 256 opaque colours, (256, 4) bytes; the same on a light and on a dark page, as in all our figures. */
export function ramp() {
  const bytes = new Uint8ClampedArray(4 * 256);
  for (let step = 0; step < 256; step++) bytes.set([...rampAt(step / 255), 255], 4 * step);
  return bytes;
}

/** The place of a weight on the ramp, 0 to 1. @param {Look} look */
export function shareOf(weight, { scale, largest = 1, rowLargest = 1 }) {
  const full = scale === "row" ? rowLargest : largest;
  const share = full > 0 ? Math.min(1, Math.max(0, weight / full)) : 0;
  return scale === "sqrt" ? Math.sqrt(share) : share;
}

/** The colour of a weight; of NaN, that of an error. @param {Look} look @returns {RGB} */
export function colourOf(weight, look) {
  return Number.isNaN(weight) ? [...ERROR] : rampAt(shareOf(weight, look));
}

/** The colour of a masked cell: a neutral grey, which is nowhere on the ramp. A large one may be hatched as well. */
export function maskedColour(dark = false) {
  return [...(dark ? MASKED_DARK : MASKED_LIGHT)];
}

/** The two colours of the stripes that mark an error: no weight looks like that. @returns {[RGB, RGB]} */
export function errorColours() {
  return [[...ERROR], [...ERROR_STRIPE]];
}

/** The colours of all 256 codes. @param {Look} look @returns {RGB[]} */
export function codeTable(look) {
  const colour = (_, code) => (code === MASKED_CODE ? maskedColour(look.dark) : colourOf(decodeCode(code), look));
  return Array.from({ length: 256 }, colour);
}

/** Distinct colours for n heads, as CSS; after seven they begin again. */
export function headColours(n, dark = false) {
  const colours = dark ? ON_DARK : ON_LIGHT;
  return Array.from({ length: n }, (_, i) => colours[i % colours.length]);
}

/** Which scale the colours follow, for the legend. `largest`: the weight at the end of the ramp. */
export function legendText(scale, largest = 1) {
  if (scale === "row") return "colour: each row divided by its own largest weight; rows are not comparable";
  const what = scale === "sqrt" ? "square root of the weight" : "the weight";
  return `colour: ${what}, 0 to ${Number(largest.toPrecision(2))}, the same for all heads`;
}

/** Ticks of the legend's bar. @returns {{at: number, text: string}[]} `at`: the place on the bar, 0 to 1 */
export function legendTicks(scale, largest = 1) {
  if (scale === "row") return [{ at: 0, text: "0" }, { at: 1, text: "largest of the row" }];
  const parts = scale === "sqrt" ? [0, 0.05, 0.25, 0.5, 1] : [0, 0.25, 0.5, 0.75, 1];
  const tick = (part) => ({ at: shareOf(part, { scale }), text: String(Number((part * largest).toPrecision(2))) });
  return parts.map(tick);
}

/** Black or white: whichever is read better on a colour. @param {RGB} background */
export function inkOn(background) {
  return luminanceOf(background) > 0.179 ? "#000000" : "#ffffff"; // at 0.179 both have the same contrast
}

/** Relative luminance of sRGB, 0 to 1 (WCAG 2.2). @param {RGB} colour */
export function luminanceOf(colour) {
  const linear = (c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear(colour[0]) + 0.7152 * linear(colour[1]) + 0.0722 * linear(colour[2]);
}
