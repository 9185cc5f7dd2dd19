"""What the server says comes late: no page is lost on the way, whatever the browser asks meanwhile."""

from __future__ import annotations

from tests.browser.visitor import Visitor

LATE = """(() => {
  const hear = WebSocket.prototype.addEventListener;
  WebSocket.prototype.addEventListener = function (name, listener, ...more) {
    const late = (event) => setTimeout(() => listener(event), globalThis.late ?? 0);
    return hear.call(this, name, name === "message" ? late : listener, ...more);
  };
})();"""
ECHO = """(() => {
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (said) {
    send.call(this, said);
    if (globalThis.echo) send.call(this, globalThis.echo);
    globalThis.echo = null;
    globalThis.said = [...(globalThis.said ?? []), said];
  };
})();"""
LATER = 2000  # milliseconds: longer than a page that is left alone waits before it asks for its check


def test_nothing_is_asked_about_a_page_while_another_one_is_on_its_way(visitor: Visitor) -> None:
    visitor.page.add_init_script(LATE + ECHO + f"globalThis.late = {LATER}")
    visitor.page.goto(f"{visitor.address}/tokens?text=Nobody+read+this")
    visitor.page.get_by_text("Checking the forward pass").first.wait_for()
    before = visitor.page.evaluate("said.length")
    visitor.page.get_by_role("link", name="Positions").first.click()
    visitor.page.wait_for_timeout(0.8 * LATER)
    assert visitor.page.evaluate("said.length") == before + 1
    visitor.arrive("Positions")


def test_a_page_that_the_browser_lost_comes_back(visitor: Visitor) -> None:
    visitor.page.add_init_script(ECHO)
    visitor.open("tokens", layer=2)
    visitor.page.get_by_text("Forward pass checked").first.wait_for()
    visitor.page.evaluate("globalThis.echo = said.at(-1)")  # the badge's question once more, as if it came late
    before = visitor.page.evaluate("said.length")
    visitor.page.get_by_role("link", name="Positions").first.click()
    visitor.page.wait_for_function(f"said.length >= {before + 2}", polling=100)  # the click, and that it was lost
    visitor.arrive("Positions")
    assert visitor.query["layer"] == ["2"]
