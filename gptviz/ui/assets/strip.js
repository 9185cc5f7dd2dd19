// A strip of tokens: coloured by value, clickable, reachable by keyboard. Tokens only ever go through textContent.

const strips = new WeakMap();

export default function ({ data, parentElement, setTriggerValue }) {
  let strip = strips.get(parentElement);
  if (!strip) {
    strip = document.createElement("div");
    strip.className = "strip";
    parentElement.appendChild(strip);
    strips.set(parentElement, strip);
  }
  if (strip.dataset.tokens !== JSON.stringify([data.tokens, data.selectable])) build(strip, data);
  const style = getComputedStyle(parentElement.host ?? parentElement);
  data.tokens.forEach((token, i) => paint(strip.children[i], token, i, data, style));
  strip.onclick = (event) => {
    const chip = event.target.closest("button");
    if (chip) setTriggerValue("toggle", Number(chip.dataset.position));
  };
  strip.onkeydown = (event) => move(event, strip);
}

function build(strip, data) {
  strip.dataset.tokens = JSON.stringify([data.tokens, data.selectable]);
  strip.setAttribute("role", "group");
  strip.setAttribute("aria-label", data.selectable ? "Tokens of the sentence; choose any" : "Tokens of the sentence");
  strip.replaceChildren(
    ...data.tokens.map((token, i) => {
      const chip = document.createElement(data.selectable ? "button" : "span");
      chip.className = "token";
      chip.dataset.position = i;
      chip.textContent = token;
      if (data.selectable) {
        chip.type = "button";
        chip.tabIndex = i === 0 ? 0 : -1; // one stop for Tab; the arrow keys go on from there
      }
      return chip;
    })
  );
}

function paint(chip, token, i, data, style) {
  const given = data.given?.[i] ?? false;
  chip.classList.toggle("given", given);
  const exact = data.labels?.[i] ?? (data.values ? String(data.values[i]) : given ? "from the chat template" : "");
  chip.title = `token ${i}: ${token}${exact ? `\n${exact}` : ""}`;
  chip.setAttribute("aria-label", `token ${i}, ${token}${exact ? `, ${exact}` : ""}`);
  if (data.selectable) chip.setAttribute("aria-pressed", String(data.selected.includes(i)));
  const value = data.values ? Math.max(0, Math.min(1, data.values[i])) : 0;
  if (!value) {
    chip.style.background = chip.style.color = "";
    return;
  }
  const page = rgb(style.getPropertyValue("--st-background-color"));
  const dark = luminance(page) < 0.5;
  const ink = dark ? [99, 190, 230] : [0, 84, 147];
  const share = value ** 0.8;
  const background = page.map((p, c) => Math.round(p + (ink[c] - p) * share));
  chip.style.background = `rgb(${background})`;
  chip.style.color = luminance(background) > 0.19 ? "#101418" : "#ffffff"; // where both contrast the same
}

function move(event, strip) {
  const chips = [...strip.querySelectorAll("button")];
  const at = chips.indexOf(event.target);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: chips.length - 1 }[event.key];
  if (at < 0 || to === undefined || !chips[to]) return;
  event.preventDefault();
  chips[at].tabIndex = -1;
  chips[to].tabIndex = 0;
  chips[to].focus();
}

function rgb(color) {
  const context = document.createElement("canvas").getContext("2d");
  context.fillStyle = color.trim() || "#ffffff";
  context.fillRect(0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}

function luminance(color) {
  const [r, g, b] = color.map((c) => (c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
