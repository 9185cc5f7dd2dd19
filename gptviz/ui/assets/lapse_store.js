// Keeps what came of a training for the view that replays it, which asks by id. Draws nothing.

export default function ({ data }) {
  const store = (globalThis.__gptvizLapse ??= { blobs: new Map(), waiting: new Set() });
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
  const length = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  const { id } = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  store.blobs.clear(); // one page, one view: those before are not asked for again
  store.blobs.set(id, bytes);
  for (const tell of [...store.waiting]) tell();
}
