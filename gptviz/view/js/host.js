// The conversation with the host about the state: what is told, and what of the answers is news.

const LATER = 150; // milliseconds that a hand may still move before the host is told
const REMEMBERED = 20; // states that were told and may come back

export class Host {
  /** @param {?function(Object): void} onState see `mount` */
  constructor(onState) {
    Object.assign(this, { onState, sent: [], received: null, timer: null });
  }

  /** Tell a state, at once or when the hand rests. `current` gives it at that time. */
  tell(current, later) {
    clearTimeout(this.timer);
    const say = () => {
      const state = current();
      this.sent = [...this.sent.slice(-REMEMBERED), JSON.stringify(state)];
      this.onState?.(state);
    };
    if (later) this.timer = setTimeout(say, LATER);
    else say();
  }

  /** Whether a state from the host is news: an echo of what was told is none, least of all one that is out of date. */
  isNews(state) {
    const text = JSON.stringify(state);
    if (text === this.received) return false;
    this.received = text;
    const echo = this.sent.indexOf(text);
    this.sent = echo < 0 ? [] : this.sent.slice(echo + 1);
    return echo < 0;
  }

  stop() {
    clearTimeout(this.timer);
  }
}
