// The axes of a loss curve, and what is said about the step that is pointed at.

import assert from "node:assert/strict";
import { test } from "node:test";

import { evenTicks, logTicks, nearest, path, scale, span, words } from "../../gptviz/ui/assets/curve_scale.js";

test("even ticks are round, inside, and about as many as asked for", () => {
  assert.deepEqual(evenTicks(0, 2000, 8), [0, 500, 1000, 1500, 2000]);
  assert.deepEqual(evenTicks(0.3, 6.9, 6), [2, 4, 6]);
  assert.deepEqual(evenTicks(5, 5, 4).length <= 5, true);
});

test("logarithmic ticks are 1, 2 and 5 of every power of ten, or the powers alone", () => {
  assert.deepEqual(logTicks(1, 60), [1, 2, 5, 10, 20, 50]);
  assert.deepEqual(logTicks(1, 20000), [1, 10, 100, 1000, 10000]);
});

test("a scale puts its ends at the ends, and equal factors at equal distances where it is logarithmic", () => {
  const even = scale(0, 10, 40, 140);
  assert.deepEqual([even(0), even(5), even(10)], [40, 90, 140]);
  const log = scale(1, 100, 0, 200, true);
  assert.deepEqual([1, 10, 100].map((value) => Math.round(log(value))), [0, 100, 200]);
  assert.equal(scale(3, 3, 0, 10)(3), 0);
});

test("a span leaves out what is no number, and has room at both ends", () => {
  assert.equal(span([NaN, Infinity]), null);
  const [low, high] = span([1, 3, NaN]);
  assert.ok(low < 1 && high > 3 && low > 0.5 && high < 3.5);
  assert.ok(span([2, 2])[1] > 2);
});

test("the nearest of two steps, and of none there is none", () => {
  const steps = [1, 5, 100];
  assert.deepEqual([0, 2, 4, 60, 1000].map((value) => nearest(steps, value)), [0, 0, 1, 2, 2]);
  assert.equal(nearest([], 3), -1);
});

test("a path goes through every point", () => {
  assert.equal(path([1, 2], [3, 4], (x) => 10 * x, (y) => y), "M10.0 3.0L20.0 4.0");
  assert.equal(path([], [], Number, Number), "");
});

test("what is pointed at is said in numbers", () => {
  const data = { steps: [1, 2, 3], train: [5, 4, 3], smooth: [5, 4.5, 4], valid_steps: [2], valid: [4.25] };
  assert.equal(words(data, 3), "step 3 · training 3.0000 · smoothed 4.0000 · held-out 4.2500 at step 2");
  assert.equal(words({ ...data, steps: [] }, 3), "");
});
