"""Home and the controls that every page shares, through the router: the picture, the models, links, and bad input."""

from __future__ import annotations

import base64
import io
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

import gptviz
from gptviz.checkpoint import LanguageModel
from gptviz.figures.thumbnail import palette
from gptviz.ui.controls import LONGEST_LINK, SENTENCE, SENTENCES
from tests.page_helpers import PAGES, fire, mounted, open_page, payload, texts

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "$x$ **b** :smile: [a](b)",
    "# t\n- x",
    "\x00\x1b[31m\u202e",
    "שלום עולם",
    "🙂🙂",
]


@pytest.fixture(autouse=True)
def shelf(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of checkpoints with one model in it, called tiny: the only one that the app sees."""
    shutil.copytree(tiny_folder, tmp_path / "tiny")
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tmp_path))
    return tmp_path


def wall(at: AppTest) -> list[list[str]]:
    """The pictures on the wall, layers down and heads across."""
    (element,) = mounted(at, "gptviz_head_wall")
    return payload(element)["rows"]


def strip(at: AppTest) -> dict:
    """What the token strip was given."""
    return payload(mounted(at, "gptviz_token_strip")[0])


def still_up(at: AppTest) -> None:
    """The page has no traceback and its shared controls are there."""
    assert not at.exception
    assert at.text_input(key="text").label == "Sentence"
    assert [box.label for box in at.sidebar.selectbox] == ["Model"]


# The picture


def test_the_first_sentence_is_about_a_dog_and_every_head_has_its_picture(tiny_model: LanguageModel) -> None:
    at = open_page()
    still_up(at)
    assert at.text_input(key="text").value == SENTENCE == "My dog has fleas"
    trace = gptviz.trace(tiny_model, SENTENCE)
    assert strip(at)["tokens"] == [token.replace(" ", "·") for token in trace.tokens]
    rows = wall(at)
    assert (len(rows), len(rows[0])) == trace.weights.shape[:2]
    past = np.tri(len(trace.ids), dtype=bool)
    for layer, row in enumerate(rows):
        for head, png in enumerate(row):
            pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA"))
            colours = palette()[np.round(trace.weights[layer, head] * 254).astype(int)]
            assert (pixels[past, :3] == colours[past]).all()
            assert (pixels[~past, 3] == 0).all()


def test_another_sentence_is_another_picture() -> None:
    at = open_page()
    before = wall(at)
    at.text_input(key="text").set_value("The cat said dog").run()
    assert wall(at) != before


def test_a_click_on_a_head_opens_it_in_its_lesson() -> None:
    at = open_page(text="The cat said dog")
    fire(at, mounted(at, "gptviz_head_wall")[0], "pick", [2, 3])
    assert not at.exception
    assert at.title[0].value == "Attention"
    assert (at.session_state["layer"], at.session_state["head"]) == ("2", "3")
    assert at.session_state["text"] == "The cat said dog"


@pytest.mark.parametrize("nonsense", [[9, 9], [0], "x", None, {"layer": 1}, [-1, 0]])
def test_a_click_on_a_head_that_is_not_there_stays_at_home(nonsense: object) -> None:
    at = open_page()
    title = at.title[0].value
    fire(at, mounted(at, "gptviz_head_wall")[0], "pick", nonsense)
    still_up(at)
    assert at.title[0].value == title


# Models, links, sentences


def test_home_says_which_models_there_are(tiny_model: LanguageModel, shelf: Path) -> None:
    shutil.copytree(shelf / "tiny", shelf / "another")
    (shelf / "another" / "README.md").write_text("Trained on *nothing*.", encoding="utf-8")
    at = open_page()
    assert at.sidebar.selectbox[0].options == ["another", "tiny"]
    said = texts(at)
    assert f"{tiny_model.gpt.count_parameters() / 1e6:.1f} million parameters" in said
    assert "3 layers" in said and "4 heads in each" in said and "reads 64 at once" in said
    assert "Trained on *nothing*." in said


def test_home_leads_to_every_lesson() -> None:
    at = open_page()
    links = {link.proto.page for link in at.get("page_link")}
    assert links == set(PAGES) - {"home"}


def test_the_device_is_shown() -> None:
    at = open_page()
    assert any("on cpu" in caption.value for caption in at.sidebar.caption)


def test_text_and_model_come_from_the_url(shelf: Path) -> None:
    shutil.copytree(shelf / "tiny", shelf / "another")
    at = open_page(text="Hello there", model="tiny")
    assert at.text_input(key="text").value == "Hello there"
    assert at.sidebar.selectbox[0].value == "tiny"


@pytest.mark.parametrize("name", list(SENTENCES))
def test_a_sentence_worth_trying_fills_the_box(name: str) -> None:
    at = open_page(text="something else")
    at.menu_button(key="try_gpt").set_value(name).run()
    still_up(at)
    assert at.text_input(key="text").value == SENTENCES[name]


# Bad input


@pytest.mark.parametrize("text", ["", " ", " \t\n "])
def test_an_empty_sentence_gets_a_word_and_no_picture(text: str) -> None:
    at = open_page(text=text)
    still_up(at)
    assert "Type a sentence" in at.info[0].value
    assert not mounted(at, "gptviz_head_wall")
    at.text_input(key="text").set_value("The dog").run()
    assert wall(at)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_tokens_reach_the_strip_as_they_are(text: str, tiny_model: LanguageModel) -> None:
    at = open_page(text=text)
    still_up(at)
    assert at.text_input(key="text").value == text
    tokens = tiny_model.tokenizer.token_texts(tiny_model.encode(text)[0])
    shown = strip(at)["tokens"]
    assert len(shown) == len(tokens)
    plain = [at for at, token in enumerate(tokens) if token.isprintable() and " " not in token]
    assert [shown[at] for at in plain] == [tokens[at] for at in plain]
    assert all(token.isprintable() and " " not in token for token in shown)


def test_a_sentence_longer_than_the_context_says_how_much_was_cut() -> None:
    at = open_page(text="z" * 70)
    still_up(at)
    assert "70 tokens" in at.warning[0].value and "the first 6 were cut at the left" in at.warning[0].value
    assert len(strip(at)["tokens"]) == 64


def test_a_hundred_thousand_characters_are_kept_in_the_box_and_out_of_the_url() -> None:
    at = open_page()
    text = "word and " * 11_112
    at.text_input(key="text").set_value(text).run()
    still_up(at)
    assert at.text_input(key="text").value == text
    assert "cut at the left" in at.warning[0].value
    assert any("too long for a link" in info.value for info in at.info)
    at.text_input(key="text").set_value("short").run()
    assert at.text_input(key="text").value == "short"
    assert not at.warning and not at.info


def test_an_escaped_url_counts_in_its_own_length() -> None:
    at = open_page()
    at.text_input(key="text").set_value("🙂" * (LONGEST_LINK // 12 + 1)).run()  # %F0%9F%99%82: 12 characters each
    assert any("too long for a link" in info.value for info in at.info)


@pytest.mark.parametrize("name", ["nothing", "../x", "..", "/etc", "tiny/", "tiny/../tiny", "x" * 5000, *HOSTILE])
def test_a_model_that_is_not_there_is_named_and_another_one_shown(name: str) -> None:
    at = open_page(model=name)
    still_up(at)
    assert "There is no model" in at.warning[0].value and "tiny" in at.warning[0].value
    assert at.sidebar.selectbox[0].value == "tiny"
    assert wall(at)


def test_an_empty_name_of_a_model_is_none() -> None:
    at = open_page(model="")
    still_up(at)
    assert not at.warning
    assert at.sidebar.selectbox[0].value == "tiny"


def test_nonsense_in_the_url_is_ignored() -> None:
    at = open_page(layer="99", head="-1", foo="<script>", tokens="x", wall="1", **{"try": "x"})
    still_up(at)
    assert wall(at)


def truncate(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def lengthen(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b"more")


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps({"weights": [0.0]}))


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def without_vocabulary(folder: Path) -> None:
    (folder / "tokenizer.tiktoken").unlink()


def no_json(folder: Path) -> None:
    (folder / "config.json").write_text("<b>no</b> $json$", encoding="utf-8")


def another_shape(folder: Path) -> None:
    config = folder / "config.json"
    config.write_text(config.read_text(encoding="utf-8").replace('"d_model": 32', '"d_model": 64'), encoding="utf-8")


DAMAGES = [truncate, lengthen, pickled, without_weights, without_vocabulary, no_json, another_shape]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_is_explained_and_nothing_typed_is_lost(shelf: Path, damage: Callable[[Path], None]) -> None:
    shutil.copytree(shelf / "tiny", shelf / "broken")
    damage(shelf / "broken")
    at = open_page(text="Keep this", model="broken")
    still_up(at)
    assert "expected" in at.error[0].value and "found" in at.error[0].value
    assert str(shelf) not in at.error[0].value.replace("\\", "").replace("\u2060", "")
    assert not mounted(at, "gptviz_head_wall")
    at.sidebar.selectbox[0].select("tiny").run()
    still_up(at)
    assert at.text_input(key="text").value == "Keep this"
    assert wall(at)


def test_a_model_put_right_is_read_again(shelf: Path, tiny_folder: Path) -> None:
    truncate(shelf / "tiny")
    at = open_page()
    assert at.error
    shutil.rmtree(shelf / "tiny")
    shutil.copytree(tiny_folder, shelf / "tiny")
    at.run()
    assert not at.error and wall(at)


def test_no_model_at_all_is_explained(shelf: Path) -> None:
    shutil.rmtree(shelf / "tiny")
    at = open_page()
    assert not at.exception
    assert "Expected at least one model" in at.error[0].value
    assert [link.proto.page for link in at.get("page_link")] == ["models"]


def test_the_page_models_opens_where_there_is_none(shelf: Path) -> None:
    shutil.rmtree(shelf / "tiny")
    at = open_page("models")
    assert not at.exception and not at.error
    assert "No model is installed. Get one below." in [each.value for each in at.info]
    assert "Get it" in [button.label for button in at.button]
