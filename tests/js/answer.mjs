// Answers questions of tests/test_javascript.py: JSON lines on stdin, [name, ...arguments]; JSON lines on stdout.

import { readFileSync } from "node:fs";

import { decodeCode, putBlob, readingAt, viewOf } from "../../gptviz/view/js/payload.js";
import { maxPoolCodes } from "../../gptviz/view/js/pool.js";
import { initialState, sharedState } from "../../gptviz/view/js/state.js";

const bytes = (base64) => Uint8Array.from(Buffer.from(base64, "base64"));

const ANSWERS = {
  decode: () => Array.from({ length: 255 }, (_, code) => decodeCode(code)),
  fit: (header, state) => sharedState(initialState(header, state)),
  pool: (codes, T, S, h, w) => [...maxPoolCodes(bytes(codes), T, S, h, w)],
  readings: (blobs) => {
    const dataset = blobs.map((blob) => viewOf(putBlob(bytes(blob)))).at(-1);
    const { L, H, T, S, queries, keys } = dataset.header;
    const reading = (_, n) => readingAt(dataset, Math.floor(n / S / T), Math.floor(n / S) % T, n % S);
    return { queries, keys, readings: Array.from({ length: L * H * T * S }, reading) };
  },
};

for (const line of readFileSync(0, "utf-8").split("\n").filter(Boolean)) {
  const [name, ...given] = JSON.parse(line);
  console.log(JSON.stringify(ANSWERS[name](...given)));
}
