"""Lectures as files: every mistake has its line, what is written is read back, and the shipped ones tell the truth."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gptviz
from gptviz import lecture
from gptviz.analysis.predictions import top
from gptviz.exhibits import EXHIBITS
from gptviz.lecture import Lecture, LectureError, Scene, reading, values
from gptviz.places import PAGES, TRANSFORMER_PAGES
from gptviz.sampling import softmax
from gptviz.trace import HeadGain
from tests.page_helpers import open_page

WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30).map(str.strip)
SETTINGS = st.dictionaries(st.sampled_from(["layer", "head"]), st.integers(0, 99).map(str))
SCENES = st.sampled_from(["attention", "next-token", "translate"]).flatmap(
    lambda page: st.builds(
        Scene, st.just(page), WORDS, WORDS, SETTINGS, WORDS, WORDS, WORDS, st.sampled_from(["", *EXHIBITS[page]])
    )
)
LECTURES = st.builds(
    Lecture,
    WORDS.filter(bool),
    st.lists(SCENES, min_size=1, max_size=5).map(tuple),
    WORDS,
    st.sampled_from(["", "contrast"]),
)


@given(LECTURES)
def test_what_is_written_is_read_back(talk: Lecture) -> None:
    assert lecture.read(lecture.write(talk)) == talk


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a title and scenes, found an empty file"),
        ("- a", "line 1: expected a lecture as “name: value”, found a list"),
        ("title: x", "line 1: expected scenes: a list, found only title"),
        ("scenes: []", "found an empty list"),
        ("scenes:\n- page: atention", "line 2: expected a page (did you mean attention?), found 'atention'"),
        ("scenes:\n- page: attention\n  layr: 1", "line 3: expected something that a scene has (did you mean layer?)"),
        ("scenes:\n- page: attention\n  step: 1", "line 3: expected something that the page attention has"),
        ("scenes:\n- page: attention\n  layer: x", "line 3: expected a layer as a number from 0, found 'x'"),
        ("scenes:\n- page: attention\n  layer: -1", "found '-1'"),
        ("scenes:\n- page: attention\n  page: masked", "line 3: expected page once, as on line 2, found it again"),
        ("scenes:\n- title: a", "line 2: expected a scene that begins with “page:”, found title"),
        ("theme: pink\nscenes:\n- page: home", "line 1: expected contrast, or no theme: the app’s menu"),
        ("title: [1]\nscenes:\n- page: home", "line 1: expected a text, found a list"),
        ("scenes:\n\t- page: home", "line 2: expected YAML"),
        ("a: &a [*a]", "line 1: expected something that a lecture has"),
        ("scenes:\n- !!python/object/apply:os.system [true]", "expected a scene as “name: value”, found a list"),
        ("scenes:\n" + "- page: home\n" * 201, "line 2: expected at most 200 scenes, found 201"),
        ("scenes:\n- page: home\n  caption: " + "x" * 401, "line 3: expected at most 400 signs, found 401"),
        ("scenes:\n- page: next-token\n  temperature: warm", "line 3: expected temperature as a number from 0 to 2"),
        ("scenes:\n- page: next-token\n  temperature: 2.5", "a number from 0 to 2, found '2.5'"),
        ("scenes:\n- page: next-token\n  temperature: nan", "a number from 0 to 2, found 'nan'"),
        ("scenes:\n- page: why-mask\n  temperature: 1.6", "a number from 0 to 1.5, found '1.6'"),
        ("scenes:\n- page: next-token\n  seed: -1", "seed as a whole number from 0 to 2,147,483,647, found '-1'"),
        ("scenes:\n- page: time-lapse\n  step: last", "expected step as a whole number from 0, found 'last'"),
        ("scenes:\n- page: inside-head\n  unmasked: maybe", "expected unmasked as true or false, found 'maybe'"),
        ("scenes:\n- page: beam-search\n  show: bush", "expected show as one of tree, candidates, found 'bush'"),
        ("scenes:\n- page: train\n  show: tree", "expected show as nothing: train is shown as it is, found 'tree'"),
        ("scenes:\n- page: beam-search\n  beam: 9", "expected beam as a whole number from 1 to 8, found '9'"),
        ("x" * 1_000_001, "expected at most 1,000,000 signs, found 1,000,001"),
        ("[" * 50_000, "expected"),
    ],
)
def test_a_mistake_says_its_line(text: str, message: str) -> None:
    with pytest.raises(LectureError, match=re.escape(message)):
        lecture.read(text)


MANY = """title: [1]
theme: pink
scenes:
- page: attention
  layer: x
  layr: 1
  caption: [2]
- page: nowhere
- page: next-token
  temperature: warm
  seed: 1.5
"""


def test_all_mistakes_of_a_file_are_told_in_order() -> None:
    with pytest.raises(LectureError) as caught:
        lecture.read(MANY, "talk.yaml")
    told = str(caught.value).splitlines()
    assert all(re.match(r"talk.yaml: line \d+: expected .+, found ", line) for line in told)
    assert [reading.line_of(line) for line in told] == [1, 2, 5, 6, 7, 8, 10, 11]


def test_a_file_of_mistakes_is_told_in_part() -> None:
    with pytest.raises(LectureError) as caught:
        lecture.read("scenes:\n" + "- page: nowhere\n" * 100)
    told = str(caught.value).splitlines()
    assert len(told) == reading.MOST_TOLD + 1 and told[-1] == "and 80 more"


@pytest.mark.parametrize("page", ["next-token", "why-mask", "beam-search"])
def test_the_ends_of_numbers_are_those_of_the_controls(page: str) -> None:
    at = open_page(page)
    controls = {each.key.removesuffix("_shown"): each for each in (*at.slider, *at.number_input)}
    mine = {name: ends for name, ends in values.RANGES.items() if name in PAGES[page]}
    assert mine == {name: (controls[name].min, controls[name].max) for name in mine}
    assert len(mine) >= (1 if page == "beam-search" else 2)
    for name in mine:
        assert (controls[name].step < 1) == (name in values.WITH_A_POINT)


def test_every_name_of_a_value_is_one_of_a_link() -> None:
    names = {name for of_page in PAGES.values() for name in of_page}
    assert {*values.RANGES, *values.WHOLE, *values.SWITCHES} <= names


def test_a_model_of_the_wrong_kind_and_a_step_that_nobody_recorded_are_named() -> None:
    talk = lecture.read(
        "scenes:\n- page: attention\n  model: transformer-deu-eng\n- page: translate\n  model: gpt-stories\n"
        "- page: attention\n  model: gpt-small@55\n- page: translate\n- page: attention\n  model: gpt-small@46\n"
    )
    found = lecture.check(talk)
    assert len(found) == 3
    assert found[0] == (
        "lecture: line 3: scene 1: expected a model of the kind gpt for the page attention (gpt-stories, gpt-small), "
        "found transformer-deu-eng, of another kind; name one of those"
    )
    assert "lecture: line 5: scene 2: expected a model of the kind transformer for the page translate (tr" in found[1]
    assert found[2].startswith("lecture: line 7: scene 3: expected a recorded step of 'gpt-small', found '55'; of: 0,")


def test_a_scene_without_a_model_needs_one_of_its_kind(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tiny_folder.parent))
    found = lecture.check(lecture.read("scenes:\n- page: translate\n- page: attention\n- page: train\n"))
    assert found == [
        "lecture: line 2: scene 1: expected a model of the kind transformer for the page translate, found none "
        "installed; get one on the page Models, or with python -m gptviz get"
    ]


def test_a_thousand_laughs_take_no_memory() -> None:
    laughs = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))
    with pytest.raises(LectureError, match="something that a lecture has"):
        lecture.read(laughs)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"title: \xff")
    with pytest.raises(LectureError, match=r"a.yaml: line 1: expected text in UTF-8, found byte 0xff at 7"):
        lecture.read_file(tmp_path / "a.yaml")


def test_short_names_are_those_of_the_page() -> None:
    talk = lecture.read(
        "scenes:\n- page: next-token\n  temperature: 0.5\n  seed: 3\n"
        "- page: inside-head\n  head: 1.3\n  unmasked: yes\n- page: time-lapse\n  step: 40\n"
        "- page: translate\n  sentence: Ja.\n  step: 2\n"
    )
    assert [dict(scene.settings) for scene in talk.scenes] == [
        {"next_temperature": "0.5", "next_seed": "3"},
        {"layer": "1", "head": "3", "head_unmasked": "true"},
        {"lapse_step": "40"},
        {"step": "2"},
    ]
    assert talk.scenes[3].link() == "translate?source=Ja.&step=2"
    assert lecture.scene_of("translate", {"source": "Ja.", "step": "2", "nonsense": "1"}) == talk.scenes[3]


def test_what_is_not_here_is_named(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tiny_folder.parent))
    talk = lecture.read(
        "scenes:\n- page: attention\n  model: tiny\n  layer: 3\n- page: attention\n  model: smollm2-135m\n"
    )
    assert lecture.check(talk) == [
        "lecture: line 4: scene 1: expected a layer from 0 to 2 of tiny, found 3; say one of those, or another model",
        "lecture: line 6: scene 2: expected a model that is installed (tiny), found 'smollm2-135m'; name one of those, "
        "or python -m gptviz get smollm2-135m",
    ]


# The lectures that come along


@pytest.fixture(scope="module")
def talks() -> dict[str, Lecture]:
    return {name: lecture.read_file(path) for name, path in lecture.shipped().items()}


def test_three_lectures_come_along_that_can_be_shown_from_the_back_row(talks: dict[str, Lecture]) -> None:
    assert set(talks) == {"attention-in-ten-minutes", "why-the-mask-exists", "how-a-gpt-picks-the-next-word"}
    for talk in talks.values():
        assert 8 <= len(talk.scenes) <= 14
        assert lecture.check(talk) == []
        for scene in talk.scenes:
            assert scene.title and scene.note and 0 < len(scene.caption) <= 140, scene.title
            assert len(scene.title) <= 48 and scene.page in PAGES
            kind = "transformer-deu-eng" if scene.page in TRANSFORMER_PAGES else "gpt-stories"
            assert scene.model == kind or scene.page == "why-mask"


def scene(talks: dict[str, Lecture], title: str) -> Scene:
    return next(each for talk in talks.values() for each in talk.scenes if each.title == title)


def trace_of(found: Scene, **changes: object) -> gptviz.Trace:
    return gptviz.trace(gptviz.load(found.model), found.text, **changes)


def head_of(found: Scene) -> np.ndarray:
    return trace_of(found).weights[int(found.settings.get("layer", 0)), int(found.settings.get("head", 0))]


def test_tokens_are_counted_rightly(talks: dict[str, Lecture]) -> None:
    found = scene(talks, "A sentence becomes tokens")
    tokens = trace_of(found).tokens
    assert len(found.text.split()) == 4 and len(tokens) == 6 and "".join(tokens[3:]) == " fleas"


def test_heads_do_what_the_captions_say(talks: dict[str, Lecture]) -> None:
    before = head_of(scene(talks, "A head with one job"))
    assert round(float(np.mean(np.diag(before, -1))), 2) == 0.99
    assert float(head_of(scene(talks, "A head that rests"))[1:, 0].mean()) > 0.5
    copying = scene(talks, "Heads that work together")
    weights, ids = head_of(copying), trace_of(copying).ids
    last = len(ids) - 1
    followed = [k + 1 for k in range(last) if ids[k] == ids[last]]
    assert weights[last].argmax() in followed and copying.settings["view"] == f"lines~q:{last}"
    alone = gptviz.WhatIf(gains=(HeadGain(0, 0, 0.0),))  # without the head that reads the token before
    assert softmax(trace_of(copying, what_if=alone).logits[-1])[ids[followed[0]]] < 0.01


def test_other_letters_mostly_are_not_copied(talks: dict[str, Lecture]) -> None:
    found, rng = scene(talks, "And the model can copy"), np.random.default_rng(0)
    copied = 0
    for _ in range(40):
        words = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 2)) for _ in range(5)]
        trace = gptviz.trace(gptviz.load(found.model), " ".join(words + words[:4]))
        ids, last = trace.ids, len(trace.ids) - 1
        copied += int(trace.logits[-1].argmax()) in {ids[k + 1] for k in range(last) if ids[k] == ids[last]}
    assert copied < 20 and "mostly fails" in found.note


def test_losses_are_as_the_note_says(talks: dict[str, Lecture]) -> None:
    trace = trace_of(scene(talks, "Where the probabilities come from"))
    nats = [-float(np.log(softmax(row)[i])) for row, i in zip(trace.logits, trace.ids[1:], strict=False)]
    assert round(nats[0], 2) == 0.45 and max(nats[1:]) < 0.05
    ground = softmax(trace_of(scene(talks, "Sometimes it is sure, mostly it is not")).logits[-1])
    assert int((np.sort(ground)[::-1].cumsum() < 0.9).sum()) + 1 == 337


def test_the_mask_changes_what_the_captions_say(talks: dict[str, Lecture]) -> None:
    found = scene(talks, "Not every head cares")
    future = np.triu(trace_of(found, causal=False).weights, 1).sum(-1).mean(-1)  # (L, H)
    assert ((future[0] > 0.4) & (future[0] < 0.6)).all() and future[3, 1] < 0.1
    pair = gptviz.translate(gptviz.load("transformer-deu-eng"), scene(talks, "Why it has to look ahead").text)
    assert pair.text.split()[1] == "found"
    assert np.triu(pair.trace.encoder.weights, 1).sum(-1).mean() > 0.5
    assert np.triu(pair.trace.decoder.weights, 1).max() == 0


def test_next_tokens_are_as_likely_as_the_captions_say(talks: dict[str, Lecture]) -> None:
    for title, token, share in (
        ("A number for every token", ",", 0.89),
        ("Sometimes it is sure, mostly it is not", " ground", 0.09),
        ("And the model can copy", " p", 0.79),
    ):
        found = scene(talks, title)
        p = softmax(trace_of(found).logits[-1])
        best = top(p, 2)
        texts = gptviz.load(found.model).tokenizer.token_texts(best.ids[:1].tolist())
        assert list(texts) == [token]
        assert round(float(best.probabilities[0]), 2) == share
    two = softmax(trace_of(scene(talks, "Top-p")).logits[-1])
    assert top(two, 2).probabilities[0] < 0.9 <= top(two, 2).probabilities.sum()
    five = softmax(trace_of(scene(talks, "Top-k")).logits[-1])
    assert 1 - top(five, 5).probabilities.sum() > 0.5, "most of it is thrown away"
    assert reading.SHORT["seed"][0] in scene(talks, "The draw").settings


def test_the_example_of_the_manual_is_a_lecture() -> None:
    manual = (Path(__file__).parents[1] / "docs" / "lectures.md").read_text(encoding="utf-8")
    first, second = lecture.read(re.search(r"```yaml\n(.*?)```", manual, re.DOTALL)[1]).scenes
    assert first.settings == {"layer": "1", "head": "3"}
    assert second.settings == {"next_temperature": "0.5", "next_seed": "3"}
