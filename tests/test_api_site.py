"""The reference of the library: built from its docstrings, with every public name, and asks no other host."""

from __future__ import annotations

from pathlib import Path

import pytest

import gptviz
from docs import build_api


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build_api.build(folder, ["gptviz", "gptviz.pictures"])
    return folder


def test_every_public_name_is_described(site: Path) -> None:
    page = (site / "gptviz.html").read_text(encoding="utf-8")
    assert all(f'id="{name}"' in page for name in gptviz.__all__)
    assert "(L, H, T, T)" in page and "Raises" in page
    assert (site / "gptviz" / "pictures.html").exists() and (site / "search.js").exists()


@pytest.mark.parametrize(
    "text", ['<script src="https://x">', "<img src=//x>", '<link rel=icon href="http://x">', "fetch('https://x')"]
)
def test_a_page_that_would_ask_another_host_is_seen(text: str) -> None:
    assert build_api.FOREIGN.search(text)
    assert not build_api.FOREIGN.search('<a href="https://x">')
