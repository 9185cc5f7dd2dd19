// The elements of the view: toolbar, legend, the picture's two canvases, the sentence, the line of words, the help.

import { makeCanvas } from "./canvas.js";
import { buildSentence, buildStrip } from "./sentence.js";
import { buildHelp, buildLegend, buildToolbar, element } from "./toolbar.js";

/**
 * Build them in an empty root.
 * @param {function(Object): void} act takes actions of state.js
 * @param {Object} tools what is not state: zoomIn, zoomOut, help, fullScreen
 * @returns {Object} the elements and controls by name
 */
export function buildFrame(root, act, tools) {
  root.replaceChildren();
  const toolbar = buildToolbar(root, act, tools);
  const legend = buildLegend(root);
  const body = element(root, "div", "gptviz-body");
  const strip = buildStrip(body);
  const stage = element(body, "div", "gptviz-stage");
  const scroller = element(stage, "div", "gptviz-scroller");
  scroller.tabIndex = 0;
  scroller.setAttribute("role", "application");
  const spacer = element(scroller, "div", "gptviz-spacer");
  const pane = element(spacer, "div", "gptviz-pane");
  const picture = makeCanvas(pane, "gptviz-picture");
  picture.setAttribute("role", "img");
  const overlay = makeCanvas(pane, "gptviz-overlay");
  overlay.setAttribute("aria-hidden", "true");
  const sentence = buildSentence(spacer, (side, at) => act({ type: "toggle", side, at }));
  const empty = element(stage, "p", "gptviz-empty", "Waiting for the attention weights …");
  const status = element(root, "div", "gptviz-status");
  status.setAttribute("role", "status");
  status.setAttribute("aria-live", "polite");
  const help = buildHelp(root, tools.help);
  const around = { toolbar, legend, strip, status, help };
  return { ...around, body, stage, scroller, spacer, pane, picture, overlay, sentence, empty };
}
