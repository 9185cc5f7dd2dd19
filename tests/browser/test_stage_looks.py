"""High contrast on the stage: every text that can be seen is measured, in light and dark, also inside components."""

from __future__ import annotations

import pytest

from tests.browser.visitor import Visitor

LEAST = 7  # to 1: WCAG 2.2, 1.4.6, for text on paper; 4.5 to 1, its 1.4.3, in a cell whose colour is a number
FAINT = """() => {
  const rgba = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const over = (top, below) => {
    const a = top[3] ?? 1;
    return [0, 1, 2].map((i) => top[i] * a + below[i] * (1 - a));
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const up = (e) => e.assignedSlot ?? e.parentElement ?? e.getRootNode().host ?? null;
  const chain = (e) => { const all = []; for (; e; e = up(e)) all.push(e); return all; };
  const probe = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const plain = (text) => {  // color(srgb ...), oklch ... as red, green, blue and alpha
    if (text.startsWith('rgb')) return rgba(text);
    probe.clearRect(0, 0, 1, 1); probe.fillStyle = text; probe.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = probe.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const holds = (each, x, y) => {
    const box = each.getBoundingClientRect();
    return box.left <= x && x <= box.right && box.top <= y && y <= box.bottom;
  };
  const paper = (e) => {  // what lies behind its middle; the number above a slider's thumb is not on the thumb
    const box = e.getBoundingClientRect();
    const [x, y] = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
    const behind = chain(e).reverse().filter((each) => holds(each, x, y) || each.dataset?.testid === 'stApp');
    return behind.reduce((below, each) => over(plain(getComputedStyle(each).backgroundColor), below), [255, 255, 255]);
  };
  const elements = (root) =>
    [...root.querySelectorAll('*')].flatMap((e) => e.shadowRoot ? [e, ...elements(e.shadowRoot)] : [e]);
  const faint = [];
  for (const e of elements(document.body)) {
    const said = [...e.childNodes].filter((n) => n.nodeType === 3).map((n) => n.textContent.trim()).join(' ').trim();
    const [box, look] = [e.getBoundingClientRect(), getComputedStyle(e)];
    const seen = e.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && box.width * box.height > 1;
    const off = chain(e).some((each) => each.matches(':disabled, [aria-disabled=true], script, style, option, title'));
    const inCell = e.closest('svg.cells, .bars');  // its colour is no background that the browser tells
    if (!said || !seen || off || inCell || /Material/.test(look.fontFamily)) continue;
    const ground = paper(e);
    const clear = chain(e).reduce((all, each) => all * Number(getComputedStyle(each).opacity), 1);
    const ink = plain(e instanceof SVGElement ? look.fill : look.color);
    const [a, b] = [light(over([...ink.slice(0, 3), (ink[3] ?? 1) * clear], ground)), light(ground)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const coloured = Math.max(...ground) - Math.min(...ground) > 8 || e.closest('.gptviz-token');
    const where = chain(e).map((each) => each.dataset?.testid).find(Boolean);
    if (ratio < (coloured ? 4.5 : LEAST)) faint.push(
      `${said.slice(0, 30)} (${e.tagName} in ${where}): ${ratio.toFixed(2)}, ${ink} on ${ground.map(Math.round)}`
    );
  }
  return faint;
}""".replace("LEAST", str(LEAST))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_in_high_contrast(visitor: Visitor, scheme: str) -> None:
    visitor.page.emulate_media(color_scheme=scheme)
    for scene in (3, 6, 11):  # the attention view, a stage inside a head, bars and sliders
        visitor.open(lecture="attention-in-ten-minutes", scene=scene)
        visitor.page.get_by_role("button", name="High contrast").click()
        chosen = visitor.page.locator("html").get_attribute("data-gptviz-contrast")
        assert chosen == scheme
        assert visitor.until(lambda: visitor.page.evaluate(FAINT) == [], 5), visitor.page.evaluate(FAINT)
        visitor.page.keyboard.press("Escape")
        visitor.settle()
