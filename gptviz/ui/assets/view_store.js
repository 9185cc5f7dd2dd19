// Hands one blob to the view's script, at once or as soon as it is there. Draws nothing.

export default function ({ data }) {
  const engine = (globalThis.__gptvizEngine ??= { waiting: [] });
  const put = (ready) => ready.putBlob(data);
  if (engine.mount) put(engine);
  else engine.waiting.push(put);
}
