// What follows the view's own script in the component that brings it: it travels once, the others only call on it.

export default function () {
  const engine = (globalThis.__gptvizEngine ??= { waiting: [] });
  if (!engine.mount) Object.assign(engine, { mount, putBlob, viewOf, exactWindow, css: STYLE });
  for (const ready of engine.waiting.splice(0)) ready(engine);
}
