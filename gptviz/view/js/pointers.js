// Mouse, pen and fingers, told as few kinds of events.

const STILL = 5; // CSS pixels that a click may wander

/**
 * Mouse, pen and fingers as few kinds of events, with x and y in the element: hover, click, double, dragstart, drag
 * (with dx, dy), dragend, pan (two fingers, dx, dy), zoom (factor) and leave.
 * @param {function(string, Object): void} tell
 */
export function followPointers(target, tell, signal) {
  const down = new Map(); // pointer -> where it is
  let press = null;
  let pinch = null;
  const at = (event) => {
    const box = target.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top, shiftKey: event.shiftKey };
  };
  const listen = (name, act, options = {}) => target.addEventListener(name, act, { signal, ...options });
  listen("pointerdown", (event) => {
    if (event.button !== 0) return;
    down.set(event.pointerId, at(event));
    pinch = down.size === 2 ? spanOf(down) : null;
    if (pinch && press?.moved) tell("dragend", { cancelled: true });
    press = down.size === 1 ? { ...at(event), last: at(event), moved: false } : null;
  });
  listen("pointermove", (event) => {
    const now = at(event);
    if (down.has(event.pointerId)) down.set(event.pointerId, now);
    if (pinch && down.size === 2) pinch = movePinch(pinch, spanOf(down), tell);
    else if (press && down.has(event.pointerId)) moveDrag(target, event.pointerId, press, now, tell);
    else tell("hover", now);
  });
  const release = (event, cancelled) => {
    if (!down.delete(event.pointerId)) return;
    if (press?.moved) tell("dragend", { cancelled });
    else if (press && !cancelled) tell("click", { ...at(event), shiftKey: press.shiftKey || event.shiftKey });
    if (event.pointerType === "touch") tell("leave", {});
    [press, pinch] = [null, null];
  };
  listen("pointerup", (event) => release(event, false));
  listen("pointercancel", (event) => release(event, true));
  listen("pointerleave", () => press || tell("leave", {}));
  listen("dblclick", (event) => tell("double", at(event)));
  const wheel = (event) => {
    if (!event.ctrlKey) return; // the page scrolls as ever
    event.preventDefault();
    tell("zoom", { ...at(event), factor: Math.exp(-event.deltaY / 300) });
  };
  listen("wheel", wheel, { passive: false });
}

function moveDrag(target, id, press, now, tell) {
  if (!press.moved) {
    if (Math.hypot(now.x - press.x, now.y - press.y) < STILL) return;
    press.moved = true;
    target.setPointerCapture(id); // the drag goes on outside
    tell("dragstart", { x: press.x, y: press.y, shiftKey: press.shiftKey });
  }
  tell("drag", { ...now, dx: now.x - press.last.x, dy: now.y - press.last.y });
  press.last = now;
}

function spanOf(down) {
  const [a, b] = [...down.values()];
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, size: Math.max(20, Math.hypot(a.x - b.x, a.y - b.y)) };
}

/** Two fingers: their middle moves the picture; it grows with their distance, in steps that cells can follow. */
function movePinch(before, now, tell) {
  tell("pan", { ...now, dx: now.x - before.x, dy: now.y - before.y });
  const factor = now.size / before.size;
  if (factor < 1.15 && factor > 1 / 1.15) return { ...now, size: before.size };
  tell("zoom", { ...now, factor });
  return now;
}
