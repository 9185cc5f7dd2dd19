"""The tutorial: it runs, it says what its committed outputs say, and it is seen where no scripts run.

Pass and outputs are compared as a reader would: words exactly, decimals to one unit of the last printed digit, as
float32 rounds otherwise on other processors; pictures by their pixels.
"""

from __future__ import annotations

import base64
import copy
import io
import os
import re
from collections.abc import Iterator

import numpy as np
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image

from docs import make_tutorial

COMMITTED = make_tutorial.read()
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
WORDS = ("text/plain", "text/html")  # that are compared
INTERACTIVE = "application/vnd.plotly.v1+json"
REMEDY = "python -m docs.make_tutorial makes it anew"
MOST_BYTES = 1_000_000  # GitHub shows no larger ones


@pytest.fixture(scope="module")
def fresh() -> NotebookNode:
    """The tutorial as it comes out today; a cell that raises is an error here."""
    return make_tutorial.run(copy.deepcopy(COMMITTED))


def outputs(notebook: NotebookNode) -> Iterator[tuple[str, dict[str, object]]]:
    """Cell by cell: its id, and all that an output is, by kind."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            yield cell.id, {output.name: output.text} if output.output_type == "stream" else dict(output.data)


def same(before: str, after: str) -> bool:
    """Equal words; whole numbers equal, decimals with as many places and at most one unit of the last one apart."""
    if NUMBER.sub("#", before) != NUMBER.sub("#", after):
        return False
    return all(map(near, NUMBER.findall(before), NUMBER.findall(after)))


def near(before: str, after: str) -> bool:
    """One number."""
    places = len(before.partition(".")[2])
    if places != len(after.partition(".")[2]) or not places:
        return before == after
    return abs(float(before) - float(after)) < 1.5 * 10**-places


def pixels(png: object) -> np.ndarray:
    """A picture of an output as (height, width, 4), from 0 to 1."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(str(png)))).convert("RGBA"), dtype=float) / 255


# What it says --------------------------------------------------------------------------------------------------------


def test_the_tutorial_says_today_what_is_committed(fresh: NotebookNode) -> None:
    before, after = list(outputs(COMMITTED)), list(outputs(fresh))
    assert [(cell, set(kinds)) for cell, kinds in before] == [(cell, set(kinds)) for cell, kinds in after], REMEDY
    for (cell, committed), (_, made) in zip(before, after, strict=True):
        assert "stderr" not in made, made
        for kind in {"stdout", *WORDS} & set(committed):
            old, new = str(committed[kind]), str(made[kind])
            if "<iframe" not in old:  # the view's script and data; its picture is compared
                assert same(old, new), f"{cell}:\n{old}\n{new}\n{REMEDY}"


def test_its_pictures_are_those_of_today(fresh: NotebookNode) -> None:
    compared = 0
    for (cell, committed), (_, made) in zip(outputs(COMMITTED), outputs(fresh), strict=True):
        if "image/png" in committed:
            before, after = pixels(committed["image/png"]), pixels(made["image/png"])
            assert before.shape == after.shape, f"{cell}: {REMEDY}"
            assert np.abs(before - after).mean() < 0.002, f"{cell}: {REMEDY}"
            assert after[..., :3].std() > 0.1, f"{cell}: an empty picture"
            compared += 1
    assert compared > 3


def test_the_trace_it_shows_is_true(fresh: NotebookNode) -> None:
    printed = "".join(str(kinds.get("stdout", "")) for _, kinds in outputs(fresh))
    assert "stages against float64: agrees" in printed
    assert "the whole head agrees: True" in printed
    assert "in the SVG: True" in printed


def test_a_cell_that_raises_is_an_error() -> None:
    with pytest.raises(CellExecutionError, match="no mask today"):
        make_tutorial.run(new_notebook(cells=[new_code_cell("raise ValueError('no mask today')")]))


def test_a_run_knows_nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", "nowhere")
    code = "import os, pathlib, gptviz\nprint('GPTVIZ_CHECKPOINTS' in os.environ, list(pathlib.Path().glob('*.py')))"
    cell = make_tutorial.run(new_notebook(cells=[new_code_cell(code)])).cells[0]
    assert cell.outputs[0].text == "False []\n"
    assert os.environ["GPTVIZ_CHECKPOINTS"] == "nowhere"


@pytest.mark.parametrize(
    ("before", "after", "equal"),
    [
        ("a 0.998 b", "a 0.999 b", True),
        ("a 0.998 b", "a 1.000 b", False),
        ("a 0.998 b", "a 0.99 b", False),
        ("a 0.998 b", "c 0.998 b", False),
        ("6 keys", "7 keys", False),
        ("-0.50", "0.50", False),
        ("head 0.0", "head 1.3", False),
    ],
)
def test_the_comparison_can_fail(before: str, after: str, equal: bool) -> None:
    assert same(before, after) == equal


# What GitHub shows ---------------------------------------------------------------------------------------------------


def test_what_needs_a_script_has_a_picture_for_where_none_runs() -> None:
    frames = figures = 0
    for cell, kinds in outputs(COMMITTED):
        page = str(kinds.get("text/html", ""))
        if "<iframe" in page:  # of which a site leaves the picture behind it
            rest = re.sub(r"<iframe.*?</iframe>|<style>.*?</style>", "", page, flags=re.DOTALL)
            assert re.fullmatch(r'<img [^>]*src="data:image/png;base64,[^"]+">', rest), cell
            frames += 1
        assert "<script" not in page, cell  # outside of a frame it would run in the notebook, or nowhere
        figures += INTERACTIVE in kinds
        assert "image/png" in kinds or not ("<iframe" in page or INTERACTIVE in kinds), cell
    assert frames > 0
    assert figures > 2


def test_the_file_is_small_and_has_nothing_of_a_run_but_its_results() -> None:
    assert make_tutorial.TUTORIAL.stat().st_size <= MOST_BYTES
    assert dict(COMMITTED.metadata) == make_tutorial.METADATA
    assert not any(cell.metadata for cell in COMMITTED.cells)
    code = [cell for cell in COMMITTED.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not re.search(r"/tmp/|[A-Z]:\\\\", make_tutorial.TUTORIAL.read_text(encoding="utf-8"))


def test_its_prose_has_no_number_that_no_cell_computed() -> None:
    prose = [cell.source for cell in COMMITTED.cells if cell.cell_type == "markdown"]
    assert len(prose) > 10
    for text in prose:
        assert not re.search(r"\d", re.sub(r"`[^`]*`", "", text)), text


def test_its_links_lead_somewhere() -> None:
    prose = "".join(cell.source for cell in COMMITTED.cells if cell.cell_type == "markdown")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", prose) if "//" not in link]
    assert len(links) > 1
    assert all((make_tutorial.TUTORIAL.parent / link).exists() for link in links)
