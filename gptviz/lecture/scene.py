"""What a lecture is made of. What of it can be shown here is compared in `gptviz.lecture.checking`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from gptviz.places import PAGES, TRANSFORMER_PAGES

SHARED = PAGES[""]  # names that every page has
BOXES = {False: ("model", "text"), True: ("translator", "source")}  # of a page: model and sentence in the address


@dataclass(frozen=True)
class Scene:
    """One view of one page.

    Args:
        page: its URL path; "" is home.
        model, text: empty for what the app begins with.
        settings: what else a link to the page says, as text by its name; layer and head count from 0.
        title, caption: for the room; note: for the speaker alone.
        show: what of the page stands first, a name of `gptviz.exhibits`; empty for the page's first.
        line: of the file, from 1; 0 for what was built in the app.
        lines: of what it says: name -> line, where that is not the line of the scene.
    """

    page: str
    model: str = ""
    text: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    title: str = ""
    caption: str = ""
    note: str = ""
    show: str = ""
    line: int = field(default=0, compare=False)
    lines: Mapping[str, int] = field(default_factory=dict, compare=False)

    def link(self) -> str:
        """The part of the app's address behind the host that opens it."""
        named = zip(BOXES[self.page in TRANSFORMER_PAGES], (self.model, self.text), strict=True)
        query = urlencode({name: value for name, value in named if value} | dict(self.settings))
        return f"{self.page}?{query}" if query else self.page


@dataclass(frozen=True)
class Lecture:
    """Scenes in their order."""

    title: str
    scenes: tuple[Scene, ...]
    author: str = ""
    theme: str = ""  # "contrast", or the visitor's own
    file: str = field(default="", compare=False)  # its name; "" for what was built in the app


def scene_of(page: str, query: Mapping[str, str]) -> Scene:
    """The scene that a link shows; what the page does not know is left out."""
    model, text = BOXES[page in TRANSFORMER_PAGES]
    names = {*SHARED, *PAGES.get(page, ())}
    settings = {name: str(value) for name, value in query.items() if name in names and value}
    return Scene(page, str(query.get(model, "")), str(query.get(text, "")), settings)
