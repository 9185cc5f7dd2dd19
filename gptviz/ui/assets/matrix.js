// A matrix in its own size: its names stay in view while its cells scroll, and a click says which cell was meant.
//
// `data` is one blob, see Matrix.encode in figures/matrix.py. Names only ever go through textContent.

const SVG = "http://www.w3.org/2000/svg";
const MASKED = [128, 128, 128, 56]; // reads as "not there" on a light and on a dark page
const EMPTY = [0, 0, 0, 0];
const FRAME = "#e69f00"; // told from both scales by everybody, on a light and on a dark page
const BAR = { width: 190, edge: 22, height: 8 };
const SHADES = 512;
const pictures = new WeakMap(); // parentElement, which stays the same over updates -> what is drawn in it
const pen = document.createElement("canvas").getContext("2d");

export default function ({ data, parentElement, setTriggerValue }) {
  const picture = pictures.get(parentElement) ?? build(parentElement);
  pictures.set(parentElement, picture);
  const before = picture.matrix;
  picture.matrix = read(data);
  picture.choose = (cell) => setTriggerValue("cell", cell);
  draw(picture, getComputedStyle(picture.figure).fontFamily);
  const frames = picture.matrix.frames;
  if (before && frames.length && String(before.frames) !== String(frames)) reveal(picture, frames.at(-1));
}

function read(blob) {
  const length = new DataView(blob.buffer, blob.byteOffset).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(blob.subarray(4, 4 + length)));
  const values = new Float32Array(blob.slice(4 + length).buffer);
  return { ...header, values, value: (row, column) => values[row * header.columns.length + column] };
}

function make(tag, given = {}, text) {
  const element = tag in { svg: 1, g: 1, text: 1, rect: 1, image: 1, stop: 1, linearGradient: 1, style: 1 }
    ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(given)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

/** The parts of a picture, empty; listeners are set once and look up what is drawn. */
function build(parentElement) {
  const part = (tag, name) => make(tag, { class: name });
  const picture = { figure: part("div", "matrix"), head: part("div", "head"), title: part("div", "title") };
  for (const name of ["first", "across", "scroll", "grid", "corner", "tip"]) picture[name] = part("div", name);
  for (const name of ["bar", "columns", "rows", "cells"]) picture[name] = part("svg", name);
  const save = make("button", { class: "save", type: "button", title: "Save as SVG", "aria-label": "Save as SVG" });
  save.innerHTML = `<svg width="18" height="18" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2"
    aria-hidden="true"><path d="M12 4v11m-5-5 5 5 5-5M5 20h14"/></svg>`;
  picture.first.append(picture.title, save);
  picture.head.append(picture.first, picture.bar);
  picture.grid.append(picture.corner, picture.columns, picture.rows, picture.cells);
  picture.scroll.append(picture.grid);
  picture.figure.append(picture.head, picture.across, picture.scroll, picture.tip);
  parentElement.append(picture.figure);
  picture.tip.hidden = true;
  picture.cells.onpointermove = (event) => point(picture, event);
  picture.cells.onpointerleave = () => leave(picture);
  picture.scroll.onscroll = () => {
    leave(picture);
    tell(picture);
  };
  new ResizeObserver(() => tell(picture)).observe(picture.scroll);
  picture.cells.onclick = (event) => picture.matrix.clickable && picture.choose(cellAt(picture, event));
  // Who came here with Tab scrolls with the arrow keys: the page's own use of them waits. After a click it does not.
  picture.scroll.onkeydown = (event) => event.key.startsWith("Arrow") && event.stopPropagation();
  picture.scroll.onclick = () => picture.scroll.blur();
  save.onclick = () => download(picture);
  return picture;
}

function draw(picture, font) {
  const { matrix } = picture;
  const { rows, columns, size, axes } = matrix;
  leave(picture);
  picture.shade = shades(matrix);
  picture.title.textContent = matrix.title;
  picture.title.append(make("span", { class: "shape" }, matrix.shape));
  drawBar(picture);
  pen.font = `${size < 15 ? 11 : 12}px ${font}`;
  const down = axes[0] && `${axes[0]} ↓`;
  picture.left = Math.ceil(10 + Math.max(widest(rows), down ? pen.measureText(down).width + 6 : 0));
  picture.corner.replaceChildren(make("span", {}, down));
  drawRows(picture);
  drawColumns(picture);
  drawCells(picture);
  picture.scroll.setAttribute("role", "group");
  picture.scroll.setAttribute("aria-label", `${matrix.title}, ${matrix.shape}`);
  tell(picture);
}

/** Over the columns: what they are, and which of them, and of the rows, are in view where there are more. */
function tell({ matrix, scroll, across, left, top }) {
  if (!matrix) return;
  const { rows, columns, axes, size } = matrix;
  const part = (what, count, from, room) => {
    if (!room || count * size <= room + 1) return "";
    const first = Math.min(Math.round(from / size), count - 1);
    const last = Math.max(first, Math.min(count, Math.floor((from + room) / size)) - 1);
    return `${what}${first} to ${last} of ${count}`;
  };
  const sideways = part(axes[1] ? "" : "columns ", columns.length, scroll.scrollLeft, scroll.clientWidth - left);
  const down = part(`${axes[0] || "rows"} `, rows.length, scroll.scrollTop, scroll.clientHeight - top);
  const seen = [sideways && `${sideways} →`, down && `${down} ↓`].filter(Boolean).join(", ");
  const name = axes[1] && (sideways ? `${axes[1]} ` : `${axes[1]} →${down && ", "}`);
  across.textContent = `${name}${seen}${seen && ": scroll"}`;
  across.style.paddingLeft = seen ? "0" : `${left}px`;
}

const widest = (names) => names.reduce((most, name) => Math.max(most, pen.measureText(name).width), 0);

/** Give an SVG its size and what is in it. */
function fill(svg, width, height, children) {
  for (const [name, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` })) {
    svg.setAttribute(name, value);
  }
  svg.replaceChildren(...children);
}

function fontSize(size) {
  return size < 15 ? 11 : 12;
}

function drawRows(picture) {
  const { rows, size } = picture.matrix;
  const given = { "text-anchor": "end", "dominant-baseline": "central", "font-size": fontSize(size) };
  const at = (i) => ({ x: picture.left - 6, y: (i + 0.5) * size });
  picture.rowNames = rows.map((name, i) => make("text", { ...given, ...at(i) }, name));
  fill(picture.rows, picture.left, rows.length * size, picture.rowNames);
}

/** Names of columns: upright where they fit, numbers as many of them as fit, words turned. */
function drawColumns(picture) {
  const { columns, size } = picture.matrix;
  const most = widest(columns);
  const numbers = columns.every((name) => /^\d+$/.test(name));
  const turned = !numbers && most + 6 > size;
  const step = numbers ? [1, 2, 5, 10, 20, 50, 100].find((n) => n * size >= most + 8) ?? 200 : 1;
  const top = (picture.top = Math.ceil(turned ? most + 10 : 20));
  const place = (x) => turned
    ? { transform: `translate(${x},${top - 5}) rotate(-90)`, "dominant-baseline": "central" }
    : { x, y: top - 6, "text-anchor": "middle" };
  picture.columnNames = columns.map((name, i) => {
    if (i % step) return undefined;
    return make("text", { ...place((i + 0.5) * size), "font-size": fontSize(size) }, name);
  });
  fill(picture.columns, columns.length * size + 2, top, picture.columnNames.filter(Boolean));
  picture.corner.style.width = `${picture.left}px`;
}

function drawCells(picture) {
  const { matrix } = picture;
  const { rows, columns, size, frames } = matrix;
  const [width, height] = [columns.length * size, rows.length * size];
  const image = { href: png(picture), width, height, preserveAspectRatio: "none", style: "image-rendering: pixelated" };
  const frame = ([r0, r1, c0, c1]) => make("rect", {
    x: c0 * size + 1.25, y: r0 * size + 1.25, width: (c1 - c0) * size - 2.5, height: (r1 - r0) * size - 2.5,
    fill: "none", stroke: FRAME, "stroke-width": 2.5, class: "frame",
  });
  const box = { width: size - 2, height: size - 2, fill: "none", stroke: "#ffffff", "stroke-width": 2 };
  picture.pointed = make("rect", { ...box, class: "pointed", visibility: "hidden" });
  const numbers = matrix.numbers ? written(picture) : [];
  fill(picture.cells, width, height, [make("image", image), ...numbers, ...frames.map(frame), picture.pointed]);
  picture.cells.classList.toggle("clickable", matrix.clickable);
}

/** One pixel a cell; the browser makes squares of them. */
function png({ matrix, shade }) {
  const canvas = make("canvas", { width: matrix.columns.length, height: matrix.rows.length });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  matrix.values.forEach((value, i) => pixels.data.set(shade(value), 4 * i));
  context.putImageData(pixels, 0, 0);
  return canvas.toDataURL();
}

/** value -> [r, g, b, a] */
function shades({ colours, ends: [low, high] }) {
  const stops = colours.map(([at, colour]) => [at, colour.match(/\d+/g).map(Number)]);
  const table = Array.from({ length: SHADES }, (_, i) => {
    const at = i / (SHADES - 1);
    const next = Math.max(1, stops.findIndex(([end]) => end >= at));
    const [[from, first], [to, last]] = [stops[next - 1], stops[next]];
    return [...first.map((c, k) => Math.round(c + ((last[k] - c) * (at - from)) / (to - from))), 255];
  });
  return (value) => {
    if (Number.isNaN(value)) return EMPTY;
    if (value === -Infinity) return MASKED;
    const share = Math.max(0, Math.min(1, (value - low) / (high - low)));
    return table[Math.round(share * (SHADES - 1))];
  };
}

/** The values in their cells, with two digits after the point as far as there is room. */
function written({ matrix, shade }) {
  const { columns, size } = matrix;
  const given = { "text-anchor": "middle", "dominant-baseline": "central", "font-size": 12 };
  return [...matrix.values].flatMap((value, i) => {
    if (!Number.isFinite(value)) return [];
    const [row, column] = [Math.floor(i / columns.length), i % columns.length];
    const [r, g, b] = shade(value);
    const style = `fill: ${0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#101418" : "#ffffff"}`;
    const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
    const at = { x: (column + 0.5) * size, y: (row + 0.5) * size };
    return [make("text", { ...given, ...at, style }, minus(value.toFixed(digits)))];
  });
}

const minus = (text) => text.replace("-", "−");

/** The scale under the title, with its ends. */
function drawBar(picture) {
  const { colours, ends, ticks } = picture.matrix;
  const gradient = make("linearGradient", { id: "colours" });
  gradient.append(...colours.map(([at, colour]) => make("stop", { offset: at, "stop-color": colour })));
  const bar = { x: BAR.edge, y: 16, width: BAR.width, height: BAR.height, fill: "url(#colours)" };
  const names = ticks.map(([value, text]) => {
    const x = BAR.edge + (BAR.width * (value - ends[0])) / (ends[1] - ends[0]);
    return make("text", { x, y: 11, "text-anchor": "middle", "font-size": 12 }, text);
  });
  fill(picture.bar, BAR.width + 2 * BAR.edge, 26, [gradient, make("rect", bar), ...names]);
}

/** [row, column] under the pointer. */
function cellAt({ cells, matrix }, event) {
  const box = cells.getBoundingClientRect();
  const index = (at, count) => Math.max(0, Math.min(count - 1, Math.floor(at / matrix.size)));
  return [index(event.clientY - box.top, matrix.rows.length), index(event.clientX - box.left, matrix.columns.length)];
}

function point(picture, event) {
  const { matrix, tip, pointed } = picture;
  const [row, column] = cellAt(picture, event);
  mark(picture, row, column);
  const { size } = matrix;
  for (const [name, value] of Object.entries({ x: column * size + 1, y: row * size + 1, visibility: "visible" })) {
    pointed.setAttribute(name, value);
  }
  const lines = [name(matrix, 0, row), name(matrix, 1, column), exactly(matrix, row, column)];
  tip.textContent = lines.join("\n");
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - width - 8))}px`;
  tip.style.top = `${event.clientY + 18 + height > innerHeight ? event.clientY - height - 10 : event.clientY + 18}px`;
}

/** A row or column in words: what it is, its number, and its name where that is another. */
function name({ one, axes, rows, columns }, side, i) {
  const text = [rows, columns][side][i];
  if (!axes[side]) return text;
  const what = one[side] || axes[side].replace("dimensions", "dimension");
  return text === String(i) ? `${what}: ${i}` : `${what} ${i}: ${text}`;
}

function exactly(matrix, row, column) {
  const value = matrix.value(row, column);
  if (Number.isNaN(value)) return "no value";
  if (value === -Infinity) return "masked";
  return (matrix.signed && value > 0 ? "+" : "") + minus(String(Number(value.toPrecision(6))));
}

function mark(picture, row, column) {
  for (const text of picture.marked ?? []) text.classList.remove("on");
  picture.marked = [picture.rowNames?.[row], picture.columnNames?.[column]].filter(Boolean);
  for (const text of picture.marked) text.classList.add("on");
}

function leave(picture) {
  picture.tip.hidden = true;
  picture.pointed?.setAttribute("visibility", "hidden");
  mark(picture, -1, -1);
}

/** Scroll just so far that a frame is seen; where it is larger than its place, as far as its beginning. */
function reveal({ scroll, left, top, matrix: { size } }, [r0, r1, c0, c1]) {
  const shift = (at, room, from, to) => (to - from > room || from < at ? from : Math.max(at, to - room));
  const [wide, high] = [scroll.clientWidth - left, scroll.clientHeight - top];
  if (c1 - c0 === 1) scroll.scrollLeft = shift(scroll.scrollLeft, wide, c0 * size, c1 * size);
  if (r1 - r0 === 1) scroll.scrollTop = shift(scroll.scrollTop, high, r0 * size, r1 * size);
}

/** All of the picture, also what is scrolled away, as one file for a white page. */
function download(picture) {
  const { matrix, left, top, title, bar, columns, rows, cells } = picture;
  leave(picture);
  const [head, side] = [72, 8];
  const width = side + Math.max(left + matrix.columns.length * matrix.size, 9 * title.textContent.length, 240) + side;
  const height = head + top + matrix.rows.length * matrix.size + side;
  const sheet = make("svg", { xmlns: SVG, width, height, viewBox: `0 0 ${width} ${height}` });
  const move = (svg, x, y) => {
    const group = make("g", { transform: `translate(${x},${y})` });
    group.append(...[...svg.childNodes].map((child) => child.cloneNode(true)));
    return group;
  };
  sheet.append(
    make("style", {}, "text { fill: #16202b; font-family: sans-serif }"),
    make("rect", { width, height, fill: "#ffffff" }),
    make("text", { x: side, y: 20, "font-size": 16, "font-weight": 600 }, `${matrix.title} (${matrix.shape})`),
    move(bar, side - BAR.edge, 28),
    move(columns, side + left, head),
    move(rows, side, head + top),
    move(cells, side + left, head + top),
  );
  const file = new Blob([new XMLSerializer().serializeToString(sheet)], { type: "image/svg+xml" });
  const link = make("a", { href: URL.createObjectURL(file), download: `${matrix.name}.svg` });
  link.click();
  URL.revokeObjectURL(link.href);
}
