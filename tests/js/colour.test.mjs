import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import * as colour from "../../gptviz/view/js/colour.js";
import { decodeCode } from "../../gptviz/view/js/payload.js";
import { VISIONS, apart, contrast, fromHex, seen } from "./vision.mjs";

const PAGES = { false: [255, 255, 255], true: [15, 21, 28] }; // dark?: the backgrounds of .streamlit/config.toml
const EVERY_SHARE = Array.from({ length: 257 }, (_, n) => n / 256);
const fromRamp = (other, vision) => Math.min(...EVERY_SHARE.map((share) => apart(other, colour.rampAt(share), vision)));

test("the ramp is the one of all other figures", () => {
  const style = readFileSync(new URL("../../gptviz/figures/style.py", import.meta.url), "utf-8");
  const block = style.slice(style.indexOf("SEQUENTIAL:"), style.indexOf("DIVERGING:"));
  const found = [...block.matchAll(/\[([\d.]+), "rgb\((\d+),(\d+),(\d+)\)"\]/g)];
  const stops = found.map((match) => match.slice(1).map(Number));
  assert.equal(stops.length, 9);
  for (const [share, ...rgb] of stops) assert.deepEqual(colour.rampAt(share), rgb);
  assert.deepEqual(colour.rampAt(1 / 32), [20, 38, 62]); // a quarter of the way to the second stop, rounded
  const bytes = colour.ramp();
  assert.equal(bytes.length, 1024);
  assert.deepEqual([...bytes.slice(0, 4)], [...stops[0].slice(1), 255]);
  assert.deepEqual([...bytes.slice(-4)], [...stops.at(-1).slice(1), 255]);
});

for (const vision of Object.keys(VISIONS)) {
  test(`more attention is lighter, step by step: ${vision}`, () => {
    for (let step = 1; step <= 32; step++) {
      const gain = seen(colour.rampAt(step / 32), vision)[0] - seen(colour.rampAt((step - 1) / 32), vision)[0];
      assert.ok(gain > 1.5, `L* grows by ${gain.toFixed(2)} from ${step - 1} to ${step} of 32`);
    }
  });

  test(`masked is no weight: ${vision}`, () => {
    assert.ok(fromRamp(colour.maskedColour(false), vision) > (vision === "tritanopia" ? 7 : 25));
    assert.ok(fromRamp(colour.maskedColour(true), vision) > 18);
    for (const dark of [false, true]) assert.ok(apart(colour.maskedColour(dark), PAGES[dark], vision) > 8);
  });

  test(`an error is no weight, and its stripes are seen: ${vision}`, () => {
    const [one, other] = colour.errorColours();
    assert.ok(fromRamp(one, vision) > 40);
    assert.ok(apart(one, other, vision) > 50);
  });

  test(`heads that are drawn together stay apart: ${vision}`, () => {
    for (const dark of [false, true]) {
      const heads = colour.headColours(5, dark).map(fromHex);
      for (let i = 0; i < heads.length; i++) {
        for (let j = 0; j < i; j++) {
          const distance = apart(heads[i], heads[j], vision);
          assert.ok(distance > 15, `${heads[i]} and ${heads[j]} are ${distance.toFixed(1)} apart`);
        }
      }
    }
  });
}

test("the simulation finds what it must: red and green of one lightness are the same without green cones", () => {
  const [red, green] = [[200, 80, 60], [112, 125, 52]];
  assert.ok(apart(red, green) > 60);
  assert.ok(apart(red, green, "deuteranopia") < 15);
  for (const vision of Object.keys(VISIONS)) {
    assert.ok(apart([255, 255, 255], [0, 0, 0], vision) > 99);
    for (const row of VISIONS[vision]) assert.ok(Math.abs(row[0] + row[1] + row[2] - 1) < 2e-6); // grey stays grey
  }
});

test("five head colours have a contrast of 3 : 1 on a light page and of 4.5 : 1 on a dark one", () => {
  for (const [dark, least] of [[false, 3], [true, 4.5]]) {
    for (const hex of colour.headColours(5, dark)) assert.ok(contrast(fromHex(hex), PAGES[dark]) >= least, hex);
  }
  assert.equal(new Set(colour.headColours(7)).size, 7);
  assert.deepEqual(colour.headColours(9).slice(7), colour.headColours(2));
});

test("scales: linear and root end at the largest weight of all, row at that of the row", () => {
  const share = (w, scale) => colour.shareOf(w, { scale, largest: 0.5, rowLargest: 0.25 });
  assert.deepEqual(["linear", "sqrt", "row"].map((scale) => share(0.125, scale)), [0.25, 0.5, 0.5]);
  for (const scale of colour.SCALES) {
    assert.equal(share(0, scale), 0);
    assert.equal(share(2, scale), 1);
    assert.equal(colour.shareOf(0.5, { scale, largest: 0, rowLargest: 0 }), 0);
  }
});

test("the table of codes gives each code the colour of its weight", () => {
  for (const scale of colour.SCALES) {
    for (const dark of [false, true]) {
      const look = { scale, largest: 0.8, rowLargest: 0.3, dark };
      const table = colour.codeTable(look);
      assert.equal(table.length, 256);
      assert.deepEqual(table[0], colour.maskedColour(dark));
      assert.deepEqual(table[255], colour.errorColours()[0]);
      for (let code = 1; code < 255; code++) assert.deepEqual(table[code], colour.colourOf(decodeCode(code), look));
    }
  }
});

test("the legend names the scale and says where rows cannot be compared", () => {
  assert.equal(colour.legendText("sqrt", 1), "colour: square root of the weight, 0 to 1, the same for all heads");
  assert.equal(colour.legendText("linear", 0.4567), "colour: the weight, 0 to 0.46, the same for all heads");
  assert.match(colour.legendText("row", 1), /own largest weight; rows are not comparable/);
});

test("a tick stands where its weight is on the bar", () => {
  for (const scale of ["linear", "sqrt"]) {
    for (const { at, text } of colour.legendTicks(scale, 0.4)) {
      assert.ok(Math.abs(at - colour.shareOf(Number(text), { scale, largest: 0.4 })) < 1e-9);
    }
  }
  assert.deepEqual(colour.legendTicks("row").map((tick) => tick.at), [0, 1]);
});

test("contrast is that of WCAG", () => {
  const grey = (level) => [level, level, level];
  assert.ok(Math.abs(contrast(grey(0), grey(255)) - 21) < 1e-9);
  assert.equal(contrast(grey(119), grey(255)).toFixed(2), "4.48"); // the darkest grey that fails on white is #777777
  assert.equal(contrast([255, 0, 0], grey(255)).toFixed(2), "4.00");
  assert.equal(contrast(grey(5), grey(0)).toFixed(3), "1.030"); // 5 / 255 / 12.92 is on the straight part
});

test("ink on any colour has the contrast of text, 4.5 : 1", () => {
  for (const share of EVERY_SHARE) {
    const background = colour.rampAt(share);
    assert.ok(contrast(background, fromHex(colour.inkOn(background))) >= 4.5);
  }
});
