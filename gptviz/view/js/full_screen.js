// The whole screen for one element; or the whole window, in browsers that give no element the screen, as on an iPhone.

const FULL = "is-full"; // the class of an element that fills the window
const SAME_KEY = 400; // milliseconds: browsers leave full screen by themselves before or after they tell of Escape

export class FullScreen {
  constructor(root, signal) {
    Object.assign(this, { root, left: -SAME_KEY });
    const note = () => {
      if (!this.owner()) this.left = performance.now();
    };
    root.ownerDocument.addEventListener("fullscreenchange", note, { signal });
  }

  /** The element that has the screen, as it is known where the root is: inside a shadow, or on the page. */
  owner() {
    return this.root.getRootNode().fullscreenElement ?? null;
  }

  toggle() {
    const { root } = this;
    const fill = () => root.classList.add(FULL);
    if (this.leave()) return;
    if (root.requestFullscreen) root.requestFullscreen().catch(fill);
    else fill();
  }

  /** Leave it. Returns whether there was anything to leave. */
  leave() {
    if (this.root.classList.contains(FULL)) {
      this.root.classList.remove(FULL);
      return true;
    }
    if (!this.owner()) return false;
    this.root.ownerDocument.exitFullscreen().catch(() => {}); // the browser was first
    return true;
  }

  /** Whether Escape was spent on leaving full screen, by the browser or here. */
  tookEscape() {
    const justLeft = performance.now() - this.left < SAME_KEY;
    this.left = -SAME_KEY;
    return this.leave() || justLeft;
  }
}
