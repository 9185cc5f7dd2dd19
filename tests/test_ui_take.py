"""What a visitor can take along: the link, the code, every picture of a page as a file with its provenance."""

from __future__ import annotations

import io
import json
import re
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

import gptviz
from gptviz import pictures
from gptviz.places import PAGES
from gptviz.ui import take
from tests.page_helpers import open_page, open_sound_page, texts

WITH_PICTURES = ["tokens", "positions", "attention", "masked", "inside-head", "inside-block", "next-token"]


def opened(page: str, **query: object) -> AppTest:
    """A page with the popover open."""
    at = open_sound_page(page, **query)
    at.session_state["take"] = True
    at.run()
    assert not at.exception, at.exception
    return at


def run(code: str) -> object:
    """What a notebook shows of a cell: its last line."""
    *lines, last = code.strip().splitlines()
    space: dict = {}
    exec("\n".join(lines), space)
    return eval(last, space)


def test_the_popover_is_empty_until_it_is_open() -> None:
    at = open_sound_page("next-token")
    assert not at.get("download_button") or not any("take_file" in b.proto.id for b in at.get("download_button"))
    assert not at.code


@pytest.mark.parametrize("page", WITH_PICTURES)
def test_the_link_opens_the_same_page_and_the_code_runs(page: str) -> None:
    text = 'She said: "$x$ </b>" 🙂'
    at = opened(page, text=text, layer=2, head=1)
    link, code = at.code[0].value, at.code[1].value
    query = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
    assert urlsplit(link).path.endswith(f"/{page}")
    assert (query["model"], query["text"], query["layer"], query["head"]) == ("gpt-stories", text, "2", "1")
    again = open_page(page, **query)
    again.session_state["take"] = True
    assert again.run().code[0].value == link
    assert run(code) is not None and len(code.strip().splitlines()) <= 4


SHOWN = {  # page -> the picture of it that the code makes, and what is chosen there
    "tokens": ("emb_cosines_before", {}),
    "positions": ("pos_cosines_learned", {}),
    "masked": ("mask_difference", {"layer": 1, "head": 2}),
    "inside-block": ("block_flow", {"layer": 2}),
    "next-token": ("next_bars", {"next_n": 7}),
    "next-token, drawn": ("next_funnel", {"next_top_k": "5", "next_seed": "3"}),
    "loss-gradient": ("loss_bars", {}),
}


@pytest.mark.parametrize("page", SHOWN)
def test_the_code_makes_the_picture_that_the_page_shows(page: str) -> None:
    key, query = SHOWN[page]
    at = opened(page.partition(",")[0], **query)
    shown, made = at.session_state["pictures"][key], run(at.code[1].value)
    shown = shown() if callable(shown) else shown
    assert len(shown.data) == len(made.data)
    for ours, theirs in zip(shown.data, made.data, strict=True):
        for part in ("x", "y", "z"):
            if getattr(ours, part, None) is not None:
                assert np.allclose(np.asarray(ours[part], float), np.asarray(theirs[part], float), equal_nan=True)


def test_the_code_makes_the_attention_that_the_page_shows() -> None:
    at = opened("attention", layer=1, head=3, view="matrix~p:2")
    shown, made = at.session_state["pictures"]["attention"], run(at.code[1].value)
    assert made.state == shown.state
    assert all(np.array_equal(made.source.layer(i), shown.source.layer(i)) for i in range(made.shape[0]))


def test_where_the_page_shows_another_picture_the_code_makes_the_numbers() -> None:
    at = opened("attention", layer=1, att_show="Mean")
    assert "pictures" not in at.code[1].value and len(run(at.code[1].value))


def test_the_code_of_a_translation_runs() -> None:
    at = opened("encoder-decoder", source="Ich habe Hunger.", layer=1)
    assert run(at.code[1].value).shape[:2] == (4, 8)


@pytest.mark.parametrize(
    ("page", "settings", "message"),
    [
        ("train", {}, "expected a page with a picture, tokens"),
        ("masked", {"layer": "9"}, "expected layer from 0 to 3, found '9'"),
        ("inside-head", {"head_stage": "mask"}, "expected the main picture of inside-head, found head_stage=mask"),
        ("attention", {"att_show": "Mean"}, "found att_show=Mean"),
        ("masked", {"step": "9"}, "expected names that a link to masked has, found step"),
    ],
)
def test_what_cannot_be_drawn_says_so(page: str, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        pictures.draw(page, gptviz.load("gpt-stories"), "My dog", settings)


@pytest.mark.parametrize("page", WITH_PICTURES)
def test_every_picture_of_a_page_can_be_saved(page: str) -> None:
    at = opened(page)
    assert at.session_state["pictures"]
    for offered in list(at.session_state["pictures"].values())[:3]:
        picture = offered() if callable(offered) else offered
        svg = take.make(picture, "svg", None, "dark").decode()
        assert svg.startswith("<?xml") and "<text" in svg
        assert take.make(picture, "csv", None, "light").count(b"\n") > 1


def test_a_view_becomes_a_scene() -> None:
    at = opened("masked", text="The cat", layer=2)
    at.button(key="take_scene").click().run()
    assert not at.exception
    scene = at.session_state["draft"][-1]
    assert (scene.page, scene.text, scene.settings["layer"]) == ("masked", "The cat", "2")


def test_a_file_says_where_it_is_from() -> None:
    at = opened("attention", text="The cat said meow", layer=1)
    from gptviz.provenance import provenance

    model = gptviz.load("gpt-stories")
    source = provenance(model, "The cat said meow", {"layer": "1"}, "attention?layer=1")
    picture = at.session_state["pictures"]["attention"]
    image = Image.open(io.BytesIO(take.make(picture, "png", source, "light")))
    assert image.width == 3200
    told = json.loads(image.text["gptviz"])
    assert (told["fingerprint"], told["text"]) == (model.fingerprint, "The cat said meow")
    assert told["link"] == "attention?layer=1"
    arrays = np.load(io.BytesIO(take.make(picture, "npz", source, "light")))
    trace = gptviz.trace(model, "The cat said meow")
    assert np.array_equal(arrays["weights"], trace.weights)
    assert json.loads(str(arrays["provenance"]))["model"] == "gpt-stories"
    page = take.make(picture, "html", source, "light")
    assert model.fingerprint.encode() in page and len(page) < 1_000_000


@pytest.mark.parametrize("text", ["", "'\"\\", "\n\r\t", "</script>", "é🙂", "\ud800"])
@pytest.mark.parametrize("page", [page for page in PAGES if page])
def test_any_text_gives_code_that_python_reads(page: str, text: str) -> None:
    code = pictures.code(page, text or "m", text, {"layer": "x", "head": text, "view": text})
    compile(code, "notebook", "exec")


@pytest.mark.parametrize("page", ["attention", "translate"])
def test_where_a_page_ends_early_the_popover_says_so(page: str) -> None:
    at = opened(page, text=" ", source=" ")
    assert not at.exception and "There is nothing to take along yet: the page below says why." in texts(at)
    assert "A link to exactly this:" not in texts(at)
    assert "nothing to take along" not in texts(opened(page))
