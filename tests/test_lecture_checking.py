"""What of a lecture cannot be shown here: each with its file, its line, what was expected and found, and what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gptviz import lecture
from gptviz.__main__ import main
from gptviz.lecture import reading, values
from gptviz.ui import attention, continuation, gradients, head_steps, predictions, translate, translation
from tests.page_helpers import open_page, open_sound_page

MISSING = """scenes:
- page: attention
  layer: 99
- page: attention
  model: gpt-small
  title: One
  head: 9.1
- page: time-lapse
  step: 41
- page: time-lapse
  recording: nobody
- page: time-lapse
  head: 44
- page: why-mask
  step: 3
- page: why-mask
  pair: me and you
- page: train
  run: nobody
- page: tokens
  emb_stage: 7
- page: compare
  model: gpt-small
  other: gpt-small
- page: compare
  model: gpt-small
  other: gpt-stories
  other_layer: 8
- page: translate
  head: 77
"""
FOUND = [
    (3, 1, "expected a layer from 0 to 3 of gpt-stories, found 99"),
    (7, 2, "expected a layer from 0 to 2 of gpt-small, found 9"),
    (9, 3, "expected a recorded step of gpt-small, found 41; say one of 0, 10, 15,"),
    (11, 4, "expected one of the recordings gpt-small, gpt-small-unmasked, found 'nobody'"),
    (13, 5, "expected a head from 0 to 3 of gpt-small, found 44"),
    (15, 6, "expected a recorded step of gpt-small and gpt-small-unmasked, found 3"),
    (17, 7, "expected one of the pairs gpt-small and gpt-small-unmasked, found 'me and you'"),
    (19, 8, "expected a run of this machine (there is none), found 'nobody'"),
    (21, 9, "expected a stage from 0 to 4 of gpt-stories, found 7"),
    (24, 10, "expected another installed model than gpt-small (gpt-stories), found 'gpt-small'"),
    (28, 11, "expected a layer from 0 to 3 of gpt-stories, found 8"),
    (30, 12, "expected a head from 0 to 7 of transformer-deu-eng, found 77"),
]


@pytest.fixture
def no_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was trained in the app."""
    monkeypatch.setenv("GPTVIZ_RUNS", str(tmp_path))


def test_what_is_beyond_models_and_recordings_has_the_line_that_says_it(no_runs: None) -> None:
    told = lecture.check(lecture.read(MISSING, "talk.yaml"))
    assert len(told) == len(FOUND)
    for said, (line, scene, expected) in zip(told, FOUND, strict=True):
        assert said.startswith(f"talk.yaml: line {line}: scene {scene}: {expected}")
        assert re.search(r"; (say|name) one of ", said), "the remedy"


def test_what_is_there_is_not_complained_about(no_runs: None) -> None:
    talk = lecture.read(
        "scenes:\n- page: attention\n  layer: 3\n- page: time-lapse\n  step: 46\n  layer: 2\n"
        "- page: time-lapse\n  recording: gpt-small-unmasked\n  step: 10\n- page: why-mask\n  step: 1309\n"
        "- page: train\n- page: tokens\n  emb_stage: 4\n- page: compare\n  other: gpt-small\n  other_layer: 2\n"
    )
    assert lecture.check(talk) == []


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("compare", "a model to set beside tiny, found no other one"),
        ("time-lapse", "a recorded training for the page time-lapse, found none"),
        ("why-mask", "two trainings that differ in nothing but the mask, found none"),
    ],
)
def test_a_page_that_has_nothing_to_show_is_told(
    page: str, expected: str, no_runs: None, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tiny_folder.parent))
    (said,) = lecture.check(lecture.read(f"scenes:\n- page: {page}\n"))
    assert said.startswith(f"lecture: line 2: scene 1: expected {expected}; ")


def test_no_page_opens_without_a_model(no_runs: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tmp_path))
    told = lecture.check(lecture.read("scenes:\n- page: home\n- page: train\n- page: why-mask\n"))
    assert [said.partition(", found ")[2].partition(";")[0] for said in told] == ["none installed"] * 3
    assert "No model is here yet" in open_page("train").title[0].value, "as the app does"


def test_a_scene_that_was_built_here_has_a_number_and_no_line() -> None:
    built = lecture.Lecture("x", (lecture.scene_of("attention", {"layer": "8"}),))
    assert lecture.check(built)[0].startswith("scene 1: expected a layer from 0 to 3 of gpt-stories, found 8; ")


# Controls -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "setting", "message"),
    [
        ("next-token", "top_k: 11", "expected top_k as one of 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20,"),
        ("next-token", "top_k: many", "found 'many'"),
        ("next-token", "top_p: 0", "expected top_p as a number from 0.05 to 1, found '0'"),
        ("next-token", "next_row: last", "expected next_row as one of While it was chosen, Once it stood there,"),
        ("attention", "att_show: pink", "expected att_show as one of Heads, Mean, Max, Rollout, found 'pink'"),
        ("inside-head", "head_stage: soft", "expected head_stage as one of x, weights, qkv,"),
        ("loss-gradient", "loss_rate: 0.5", "expected loss_rate as one of 0.00001,"),
        ("tokens", "emb_dims: 4", "expected emb_dims as one of 2, 3, found '4'"),
        ("transformer-tokens", "side: left", "expected side as one of Encoder, Decoder, Cross-attention, found 'left'"),
        ("translate", "view: pink", "expected view as one of Mean of all heads, One head, found 'pink'"),
    ],
)
def test_what_a_control_does_not_offer_is_refused_with_its_line(page: str, setting: str, message: str) -> None:
    with pytest.raises(lecture.LectureError, match=re.escape(message)) as caught:
        lecture.read(f"scenes:\n- page: {page}\n  title: One\n  {setting}\n", "talk.yaml")
    assert str(caught.value).startswith("talk.yaml: line 4: expected ")


def test_choices_are_those_of_the_controls() -> None:
    offered = {
        "att_show": attention.SHOW.values(), "att_over": attention.OVER.values(),
        "loss_norms": gradients.NORMS.values(), "loss_on": gradients.SHOWN.values(),
        "loss_optimizer": gradients.OPTIMIZERS.values(),
        "loss_rate": gradients.RATES, "next_over": predictions.OVER.values(), "next_row": predictions.ROWS.values(),
        "next_top_k": [*map(str, continuation.TOP_K), continuation.ALL], "side": translation.SIDES.values(),
        "translate_view": translate.OVER.values(), "head_stage": [*head_steps.STAGES, *head_steps.TURN],
    }  # fmt: skip
    at = open_page("tokens")
    offered["emb_dims"] = next(e.options for e in at.get("button_group") if e.key == "emb_dims_shown")
    assert {name: set(options) for name, options in offered.items()} == {
        name: set(options) for name, options in values.CHOICES.items()
    }
    assert [each.key.removesuffix("_shown") for each in at.toggle if each.value] == list(values.ON_AT_FIRST)


def test_only_a_switch_takes_no_for_off_and_one_that_is_on_can_be_put_off() -> None:
    talk = lecture.read(
        "scenes:\n- page: teacher-forcing\n  reference: No\n- page: tokens\n  emb_unit: no\n"
        "- page: inside-head\n  unmasked: off\n"
    )
    assert [dict(scene.settings) for scene in talk.scenes] == [{"reference": "No"}, {"emb_unit": "false"}, {}]
    assert lecture.read(lecture.write(talk)) == talk


# All of a file, where it is read --------------------------------------------------------------------------------------


BOTH = """theme: pink
scenes:
- page: attention
  model: nobody
- page: nowhere
- page: attention
  layer: 99
  caption: [1]
- page: next-token
  seed: x
"""
LINES = [1, 4, 5, 7, 8, 10]


def plain(markdown: str) -> str:
    """What a visitor reads of a text that was made literal."""
    return markdown.replace("\\", "").replace("\u2060", "").replace("\u00a0", " ")


def test_the_command_tells_a_line_each_of_the_file_and_of_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "talk.yaml").write_text(BOTH, encoding="utf-8")
    assert main(["lecture", str(tmp_path / "talk.yaml")]) == 2
    *told, last = capsys.readouterr().err.splitlines()
    assert [reading.line_of(line) for line in told] == LINES
    assert all(re.match(r"talk.yaml: line \d+: (scene \d: )?expected .+, found ", line) for line in told)
    assert "scene 3: expected a layer" in told[3], "counted as in the file"
    assert last == "gptviz: talk.yaml: expected a lecture that can be shown here, found what is told above"


def test_an_upload_tells_the_same() -> None:
    at = open_sound_page("lectures")
    at.file_uploader[0].upload("talk.yaml", BOTH.encode(), "text/yaml").run()
    assert not at.exception
    told = plain(at.error[0].value).splitlines()[1:]
    assert [reading.line_of(line) for line in told] == LINES
    assert "talk" not in at.session_state["lectures"]


def test_an_upload_that_asks_for_what_is_not_here_can_be_presented_and_says_so() -> None:
    at = open_sound_page("lectures")
    at.file_uploader[0].upload("talk.yaml", MISSING.encode(), "text/yaml").run()
    assert not at.exception and not at.error
    told = plain(at.warning[-1].value).splitlines()[1:]
    assert [reading.line_of(line) for line in told] == [line for line, _, _ in FOUND]
    assert any(button.key == "lecture_uploaded" for button in at.button)


def test_many_that_are_missing_are_told_in_part() -> None:
    text = "scenes:\n" + "- page: attention\n  layer: 99\n" * 100
    talk, told = lecture.examine_bytes(text.encode(), "talk.yaml")
    assert talk is not None and len(told) == reading.MOST_TOLD + 1 and told[-1] == "and 80 more"


def test_an_upload_that_is_no_text_says_so_in_words() -> None:
    at = open_sound_page("lectures")
    at.file_uploader[0].upload("talk.yaml", b"title: a\nauthor: \xff\n", "text/yaml").run()
    assert "line 2: expected text in UTF-8, found byte 0xff" in plain(at.error[0].value)


def test_a_deck_begins_with_the_model_that_the_app_begins_with(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gptviz.export import deck

    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tiny_folder.parent))
    talk = lecture.read("scenes:\n- page: attention\n  title: One\n")
    assert [slide.source.model for slide in deck.slides(talk)] == ["tiny"]
