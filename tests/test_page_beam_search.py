"""The page on beam search, through the router, with a small random model: the tree and every number in it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import gptviz
from gptviz.checkpoint import TranslationModel
from gptviz.translation import BeamSearch, Node, beam_search
from gptviz.ui.beam import say_score
from tests.page_helpers import figure, fire, mounted, numbers, open_page, payload, texts
from tests.tiny import translator

SOURCE = "Once upon a time"
HOSTILE = "<img src=x onerror=alert(1)> $x$ **b** :smile:"
pytestmark = pytest.mark.usefixtures("only_tiny_pair")


@pytest.fixture(scope="module")
def model() -> TranslationModel:
    return translator()


def visit(source: str = SOURCE, **query: object) -> AppTest:
    at = open_page("beam-search", source=source, **query)
    assert not at.exception
    return at


def component(at: AppTest) -> object:
    (element,) = mounted(at, "gptviz_beam_tree")
    return element


def tree(at: AppTest) -> dict:
    return payload(component(at))


def plain(at: AppTest) -> str:
    """What the page says, with nothing escaped."""
    return texts(at).replace("\u2060", "").replace("\\", "")


def way(places: list[dict], at: int) -> list[int]:
    """From the first token to a place."""
    found = []
    while at > 0:
        found.append(at)
        at = places[at]["parent"]
    return found[::-1]


def minus(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")


@pytest.mark.parametrize("beam", [2, 4, 8])
def test_the_tree_is_the_search_with_greedy_in_it(model: TranslationModel, beam: int) -> None:
    at = visit(beam=beam)
    places, found, greedy = (tree(at)["places"], *(gptviz.translate(model, SOURCE, b) for b in (beam, 1)))
    nodes = found.search.nodes
    assert len(places) >= len(nodes)
    for place, node in zip(places[1:], nodes[1:], strict=False):
        assert place["parent"] == node.parent
        assert place["total"] == minus(node.total)
        assert place["probability"] == pytest.approx(np.exp(node.log_probability), abs=1e-4)
        assert f"log-probability {minus(node.log_probability)}" in place["label"]
        assert f"running total {minus(node.total)}" in place["label"]
    marked = [i for i, place in enumerate(places) if place["winner"]]
    assert marked == [0, *found.search.path(found.search.results[0])]
    path = [i for i, place in enumerate(places) if place["greedy"]]
    texts_of = model.tokenizer.token_texts(
        [greedy.search.nodes[i].token for i in greedy.search.path(greedy.search.results[0])]
    )
    assert path == [0, *way(places, path[-1])]
    assert [places[i]["token"] for i in path[1:]] == [text.replace(" ", "·") for text in texts_of]
    assert tree(at)["alone"] == (len(places) > len(nodes))


def test_the_tree_of_greedy_decoding_is_one_line() -> None:
    at = visit(beam=1)
    assert tree(at)["ranks"] == 1
    assert "A beam of 1 is greedy decoding" in texts(at)


def test_the_table_has_every_translation_with_its_score(model: TranslationModel) -> None:
    at, found = visit(beam=4), gptviz.translate(model, SOURCE, 4)
    frame = at.dataframe[0].value
    assert isinstance(frame, pd.DataFrame)
    assert frame["beam score"].is_monotonic_decreasing
    np.testing.assert_allclose(frame["log-probability, nats"] / ((5 + frame["tokens"]) / 6) ** 0.6, frame["beam score"])
    np.testing.assert_allclose(frame["length penalty"], ((5 + frame["tokens"]) / 6) ** 0.6)
    assert frame["beam score"].iloc[0] == pytest.approx(found.score)
    assert frame["which"].iloc[0].startswith("winner")
    assert len(frame) == len(found.search.results) + 1  # greedy came to one that the beam dropped
    assert frame["which"].str.contains("greedy").sum() == 1


def test_it_says_which_is_more_probable_and_by_how_much(model: TranslationModel) -> None:
    found, greedy = (gptviz.translate(model, SOURCE, b).search for b in (4, 1))
    said = plain(visit(beam=4))
    one, other = (run.nodes[run.results[0]].total for run in (found, greedy))
    assert one > other, "choose another sentence: here the beam finds nothing better"
    assert f"**{np.exp(one - other):,.1f} times as probable**" in said
    assert minus(found.score(found.results[0])) in said and minus(greedy.score(greedy.results[0])) in said


def test_a_beam_may_lose_to_greedy_and_the_page_says_so(
    model: TranslationModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def losing(transformer: object, source: list[int], end: int, beam: int, limit: int) -> object:
        """A search whose winner is its worst."""
        found = beam_search(transformer, source, end, beam, limit)
        return found if beam == 1 else found._replace(results=tuple(sorted(found.results, key=found.score)))

    monkeypatch.setattr("gptviz.translation.beam_search", losing)
    said = plain(visit("Tom and Lily and the dog", beam=5))
    assert "the **greedy translation is" in said
    assert "A search keeps no promise." in said


def test_the_length_limit_is_said() -> None:
    at = visit()
    assert "Stopped at the length limit" in texts(at)
    assert set(at.dataframe[0].value["ended by"]) == {"length limit"}


def test_a_click_shows_the_beginning_and_what_could_follow(model: TranslationModel) -> None:
    at, search = visit(beam=3), gptviz.translate(model, SOURCE, 3).search
    node = search.path(search.results[0])[3]
    fire(at, component(at), "pick", node)
    assert not at.exception
    assert tree(at)["selected"] == node
    assert "(4 tokens, total " + minus(search.nodes[node].total) in plain(at)
    kept = {i for i, other in enumerate(search.nodes) if other.parent == node}
    shown, dropped = figure(at, "beam_candidates")["data"]
    assert len(shown["y"]) == len(kept)
    expected = sorted((np.exp(search.nodes[i].log_probability) for i in kept), reverse=True)
    np.testing.assert_allclose(numbers(shown["x"]), expected, rtol=1e-3)
    assert len(shown["y"]) + len(dropped["y"]) >= 10
    assert at.text_input(key="beam_node").value == ".".join(map(str, search.tokens(node)))
    for nonsense in (-1, 9999, "x", None, True, [1]):
        fire(at, component(at), "pick", nonsense)
        assert not at.exception
        assert tree(at)["selected"] == node


def test_the_chosen_beginning_stays_where_the_other_tree_has_it(model: TranslationModel) -> None:
    wide = gptviz.translate(model, SOURCE, 6).search
    narrow = gptviz.translate(model, SOURCE, 2).search
    first = wide.nodes[1].token
    at = visit(beam=6, beam_node=first)
    assert tree(at)["selected"] == 1
    at.slider(key="beam_shown").set_value(2).run()
    assert narrow.nodes[tree(at)["selected"]].token == first
    at = visit(beam=2, beam_node=".".join(map(str, wide.tokens(len(wide.nodes) - 1))))
    assert at.text_input(key="beam_node").value == ""


def test_what_greedy_did_alone_is_said() -> None:
    at = visit(beam=4)
    alone = len(tree(at)["places"]) - 2
    assert "not in the beam" in tree(at)["places"][alone]["label"]
    fire(at, component(at), "pick", alone)
    assert "Greedy decoding came here alone" in texts(at)


def test_the_start_can_be_chosen() -> None:
    at = visit(beam=4)
    fire(at, component(at), "pick", 0)
    assert tree(at)["selected"] == 0
    assert "The beginning:** nothing yet" in texts(at)


@pytest.mark.parametrize("source", ["...", "世界", "🙂", "Wie geht's dir? " * 2, "\x07\u202e", "17"])
def test_any_sentence_has_a_tree(source: str) -> None:
    assert len(tree(visit(source))["places"]) > 4


@pytest.mark.parametrize(("source", "said"), [(" ", "Type a sentence"), ("the dog " * 100, "at most 47 tokens")])
def test_what_cannot_be_translated_is_said(source: str, said: str) -> None:
    at = visit(source)
    assert said in plain(at).replace("·", " ")
    assert not mounted(at, "gptviz_beam_tree")


@pytest.mark.parametrize("nonsense", ["-1", "x", HOSTILE, "1e9", "1..2", "²", "99999999999", "9"])
def test_nonsense_in_the_link_leaves_the_defaults(nonsense: str) -> None:
    at = visit(beam=nonsense, beam_node=nonsense)
    assert at.slider(key="beam_shown").value == 4
    assert tree(at)["selected"] == tree(visit())["selected"]


def test_hostile_text_is_literal() -> None:
    at = visit(HOSTILE)
    for group in (at.markdown, at.caption, at.info, at.warning):
        for element in group:
            assert "<img" not in element.value and "**b**" not in element.value and "$x$" not in element.value
    for chart in at.get("plotly_chart"):
        assert "<img" not in chart.proto.spec


def chain(total: float, length: int) -> BeamSearch:
    """A search that found one translation of `length` tokens."""
    nodes = [Node(-1, 0, 0.0, 0.0, False)]
    nodes += [Node(i, 1, total / length, total * (i + 1) / length, i == length - 1) for i in range(length)]
    return BeamSearch(tuple(nodes), (length,), "end")


@pytest.mark.parametrize(
    ("beam", "greedy", "said"),
    [
        ((-2.0, 2), (-2.1, 8), "But the greedy one is longer"),
        ((-2.0, 8), (-2.1, 8), "Its beam score is better, too."),
        ((-3.0, 8), (-2.1, 8), "Its beam score is better, too: the beam **dropped the greedy beginning**"),
        ((-2.2, 8), (-2.1, 2), "The beam's is longer"),
    ],
)
def test_the_better_score_is_said_of_the_right_one(beam: tuple, greedy: tuple, said: str) -> None:
    assert say_score(chain(*beam), chain(*greedy)).startswith(said)
