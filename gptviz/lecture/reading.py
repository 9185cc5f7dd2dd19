"""A lecture from its file. Every mistake names its line, what was expected, and what was found; all are told at once.

YAML is read into its nodes alone: no tag is obeyed and no alias followed, so nothing of a stranger's file is executed,
and a file cannot be larger in memory than on disk.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

import yaml

from gptviz.exhibits import EXHIBITS
from gptviz.lecture.scene import SHARED, Lecture, Scene
from gptviz.lecture.values import ON_AT_FIRST, SWITCHES, expected
from gptviz.places import PAGES

MOST_SCENES = 200
MOST_SIGNS = 1_000_000  # of a file
LONGEST = {"title": 200, "caption": 400, "note": 5000, "sentence": 8000}
MOST_TOLD = 20  # mistakes of one file
THEMES = ("", "contrast")  # light and dark are the visitor's own, in Streamlit's menu
OF_A_LECTURE = ("title", "author", "theme", "scenes")
OF_A_SCENE = ("page", "model", "sentence", "show", "title", "caption", "note")
SHORT = {  # what a scene may say -> the name in the link, of pages that have it
    "step": ("lapse_step", "pair_step", "step"),
    "temperature": ("next_temperature", "pair_temperature"),
    "seed": ("next_seed", "pair_seed"),
    "top_k": ("next_top_k",),
    "top_p": ("next_top_p",),
    "unmasked": ("head_unmasked",),
    "unscaled": ("head_unscaled",),
    "view": ("view", "mask_view", "translate_view", "encoder_view"),
}
WORDS = {"yes": "true", "on": "true", "true": "true", "no": "false", "off": "false", "false": "false"}
STARTS_AT_ZERO = ("layer", "head")


class LectureError(ValueError):
    """A lecture that cannot be read.

    Args:
        mistakes: a line of text each; the message has no more than `MOST_TOLD` of them.
        scenes: what could be read nevertheless, by their numbers, from 1.
    """

    def __init__(self, mistakes: list[str], scenes: Mapping[int, Scene] = MappingProxyType({})) -> None:
        super().__init__("\n".join(in_part(mistakes)))
        self.mistakes = mistakes
        self.scenes = scenes


def read_file(path: Path) -> Lecture:
    """A lecture from a file.

    Raises:
        LectureError: for what `read` refuses, a file that is too large, and one that is no text.
        OSError: for a file that cannot be opened.
    """
    return read(text_of(bytes_of(path), path.name), path.name)


def bytes_of(path: Path) -> bytes:
    """What a file holds, unless it is too large for a lecture."""
    if path.stat().st_size > 4 * MOST_SIGNS:
        size = path.stat().st_size
        raise LectureError([f"{path.name}: expected at most {MOST_SIGNS:,} signs, found {size:,} bytes; split it"])
    return path.read_bytes()


def text_of(data: bytes, name: str) -> str:
    """The text of a file called `name`.

    Raises:
        LectureError: for what is no text, with its line.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line, byte = data.count(b"\n", 0, error.start) + 1, data[error.start]
        said = f"expected text in UTF-8, found byte {byte:#04x} at {error.start:,}; save it as UTF-8"
        raise LectureError([f"{name}: line {line}: {said}"]) from None


def read(text: str, name: str = "lecture") -> Lecture:
    """A lecture from its text.

    Args:
        name: of the file, for messages.

    Raises:
        LectureError: with each line that is wrong, what was found there, and what was expected; a line of text each.
    """
    if len(text) > MOST_SIGNS:
        raise LectureError([f"{name}: expected at most {MOST_SIGNS:,} signs, found {len(text):,}; split it"])
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}:" if mark else ""
        raise LectureError([f"{name}:{where} expected YAML, found: {getattr(error, 'problem', error)}"]) from None
    except RecursionError:
        raise LectureError([f"{name}: expected a list of scenes, found lists within lists without end"]) from None
    return Reader(name).lecture(root)


class Reader:
    """From nodes of YAML to a lecture."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.mistakes: list[str] = []
        self.scenes: dict[int, Scene] = {}  # by their numbers, from 1

    def fail(self, node: yaml.Node | None, expected: str, found: str) -> NoReturn:
        """Complain about a node."""
        where = f" line {node.start_mark.line + 1}:" if node is not None else ""
        raise LectureError([f"{self.name}:{where} expected {expected}, found {found}"])

    @contextlib.contextmanager
    def noting(self) -> Iterator[None]:
        """What is wrong inside is noted, and the rest of the file is read on."""
        try:
            yield
        except LectureError as error:
            self.mistakes += error.mistakes

    def tell(self) -> None:
        """Raise what was noted, in the order of the lines, if anything was."""
        if self.mistakes:
            raise LectureError(in_order(self.mistakes), self.scenes)

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
        for number, node in enumerate(listed.value, 1):
            with self.noting():
                self.scenes[number] = self.scene(node)
        self.tell()
        return Lecture(title, tuple(self.scenes.values()), author, theme, self.name)

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
        lines = {key: value.start_mark.line + 1 for key, value in parts.items()}
        for key, value in parts.items():
            if key not in OF_A_SCENE:
                with self.noting():
                    said = self.setting(page, key, value)
                    settings |= said
                    lines |= dict.fromkeys(said, lines[key])
        given = dict.fromkeys(("model", "title", "caption", "note", "sentence", "show"), "")
        for key in given:
            with self.noting():
                given[key] = self.text(parts.get(key), key)
        with self.noting():
            given["show"] = self.exhibit(page, parts.get("show"))
        return Scene(
            page, given["model"], given["sentence"], settings, given["title"], given["caption"], given["note"],
            given["show"], node.start_mark.line + 1, lines,
        )  # fmt: skip

    def exhibit(self, page: str, node: yaml.Node | None) -> str:
        """What of its page a scene puts first."""
        name, here = self.text(node), EXHIBITS[page]
        if name and name not in here:
            there = f"one of {', '.join(here)}" if here else f"nothing: {page} is shown as it is"
            self.fail(node, f"show as {there}", repr(name[:40]))
        return name

    def setting(self, page: str, key: str, node: yaml.Node) -> dict[str, str]:
        """What a scene says besides, by the names of a link."""
        value = self.text(node)
        own = (*SHARED, *PAGES[page])
        name = key if key in own else next((n for n in SHORT.get(key, ()) if n in own), None)
        if name is None:
            self.fail(node, f"something that the page {page or 'home'} has" + close(key, [*own, *SHORT]), repr(key))
        if name in SWITCHES:
            value = WORDS.get(value.lower(), value)
        if name == "head" and "." in value:
            layer, _, head = value.partition(".")
            return {"layer": self.whole(node, layer, "layer"), "head": self.whole(node, head, "head")}
        if name in STARTS_AT_ZERO:
            value = self.whole(node, value, name)
        if value and (should := expected(name, value)):
            self.fail(node, f"{key} as {should}", repr(value[:40]))
        if value == "false" and name not in ON_AT_FIRST:
            value = ""
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


def in_order(mistakes: list[str]) -> list[str]:
    """Mistakes in the order of their lines."""
    return sorted(mistakes, key=line_of)


def in_part(mistakes: list[str]) -> list[str]:
    """The first `MOST_TOLD` mistakes, and how many more there are."""
    more = len(mistakes) - MOST_TOLD
    return [*mistakes[:MOST_TOLD], f"and {more:,} more"] if more > 0 else mistakes


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
