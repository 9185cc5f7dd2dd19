// What the view asks its host for: pictures of single heads, and exact weights. Each thing once, a moment after the
// hand that needs it rests, and again only if no answer has come for long.

import { exactWindow } from "./payload.js";

const ASK_AFTER = 50; // milliseconds
const ASK_AGAIN = 4000;
const LARGEST_WINDOW = 128; // cells a side that a host sends exactly

export class Needs {
  /** @param {?function(Object): void} tell the host's ear, see `mount` */
  constructor(tell) {
    Object.assign(this, { tell, asked: new Map(), pending: new Map(), timer: null });
  }

  /** The picture of head i, where the overview has it only pooled. */
  head(dataset, i) {
    if (dataset.header.factor > 1 && !dataset.heads.has(i)) this.ask(dataset, `head ${i}`, `head ${i}`, { head: [i] });
  }

  /** Exact weights: at most 128 x 128, or one row or column. Of the windows of a head only the last is asked for. */
  window(dataset, i, q0, q1, k0, k1) {
    const strip = q1 - q0 === 1 || k1 - k0 === 1;
    if (!strip && Math.max(q1 - q0, k1 - k0) > LARGEST_WINDOW) return;
    if (exactWindow(dataset, i, q0, q1, k0, k1)) return;
    const window = [i, q0, q1, k0, k1];
    this.ask(dataset, strip ? window.join(" ") : `window ${i}`, window.join(" "), { window });
  }

  ask({ id }, slot, name, request) {
    const key = `${id} ${name}`;
    if (!this.tell || performance.now() - (this.asked.get(key) ?? -ASK_AGAIN) < ASK_AGAIN) return;
    this.pending.set(slot, { key, request });
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.send(), ASK_AFTER);
  }

  send() {
    const requests = [...this.pending.values()];
    this.pending.clear();
    for (const { key } of requests) this.asked.set(key, performance.now());
    const head = requests.flatMap(({ request }) => request.head ?? []);
    if (head.length) this.tell({ head });
    for (const { request } of requests) if (request.window) this.tell(request);
  }

  stop() {
    clearTimeout(this.timer);
  }
}
