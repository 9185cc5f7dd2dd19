"""A page that the browser lost on its way, as a question about the page before came late, is drawn again."""

from __future__ import annotations

from tests.browser.visitor import Visitor

ECHO = """(() => {
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (said) {
    send.call(this, said);
    if (globalThis.echo) send.call(this, globalThis.echo);
    globalThis.echo = null;
    globalThis.said = [...(globalThis.said ?? []), said];
  };
})();"""


def test_a_page_that_the_browser_lost_comes_back(visitor: Visitor) -> None:
    visitor.page.add_init_script(ECHO)
    visitor.open("tokens", layer=2)
    visitor.page.get_by_text("Forward pass checked").first.wait_for()
    visitor.page.evaluate("globalThis.echo = said.at(-1)")  # the badge's question once more, as if it came late
    visitor.page.get_by_role("link", name="Positions").first.click()
    visitor.page.wait_for_timeout(4000)  # it may be lost, as the server finds the question early or late
    visitor.arrive("Positions")
    assert visitor.query["layer"] == ["2"]
