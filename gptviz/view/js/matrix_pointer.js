// Hands on the matrix: point, choose, span a rubber band, move, zoom.

import { zoomTo } from "./layout.js";
import { TITLE } from "./matrix.js";

function pointedFrameCell(view, x, y, clamp = false) {
  const { axes, frames, width, height } = view.matrix ?? { frames: [] };
  const frame = frames.find((one) => x >= one.x && x < one.x + width && y >= one.y && y < one.y + height) ?? null;
  const inside = clamp ? view.band.frame : frame;
  if (!inside) return null;
  let [left, top] = [x - inside.x, y - inside.y - TITLE];
  if (clamp) {
    left = Math.min(axes.left + axes.size[0] - 0.01, Math.max(axes.left, left));
    top = Math.min(axes.top + axes.size[1] - 0.01, Math.max(axes.top, top));
  }
  const cell = axes.toCell(left, top);
  return cell && { ...cell, i: inside.i, frame: inside };
}

/** Pointer over the matrix: crosshair, choose, rubber band, move, zoom. */
export function pointMatrix(view, kind, event) {
  if (!view.matrix) return;
  const { T, S } = view.dataset.header;
  const cell = pointedFrameCell(view, event.x, event.y, kind === "drag" && view.band !== null);
  if (kind === "hover") view.setHover(cell && { q: cell.q, k: cell.k, i: cell.i, x: event.x, y: event.y });
  else if (kind === "click") clickCell(view, cell);
  else if (kind === "double") view.act({ type: "reset" });
  else if (kind === "dragstart" && event.shiftKey) view.panning = { dq: 0, dk: 0 };
  else if (kind === "dragstart" && cell) view.setBand({ from: cell, to: cell, frame: cell.frame });
  else if (kind === "drag" && view.panning) panBy(view, event.dx, event.dy);
  else if (kind === "drag" && view.band && cell) view.setBand({ ...view.band, to: cell });
  else if (kind === "dragend") endDrag(view, event.cancelled ? null : { T, S });
  else if (kind === "pan") panBy(view, event.dx, event.dy);
  else if (kind === "zoom") view.act({ type: "zoom", factor: event.factor, about: cell ?? undefined });
}

function clickCell(view, cell) {
  if (cell) view.act({ type: "point", q: cell.q, k: cell.k });
}

/** Whole cells only: what is left of a movement waits for the next one. */
function panBy(view, dx, dy) {
  const { cell } = view.matrix.axes;
  const rest = (view.panning ??= { dq: 0, dk: 0 });
  rest.dk -= dx / cell[0];
  rest.dq -= dy / cell[1];
  const whole = (cells) => Math.trunc(cells + 1e-6 * Math.sign(cells)); // so that 3 thirds are 1
  const [dq, dk] = [whole(rest.dq), whole(rest.dk)];
  if (!dq && !dk) return;
  rest.dq -= dq;
  rest.dk -= dk;
  view.act({ type: "pan", dq, dk });
}

function endDrag(view, sizes) {
  const { band } = view;
  view.panning = null;
  if (!band) return;
  view.setBand(null);
  const large = band.from.q !== band.to.q || band.from.k !== band.to.k;
  const window = large && sizes ? zoomTo(band.from, band.to, sizes.T, sizes.S) : null;
  if (window) view.act({ type: "window", window });
}
