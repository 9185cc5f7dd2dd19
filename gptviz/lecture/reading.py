"""A lecture from its file. Every mistake names its line, what was expected, and what was found; all are told at once.

YAML is read into its nodes alone: no tag is obeyed and no alias followed, so nothing of a stranger's file is executed,
and a file cannot be larger in memory than on disk.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import yaml

from gptviz.lecture.scene import SHARED, Lecture, Scene
from gptviz.lecture.values import expected
from gptviz.places import PAGES

MOST_SCENES = 200
MOST_SIGNS = 1_000_000  # of a file
LONGEST = {"title": 200, "caption": 400, "note": 5000, "sentence": 8000}
MOST_TOLD = 20  # mistakes of one file
THEMES = ("", "contrast")  # light and dark are the visitor's own, in Streamlit's menu
OF_A_LECTURE = ("title", "author", "theme", "scenes")
OF_A_SCENE = ("page", "model", "sentence", "title", "caption", "note")
SHORT = {  # what a scene may say -> the name in the link, of pages that have it
    "step": ("lapse_step", "pair_step", "step"),
    "temperature": ("next_temperature", "pair_temperature"),
    "seed": ("next_seed", "pair_seed"),
    "unmasked": ("head_unmasked",),
    "unscaled": ("head_unscaled",),
    "view": ("view", "mask_view", "translate_view", "encoder_view"),
}
WORDS = {"true": "true", "yes": "true", "on": "true", "false": "", "no": "", "off": ""}
STARTS_AT_ZERO = ("layer", "head")


class LectureError(ValueError):
    """A lecture that cannot be read."""


def read_file(path: Path) -> Lecture:
    """A lecture from a file.

    Raises:
        LectureError: for what `read` refuses, a file that is too large, and one that is no text.
        OSError: for a file that cannot be opened.
    """
    if path.stat().st_size > 4 * MOST_SIGNS:
        raise LectureError(f"{path.name}: expected at most {MOST_SIGNS:,} signs, found {path.stat().st_size:,} bytes")
    try:
        return read(path.read_text(encoding="utf-8"), path.name)
    except UnicodeDecodeError as error:
        raise LectureError(f"{path.name}: expected text in UTF-8, found byte {error.object[error.start]:#04x} at "
                           f"{error.start:,}; save it as UTF-8") from None  # fmt: skip


def read(text: str, name: str = "lecture") -> Lecture:
    """A lecture from its text.

    Args:
        name: of the file, for messages.

    Raises:
        LectureError: with each line that is wrong, what was found there, and what was expected; a line of text each.
    """
    if len(text) > MOST_SIGNS:
        raise LectureError(f"{name}: expected at most {MOST_SIGNS:,} signs, found {len(text):,}")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}:" if mark else ""
        raise LectureError(f"{name}:{where} expected YAML, found: {getattr(error, 'problem', error)}") from None
    except RecursionError:
        raise LectureError(f"{name}: expected a list of scenes, found lists within lists without end") from None
    return Reader(name).lecture(root)


class Reader:
    """From nodes of YAML to a lecture."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.mistakes: list[str] = []

    def fail(self, node: yaml.Node | None, expected: str, found: str) -> NoReturn:
        """Complain about a node."""
        where = f" line {node.start_mark.line + 1}:" if node is not None else ""
        raise LectureError(f"{self.name}:{where} expected {expected}, found {found}")

    @contextlib.contextmanager
    def noting(self) -> Iterator[None]:
        """What is wrong inside is noted, and the rest of the file is read on."""
        try:
            yield
        except LectureError as error:
            self.mistakes.append(str(error))

    def tell(self) -> None:
        """Raise what was noted, in the order of the lines, if anything was."""
        self.mistakes.sort(key=line_of)
        if more := len(self.mistakes) - MOST_TOLD:
            self.mistakes[MOST_TOLD:] = [f"and {more} more"] * (more > 0)
        if self.mistakes:
            raise LectureError("\n".join(self.mistakes))

    def lecture(self, root: yaml.Node | None) -> Lecture:
        """The whole file."""
        if root is None:
            self.fail(None, "a title and scenes", "an empty file")
        parts = self.mapping(root, OF_A_LECTURE, "a lecture")
        if "scenes" not in parts:
            self.tell()
            self.fail(root, "scenes: a list", f"only {', '.join(parts) or 'nothing'}")
        listed = parts["scenes"]
        if not isinstance(listed, yaml.SequenceNode) or not listed.value:
            self.fail(listed, "a list of scenes, each beginning with “- page:”", kind(listed))
        if len(listed.value) > MOST_SCENES:
            self.fail(listed, f"at most {MOST_SCENES} scenes", f"{len(listed.value)}")
        title = theme = author = ""
        with self.noting():
            title = self.text(parts.get("title"), "title") or self.name.removesuffix(".yaml")
        with self.noting():
            author = self.text(parts.get("author"), "title")
        with self.noting():
            theme = self.text(parts.get("theme"))
            if theme not in THEMES:
                self.fail(parts["theme"], "contrast, or no theme: the app’s menu has light and dark", repr(theme))
        scenes = []
        for node in listed.value:
            with self.noting():
                scenes.append(self.scene(node))
        self.tell()
        return Lecture(title, tuple(scenes), author, theme)

    def scene(self, node: yaml.Node) -> Scene:
        """One scene."""
        any_name = dict.fromkeys((*OF_A_SCENE, *SHORT, *(n for names in PAGES.values() for n in names)))
        parts = self.mapping(node, tuple(any_name), "a scene")
        if "page" not in parts:
            self.fail(node, "a scene that begins with “page:”", ", ".join(parts) or "nothing")
        page = self.text(parts["page"])
        page = "" if page == "home" else page
        if page not in PAGES:
            self.fail(parts["page"], "a page" + close(page, [p for p in PAGES if p]), repr(page))
        settings: dict[str, str] = {}
        for key, value in parts.items():
            if key not in OF_A_SCENE:
                with self.noting():
                    settings |= self.setting(page, key, value)
        given = dict.fromkeys(("model", "title", "caption", "note", "sentence"), "")
        for key in given:
            with self.noting():
                given[key] = self.text(parts.get(key), key)
        return Scene(
            page, given["model"], given["sentence"], settings, given["title"], given["caption"], given["note"],
            node.start_mark.line + 1,
        )  # fmt: skip

    def setting(self, page: str, key: str, node: yaml.Node) -> dict[str, str]:
        """What a scene says besides, by the names of a link."""
        value = self.text(node)
        own = (*SHARED, *PAGES[page])
        name = key if key in own else next((n for n in SHORT.get(key, ()) if n in own), None)
        if name is None:
            self.fail(node, f"something that the page {page or 'home'} has" + close(key, [*own, *SHORT]), repr(key))
        value = WORDS.get(value.lower(), value)
        if name == "head" and "." in value:
            layer, _, head = value.partition(".")
            return {"layer": self.whole(node, layer, "layer"), "head": self.whole(node, head, "head")}
        if name in STARTS_AT_ZERO:
            value = self.whole(node, value, name)
        if value and (should := expected(name, value)):
            self.fail(node, f"{key} as {should}", repr(value[:40]))
        return {name: value} if value else {}

    def whole(self, node: yaml.Node, value: str, what: str) -> str:
        """A whole number from 0, as text; 0 is what every link begins with."""
        if not (value.isascii() and value.isdecimal() and len(value) < 6):
            self.fail(node, f"a {what} as a number from 0", repr(value))
        return str(int(value))

    def mapping(self, node: yaml.Node, known: tuple[str, ...], what: str) -> dict[str, yaml.Node]:
        """The parts of a mapping by name, each of which is known and there once."""
        if not isinstance(node, yaml.MappingNode):
            self.fail(node, f"{what} as “name: value”", kind(node))
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else kind(key)
            with self.noting():
                if name not in known:
                    self.fail(key, f"something that {what} has" + close(name, list(known)), repr(name[:80]))
                if name in found:
                    self.fail(key, f"{name} once, as on line {found[name].start_mark.line + 1}", "it again")
                found[name] = value
        return found

    def text(self, node: yaml.Node | None, what: str = "") -> str:
        """A scalar as text."""
        if node is None:
            return ""
        if not isinstance(node, yaml.ScalarNode):
            self.fail(node, "a text", kind(node))
        value = "" if node.tag == "tag:yaml.org,2002:null" else node.value
        if len(value) > LONGEST.get(what, 8000):
            self.fail(node, f"at most {LONGEST.get(what, 8000):,} signs", f"{len(value):,}")
        return value if what == "sentence" else value.strip()


def line_of(mistake: str) -> int:
    """The line that a mistake names."""
    found = re.search(r"line (\d+):", mistake)
    return int(found[1]) if found else 0


def kind(node: yaml.Node) -> str:
    """What a node is, in words."""
    if isinstance(node, yaml.ScalarNode):
        return repr(node.value[:40]) if node.value else "nothing"
    return "an empty list" if not node.value else "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


def close(found: str, known: list[str]) -> str:
    """The names that are meant, perhaps; else all there are."""
    near = difflib.get_close_matches(found, known, n=1)
    return f" (did you mean {near[0]}?)" if near else f": {', '.join(known[:24])}"
