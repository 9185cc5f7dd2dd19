"""A lesson that cannot read a text says why, and breaks nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.page_helpers import open_page, open_sound_page, texts
from tests.test_formats_nanogpt import write


def test_a_model_of_characters_says_what_it_cannot_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "letters")
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tmp_path))
    at = open_page("attention", text="My dog")
    assert not at.exception
    assert "letters cannot read this" in texts(at)
    for page in ("tokens", "attention", "inside-head", "masked", "next-token", "inside-block", "loss-gradient"):
        open_sound_page(page, text="a bad hi!")
