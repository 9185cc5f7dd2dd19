"""The reference of the library: built from its docstrings without a warning, has every name, and asks no other host."""

from __future__ import annotations

from pathlib import Path

import pytest

import gptviz
from docs import build_api


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build_api.build(folder, source=False)  # all of it: a warning of any module is an error here
    return folder


def test_every_public_name_is_described(site: Path) -> None:
    page = (site / "gptviz.html").read_text(encoding="utf-8")
    assert all(f'id="{name}"' in page for name in gptviz.__all__)
    assert "(L, H, T, T)" in page and "Raises" in page
    assert (site / "gptviz" / "pictures.html").exists() and (site / "search.js").exists()
    assert len(list(site.rglob("*.html"))) == len(build_api.modules()) + 1  # the index


def test_an_annotation_that_cannot_be_read_stops_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "unreadable.py").write_text("def f(x: list['Nowhere']) -> None:\n    ...\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserWarning, match="Nowhere"):
        build_api.build(tmp_path, ["unreadable"])


@pytest.mark.parametrize(
    "text", ['<script src="https://x">', "<img src=//x>", '<link rel=icon href="http://x">', "fetch('https://x')"]
)
def test_a_page_that_would_ask_another_host_is_seen(text: str) -> None:
    assert build_api.FOREIGN.search(text)
    assert not build_api.FOREIGN.search('<a href="https://x">')
