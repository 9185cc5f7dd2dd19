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

LATE = """() => {
  const asks = (each) => new TextDecoder().decode(each).includes('check_ask__events');
  return Boolean(globalThis.echo = said.findLast(asks));
}"""


def test_a_page_that_the_browser_lost_comes_back(visitor: Visitor) -> None:
    visitor.page.add_init_script(ECHO)
    visitor.open("tokens", layer=2, text="A toad on a lost page")  # that nobody has read: the badge has to ask
    visitor.page.get_by_text("Forward pass checked").first.wait_for()
    assert visitor.page.evaluate(LATE), "expected a question of the badge"  # once more, as if it came late
    visitor.page.get_by_role("link", name="Positions").first.click()
    visitor.page.wait_for_timeout(4000)  # it may be lost, as the server finds the question early or late
    visitor.arrive("Positions")
    assert visitor.query["layer"] == ["2"]
