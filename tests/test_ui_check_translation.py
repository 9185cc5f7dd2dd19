"""The badge on the pages about the encoder-decoder: each pass that a page shows is checked, in all three attentions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import gptviz
from gptviz.analysis.check_translation import ALL, STAGES_OF
from gptviz.places import TRANSFORMER_PAGES
from gptviz.ui import check as parts
from gptviz.ui import forcing
from gptviz.ui import translation as shared
from tests.page_helpers import mounted, open_page, texts
from tests.test_ui_check import badge, checked, one_number
from tests.tiny import translator

SENTENCE = "My dog has fleas"
REFERENCE = "the little dog"


@pytest.fixture(autouse=True)
def shelf(pair_shelf: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The app sees one encoder-decoder; no check and no poisoned trace of another test."""
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(pair_shelf))
    caches = shared.translated, shared.forced, shared.retraced
    for forget in (parts.CHECKS.done.clear, *(cache.clear for cache in caches)):
        forget()
    yield
    for forget in (parts.CHECKS.done.clear, *(cache.clear for cache in caches)):
        forget()


def visit(page: str, **query: object) -> AppTest:
    """A page with something to show, by a link."""
    at = open_page(page, source=SENTENCE, **({"reference": REFERENCE} if page == "teacher-forcing" else {}), **query)
    assert not at.exception, at.exception
    return at


def passes() -> list[tuple]:
    """The passes that were checked, by encoder, decoder and cross-attention, without the model."""
    keys = [key[1:] for key in parts.CHECKS.done]
    return [key for key in keys if len(key) == len(STAGES_OF)]


def poison(trace: gptviz.TranslationTrace, side: str, stage: str, value: float) -> None:
    """Let the pages show one wrong number."""
    array = getattr(getattr(trace, side), stage).copy()
    array.flat[-1] = value
    getattr(trace, side).arrays[stage] = array


def poison_all(
    monkeypatch: pytest.MonkeyPatch, module: object, maker: str, side: str, stage: str, value: float
) -> None:
    """Let every pass that a module makes in one way have a wrong number."""
    right = getattr(module, maker)

    def wrong(*args: object) -> object:
        made = right(*args)
        poison(made.trace, side, stage, value)
        return made

    monkeypatch.setattr(module, maker, wrong)


@pytest.mark.parametrize("page", TRANSFORMER_PAGES)
def test_every_page_has_a_badge_that_turns_green_once_all_is_checked(page: str) -> None:
    at = visit(page)
    assert badge(at) == "checking"
    checked(at)
    assert not at.exception and badge(at) == "agrees"
    at.run()
    assert badge(at) == "agrees" and not mounted(at, "gptviz_wake")
    assert len(passes()) >= (2 if page == "teacher-forcing" else 1)


@pytest.mark.parametrize("side", STAGES_OF)
@pytest.mark.parametrize("page", ["translate", "transformer-tokens"])
def test_one_wrong_number_of_any_side_turns_it_red_and_is_named(
    page: str, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison_all(monkeypatch, shared, "translated", side, "weights", 0.25)
    at = checked(visit(page))
    assert badge(at) == "differs"
    at.session_state["check"] = True
    at.run()
    place = [n - 1 for n in getattr(gptviz.translate(translator(), SENTENCE).trace, side).weights.shape]
    said = texts(at).replace("\u2060", "").replace("\\", "")  # with nothing escaped
    assert f"**{side}.weights**, as displayed, at {place}: found **0.25**" in said


def test_the_pass_over_the_reference_counts_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    poison_all(monkeypatch, forcing, "forced", "decoder", "logits", 9.0)
    assert badge(checked(visit("teacher-forcing"))) == "differs"


def test_what_the_beam_found_counts_as_well() -> None:
    model = translator()
    found = [gptviz.translate(model, SENTENCE, beam).ids for beam in range(1, 9)]
    beam = next((i + 1 for i, ids in enumerate(found) if ids != found[0]), None)
    assert beam, "another sentence, please: every beam finds what greedy decoding finds"
    assert badge(checked(visit("beam-search", beam=beam))) == "agrees"
    inputs = {key[1][0][1:] for key in passes()}
    assert len(inputs) == 2 and all(any(ids[: len(i)] == i for ids in (found[0], found[beam - 1])) for i in inputs)


@pytest.mark.parametrize("side", STAGES_OF)
def test_a_pass_without_scaling_counts_as_well(side: str) -> None:
    at = checked(visit("transformer-inside-head", side=shared.SIDES[side], head_unscaled="true"))
    assert badge(at) == "agrees"
    scaled = [[what_if.scaled for _, what_if in key] for key in passes()]
    changed = [name != side for name in STAGES_OF]
    assert sorted(scaled) == sorted([[True] * 3, changed])


def test_nothing_is_green_that_was_not_checked() -> None:
    at = checked(visit("translate"))
    assert badge(at) == "agrees"
    at.text_input(key="source").set_value("My cat").run()
    assert badge(at) == "checking"


def test_a_page_that_ends_early_leaves_nothing_behind() -> None:
    at = open_page("teacher-forcing", source=SENTENCE)  # no reference yet
    assert not at.exception and badges(at) == []
    at = open_page("translate", source=" ")
    assert not at.exception and badges(at) == []


def badges(at: AppTest) -> list[str]:
    """What the popovers say but that of the whole page."""
    return [label for popover in at.get("popover") if (label := popover.proto.popover.label) != "Share"]


@pytest.mark.parametrize("side", STAGES_OF)
def test_any_number_of_any_side_by_four_paths(side: str) -> None:
    at = checked(visit("translate", layer=2))
    at.session_state["check"] = True
    at.run()
    assert f"All {len(ALL)} stages agree" in texts(at)
    at.selectbox(key="check_side").set_value(side).run()
    weights = getattr(gptviz.translate(translator(), SENTENCE).trace, side).weights
    numbers = {field.label: field for field in at.number_input if field.key.startswith("check_")}
    t, s = weights.shape[2:]
    assert {f"Row, 0 to {t - 1}", f"Column, 0 to {s - 1}", "Head, 0 to 3", "Layer, 0 to 2"} == set(numbers)
    assert numbers["Layer, 0 to 2"].value == 2
    frame = one_number(at)
    assert np.allclose([float(value) for value in frame["value"]], weights[2, 0, t - 1, 0], rtol=1e-5)
    for stage in at.selectbox(key=f"check_stage_{side}").options:
        at.selectbox(key=f"check_stage_{side}").set_value(stage).run()
        assert not at.exception and len(one_number(at)) == 4, stage
    assert ("memory" in at.selectbox(key=f"check_stage_{side}").options) == (side == "cross")


def test_a_pass_can_be_chosen_by_what_the_decoder_read() -> None:
    at = checked(visit("teacher-forcing"))
    at.session_state["check"] = True
    at.run()
    options = at.selectbox(key="check_pass").options
    assert len(options) == 2 and options[1] == "“the little dog”, as trained"
    at.selectbox(key="check_pass").set_value(options[1]).run()
    trace = gptviz.force(translator(), SENTENCE, REFERENCE).trace
    at.selectbox(key="check_side").set_value("decoder").run()
    frame = one_number(at)
    expected = trace.decoder.weights[0, 0, -1, 0]
    assert np.allclose([float(value) for value in frame["value"]], expected, rtol=1e-5)


def test_the_page_itself_does_not_wait_for_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts.Checks, "make", lambda *_: time.sleep(60))
    began = time.monotonic()
    at = visit("translate")
    assert badge(at) == "checking" and time.monotonic() - began < 60
