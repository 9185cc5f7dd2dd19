"""The badge on every lesson: green only when all the page shows was checked, red at one wrong number, open before."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import gptviz
from gptviz import WhatIf
from gptviz.analysis.check import Check, check
from gptviz.trace import STAGES
from gptviz.ui import check as parts
from gptviz.ui import models
from gptviz.ui.address import kept
from tests.page_helpers import PAGES, fire, mounted, open_page, payload, texts

SENTENCE = "My dog has fleas"
LESSONS = [page for page, script in PAGES.items() if script.startswith("gpt/")]


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """No check and no poisoned trace of another test."""
    parts.CHECKS.done.clear()
    yield
    parts.CHECKS.done.clear()
    models.TRACES.traces.clear()
    models.TRACES.used = 0


def badge(at: AppTest) -> str:
    """The words on the badge."""
    labels = [block.proto.popover.label for block in at.get("popover")]
    words = [label.partition(", and ")[0] for label in labels]  # then comes how many results
    (verdict,) = [verdict for verdict, label in parts.LABELS.items() if label in words]
    return verdict


def checked(at: AppTest) -> AppTest:
    """As the browser does when the page is at rest: ask for the check."""
    (wake,) = mounted(at, "gptviz_wake")
    return fire(at, wake, "check", payload(wake)["ask"])


def one_number(at: AppTest) -> pd.DataFrame:
    """The table of one number by every path."""
    return next(frame.value for frame in at.dataframe if "computed by" in frame.value.columns)


def poisoned(stage: str, what_if: WhatIf, value: float) -> None:
    """Let the pages show one wrong number."""
    trace = models.TRACES.get(models.open_model("gpt-stories"), SENTENCE, what_if)
    array = getattr(trace, stage).copy()
    array.flat[-1] = value
    trace.arrays[stage] = array


@pytest.mark.parametrize("page", LESSONS)
def test_every_lesson_has_a_badge_that_turns_green_once_all_is_checked(page: str) -> None:
    at = open_page(page)
    assert not at.exception and badge(at) == "checking"
    checked(at)
    if page == "loss-gradient":
        assert badge(at) == "partly"
        at.button(key="check_later").click().run()
    assert not at.exception and badge(at) == "agrees"
    at.run()
    assert badge(at) == "agrees" and not mounted(at, "gptviz_wake")


@pytest.mark.parametrize("value", [0.25, np.nan])
def test_one_wrong_number_turns_it_red_and_is_named(value: float) -> None:
    poisoned("weights", WhatIf(), value)
    at = checked(open_page("attention"))
    assert badge(at) == "differs"
    at.session_state["check"] = True
    at.run()
    shown = models.TRACES.get(models.open_model("gpt-stories"), SENTENCE, WhatIf()).weights
    place = [n - 1 for n in shown.shape]
    assert f"**weights**, as displayed, at {place}: found **{value:.7g}**" in texts(at)


def test_the_second_pass_of_a_page_counts_as_well() -> None:
    poisoned("logits", WhatIf(causal=False), 9.0)
    assert badge(checked(open_page("masked"))) == "differs"
    assert badge(checked(open_page("attention", text="My cat"))) == "agrees"


def test_drawn_tokens_are_checked_as_well() -> None:
    at = checked(open_page("next-token"))
    assert badge(at) == "agrees"
    at = open_page("next-token", next_ids="300.301")
    assert badge(at) == "checking"
    assert badge(checked(at)) == "agrees"
    assert {len(key[1]) for key in parts.CHECKS.done if len(key) == 3} == {6, 8}


def test_nothing_is_green_that_was_not_checked() -> None:
    at = checked(open_page("attention"))
    at.text_input(key="text").set_value("Another sentence").run()
    assert badge(at) == "checking"
    model = gptviz.load("gpt-stories")
    done = check(model.gpt, gptviz.trace(model, SENTENCE))
    assert parts.verdict_of([done, None], quick=True) == "checking"
    assert parts.verdict_of([done, None], quick=False) == "waiting"
    assert parts.verdict_of([done, Check((), ("a reason",))], quick=True) == "undecided"
    assert parts.verdict_of([], quick=True) != "agrees"


def test_a_long_text_waits_for_a_click() -> None:
    at = open_page("attention", text="the cat sat " * 60)
    assert badge(at) == "waiting" and not mounted(at, "gptviz_wake")
    at.button(key="check_now").click().run()
    assert not at.exception and badge(at) == "agrees"


def test_any_number_by_four_paths() -> None:
    at = checked(open_page("attention", layer=2, head=3))
    at.session_state["check"] = True
    at.run()
    assert not at.exception and f"All {len(STAGES)} stages agree" in texts(at)
    numbers = {field.label.partition(",")[0]: field for field in at.number_input}
    assert (numbers["Layer"].value, numbers["Head"].value) == (2, 3)
    weights = gptviz.trace(gptviz.load("gpt-stories"), SENTENCE).weights
    frame = one_number(at)
    expected = weights[2, 3, numbers["Row"].value, 0]
    assert np.allclose([float(value) for value in frame["value"]], expected, rtol=1e-5)
    assert all(float(off) < 1e-5 for off in frame["off by"][1:])
    at.selectbox(key="check_stage").set_value("scores").run()
    assert one_number(at)["value"].iloc[-1] == "not shown by it"
    for stage in at.selectbox(key="check_stage").options:
        at.selectbox(key="check_stage").set_value(stage).run()
        assert not at.exception, stage


def test_a_sentence_of_one_token() -> None:
    at = checked(open_page("attention", text="a"))
    at.session_state["check"] = True
    at.run()
    assert not at.exception and badge(at) == "agrees"


def test_checks_are_forgotten_beyond_their_number() -> None:
    model, kept = gptviz.load("gpt-stories"), parts.Checks(2)
    traces = [gptviz.trace(model, text) for text in ("a", "b", "c")]
    for trace in traces:
        kept.make(model, trace)
    assert [kept.find(model, trace) is None for trace in traces] == [True, False, False]


class Rerun(Exception):
    """What st.rerun does, to be seen."""


PRESSES: dict[str, Callable[[], object]] = {
    "token": lambda: kept().update(next_ids="300"),
    "scene": lambda: parts.st.session_state.update(stage=("a lecture", 2)),
    "sentence": lambda: parts.st.session_state.update(text="b"),
}


@pytest.mark.parametrize("press", PRESSES.values(), ids=PRESSES)
def test_a_press_that_came_with_the_question_of_the_badge_is_drawn(
    monkeypatch: pytest.MonkeyPatch, press: Callable[[], object]
) -> None:
    def rerun() -> None:
        raise Rerun

    monkeypatch.setattr(parts.st, "session_state", {"kept_page": "next-token", "text": "a", "stage": None})
    monkeypatch.setattr(parts.st, "rerun", rerun)
    parts.st.session_state["drawn"] = parts.chosen()
    press()  # by a callback, and only the badge runs
    with pytest.raises(Rerun):
        parts.badge(None)
