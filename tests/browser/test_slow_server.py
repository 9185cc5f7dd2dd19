"""What the server says comes late: no page is lost on the way, whatever the browser asks meanwhile."""

from __future__ import annotations

from tests.browser.visitor import Visitor

LATE = """(() => {
  const hear = WebSocket.prototype.addEventListener;
  WebSocket.prototype.addEventListener = function (name, listener, ...more) {
    const late = (event) => setTimeout(() => listener(event), globalThis.late ?? 0);
    return hear.call(this, name, name === "message" ? late : listener, ...more);
  };
})()"""
LATER = 1500  # milliseconds: longer than a page that is left alone waits before it asks for its check


def test_a_page_that_comes_late_stays(visitor: Visitor) -> None:
    visitor.page.add_init_script(LATE)
    visitor.open("tokens")
    visitor.page.evaluate(f"globalThis.late = {LATER}")
    visitor.page.get_by_role("link", name="Positions").first.click()
    visitor.arrive("Positions")
    visitor.page.wait_for_timeout(2 * LATER)
    assert visitor.title() == "Positions"


ECHO = """(() => {
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (said) {
    send.call(this, said);
    if (globalThis.echo) send.call(this, globalThis.echo);
    globalThis.echo = null;
    globalThis.said = [...(globalThis.said ?? []), said];
  };
})()"""


def test_a_page_that_the_browser_lost_comes_back(visitor: Visitor) -> None:
    visitor.page.add_init_script(ECHO)
    visitor.open("tokens", layer=2)
    visitor.page.get_by_text("Forward pass checked").first.wait_for()
    visitor.page.evaluate("globalThis.echo = said.at(-1)")  # the badge's question once more, as if it came late
    before = visitor.page.evaluate("said.length")
    visitor.page.get_by_role("link", name="Positions").first.click()
    visitor.page.wait_for_function(f"said.length === {before + 2}", polling=100)  # the click, and that it was lost
    visitor.arrive("Positions")
    assert visitor.query["layer"] == ["2"]
