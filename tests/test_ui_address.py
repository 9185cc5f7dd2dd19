"""What the address keeps: on every page, right after quick clicks, and never what means nothing."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from gptviz import places
from gptviz.ui import address
from tests.page_helpers import PAGES, open_page

HOSTILE = "<img src=x onerror=alert(1)>$x$ **b** :smile: [a](b)"


def app() -> None:
    """Two pages behind one router: one with a widget of each kind, and one with none."""
    from types import SimpleNamespace

    import streamlit as st

    from gptviz import ui
    from gptviz.ui.address import own

    st.text_input("Page", "attention", key="page")
    own(st.session_state["page"])
    if st.session_state["page"] == "attention":
        config = st.session_state.get("config", SimpleNamespace(n_layers=3, n_heads=4))
        st.session_state["picked"] = {
            "layer": ui.pick_layer(config),
            "head": ui.pick_head(config),
            "att_show": ui.pick_one("Show", {"head": "One head", "mean": "Mean", False: "Off"}, "att_show"),
            "att_words": ui.switch("Words", "att_words"),
            "att_first": ui.switch("First", "att_first", default=True),
            "att_at": ui.slide_pair("Ends", 0.0, 1.0, (0.2, 0.5), 0.01, "att_at"),
            "att_levels": ui.slide("Level", 0, st.session_state.get("last", 9), 5, 1, "att_levels"),
            "att_over": ui.slide_among("Over", ["1", "2", "all"], "2", "att_over"),
            "summed": ui.number("Seed", 3, 30, 7, "summed"),
        }


DEFAULTS = {
    "layer": 0, "head": 0, "att_show": "head", "att_words": False, "att_first": True, "att_at": (0.2, 0.5),
    "att_levels": 5, "att_over": "2", "summed": 7,
}  # fmt: skip
OTHERS = {  # name -> text in the address, and what it means
    "layer": ("2", 2), "head": ("3", 3), "att_show": ("Mean", "mean"), "att_words": ("true", True),
    "att_first": ("false", False), "att_at": ("0.1-0.9", (0.1, 0.9)), "att_levels": ("0", 0),
    "att_over": ("all", "all"), "summed": ("30", 30),
}  # fmt: skip


def run(**query: str) -> AppTest:
    at = AppTest.from_function(app, default_timeout=60)
    for key, value in query.items():
        at.query_params[key] = value
    return fine(at.run())


def fine(at: AppTest) -> AppTest:
    assert not at.exception, at.exception
    return at


def owners(at: AppTest) -> dict[str, str]:
    """What the address has, by the boxes that own it."""
    return {box.key: box.value for box in at.text_input if box.value and box.key != "page"}


def test_without_a_link_all_is_as_it_begins_and_the_address_is_empty() -> None:
    at = run()
    assert at.session_state["picked"] == DEFAULTS
    assert owners(at) == {}


def test_a_link_sets_every_kind_of_widget() -> None:
    at = run(**{name: text for name, (text, _) in OTHERS.items()})
    assert at.session_state["picked"] == {name: value for name, (_, value) in OTHERS.items()}


def test_what_is_chosen_is_in_the_address_and_survives_another_page() -> None:
    at = run()
    for kind in (at.segmented_control, at.toggle, at.slider, at.select_slider, at.number_input):
        for widget in kind:
            widget.set_value(OTHERS[widget.key.removesuffix("_shown")][1])
    fine(at.run())
    texts = {name: text for name, (text, _) in OTHERS.items()}
    assert owners(at) == texts
    fine(at.text_input(key="page").set_value("masked").run())
    assert owners(at) == texts
    assert not at.slider
    fine(at.run())
    fine(at.text_input(key="page").set_value("attention").run())
    assert at.session_state["picked"] == {name: value for name, (_, value) in OTHERS.items()}


def test_the_default_leaves_the_address() -> None:
    at = run(**{name: text for name, (text, _) in OTHERS.items()})
    at.slider(key="att_at_shown").set_value((0.2, 0.5))
    at.toggle(key="att_first_shown").set_value(True)
    fine(at.segmented_control(key="att_show_shown").set_value("head").run())
    assert not {"att_at", "att_first", "att_show"} & set(owners(at))
    assert at.session_state["picked"]["att_first"] is True


@pytest.mark.parametrize("nonsense", ["99", "-1", "one", "0.55555.1", "", "../x", "9" * 50, "nan", "inf", HOSTILE])
@pytest.mark.parametrize("name", DEFAULTS)
def test_nonsense_leaves_the_address_and_nothing_else(name: str, nonsense: str) -> None:
    kept = "att_levels" if name != "att_levels" else "layer"
    at = run(**{name: nonsense, kept: "1"})
    assert at.session_state["picked"] == DEFAULTS | {kept: 1}
    assert owners(at) == {kept: "1"}


def test_a_range_that_became_smaller_puts_the_value_right() -> None:
    at = run(att_levels="8", layer="2")
    at.session_state["last"] = 9
    at.session_state["config"] = SimpleNamespace(n_layers=2, n_heads=4)
    fine(at.run())
    assert at.session_state["picked"]["layer"] == 0 and owners(at) == {"att_levels": "8"}
    at.session_state["last"] = 20  # another slider, as Streamlit sees it: it must not begin anew
    fine(at.run())
    assert at.session_state["picked"]["att_levels"] == 8 and owners(at) == {"att_levels": "8"}
    at.session_state["last"] = 6
    fine(at.run())
    assert at.session_state["picked"]["att_levels"] == 5 and owners(at) == {}


def test_an_old_answer_of_the_browser_does_not_undo_a_choice() -> None:
    """Of two quick clicks, the message of the second has the first one's owner as it was before."""
    at = run()
    states = at._tree.get_widget_states()
    fine(at.segmented_control(key="layer_shown").set_value(2).run())
    for state in states.widgets:
        for key, index in (("layer_shown", 2), ("head_shown", 3)):
            if state.id.endswith(key):
                state.string_array_value.data[:] = [str(index)]
    fine(at._run(states))
    assert at.session_state["picked"] | {"layer": 2, "head": 3} == at.session_state["picked"]
    assert owners(at) == {"layer": "2", "head": "3"}


def test_a_picker_that_two_pages_have_shows_the_same_on_both() -> None:
    at = fine(open_page("attention", layer=2, head=1))
    for page in ("masked", "attention", "masked"):
        fine(at.switch_page(f"gpt/{page}.py").run())
        picked = [at.segmented_control(key=f"{name}_shown").value for name in ("layer", "head")]
        assert picked == [2, 1]
        assert owners(at) | {"layer": "2", "head": "1"} == owners(at)


def test_a_name_that_no_page_has_is_refused() -> None:
    with pytest.raises(KeyError, match="add it to those of its page"):
        address.Kept()["nonsense"] = "1"


def test_every_page_with_names_is_a_page() -> None:
    assert set(places.PAGES) - {""} <= set(PAGES)
    pages = {page: set(names) for page, names in places.PAGES.items()}
    for page, other in itertools.combinations(pages, 2):
        twins = {page, other} <= set(places.TRANSFORMER_PAGES) or other == f"transformer-{page}"
        assert twins or not pages[page] & pages[other], (page, other)


def test_every_page_about_the_encoder_decoder_is_a_page() -> None:
    assert set(places.TRANSFORMER_PAGES) == {page for page, script in PAGES.items() if script.startswith("transf")}


def test_what_belongs_to_a_sentence_goes_and_comes_with_it() -> None:
    at = open_page("masked", text="My dog has fleas", mask_at=1)
    for text, at_token in (("The cat sat", ""), ("My dog has fleas", "1")):
        fine(at.text_input(key="text").set_value(text).run())
        assert at.session_state["mask_at"] == at_token
    fine(at.menu_button(key="try_gpt").set_value("A list").run())
    assert at.session_state["mask_at"] == ""


def test_a_session_remembers_what_belongs_to_a_few_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    state: dict = {}
    monkeypatch.setattr(address.st, "session_state", state)
    for number in range(address.MOST_SENTENCES + 9):
        address.another_sentence("gpt", ("m", str(number)))
        address.remember_sentence("gpt", ("m", str(number)))
        address.kept()["mask_at"] = number
    assert len(state["kept_of"]) == address.MOST_SENTENCES


def test_a_press_that_interrupts_a_run_brings_old_values_along_which_nobody_chose(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state: dict = {"next_ids_shown": ""}
    monkeypatch.setattr(address.st, "session_state", state)
    address.kept()["next_ids"] = "11"
    address.send("next_ids_shown", "11")  # and the run is interrupted
    state["next_ids_shown"] = ""  # the browser had not got it
    address.keep_shown("next_ids", "", str)
    assert address.kept()["next_ids"] == "11"
    state["next_ids_shown"] = "12"  # this was chosen
    address.keep_shown("next_ids", "", str)
    assert address.kept()["next_ids"] == "12"
    address.send("next_ids_shown", "13")
    address.arrived()
    state["next_ids_shown"] = "12"  # so was this: the browser had 13
    address.keep_shown("next_ids", "", str)
    assert address.kept()["next_ids"] == "12"


def test_what_was_sent_long_ago_has_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    state: dict = {"next_ids_shown": ""}
    monkeypatch.setattr(address.st, "session_state", state)
    address.kept()["next_ids"] = "11"
    address.send("next_ids_shown", "11")
    monkeypatch.setattr(address, "LATE", 0.0)
    state["next_ids_shown"] = ""
    address.keep_shown("next_ids", "", str)
    assert address.kept()["next_ids"] == ""


# What a link says for nothing -----------------------------------------------------------------------------------------


def said_of_link(at: AppTest) -> str:
    """The notice, without the signs that keep Markdown out; empty without one."""
    captions = [caption.value for caption in at.caption if "link_off" in caption.value]
    return (captions or [""])[0].replace("\\", "").replace("\u2060", "")


@pytest.mark.parametrize("page", ["attention", "translate", "lectures", "models", "time-lapse"])
def test_names_of_another_version_are_named_and_ignored(page: str) -> None:
    at = open_page(page, layer=1, old_name=3, attention="x" * 100)
    said = said_of_link(at)
    assert not at.exception
    assert "**old_name=3**" in said and f"**attention={'x' * 30}…**" in said and "layer" not in said
    assert said_of_link(open_page(page, layer=1)) == ""


def test_names_of_other_pages_sentences_and_lectures_are_known() -> None:
    others = dict.fromkeys((name for names in places.PAGES.values() for name in names), "")
    at = open_page("tokens", **others, model="gpt-stories", translator="", source="Ich", notes="", scene=2)
    assert not at.exception and said_of_link(at) == ""


def test_values_that_mean_nothing_are_named_once() -> None:
    at = open_page("attention", layer=99, att_words="perhaps", head=2)
    said = said_of_link(at)
    assert "**layer=99**" in said and "**att_words=perhaps**" in said and "head" not in said
    at.run()
    assert said_of_link(at) == ""


def test_what_a_later_choice_makes_meaningless_is_not_blamed_on_the_link() -> None:
    at = open_page("next-token", next_at=3, text="My dog has fleas")
    at.text_input(key="text").set_value("My").run()
    assert not at.exception and said_of_link(at) == ""


def test_a_hostile_link_is_literal_and_short() -> None:
    at = open_page("attention", **{HOSTILE: HOSTILE}, **{f"name{n}": n for n in range(300)})
    (said,) = [caption.value for caption in at.caption if "link_off" in caption.value]
    assert "<img" not in said and "[a](b)" not in said and ":smile:" not in said
    assert "and 296 more" in said and len(said) < 2000
