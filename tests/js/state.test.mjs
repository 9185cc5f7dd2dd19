import assert from "node:assert/strict";
import { test } from "node:test";

import { KEYS, keyAction } from "../../gptviz/view/js/keys.js";
import * as states from "../../gptviz/view/js/state.js";
import { describe } from "../../gptviz/view/js/words.js";
import { headerOf, seeded, whole } from "./helpers.mjs";

const HEADER = headerOf({ L: 3, H: 4, T: 6, S: 9 });
const DEFAULT = states.initialState(HEADER);

/** The state after some keys, each "Shift+ArrowUp" or "s"; keys that mean nothing change nothing. */
function press(state, keys, header = HEADER) {
  return keys.reduce((now, name) => {
    const shiftKey = name.startsWith("Shift+");
    const action = keyAction({ key: name.replace("Shift+", ""), shiftKey }, now);
    return action ? states.reduce(now, action, header) : now;
  }, state);
}

function assertWhole(state, { L, H, T, S }) {
  const positions = (all, n) => all.every((at) => Number.isInteger(at) && at >= 0 && at < n);
  assert.ok(positions([state.layer], L) && positions([state.head], H));
  assert.ok(positions(state.queries, T) && positions(state.keys, S) && positions(state.pins, L * H));
  for (const all of [state.queries, state.keys]) assert.deepEqual(all, [...new Set(all)].sort((a, b) => a - b));
  assert.ok(state.pins.length <= 4 && new Set(state.pins).size === state.pins.length);
  assert.ok(["overview", "matrix", "lines", "sentence"].includes(state.mode));
  assert.ok(["linear", "sqrt", "row"].includes(state.scale) && ["to", "from"].includes(state.way));
  assert.ok(["place", "entropy", "distance", "first", "kind"].includes(state.sort));
  const mass = state.mass ?? 1;
  assert.ok(mass > 0 && mass <= 1 && Math.abs(mass * 1000 - Math.round(mass * 1000)) < 1e-9);
  state.cell.forEach((at, side) => assert.ok(at === null || positions([at], [T, S][side])));
  if (state.window === null) return;
  const [q0, q1, k0, k1] = state.window;
  assert.ok(q0 >= 0 && q0 < q1 && q1 <= T && k0 >= 0 && k0 < k1 && k1 <= S);
}

test("nothing given is the default, and what a host keeps has the fields of ViewState", () => {
  assertWhole(DEFAULT, HEADER);
  assert.deepEqual(states.sharedState(DEFAULT), {
    layer: 0, head: 0, mode: "overview", queries: [], keys: [], pins: [], scale: "linear", sort: "place", mass: null,
    way: "to", window: null,
  });
});

test("whatever is given, the state is whole", () => {
  for (const nothing of [undefined, null, "", "matrix", 7, []]) {
    assert.deepEqual(states.initialState(HEADER, nothing), DEFAULT);
  }
  const random = seeded(19);
  const odd = [undefined, null, NaN, -1, 3.5, 1e9, "", "matrix", "sqrt", [], {}, [[]], [1, 1, 0, 99, -1, "2"], true];
  const fields = Object.keys(DEFAULT);
  for (let round = 0; round < 3000; round++) {
    const [L, H, T, S] = [3, 3, 7, 7].map((most) => whole(random, 1, most));
    const header = headerOf({ L, H, T, S });
    const given = Object.fromEntries(fields.map((name) => [name, odd[whole(random, 0, odd.length - 1)]]));
    assertWhole(states.initialState(header, given), header);
  }
});

test("any keys in any order leave a whole state and something to say", () => {
  const random = seeded(20);
  const names = KEYS.flatMap(([, , actions]) => Object.keys(actions));
  const all = [...names, "Shift+ArrowLeft", "Shift+ArrowDown"];
  for (const sizes of [{}, { T: 1 }, { T: 2 }, { L: 3, H: 4, T: 6, S: 9 }, { L: 12, H: 12, T: 200 }]) {
    const header = headerOf(sizes);
    let state = states.initialState(header);
    for (let step = 0; step < 600; step++) {
      state = press(state, [all[whole(random, 0, all.length - 1)]], header);
      assertWhole(state, header);
      const words = describe(state, header);
      assert.ok(words.startsWith(`Head ${state.layer}.${state.head}`) && !/undefined|NaN|null/.test(words), words);
    }
  }
});

test("a change makes a new state and leaves the old one alone", () => {
  const before = Object.freeze({ ...DEFAULT, queries: Object.freeze([2]), pins: Object.freeze([]) });
  const after = states.reduce(before, { type: "toggle", side: "query", at: 1 }, HEADER);
  assert.deepEqual([before.queries, after.queries], [[2], [1, 2]]);
});

test("an action that does not exist is a mistake, not a change", () => {
  const mistake = () => states.reduce(DEFAULT, { type: "constructor" }, HEADER);
  assert.throws(mistake, /expected an action of pick, .*found "constructor"/);
});

// Heads --------------------------------------------------------------------------------------------------------------

test("arrows walk over the grid as it is drawn, and stop at its ends", () => {
  for (const columns of [1, 3, 5, 12]) {
    for (let i = 0; i < 12; i++) {
      const state = states.reduce(DEFAULT, { type: "pick", i }, HEADER);
      const to = (dx, dy) => states.chosenHead(states.reduce(state, { type: "move", dx, dy, columns }, HEADER), HEADER);
      const expected = (place) => (place >= 0 && place < 12 ? place : i);
      const places = [i + 1, i - 1, i + columns, i - columns].map(expected);
      assert.deepEqual([to(1, 0), to(-1, 0), to(0, 1), to(0, -1)], places);
    }
  }
  assert.deepEqual([press(DEFAULT, ["End"]).layer, press(DEFAULT, ["End"]).head], [2, 3]);
  assert.equal(states.chosenHead(press(DEFAULT, ["End", "Home"]), HEADER), 0);
});

test("in another order, arrows and page keys follow that order", () => {
  const header = headerOf({ L: 2, H: 2, T: 3 });
  header.heads.entropy = [2, 0.5, null, 1];
  const sorted = states.initialState(header, { sort: "entropy", layer: 0, head: 1 });
  assert.deepEqual(states.order(header, "entropy"), [1, 3, 0, 2]);
  assert.equal(states.chosenHead(press(sorted, ["ArrowRight"], header), header), 3);
  assert.equal(states.chosenHead(press({ ...sorted, mode: "lines" }, ["PageDown", "PageDown"], header), header), 0);
  assert.equal(states.chosenHead(press(sorted, ["PageUp"], header), header), 1);
});

test("orders: sharpest and nearest first, most on the first token first, kinds together, unknown last", () => {
  const header = headerOf({ L: 1, H: 5, T: 3 });
  Object.assign(header.heads, {
    entropy: [3, 1, null, 2, 1], distance: [5, 4, 3, 2, 1], first: [0.1, 0.9, 0.5, null, 0.5],
    kind: ["spread", "error", "previous token", "diagonal", "first token"],
  });
  assert.deepEqual(states.order(header, "place"), [0, 1, 2, 3, 4]);
  assert.deepEqual(states.order(header, "entropy"), [1, 4, 3, 0, 2]);
  assert.deepEqual(states.order(header, "distance"), [4, 3, 2, 1, 0]);
  assert.deepEqual(states.order(header, "first"), [1, 2, 4, 0, 3]);
  assert.deepEqual(states.order(header, "kind"), [2, 4, 3, 0, 1]);
  header.heads.distance = null; // two texts have no distance
  assert.deepEqual(states.order(header, "distance"), [0, 1, 2, 3, 4]);
});

test("at most four heads are pinned: the oldest makes room; a pinned one is let go", () => {
  let state = DEFAULT;
  for (const i of [5, 1, 7, 2, 9]) state = states.reduce(state, { type: "pin", i }, HEADER);
  assert.deepEqual(state.pins, [1, 7, 2, 9]);
  assert.deepEqual(states.reduce(state, { type: "pin", i: 7 }, HEADER).pins, [1, 2, 9]);
  assert.deepEqual(press(DEFAULT, ["ArrowRight", "p"]).pins, [1]);
});

// Cells and tokens ---------------------------------------------------------------------------------------------------

test("in a matrix the first arrow shows the cursor, the others move it, and the window follows", () => {
  const matrix = press(DEFAULT, ["Enter"]);
  assert.equal(matrix.mode, "matrix");
  assert.deepEqual(press(matrix, ["ArrowDown"]).cell, [0, 0]);
  assert.deepEqual(press(matrix, ["ArrowDown", "ArrowDown", "ArrowRight"]).cell, [1, 1]);
  assert.deepEqual(press(matrix, ["ArrowUp", "ArrowUp", "ArrowLeft"]).cell, [0, 0]);
  assert.deepEqual(press(matrix, ["ArrowUp", "End"]).cell, [0, 8]);
  assert.deepEqual(press(matrix, ["End"]).cell, [0, 8]);
  assert.deepEqual(press(matrix, Array(20).fill("ArrowDown")).cell, [5, 0]);
  assert.deepEqual(press({ ...matrix, cell: [3, null] }, ["ArrowDown"]).cell, [3, 0]); // it was shown on one side only
  const zoomed = { ...matrix, window: [0, 4, 0, 4] };
  const walked = press(zoomed, ["ArrowDown", ...Array(5).fill("ArrowDown"), ...Array(5).fill("ArrowRight")]);
  assert.deepEqual([walked.cell, walked.window], [[5, 5], [2, 6, 2, 6]]);
});

test("every cell, token and head can be reached, chosen and let go by keys alone", () => {
  const { T, S } = HEADER;
  for (const mode of ["2", "3", "4"]) {
    const down = mode === "4" ? "ArrowRight" : "ArrowDown";
    for (let at = 0; at < T; at++) {
      const there = press(DEFAULT, [mode, down, ...Array(at).fill(down), "Enter"]);
      assert.ok(there.queries.includes(at), `mode ${mode}, query ${at}`);
      assert.deepEqual(press(there, [" "]).queries, []);
    }
    for (let at = 0; at < S; at++) {
      const keys = { 2: ["ArrowRight"], 3: ["ArrowRight", "Home"], 4: ["w", "ArrowRight"] }[mode];
      const along = mode === "3" ? "ArrowDown" : "ArrowRight";
      const there = press(DEFAULT, [mode, ...keys, ...Array(at).fill(along), "Enter"]);
      assert.deepEqual(there.keys, [at], `mode ${mode}, key ${at}`);
      assert.deepEqual(press(there, ["x"]).keys, []);
    }
  }
});

test("a cell's query and key are chosen together, and let go together", () => {
  const at = { ...press(DEFAULT, ["2"]), cell: [1, 3] };
  for (const chosen of [{ queries: [], keys: [] }, { queries: [1], keys: [] }, { queries: [], keys: [3] }]) {
    const state = states.reduce({ ...at, ...chosen }, { type: "open" }, HEADER);
    assert.deepEqual([state.queries, state.keys], [[1], [3]]);
  }
  const none = states.reduce({ ...at, queries: [1, 4], keys: [3] }, { type: "open" }, HEADER);
  assert.deepEqual([none.queries, none.keys], [[4], []]);
});

test("the sentence's way: to, what chosen queries attend to; from, where attention to chosen keys comes from", () => {
  assert.deepEqual(states.sentenceSides("to"), { chosen: "query", coloured: "key" });
  assert.deepEqual(states.sentenceSides("from"), { chosen: "key", coloured: "query" });
  assert.deepEqual(press(DEFAULT, ["4", "ArrowRight"]).cell, [0, null]);
  assert.deepEqual(press(DEFAULT, ["4", "w", "ArrowRight"]).cell, [null, 0]);
});

test("without a cursor, Home and End begin on the side that the arrows move on", () => {
  const ends = (keys) => [press(DEFAULT, [...keys, "Home"]).cell, press(DEFAULT, [...keys, "End"]).cell];
  assert.deepEqual(ends(["3"]), [[0, null], [5, null]]);
  assert.deepEqual(ends(["4"]), [[0, null], [5, null]]);
  assert.deepEqual(ends(["4", "w"]), [[null, 0], [null, 8]]);
});

test("in lines, left and right change the column and keep the height", () => {
  const at = press(DEFAULT, ["3", "ArrowDown", "ArrowDown", "ArrowDown"]);
  assert.deepEqual(at.cell, [2, null]);
  assert.deepEqual(press(at, ["ArrowRight"]).cell, [null, 2]);
  assert.deepEqual(press(at, Array(20).fill("ArrowDown")).cell, [5, null]);
  assert.deepEqual(press(at, ["ArrowRight", "End", "ArrowLeft"]).cell, [5, null]); // there are fewer queries than keys
});

test("Escape takes one thing back at a time, and then is the host's", () => {
  const deep = press(DEFAULT, ["Enter", "ArrowDown"]);
  const once = press(deep, ["Escape"]);
  assert.deepEqual([once.mode, once.cell], ["matrix", [null, null]]);
  assert.equal(press(once, ["Escape"]).mode, "overview");
  assert.equal(keyAction({ key: "Escape" }, DEFAULT), null);
});

test("zoom by keys is about the cursor; shift and an arrow pans; 0 shows all", () => {
  const header = headerOf({ T: 100 });
  const state = { ...states.initialState(header, { mode: "matrix" }), cell: [80, 10] };
  const zoomed = press(state, ["+", "+", "+", "+"], header);
  const [q0, q1, k0, k1] = zoomed.window;
  assert.ok(q0 <= 80 && q1 > 80 && k0 <= 10 && k1 > 10 && q1 - q0 < 25);
  const panned = press(zoomed, ["Shift+ArrowUp"], header).window;
  assert.ok(panned[0] < q0 && panned[1] - panned[0] === q1 - q0 && panned[2] === k0);
  const half = { ...state, window: [0, 48, 0, 48] };
  assert.deepEqual(press(half, ["Shift+ArrowRight", "Shift+ArrowDown"], header).window, [6, 54, 6, 54]);
  assert.equal(keyAction({ key: "ArrowUp", shiftKey: true }, state), null);
  assert.equal(press(zoomed, ["0"], header).window, null);
  for (const out of ["-", "−"]) assert.equal(press(zoomed, Array(6).fill(out), header).window, null);
  const tall = headerOf({ T: 100, S: 10 }); // more queries than keys: neither side's limit is the other's
  const low = { ...states.initialState(tall, { mode: "matrix", window: [80, 90, 0, 4] }), cell: [85, 1] };
  assert.deepEqual(low.window, [80, 90, 0, 4]);
  const far = press(low, [...Array(9).fill("Shift+ArrowDown"), ...Array(9).fill("Shift+ArrowRight")], tall);
  assert.deepEqual(far.window, [89, 99, 6, 10]);
});

test("the threshold moves in steps, and stays a share", () => {
  assert.equal(DEFAULT.mass, null);
  assert.equal(states.massOf(DEFAULT, HEADER), 0.9);
  assert.equal(states.massOf(DEFAULT, headerOf({ T: 65 })), 0.5); // of many tokens fewer lines, until one is asked
  assert.equal(states.massOf({ mass: 0.9 }, headerOf({ T: 65 })), 0.9);
  assert.equal(press(states.initialState(headerOf({ T: 65 })), ["]"], headerOf({ T: 65 })).mass, 0.55);
  assert.equal(press(DEFAULT, ["]"]).mass, 0.95);
  assert.equal(press(DEFAULT, Array(9).fill("]")).mass, 1);
  assert.equal(press(DEFAULT, Array(40).fill("[")).mass, 0.05);
  assert.equal(press(DEFAULT, ["[", "]"]).mass, 0.9);
});

test("scales, orders and ways go round", () => {
  for (const [key, field, n] of [["s", "scale", 3], ["o", "sort", 5], ["w", "way", 2]]) {
    const seen = new Set();
    for (let times = 0; times < n; times++) seen.add(press(DEFAULT, Array(times).fill(key))[field]);
    assert.equal(seen.size, n);
    assert.equal(press(DEFAULT, Array(n).fill(key))[field], DEFAULT[field]);
  }
});

test("one picture alone has no overview, no pins, and Escape stays in it", () => {
  const header = headerOf({ T: 4 });
  const only = states.initialState(header, { mode: "overview", pins: [0] });
  assert.deepEqual([only.mode, only.pins], ["matrix", []]);
  assert.equal(press(only, ["1"], header).mode, "matrix");
  assert.equal(press(only, ["3", "Escape"], header).mode, "matrix");
  assert.deepEqual(press(only, ["p"], header).pins, []);
  assert.equal(states.initialState(headerOf({ H: 2, T: 4 })).mode, "overview");
});

test("where no token is chosen the sentence is coloured by the last query, or by the first key", () => {
  const choice = (given) => states.sentenceChoice({ ...DEFAULT, ...given }, HEADER);
  assert.deepEqual(choice({}), { from: "query", coloured: "key", chosen: [5] });
  assert.deepEqual(choice({ way: "from" }), { from: "key", coloured: "query", chosen: [0] });
  assert.deepEqual(choice({ queries: [1, 2] }).chosen, [1, 2]);
  assert.equal(describe({ ...DEFAULT, mode: "sentence" }, HEADER), "Head 0.0, sentence. Chosen: query 5 “q5”.");
});
