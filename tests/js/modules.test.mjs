// What every file of the view keeps to, so that all of them can be joined into one module without a build step.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

const FOLDER = new URL("../../gptviz/view/js/", import.meta.url);
const TEXTS = readAll(FOLDER, ".js");
const TESTS = readAll(new URL(".", import.meta.url), ".mjs");
const PURE = ["payload.js", "colour.js", "pool.js", "layout.js", "lines.js", "state.js", "keys.js", "words.js"];
const DECLARED = /^(?:export )?(?:async )?(?:function\*?|class|const|let|var) +(?:([\w$]+)|([{[][^=]*[}\]]))/gm;

const FUNCTION = /^((?: {2})?)(?:export )?(?:async )?(?:function )?(\w+\([^\n]*\)) {\n(?:.*\n)*?\1}$/gm; // or a method

/** The files of a folder, by name. */
function readAll(folder, ending) {
  const names = readdirSync(folder).filter((name) => name.endsWith(ending));
  return Object.fromEntries(names.map((name) => [name, readFileSync(new URL(name, folder), "utf-8")]));
}

/** Names at the top level of a text; of a pattern, all of its names. */
function declared(text) {
  return [...text.matchAll(DECLARED)].flatMap(([, name, pattern]) => (name ? [name] : pattern.match(/[\w$]+/g)));
}

function imported(text) {
  const found = [...text.matchAll(/^import\s+{([^}]*)}\s+from\s+"\.\/([\w.]+)";$/gm)];
  return found.flatMap(([, names, from]) => names.split(",").map((name) => ({ name: name.trim(), from })));
}

test("the files are there", () => {
  for (const name of PURE) assert.ok(name in TEXTS, name);
});

test("a name is declared once in all files", () => {
  const home = new Map();
  for (const [file, text] of Object.entries(TEXTS)) {
    for (const name of declared(text)) {
      assert.ok(!home.has(name), `${name} is in ${home.get(name)} and in ${file}`);
      home.set(name, file);
    }
  }
});

test("what is imported is exported, used, and comes under its own name from a file of the view", () => {
  for (const [file, text] of Object.entries(TEXTS)) {
    const files = new Set(imported(text).map(({ from }) => from));
    assert.equal((text.match(/^\s*import\b/gm) ?? []).length, files.size, `${file}: an import of another form`);
    for (const { name, from } of imported(text).filter((one) => one.name)) {
      const exported = new RegExp(`^export (?:async )?(?:function|const|class) ${name}\\b`, "m");
      assert.ok(exported.test(TEXTS[from] ?? ""), `${file} imports ${name}, which ${from} does not export`);
      const uses = text.match(new RegExp(`\\b${name}\\b`, "g")).length;
      assert.ok(uses > 1, `${file} imports ${name} for nothing`);
    }
  }
});

test("what is exported is used by another file or by a test", () => {
  const tests = Object.values(TESTS);
  for (const [file, text] of Object.entries(TEXTS)) {
    const others = [...Object.values(TEXTS).filter((other) => other !== text), ...tests].join("\n");
    for (const [, name] of text.matchAll(/^export (?:async )?(?:function|const|class) ([\w$]+)/gm)) {
      const used = ["mount", "putBlob"].includes(name) || new RegExp(`\\b${name}\\b`).test(others);
      assert.ok(used, `nobody uses ${name} of ${file}`);
    }
  }
});

test("pure files know nothing of a page", () => {
  for (const name of PURE) {
    const code = TEXTS[name].replace(/^\s*(?:\*|\/\/|\/\*\*).*$/gm, "");
    const found = code.match(/\b(?:document|navigator|localStorage|fetch|requestAnimationFrame|addEventListener)\b/);
    assert.equal(found, null, `${name}: ${found}`);
  }
});

test("nothing is asked of another host", () => {
  for (const [name, text] of Object.entries(TEXTS)) {
    const hosts = text.match(/https?:\/\/[^\s"'`)]+/g) ?? [];
    assert.deepEqual(hosts.filter((host) => !host.startsWith("http://www.w3.org/")), [], name);
    const markup = text.match(/\binnerHTML\b|\bouterHTML\b|insertAdjacentHTML|\beval\(/); // tokens are literal text
    assert.equal(markup, null, `${name}: ${markup}`);
  }
});

test("files, functions and lines are short", () => {
  const tooLong = [];
  for (const [name, text] of Object.entries({ ...TEXTS, ...TESTS })) {
    const lines = text.split("\n");
    if (lines.length > 351) tooLong.push(`${name}: ${lines.length} lines`);
    lines.forEach((line, n) => [...line].length > 120 && tooLong.push(`${name}:${n + 1}: over 120 characters`));
    for (const [code, , title] of text.matchAll(FUNCTION)) {
      const length = code.split("\n").length;
      if (length > 42) tooLong.push(`${name}: ${title} has ${length} lines`);
    }
  }
  assert.deepEqual(tooLong, []);
});
