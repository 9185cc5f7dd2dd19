"""A link alone brings a page back as it was: all controls of all lessons, in random states."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from gptviz import places
from gptviz.view import ViewState
from tests.page_helpers import PAGES, open_page, texts

TYPES = (
    "toggle", "checkbox", "slider", "select_slider", "number_input", "selectbox", "text_input", "text_area", "radio",
    "button_group", "multiselect",
)  # fmt: skip
BOXES = {"model", "text", "translator", "source"}
OF_FORMS = {  # what somebody fills in to begin, get or build something: no view of anything
    "train": {"train_mask", "train_steps", "train_rows", "train_rate", "train_repeats", "train_seed", "train_name",
              "train_size", "train_source", "train_text"},
    "lectures": {"lecture_chosen", "draft_title"},
    "models": {"models_chosen", "models_name"},
    "transformer-inside-head": {"head_no_mask"},  # says why it cannot be used
}  # fmt: skip
VIEWS = [
    ViewState(mode="matrix", scale="sqrt"), ViewState(mode="lines", mass=0.8, queries=(1, 2)),
    ViewState(mode="sentence", keys=(1,), way="from"), ViewState(pins=(1, 2), sort="entropy"),
]  # fmt: skip
GIVEN = {  # what is chosen in a picture and not in a control: some of the texts that the address has for it
    **{f"{name}view": [view.to_text() for view in VIEWS]
       for name in ("", "mask_", "encoder_", "decoder_", "cross_", "first_", "second_")},
    "head_stage": ["qkv", "scores", "softmax", "project"],
    "next_ids": ["300.301", "320"],
    "next_at": ["1", "2"],
    "step": ["1", "2"],
    "lapse_step": ["0", "46", "902"],
    "pos_query": ["1", "3"],
    "pos_key": ["1", "2"],
}  # fmt: skip
SENTENCES = ["My dog has fleas", "Lily had a cat. Lily had", "abcabcabc"]
LINKED = [page for page in PAGES if page not in OF_FORMS or page.startswith("transformer")]
SEEDS = range(2)


def controls(at: AppTest) -> dict[str, Any]:
    """The controls of a page by their keys, without those that own the address and those of the badge."""
    found = {each.key: each for kind in TYPES for each in getattr(at, kind)}
    names = {name for of_page in places.PAGES.values() for name in of_page}
    return {key: each for key, each in found.items() if key and key not in names and not key.startswith("check_")}


def values_of(group: Any) -> list[Any]:
    """What the buttons of a group stand for; AppTest knows only what is written on them."""
    names = getattr(group.format_func, "__self__", None)  # of the `dict.get` that `ui.pick_one` writes them by
    values = list(names) if isinstance(names, dict) else list(range(len(group.options)))
    assert [str(group.format_func(value)) for value in values] == group.options
    return values


def set_at_random(control: Any, rng: random.Random) -> None:
    """Choose something else, as far as there is a choice."""
    kind = type(control).__name__
    if kind == "Toggle":
        control.set_value(rng.random() < 0.5)
    elif kind in ("Slider", "NumberInput"):
        value = rng.uniform(float(control.min), float(control.max))
        step = float(control.step)
        value = float(control.min) + round((value - float(control.min)) / step) * step
        if isinstance(control.value, list | tuple):
            control.set_value((min(value, control.max / 2), control.max))
        else:
            control.set_value(type(control.value)(value))
    elif kind in ("SelectSlider", "Selectbox", "Radio"):
        control.set_value(rng.choice(control.options)) if kind != "Selectbox" else control.select_index(
            rng.randrange(len(control.options))
        )
    elif kind == "ButtonGroup":
        control.set_value(rng.choice(values_of(control)))
    else:
        raise AssertionError(f"expected a way to set a {kind}")


def value_of(control: Any) -> Any:
    """What is chosen; of a list as it is written there, as AppTest has it before a run and after."""
    return control.options[control.index] if control.type == "selectbox" else control.value


def at_random(page: str, seed: int) -> AppTest:
    """A page on which everything was chosen by chance; what a choice brings is chosen in the second round."""
    rng = random.Random(f"{page}{seed}")
    mine = (*places.PAGES[""], *places.PAGES.get(page, ()))
    given = {name: rng.choice(GIVEN[name]) for name in mine if name in GIVEN and rng.random() < 0.6}
    at = open_page(page, text=rng.choice(SENTENCES), **given)
    done: set[str] = set()
    for _ in range(2):
        chosen = {}
        for key, control in controls(at).items():
            if key.endswith("_shown") and key not in done and not control.disabled and control.type != "text_input":
                set_at_random(control, rng)
                chosen[key] = value_of(control)
        done |= chosen.keys()
        at.run()
        assert not at.exception, at.exception
        now = {key: value_of(each) for key, each in controls(at).items()}
        assert {key: now[key] for key in chosen if key in now} == {key: chosen[key] for key in chosen if key in now}
    return at


def link_of(at: AppTest) -> dict[str, str]:
    """What stands in the address."""
    owned = {each.key: each.value for each in at.text_input if each.key in at.session_state["kept"]}
    assert owned == {name: at.session_state["kept"][name] for name in owned}
    boxes = {each.key: each.value for each in (*at.text_input, *at.selectbox) if each.key in BOXES}
    return {name: text for name, text in (owned | boxes).items() if text}


def seen(at: AppTest) -> dict[str, Any]:
    """All that a visitor sees but the badge: what is chosen, said, drawn and in tables."""
    hidden = ("gptviz_wake", "gptviz_history", "gptviz_lost")
    parts = [each.proto for each in at.get("bidi_component") if each.proto.component_name not in hidden]
    return {
        "chosen": {key: each.value for key, each in controls(at).items()},
        "said": texts(at),
        "drawn": {each.proto.id.split("-")[-1]: json.loads(each.proto.spec) for each in at.get("plotly_chart")},
        "parts": [(each.component_name, json.loads(each.json) if each.json else each.bytes) for each in parts],
        "tables": [each.value.to_csv() for each in at.dataframe],
    }


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("page", LINKED)
def test_a_link_alone_brings_back_what_was_chosen_by_chance(page: str, seed: int) -> None:
    at = at_random(page, seed)
    all_are_kept(at, page)
    link = link_of(at)
    other = open_page(page, **link)
    assert not other.exception, other.exception
    assert link_of(other) == link
    before, after = seen(at), seen(other)
    for what, found in before.items():
        assert after[what] == found, (what, link)


@pytest.mark.parametrize("page", OF_FORMS)
def test_what_a_form_asks_for_is_no_part_of_a_link_and_the_rest_is(page: str) -> None:
    all_are_kept(open_page(page), page)


def all_are_kept(at: AppTest, page: str) -> None:
    """Every control is part of the link or of a form; a new one has to be one or the other."""
    for key in controls(at):
        assert key in BOXES | OF_FORMS.get(page, set()) or key.endswith("_shown"), key
