"""What a lecture is made of, and what of it can be shown here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from gptviz import folder
from gptviz.config import KINDS
from gptviz.places import PAGES, TRANSFORMER_PAGES

SHARED = PAGES[""]  # names that every page has
NEED_NO_MODEL = ("models", "lectures", "train", "time-lapse", "why-mask")
BOXES = {False: ("model", "text"), True: ("translator", "source")}  # of a page: model and sentence in the address


@dataclass(frozen=True)
class Scene:
    """One view of one page.

    Args:
        page: its URL path; "" is home.
        model, text: empty for what the app begins with.
        settings: what else a link to the page says, as text by its name; layer and head count from 0.
        title, caption: for the room; note: for the speaker alone.
        line: of the file, from 1; 0 for what was built in the app.
    """

    page: str
    model: str = ""
    text: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    title: str = ""
    caption: str = ""
    note: str = ""
    line: int = field(default=0, compare=False)

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


def scene_of(page: str, query: Mapping[str, str]) -> Scene:
    """The scene that a link shows; what the page does not know is left out."""
    model, text = BOXES[page in TRANSFORMER_PAGES]
    names = {*SHARED, *PAGES.get(page, ())}
    settings = {name: str(value) for name, value in query.items() if name in names and value}
    return Scene(page, str(query.get(model, "")), str(query.get(text, "")), settings)


def check(lecture: Lecture) -> list[str]:
    """What cannot be shown here, a sentence each: models that are not installed, or of the wrong kind, or that lack the
    step, the layer or the head of a scene."""
    there = {kind: folder.available(kind) for kind in KINDS}
    found = []
    for number, scene in enumerate(lecture.scenes, 1):
        where = f"scene {number}" + (f" (line {scene.line})" if scene.line else "")
        found += [f"{where}: {problem}" for problem in problems(scene, there)]
    return found


def problems(scene: Scene, there: Mapping[str, list[str]]) -> list[str]:
    """What of a scene cannot be shown, with the models that are `there`, by their kind."""
    kind = "transformer" if scene.page in TRANSFORMER_PAGES else "gpt"
    if not scene.model:
        if scene.page in NEED_NO_MODEL or there[kind]:
            return []
        return [f"expected a model of the kind {kind} for the page {scene.page}, found none installed; install one"]
    name = scene.model.partition("@")[0]
    if all(name not in names for names in there.values()):
        return [f"the model {name!r} is not installed; python -m gptviz get {name}, or name another"]
    if name not in there[kind]:
        others = ", ".join(there[kind][:5]) or "none is installed"
        return [f"expected a model for the page {scene.page or 'home'} ({others}), found {name}, which is another kind"]
    return beyond(scene, name)


def beyond(scene: Scene, name: str) -> list[str]:
    """The recorded step, the layer and the head of a scene that its model does not have."""
    try:
        folder.find_weights(scene.model)
        config = folder.shape_of(folder.find(name))
    except folder.CheckpointError as error:
        return [str(error)]
    except (ValueError, OSError) as error:
        return [f"the model {name!r} cannot be read: {error}"]
    sizes = {"layer": config.n_layers, "head": config.n_heads}
    return [
        f"expected a {what} from 0 to {size - 1} of {name}, found {scene.settings[what]}"
        for what, size in sizes.items()
        if scene.settings.get(what, "0").isdecimal() and int(scene.settings.get(what, "0")) >= size
    ]
