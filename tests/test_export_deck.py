"""A lecture as slides: captions, notes and pictures in their places; what is not here is said before."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path

import pytest
from pptx import Presentation
from pptx.oxml.ns import qn

from gptviz import lecture
from gptviz.__main__ import main
from gptviz.export import deck

TALK = lecture.read("""
title: A <b>talk
scenes:
- page: next-token
  title: One
  caption: "$x$ & </section>"
  note: Say it.
- page: attention
  sentence: The cat
  head: 1.3
  view: matrix
  title: Two
- page: why-mask
  title: Three
""")


@pytest.fixture(scope="module")
def drawn() -> list[deck.Slide]:
    return list(deck.slides(TALK))


def test_the_html_deck_holds_everything_and_asks_nobody(drawn: list[deck.Slide]) -> None:
    page = deck.to_html(TALK, iter(drawn))
    assert page.count("<section>") == 3 and page.count("<svg") == 2
    assert "$x$ &amp; &lt;/section&gt;" in page and "<aside>Say it.</aside>" in page and "A &lt;b&gt;talk" in page
    assert not re.search(r"(src|href)=[\"']https?:", page)
    names = re.findall(r'\bid="([^"]+)"', page)
    assert len(names) == len(set(names))
    used = set(re.findall(r"url\(#([^)]+)\)", page)) | set(re.findall(r'xlink:href="#([^"]+)"', page))
    assert used <= set(names)


def test_the_powerpoint_file_opens_with_captions_and_notes(drawn: list[deck.Slide]) -> None:
    slides = Presentation(io.BytesIO(deck.to_pptx(TALK, iter(drawn)))).slides
    assert len(slides) == 3
    said = [[shape.text_frame.text for shape in slide.shapes if shape.has_text_frame] for slide in slides]
    assert said[0][:2] == ["One", "$x$ & </section>"] and "sha256" in said[0][2]
    assert slides[0].notes_slide.notes_text_frame.text == "Say it."
    pictures = [[shape for shape in slide.shapes if shape.shape_type == 13] for slide in slides]
    assert [len(found) for found in pictures] == [1, 1, 0]
    picture = pictures[1][0]
    assert picture.left >= 0 and picture.top + picture.height <= 6.9 * 914400


def test_a_picture_in_powerpoint_is_vectors_with_its_text_and_a_png_for_older_programs(
    drawn: list[deck.Slide],
) -> None:
    made = deck.to_pptx(TALK, iter(drawn))
    slide = Presentation(io.BytesIO(made)).slides[1]
    (blip,) = slide.shapes._spTree.xpath(".//a:blip")
    (vectors,) = blip.xpath(".//*[local-name()='svgBlip']")
    png, drawing = (slide.part.related_part(each.get(qn("r:embed"))) for each in (blip, vectors))
    svg = drawing.blob.decode()
    assert (png.content_type, drawing.content_type) == ("image/png", "image/svg+xml")
    assert "<text" in svg and "1.3" in svg and "sha256" in svg and "<image" not in svg
    with zipfile.ZipFile(io.BytesIO(made)) as packed:
        listed = packed.read("[Content_Types].xml").decode()
        assert [name for name in packed.namelist() if name.endswith(".svg")] == [
            "ppt/media/vectors1.svg",
            "ppt/media/vectors2.svg",
        ]
    assert "image/svg+xml" in listed


def test_what_is_not_here_is_said_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "talk.yaml"
    file.write_text("scenes:\n- page: attention\n- page: attention\n  model: no-such\n", encoding="utf-8")
    assert main(["lecture", str(file), "--html", str(tmp_path / "out.html")]) == 2
    said = "talk.yaml: line 4: scene 2: expected a model that is installed (gpt-stories, gpt-small), found 'no-such'"
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out.html").exists()


def test_the_command_lists_shows_and_saves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lecture"]) == 0
    assert "attention-in-ten-minutes" in capsys.readouterr().out
    assert main(["lecture", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == set(lecture.shipped())
    file = tmp_path / "talk.yaml"
    file.write_text(lecture.write(TALK), encoding="utf-8")
    assert main(["lecture", str(file), "--json"]) == 0
    assert (
        json.loads(capsys.readouterr().out)["scenes"][1]["link"] == "attention?text=The+cat&layer=1&head=3&view=matrix"
    )
    assert main(["lecture", str(file), "--html", str(tmp_path / "a.html"), "--pptx", str(tmp_path / "a.pptx")]) == 0
    assert (tmp_path / "a.html").stat().st_size > 10_000 and (tmp_path / "a.pptx").stat().st_size > 10_000
    assert main(["lecture", str(file), "--html", str(tmp_path / "no" / "a.html")]) == 2
    assert main(["lecture", "no-such-lecture"]) == 2
    assert "no-such-lecture" in capsys.readouterr().err
