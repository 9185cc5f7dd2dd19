"""Lectures: files of scenes, each a page of the app as a link would open it, with a caption and a note to the speaker.

>>> from gptviz import lecture
>>> talk = lecture.read("title: A talk\\nscenes:\\n- page: attention\\n  sentence: My dog has fleas\\n  layer: 1\\n")
>>> talk.scenes[0].link()
'attention?text=My+dog+has+fleas&layer=1'

Knows neither Streamlit nor Plotly, and loads no model: what a lecture asks for is compared with the configs on disk.
"""

from __future__ import annotations

from pathlib import Path

from gptviz.lecture.checking import check, examine, examine_bytes
from gptviz.lecture.reading import LectureError, read, read_file
from gptviz.lecture.scene import Lecture, Scene, scene_of
from gptviz.lecture.writing import write

__all__ = [
    "Lecture", "LectureError", "Scene", "check", "examine", "examine_bytes", "read", "read_file", "scene_of", "shipped",
    "write",
]  # fmt: skip

SHIPPED = Path(__file__).parent / "shipped"


def shipped() -> dict[str, Path]:
    """The lectures that come with gptviz: name -> file, in the order of the names."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.yaml"))}
