"""What a notebook keeps of an attention view, in a browser: one of frame and picture is seen, never both."""

from __future__ import annotations

import re

import numpy as np
import pytest

from gptviz.view import attention_view


@pytest.mark.parametrize(("framed", "seen"), [(True, (1, 0)), (False, (0, 1))])
def test_the_picture_is_seen_where_the_frame_is_not(browser: object, framed: bool, seen: tuple[int, int]) -> None:
    view = attention_view(np.eye(3), ["a", "b", "c"], title="three")
    shown = view._repr_mimebundle_()["text/html"]
    if not framed:  # as sites do that take frames and styles out
        shown = re.sub(r"<iframe.*?</iframe>|<style>.*?</style>", "", shown, flags=re.DOTALL)
    page = browser.new_page()
    page.set_content(f"<!doctype html><div>{shown}</div>")
    assert (page.locator("iframe:visible").count(), page.locator("img:visible").count()) == seen
    if framed:
        page.frame_locator("iframe").locator("canvas").first.wait_for()
    else:
        assert page.locator("img").evaluate("image => image.naturalWidth") > 700
    page.close()
