import assert from "node:assert/strict";
import { test } from "node:test";

import * as layout from "../../gptviz/view/js/layout.js";
import { seeded, whole } from "./helpers.mjs";

const measure = (text) => 7 * [...text].length;
const words = (n, longest, random) => Array.from({ length: n }, () => "x".repeat(whole(random, 1, longest)));

function randomWindow(random, T, S) {
  const [q0, k0] = [whole(random, 0, T - 1), whole(random, 0, S - 1)];
  return [q0, whole(random, q0 + 1, T), k0, whole(random, k0 + 1, S)];
}

function assertInside(window, T, S) {
  if (window === null) return;
  const [q0, q1, k0, k1] = window;
  assert.ok(window.every(Number.isInteger), `${window}`);
  assert.ok(q0 >= 0 && q0 < q1 && q1 <= T && k0 >= 0 && k0 < k1 && k1 <= S, `${window} in ${T} x ${S}`);
  assert.ok(q1 - q0 < T || k1 - k0 < S, "all of it is null");
}

// The grid -----------------------------------------------------------------------------------------------------------

test("panels do not overlap, stay inside, and are hit where they are and nowhere else", () => {
  const random = seeded(11);
  for (let round = 0; round < 200; round++) {
    const n = whole(random, 1, 150);
    const width = whole(random, 80, 1400);
    const columns = random() < 0.5 ? undefined : whole(random, 1, 20);
    const given = { n, width, ratio: 0.3 + 2 * random(), gap: whole(random, 1, 12), label: whole(random, 0, 30) };
    const grid = layout.gridLayout({ ...given, columns });
    assert.equal(grid.boxes.length, n);
    grid.boxes.forEach(({ x, y, w, h }, place) => {
      assert.ok(x >= 0 && y >= 0 && x + w <= width && y + h + given.label <= grid.height, `${place} is outside`);
      assert.equal(layout.hitGrid(grid, x, y), place);
      assert.equal(layout.hitGrid(grid, x + w - 0.01, y + h + given.label - 0.01), place);
      assert.equal(layout.hitGrid(grid, x + w, y), -1);
      assert.equal(layout.hitGrid(grid, x, y + h + given.label + 0.01), -1);
    });
    assert.equal(layout.hitGrid(grid, -1, 0), -1);
    assert.equal(layout.hitGrid(grid, 0, -1), -1);
    const shapes = new Set(grid.boxes.map(({ w, h }) => `${w} ${h}`));
    assert.deepEqual([...shapes], [grid.size.join(" ")]);
    assert.equal(grid.size[1], Math.max(8, Math.round(grid.size[0] * given.ratio)));
    assert.equal(grid.height, grid.boxes.at(-1).y + grid.size[1] + given.label);
  }
});

test("panels are as wide as asked: on a phone a thumb finds them", () => {
  for (const width of [358, 390, 700, 1248]) {
    for (const n of [1, 6, 16, 144]) {
      const { size } = layout.gridLayout({ n, width, min: 64, max: 200 });
      assert.ok(size[0] >= 64 && size[0] <= 200, `${size}`);
    }
  }
  assert.equal(layout.gridLayout({ n: 144, width: 358 }).columns, 5);
  assert.equal(layout.gridLayout({ n: 144, width: 358, columns: 12 }).columns, 5); // twelve would be too narrow
  assert.equal(layout.gridLayout({ n: 144, width: 1248, columns: 12 }).columns, 12);
});

// Axes ---------------------------------------------------------------------------------------------------------------

test("a cell and its pixels are inverse, for every cell that is shown", () => {
  const random = seeded(12);
  for (let round = 0; round < 150; round++) {
    const [T, S] = [whole(random, 1, 60), whole(random, 1, 60)];
    const tokens = { queries: words(T, 12, random), keys: words(S, 12, random) };
    const window = random() < 0.4 ? null : randomWindow(random, T, S);
    const [width, height] = [whole(random, 200, 1300), whole(random, 150, 900)];
    const axes = layout.axisGeometry({ tokens, width, height, window, measure });
    const [q0, q1, k0, k1] = window ?? [0, T, 0, S];
    assert.deepEqual(axes.window, [q0, q1, k0, k1]);
    const room = [(width - axes.left) / (k1 - k0), (height - axes.top) / (q1 - q0)];
    const side = Math.min(56, ...room); // as large as there is room
    assert.deepEqual(axes.cell, [side, side]);
    for (let q = q0; q < q1; q++) {
      for (let k = k0; k < k1; k++) {
        const [x, y] = axes.toPixel(q, k);
        assert.deepEqual(axes.toCell(x + axes.cell[0] / 2, y + axes.cell[1] / 2), { q, k });
      }
    }
    const cell = (q, k) => axes.toPixel(q, k).map((corner, side) => corner + axes.cell[side] / 2); // its middle
    for (const { index, at } of axes.rows) assert.ok(Math.abs(at - cell(index, k0)[1]) < 1e-6);
    for (const { index, at } of axes.columns) assert.ok(Math.abs(at - cell(q0, index)[0]) < 1e-6);
    assert.equal(axes.toCell(axes.left - 1, axes.top + 1), null);
    assert.equal(axes.toCell(axes.left + axes.size[0] + 0.01, axes.top + 1), null);
    assert.equal(axes.toCell(axes.left + 1, axes.top + axes.size[1] + 0.01), null);
    assert.ok(axes.left + axes.size[0] <= width + 1e-6 && axes.top + axes.size[1] <= height + 1e-6);
  }
});

test("labels never run into each other nor out of their margin", () => {
  const random = seeded(13);
  for (let round = 0; round < 300; round++) {
    const [T, S] = [whole(random, 1, 400), whole(random, 1, 400)];
    const tokens = { queries: words(T, 40, random), keys: words(S, random() < 0.5 ? 1 : 40, random) };
    const window = random() < 0.4 ? null : randomWindow(random, T, S);
    const [width, height, font] = [whole(random, 200, 1300), whole(random, 150, 900), 13];
    const axes = layout.axisGeometry({ tokens, width, height, window, measure, font });
    const check = (labels, texts, space, apart) => {
      labels.forEach(({ index, at, text }, n) => {
        assert.ok(measure(text) <= space || text === "…", `"${text}" in ${space}`);
        assert.ok(text === texts[index] || (text.endsWith("…") && texts[index].startsWith(text.slice(0, -1))));
        if (n) assert.ok(at - labels[n - 1].at >= apart - 1e-6, "two labels overlap");
      });
    };
    check(axes.rows, tokens.queries, axes.left, font);
    check(axes.columns, tokens.keys, axes.upright ? axes.top : axes.cell[0] - 4, font);
    const [left, top] = [tokens.queries, tokens.keys].map((texts) => Math.max(...texts.map(measure)) + 10);
    assert.equal(axes.left, Math.round(Math.max(23, Math.min(left, 140, width / 3))));
    assert.equal(axes.top, Math.round(Math.max(23, Math.min(top, 110, height / 3))));
    if (axes.cell[1] >= 17) assert.equal(axes.rows.length, axes.window[1] - axes.window[0], "there is room for all");
  }
});

test("panning moves labels and changes none of them", () => {
  const random = seeded(14);
  const tokens = { queries: words(300, 9, random), keys: words(300, 9, random) };
  const at = (window) => layout.axisGeometry({ tokens, width: 800, height: 600, window, measure });
  const [one, other] = [at([100, 180, 50, 130]), at([103, 183, 57, 137])];
  assert.deepEqual([one.left, one.top, one.cell], [other.left, other.top, other.cell]);
  const labelled = (axes) => axes.rows.map(({ index }) => index).filter((index) => index >= 103 && index < 180);
  assert.deepEqual(labelled(one), labelled(other));
});

test("positions are thinned to numbers that people count in", () => {
  assert.deepEqual(layout.thinned(0, 4, 20, 16), [0, 1, 2, 3]);
  assert.deepEqual(layout.thinned(3, 12, 8, 16), [4, 6, 8, 10]);
  assert.deepEqual(layout.thinned(0, 21, 4, 16), [0, 5, 10, 15, 20]);
  assert.deepEqual(layout.thinned(0, 1024, 0.5, 16), Array.from({ length: 21 }, (_, n) => 50 * n));
  assert.deepEqual(layout.thinned(0, 300, 0.1, 16), [0, 200]);
});

test("a text is cut between characters and keeps all that fits", () => {
  const random = seeded(15);
  const alphabet = ["a", "é", "漢", "😀", "·"];
  for (let round = 0; round < 300; round++) {
    const text = Array.from({ length: whole(random, 0, 30) }, () => alphabet[whole(random, 0, 4)]).join("");
    const room = whole(random, 7, 150);
    const cut = layout.fitLabel(text, room, measure);
    assert.ok(measure(cut) <= room);
    if (cut === text) continue;
    const kept = [...cut].slice(0, -1);
    assert.deepEqual(kept, [...text].slice(0, kept.length));
    assert.ok(measure(`${[...text].slice(0, kept.length + 1).join("")}…`) > room, "one more would have fitted");
  }
});

// Windows ------------------------------------------------------------------------------------------------------------

test("whatever is done to a window, it stays inside of the matrix", () => {
  const random = seeded(16);
  for (let round = 0; round < 60; round++) {
    const [T, S] = [whole(random, 1, 50), whole(random, 1, 50)];
    let window = null;
    for (let step = 0; step < 60; step++) {
      const cell = () => ({ q: whole(random, 0, T - 1), k: whole(random, 0, S - 1) });
      const changes = [
        () => layout.zoomTo(cell(), cell(), T, S),
        () => layout.zoomBy(window, 0.3 + 3 * random(), T, S, random() < 0.5 ? cell() : undefined),
        () => layout.pan(window, whole(random, -60, 60), whole(random, -60, 60), T, S),
        () => layout.fitWindow(Array.from({ length: 4 }, () => whole(random, -5, 60)), T, S),
        () => layout.follow(window, cell().q, random() < 0.3 ? null : cell().k, T, S),
      ];
      window = changes[whole(random, 0, changes.length - 1)]();
      assertInside(window, T, S);
    }
  }
});

test("a rubber band shows both of its ends, whichever way it was drawn", () => {
  const random = seeded(17);
  for (let round = 0; round < 200; round++) {
    const [T, S] = [whole(random, 5, 60), whole(random, 5, 60)];
    const cell = () => ({ q: whole(random, 0, T - 1), k: whole(random, 0, S - 1) });
    const [from, to] = [cell(), cell()];
    const window = layout.zoomTo(from, to, T, S);
    assert.deepEqual(window, layout.zoomTo(to, from, T, S));
    const [q0, q1, k0, k1] = window ?? [0, T, 0, S];
    for (const { q, k } of [from, to]) assert.ok(q >= q0 && q < q1 && k >= k0 && k < k1);
    const spans = [Math.abs(from.q - to.q), Math.abs(from.k - to.k)].map((span) => Math.max(4, span + 1));
    assert.deepEqual([q1 - q0, k1 - k0], spans);
  }
});

test("zooming in keeps the cell it is about in sight, and never sticks on the way in or out", () => {
  const random = seeded(18);
  for (let round = 0; round < 100; round++) {
    const [T, S] = [whole(random, 8, 300), whole(random, 8, 300)];
    const about = { q: whole(random, 0, T - 1), k: whole(random, 0, S - 1) };
    let window = null;
    const [factor, steps] = round % 2 ? [1.5, 40] : [1.05, 300]; // a key, and a touch of the wheel
    for (let step = 0; step < steps; step++) {
      window = layout.zoomBy(window, factor, T, S, about);
      assert.ok(about.q >= window[0] && about.q < window[1] && about.k >= window[2] && about.k < window[3]);
    }
    assert.deepEqual([window[1] - window[0], window[3] - window[2]], [4, 4]);
    for (let step = 0; step < steps; step++) window = layout.zoomBy(window, 1 / factor, T, S, about);
    assert.equal(window, null);
  }
});

test("without a cell, zooming is about the middle", () => {
  assert.deepEqual(layout.zoomBy(null, 2, 100, 60), [25, 75, 15, 45]);
  assert.deepEqual(layout.zoomBy([20, 40, 10, 30], 0.5, 100, 60), [10, 50, 0, 40]);
});

test("panning keeps the size and stops at the edges; following moves as little as it must", () => {
  assert.deepEqual(layout.pan([4, 8, 2, 9], 100, -100, 20, 20), [16, 20, 0, 7]);
  assert.equal(layout.pan(null, 1, 1, 20, 20), null);
  assert.deepEqual(layout.follow([4, 8, 2, 9], 8, 1, 20, 20), [5, 9, 1, 8]);
  assert.deepEqual(layout.follow([4, 8, 2, 9], 7, 2, 20, 20), [4, 8, 2, 9]);
  assert.deepEqual(layout.follow([4, 8, 2, 9], null, 12, 20, 20), [4, 8, 6, 13]);
});

test("a window from outside is cut to the matrix, as in Python; nonsense is none", () => {
  assert.deepEqual(layout.fitWindow([-3, 5, 2, 99], 10, 10), [0, 5, 2, 10]);
  assert.deepEqual(layout.fitWindow([3, 4, 2, 3], 10, 10), [3, 4, 2, 3]);
  const empty = [[0, 10, 0, 10], [5, 5, 0, 3], [8, 2, 0, 3], [11, 12, 0, 3]];
  for (const none of [...empty, null, "0-1-2-3", [0, 1, 2], [0, NaN, 0, 3], [0, 1.5, 0, 3]]) {
    assert.equal(layout.fitWindow(none, 10, 10), null);
  }
});
