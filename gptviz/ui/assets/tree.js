// The tree of a beam search: tokens as chips, one column a step, scrolled where it is long. A click says which token
// was meant; the arrow keys walk along the branches. Tokens only ever go through textContent.

const SVG = "http://www.w3.org/2000/svg";
const PATHS = {
  winner: { stroke: "#d55e00", "stroke-width": 4 },
  greedy: { stroke: "#009e73", "stroke-width": 3, "stroke-dasharray": "7 5" },
};
const EDGE = { stroke: "#8a8f98", "stroke-width": 1.5 };
const FILL = "#1c7fc0"; // of a chip: the more, the more probable its token
const CHIP = { height: 28, pad: 8, least: 30, font: 15 };
const STEP = { gap: 40, row: 58, top: 34, left: 44 };
const trees = new WeakMap(); // parentElement, which stays the same over updates -> what is drawn in it
const pen = document.createElement("canvas").getContext("2d");

export default function ({ data, parentElement, setTriggerValue }) {
  const tree = trees.get(parentElement) ?? build(parentElement);
  trees.set(parentElement, tree);
  tree.pick = (place) => setTriggerValue("pick", place);
  tree.name = data.name;
  const drawn = JSON.stringify(data.places);
  const anew = tree.drawn !== drawn;
  if (anew) {
    tree.drawn = drawn;
    draw(tree, data);
  }
  select(tree, data.selected, anew);
}

function make(tag, given = {}, text) {
  const drawn = ["svg", "g", "rect", "path", "text", "line", "style"].includes(tag);
  const element = drawn ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(given)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

/** The parts of a picture, empty; listeners are set once and look up what is drawn. */
function build(parentElement) {
  const part = (tag, name) => make(tag, { class: name });
  const tree = { figure: part("div", "tree"), head: part("div", "head"), scroll: part("div", "scroll") };
  tree.svg = make("svg", { role: "group", "aria-label": "The tree of the search; the arrow keys walk along it" });
  tree.tip = part("div", "tip");
  tree.tip.hidden = true;
  const save = make("button", { class: "save", type: "button", title: "Save as SVG", "aria-label": "Save as SVG" });
  save.innerHTML = `<svg width="18" height="18" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2"
    aria-hidden="true"><path d="M12 4v11m-5-5 5 5 5-5M5 20h14"/></svg>`;
  tree.head.append(...legend(), save);
  tree.scroll.append(tree.svg);
  tree.figure.append(tree.head, tree.scroll, tree.tip);
  parentElement.append(tree.figure);
  const chip = (event) => event.target.closest?.(".chip");
  tree.svg.onclick = (event) => chip(event) && tree.pick(Number(chip(event).dataset.place));
  tree.svg.onpointerover = (event) => (chip(event) ? point(tree, chip(event)) : leave(tree));
  tree.svg.onpointerleave = tree.scroll.onscroll = () => leave(tree);
  tree.svg.onkeydown = (event) => press(tree, event, chip(event));
  save.onclick = () => download(tree);
  return tree;
}

function legend() {
  const line = (look) => {
    const svg = make("svg", { width: 34, height: 12, "aria-hidden": "true" });
    svg.append(make("line", { x1: 1, y1: 6, x2: 33, y2: 6, ...look }));
    return svg;
  };
  const entry = (picture, text) => {
    const span = make("span", { class: "entry" });
    span.append(picture, text);
    return span;
  };
  const shade = make("span", { class: "shade" });
  return [
    entry(line(PATHS.winner), "the winner"),
    entry(line(PATHS.greedy), "greedy"),
    entry(shade, "probability of the token, 0 to 1"),
    entry(make("span", {}, "■"), "end of text"),
  ];
}

function draw(tree, { places, ranks, alone }) {
  leave(tree);
  const style = getComputedStyle(tree.figure);
  const code = style.getPropertyValue("--st-code-font") || "monospace";
  pen.font = `${CHIP.font}px ${code}`;
  tree.places = places;
  const widths = places.map((place) => Math.max(CHIP.least, pen.measureText(place.token).width + 2 * CHIP.pad));
  const steps = 1 + Math.max(...places.map((place) => place.step));
  const columns = Array.from({ length: steps }, (_, step) =>
    Math.max(...places.map((place, i) => (place.step === step ? Math.max(widths[i], 48) : 0))));
  const lefts = columns.map((_, i) => columns.slice(0, i).reduce((x, width) => x + width + STEP.gap, STEP.left));
  tree.boxes = places.map((place, i) => ({
    x: lefts[place.step], y: STEP.top + place.rank * STEP.row, width: widths[i], height: CHIP.height,
  }));
  tree.width = lefts.at(-1) + columns.at(-1) + 16;
  tree.height = STEP.top + ranks * STEP.row + 6;
  tree.chips = places.map((place, i) => chipOf(place, tree.boxes[i], i));
  for (const [name, value] of Object.entries({ width: tree.width, height: tree.height })) {
    tree.svg.setAttribute(name, value);
  }
  tree.svg.setAttribute("viewBox", `0 0 ${tree.width} ${tree.height}`);
  tree.svg.replaceChildren(...scales(lefts, ranks, alone), ...edges(tree), ...tree.chips);
  tree.scroll.scrollLeft = 0;
}

/** Steps across, ranks down. */
function scales(lefts, ranks, alone) {
  const faint = { "font-size": 12, class: "faint" };
  const across = lefts.map((x, step) => make("text", { ...faint, x, y: 14 }, step ? `token ${step}` : "start"));
  const down = Array.from({ length: ranks }, (_, rank) => {
    const y = STEP.top + rank * STEP.row + CHIP.height / 2;
    const last = alone && rank === ranks - 1;
    return make("text", { ...faint, x: 0, y, "dominant-baseline": "central" }, last ? "alone" : `#${rank + 1}`);
  });
  return [...across, ...down];
}

/** Lines from parents to children: those of the two paths last, so that nothing hides them. */
function edges({ places, boxes }) {
  const line = (place, i, look, shift) => {
    const [from, to] = [boxes[place.parent], boxes[i]];
    const [x0, y0] = [from.x + from.width, from.y + CHIP.height / 2 + shift];
    const [x1, y1] = [to.x, to.y + CHIP.height / 2 + shift];
    const middle = Math.max(x1 - STEP.gap / 2, x0);
    const bend = `C${middle},${y0} ${x1 - STEP.gap / 2},${y1} ${x1},${y1}`;
    return make("path", { d: `M${x0},${y0} L${x1 - STEP.gap},${y0} ${bend}`, fill: "none", ...look });
  };
  const children = places.map((place, i) => [place, i]).filter(([place]) => place.parent >= 0);
  const both = (place) => place.winner && place.greedy;
  return [
    ...children.filter(([place]) => !place.winner && !place.greedy).map(([place, i]) => line(place, i, EDGE, 0)),
    ...children.filter(([place]) => place.winner).map(([place, i]) => line(place, i, PATHS.winner, both(place) ? -3 : 0)),
    ...children.filter(([place]) => place.greedy).map(([place, i]) => line(place, i, PATHS.greedy, both(place) ? 3 : 0)),
  ];
}

function chipOf(place, { x, y, width, height }, i) {
  const chip = make("g", { class: "chip", role: "button", tabindex: -1, "aria-label": place.label });
  chip.dataset.place = i;
  const box = (grow, given) => make("rect", {
    x: x - grow, y: y - grow, width: width + 2 * grow, height: height + 2 * grow, rx: 6 + grow, ...given,
  });
  const way = place.winner ? PATHS.winner : place.greedy ? PATHS.greedy : EDGE;
  const rings = [box(0, { class: "page" }), box(0, { fill: FILL, "fill-opacity": 0.6 * place.probability })];
  rings.push(box(0, { fill: "none", ...way, "stroke-width": place.winner || place.greedy ? 2.5 : 1 }));
  if (place.winner && place.greedy) rings.push(box(3.5, { fill: "none", ...PATHS.greedy, "stroke-width": 2 }));
  const middle = { x: x + width / 2, "text-anchor": "middle" };
  const token = make("text", {
    ...middle, y: y + height / 2 + 1, "dominant-baseline": "central", "font-size": CHIP.font, class: "token",
  }, place.token);
  const total = make("text", { ...middle, y: y + height + 16, "font-size": 12, class: "faint" }, place.total);
  chip.append(box(7, { class: "ring", fill: "none" }), ...rings, token, total);
  return chip;
}

/** Mark the chosen chip, and make it the one stop for Tab. */
function select(tree, place, anew) {
  tree.chips.forEach((chip, i) => {
    chip.setAttribute("aria-pressed", String(i === place));
    chip.setAttribute("tabindex", i === place ? 0 : -1);
  });
  const { x, width } = tree.boxes[place];
  const { scrollLeft, clientWidth } = tree.scroll;
  if (x + width > scrollLeft + clientWidth || (!anew && x < scrollLeft)) {
    tree.scroll.scrollLeft = Math.max(0, x + width / 2 - clientWidth / 2);
  }
}

function press(tree, event, chip) {
  if (!chip) return;
  const at = Number(chip.dataset.place);
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    tree.pick(at);
    return;
  }
  if (!event.key.startsWith("Arrow") && event.key !== "Home") return;
  event.preventDefault();
  event.stopPropagation();
  const to = next(tree.places, at, event.key);
  if (to === undefined) return;
  tree.chips[at].setAttribute("tabindex", -1);
  tree.chips[to].setAttribute("tabindex", 0);
  tree.chips[to].focus();
  point(tree, tree.chips[to]);
}

/** Where an arrow key leads: the best child, the parent, or the next rank of the same step. */
function next(places, at, key) {
  const here = places[at];
  const index = places.map((_, i) => i).sort((i, j) => places[i].rank - places[j].rank);
  if (key === "Home") return 0;
  if (key === "ArrowLeft") return here.parent >= 0 ? here.parent : undefined;
  if (key === "ArrowRight") return index.find((i) => places[i].parent === at);
  const column = index.filter((i) => places[i].step === here.step);
  return column[column.indexOf(at) + (key === "ArrowDown" ? 1 : -1)];
}

function point(tree, chip) {
  const { tip } = tree;
  tip.textContent = tree.places[chip.dataset.place].label;
  tip.hidden = false;
  const box = chip.querySelector("rect").getBoundingClientRect();
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(box.left, innerWidth - width - 8))}px`;
  tip.style.top = `${box.bottom + 20 + height > innerHeight ? box.top - height - 6 : box.bottom + 20}px`;
}

function leave(tree) {
  tree.tip.hidden = true;
}

/** All of the tree, also what is scrolled away, as one file for a white page. */
function download(tree) {
  const [side, head] = [16, 30];
  const size = { width: Math.max(tree.width, 420) + 2 * side, height: tree.height + head + side };
  const sheet = make("svg", { xmlns: SVG, ...size, viewBox: `0 0 ${size.width} ${size.height}` });
  const rules = `text { fill: #16202b; font-family: sans-serif } .token { font-family: monospace } .page { fill: #fff }
    .ring { display: none }`;
  const group = make("g", { transform: `translate(${side},${head})` });
  group.append(...[...tree.svg.childNodes].map((child) => child.cloneNode(true)));
  const key = (x, look, text) => [
    make("line", { x1: x, y1: 14, x2: x + 34, y2: 14, ...look }),
    make("text", { x: x + 42, y: 14, "dominant-baseline": "central", "font-size": 13 }, text),
  ];
  sheet.append(
    make("style", {}, rules), make("rect", { ...size, fill: "#ffffff" }), ...key(side, PATHS.winner, "the winner"),
    ...key(side + 140, PATHS.greedy, "greedy"), group,
  );
  const file = new Blob([new XMLSerializer().serializeToString(sheet)], { type: "image/svg+xml" });
  const link = make("a", { href: URL.createObjectURL(file), download: `${tree.name}.svg` });
  link.click();
  URL.revokeObjectURL(link.href);
}
