"""The chat template of a model's own files: in the library, on the command line, and on the lessons by a switch."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

import gptviz
from gptviz.__main__ import main
from gptviz.formats import chat_template as templates
from gptviz.places import CHAT_PAGES
from gptviz.ui import check as badges
from gptviz.ui import models
from tests.chatty import AFTER, BEFORE, write_chatty
from tests.page_helpers import mounted, open_page, open_sound_page, payload, texts
from tests.test_ui_check import badge, checked

TEXT = "The dog ran"


@pytest.fixture(autouse=True)
def shelf(chat_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The app and the library see this model alone."""
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(chat_folder.parent))


@pytest.fixture(scope="module")
def model(chat_folder: Path) -> gptviz.LanguageModel:
    return gptviz.load(chat_folder, "cpu", chat=True)


def strip_of(at: AppTest) -> dict:
    """The strip of the sentence, as the browser draws it."""
    return payload(mounted(at, "gptviz_token_strip")[0])


def visit(page: str = "inside-head", **query: object) -> AppTest:
    return open_sound_page(page, text=TEXT, **query)


# The library ----------------------------------------------------------------------------------------------------------


def test_a_text_is_a_message_in_the_template(model: gptviz.LanguageModel) -> None:
    trace = gptviz.trace(model, TEXT)
    assert model.tokenizer.decode(trace.ids) == BEFORE + TEXT + AFTER
    assert trace.tokens[0] == "<|im_start|>"
    assert gptviz.load(model.folder, "cpu").encode(TEXT)[0] == model.tokenizer.encode(TEXT)


@given(st.text(min_size=1, max_size=60) | st.sampled_from(["<|im_end|>", BEFORE, f"a{AFTER}b", "<|im_start|>system"]))
def test_what_is_written_is_literal_and_told_from_the_template(text: str) -> None:
    model = gptviz.load("chatty", "cpu", chat=True)
    ids, dropped = model.encode(text)
    own = model.of_template(text)
    assert len(own) == len(ids)
    if dropped:
        return
    specials = [i for i in ids if i in model.tokenizer.specials]
    assert len(specials) == 3, "of the template: nobody can write one"
    written = text.encode(errors="replace").decode()
    assert model.tokenizer.decode(ids) == BEFORE + written + AFTER or "\ufffd" in model.tokenizer.decode(ids)
    assert own[0] and own[-1] and not all(own)
    message = b"".join(model.tokenizer.token_bytes(i) for i, mine in zip(ids, own, strict=True) if not mine)
    assert written.encode() in message


def test_the_marks_are_those_of_the_tokens_that_are_left(model: gptviz.LanguageModel) -> None:
    text = TEXT * 60
    ids, dropped = model.encode(text)
    assert dropped and len(ids) == model.gpt.config.context
    assert len(model.of_template(text)) == len(ids) and not model.of_template(text)[0]
    assert model.of_template(text)[-1]


def test_without_a_template_there_is_a_word(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    write_chatty(tmp_path / "plain" / "model.gguf", template="")
    with pytest.raises(ValueError, match="expected a model with a chat template, found none in plain"):
        gptviz.load(tmp_path / "plain", chat=True)


def test_a_template_that_fails_is_tried_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    right = templates.render
    monkeypatch.setattr(templates, "render", lambda *given: tried.append(1) or right(*given))
    (tmp_path / "odd").mkdir()
    write_chatty(tmp_path / "odd" / "model.gguf", template="{{ 1 / 0 }}")
    odd = gptviz.load(tmp_path / "odd", chat=True)
    for _ in range(3):
        with pytest.raises(ValueError, match="turn the chat template off"):
            odd.encode(TEXT)
    assert len(tried) == 1


def test_a_template_that_is_far_too_long_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="found 10000000; turn the chat template off"):
        templates.render("x" * 10_000_000, "a", {})
    with pytest.raises(ValueError, match="turn the chat template off"):
        templates.render("{{ 'x' * 10000000 }}", "a", {})


def test_the_command_line_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", TEXT, "--model", "chatty", "--chat", "--json"]) == 0
    assert "<|im_start|>" in capsys.readouterr().out
    assert main(["trace", TEXT, "--model", "chatty", "--json"]) == 0
    assert "<|im_start|>" not in capsys.readouterr().out


# The app --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", CHAT_PAGES)
def test_every_lesson_shows_the_conversation_and_its_badge_holds(page: str) -> None:
    badges.CHECKS.done.clear()
    models.TRACES.traces.clear()
    models.TRACES.used = 0
    plain = len(gptviz.load("chatty").encode(TEXT)[0])
    at = visit(page, chat="true")
    assert at.toggle(key="chat_shown").value
    if badge(at) == "waiting":
        at.button(key="check_now").click().run()
    else:
        checked(at)
    assert not at.exception and badge(at) in ("agrees", "partly")
    assert not visit(page).toggle(key="chat_shown").value
    talked = {len(trace.ids) for trace, _ in models.TRACES.traces.values()} - {plain}
    assert talked and min(talked) > plain
    strips = [payload(each) for each in mounted(at, "gptviz_token_strip")]
    assert page in ("attention", "masked", "loss-gradient") or any(any(strip["given"] or ()) for strip in strips)


def test_the_switch_is_part_of_the_link_and_marks_what_is_the_templates(model: gptviz.LanguageModel) -> None:
    at = visit()
    assert strip_of(at)["given"] is None and len(strip_of(at)["tokens"]) == len(model.tokenizer.encode(TEXT))
    at.toggle(key="chat_shown").set_value(True).run()
    assert not at.exception and at.session_state["kept"]["chat"] == "true"
    strip = strip_of(at)
    assert strip["tokens"][0] == "<|im_start|>"
    assert strip["given"] == model.of_template(TEXT)
    assert strip_of(visit(chat="true")) == strip


def test_drawn_tokens_are_not_the_templates(model: gptviz.LanguageModel) -> None:
    at = visit("next-token", chat="true", next_ids="20.21")
    assert at.button(key="next_adopt").disabled, "an answer is not what the user said"
    strip = strip_of(at)
    assert strip["given"] == [*model.of_template(TEXT), False, False]
    assert strip["labels"][0] == "from the chat template" and strip["labels"][-1] == "drawn, by the link"


def test_the_code_of_the_page_does_the_same(model: gptviz.LanguageModel) -> None:
    from gptviz import pictures

    lines = pictures.code("next-token", "chatty", TEXT, {"chat": "true"})
    assert "gptviz.load('chatty', chat=True)" in lines
    here: dict = {}
    exec(lines.replace("pictures.draw", "shown = pictures.draw"), here)
    plain = gptviz.load("chatty", "cpu")
    assert here["shown"] == pictures.draw("next-token", plain, TEXT, {"chat": "true"})
    assert here["shown"] != pictures.draw("next-token", plain, TEXT, {})
    assert "chat=True" not in pictures.code("compare", "chatty", TEXT, {"chat": "true"})


def test_a_long_conversation_says_what_was_cut() -> None:
    said = texts(open_page("inside-head", text=TEXT * 60, chat="true"))
    assert "tokens with its chat template" in said and "the beginning of the template with them" in said


def test_a_model_without_one_has_no_switch_and_names_the_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plain").mkdir()
    write_chatty(tmp_path / "plain" / "model.gguf", template="")
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tmp_path))
    at = visit(chat="true")
    assert not [each for each in at.toggle if each.key == "chat_shown"]
    assert any("chat" in each.value and "link_off" in each.value for each in at.caption)


def test_a_template_that_fails_leaves_the_switch_to_turn_it_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd").mkdir()
    write_chatty(tmp_path / "odd" / "model.gguf", template="{{ raise_exception('<b>no</b> $x$') }}")
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tmp_path))
    at = open_page("inside-head", text=TEXT, chat="true")
    said = at.error[0].value
    assert "turn the chat template off" in said.replace("\\", "").replace("\u2060", "") and "<b>" not in said
    assert not at.exception
    at.toggle(key="chat_shown").set_value(False).run()
    assert not at.exception and not at.error
