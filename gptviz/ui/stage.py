"""A lecture on the lessons: each scene is a lesson page as a link would open it, below a quiet bar with its caption.

What the session keeps under "stage" is the truth; the bar (assets/stage.js) writes it into the address, so that a
reload comes back to the scene. The next scene's pass is worked out ahead, in a thread.
"""

from __future__ import annotations

import ast
import contextlib
import logging
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from gptviz import folder as folders
from gptviz.exhibits import keys_of
from gptviz.places import TRANSFORMER_PAGES
from gptviz.ui import models
from gptviz.ui.address import kept
from gptviz.ui.component import ASSETS, component
from gptviz.ui.controls import BOXES, Box, is_snapshot
from gptviz.ui.show import literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gptviz.lecture import Lecture, Scene

PAGES_FOLDER = Path(__file__).parent.parent.parent / "pages"
AHEAD = "next scene"  # name of the thread; what it keeps by Streamlit's caches shows no spinner, as it has no visitor
logging.getLogger("streamlit.runtime.scriptrunner_utils.script_run_context").addFilter(lambda r: r.threadName != AHEAD)
bar = component("gptviz_stage", ["busy", "stage"], ["stage"])
notes_window = component("gptviz_notes", ["stage_notes"], ["stage"])


class Place(NamedTuple):
    """Where a presentation stands."""

    name: str  # of the lecture
    scene: int  # from 1


# Lectures by their names ----------------------------------------------------------------------------------------------


def own_lectures() -> dict[str, Lecture]:
    """Those that this visitor uploaded or built, by name; they end with the session."""
    return st.session_state.setdefault("lectures", {})


def file_of_command() -> Path | None:
    """FILE of `streamlit run app.py -- --lecture FILE`."""
    given = sys.argv[1:]
    for option, value in zip(given, [*given, ""][1:], strict=True):
        if option == "--lecture" and value:
            return Path(value)
        if option.startswith("--lecture="):
            return Path(option.partition("=")[2])
    return None


def names() -> list[str]:
    """All lectures that can be presented here: of the command line, of this visitor, shipped."""
    from gptviz import lecture

    asked = file_of_command()
    return list(dict.fromkeys([*([asked.stem] if asked else []), *own_lectures(), *lecture.shipped()]))


def find(name: str) -> Lecture:
    """A lecture by its name, which is looked up and never taken for a path.

    Raises:
        ValueError: for a name that is not there, or a file with mistakes.
        OSError: for a file that cannot be read.
    """
    from gptviz import lecture

    if name in own_lectures():
        return own_lectures()[name]
    asked = file_of_command()
    path = asked if asked and asked.stem == name else lecture.shipped().get(name)
    if path is None:
        raise ValueError(f"expected one of {', '.join(names())}, found {name[:80]!r}; choose one on the page Lectures")
    return lecture.read_file(path)


# Going to a scene -----------------------------------------------------------------------------------------------------


def now() -> Place | None:
    """Where this visitor's presentation stands; None without one."""
    return st.session_state.get("stage")


def present(name: str, scene: int = 1) -> None:
    """Go to a scene, from 1, and let the next run open its page. Call it in a callback, or before the controls."""
    count = len(find(name).scenes)
    here = Place(name, min(max(scene, 1), count))
    st.session_state["stage"] = here
    st.session_state["stage_moves"] = True
    set_scene(find(name).scenes[here.scene - 1])


def leave() -> None:
    """End the presentation; the lesson stays as it is."""
    st.session_state["stage"] = None


def box_of(scene: Scene) -> Box:
    """The picker and the box of the model that a scene needs."""
    return BOXES["transformer" if scene.page in TRANSFORMER_PAGES else "gpt"]


def set_scene(scene: Scene) -> None:
    """Let the controls show a scene: its model, its sentence, its settings and nothing else."""
    box, here = box_of(scene), kept()
    for name in here:
        here[name] = ""
    for name, text in scene.settings.items():
        here[name] = text
    values = {
        box.model: scene.model if is_here(scene.model, box.kind) else next(iter(models.names(box.kind)), ""),
        box.text: scene.text or next(iter(box.sentences.values())),
    }
    st.session_state.update(values)
    st.session_state.setdefault("recalled", {})[box.kind] = values


def is_here(name: str, kind: str) -> bool:
    """Whether a model, or a recorded step NAME@STEP of one, is installed."""
    return name in models.names(kind) or is_snapshot(name, kind)


def problem(scene: Scene) -> str:
    """What of a scene cannot be shown here, "" where all can."""
    box = box_of(scene)
    name = scene.model or next(iter(models.names(box.kind)), "")
    if not is_here(name, box.kind):
        return (
            f"This scene asks for the model {name}, which is not installed: see the page Models. It shows another one."
        )
    config = folders.shape_of(folders.find_weights(name)[0])
    for what, count in (("layer", config.n_layers), ("head", config.n_heads)):
        asked = scene.settings.get(what) or "0"
        if not (asked.isdecimal() and int(asked) < count):
            return f"This scene asks for {what} {asked}; {name} has {count}, counted from 0. It shows {what} 0."
    return ""


# The router's part ----------------------------------------------------------------------------------------------------


def on_stage(page: object, pages: Mapping[str, Iterable]) -> None:
    """For the router, before the shared controls: open the scene that a link or a key asked for, and draw the bar."""
    if "notes" in st.query_params and (name := st.query_params.get("lecture")):
        show_notes(name)
    try:
        begin_from_link()
        place = now()
        if place is None:
            return
        lecture = find(place.name)
    except (ValueError, OSError) as error:
        leave()
        said = "  \n".join(map(literal, str(error).splitlines()))
        st.error(f"This lecture cannot be shown.  \n{said}", icon=":material/broken_image:")
        return
    scene = lecture.scenes[place.scene - 1]
    if st.session_state.pop("stage_moves", False) and page.url_path != scene.page:
        for each in (each for section in pages.values() for each in section):
            if each.url_path == scene.page:
                st.switch_page(each, query_params={})
    draw(lecture, place)


def begin_from_link() -> None:
    """A new session goes where its address says, or to the lecture of the command line."""
    if "stage" in st.session_state:
        return
    st.session_state["stage"] = None
    query = st.query_params.to_dict()
    name, scene = query.pop("lecture", ""), query.pop("scene", "1")
    if name:
        number = int(scene) if scene.isdecimal() and len(scene) < 6 else 1
        count = len(find(name).scenes)
        if query:  # the address says what the visitor saw; a sentence from the audience survives a reload
            st.session_state["stage"] = Place(name, min(max(number, 1), count))
        else:
            present(name, number)
    elif not query and (asked := file_of_command()):
        present(asked.stem)


def draw(lecture: Lecture, place: Place) -> None:
    """The bar of a scene, and a page without sidebar, toolbar and the lesson's own heading."""
    scene = lecture.scenes[place.scene - 1]
    st.html(ASSETS / "stage_page.css")
    st.html(put_first(keys_of(scene.page, scene.show)))
    bar(
        key="stage_bar",
        data={
            "lecture": place.name,
            "title": lecture.title,
            "scene": place.scene,
            "scenes": [{"title": each.title, "note": each.note} for each in lecture.scenes],
            "caption": scene.caption,
            "contrast": lecture.theme == "contrast",
            "problem": problem(scene),
        },
        on_go_change=go,
        on_leave_change=leave,
    )


def put_first(keys: Sequence[str]) -> str:
    """The style with which these elements of a page stand above all others of it, as wide as the page."""
    if not keys:
        return "<style></style>"
    these = ", ".join(f".st-key-{key}" for key in keys)
    row, column = '[data-testid="stHorizontalBlock"]', '[data-testid="stColumn"]'
    label = '[data-testid="stMarkdown"] strong'  # of one of two pictures side by side, in bold
    small = '[data-testid="stCaptionContainer"]'
    return f"""<style>
      [data-testid="stMain"] :is({these}, :has({these})) {{ order: -1; }}
      {column}:has({these}) :has(> {label}):not(:has({small})) {{ order: -2; }}
      {row}:has({these}) > {column}:not(:has({these})) {{ flex: 1 0 100%; }}
      </style>"""


def go() -> None:
    """A key, a button or the presenter's window asked for a scene; the one that is shown comes back as it was."""
    asked = st.session_state["stage_bar"].go
    if (place := now()) and isinstance(asked, int | float):
        present(place.name, int(asked))


def show_notes(name: str) -> None:
    """The presenter's window, which follows the main window in the same browser; ends the run."""
    st.html(ASSETS / "stage_page.css")
    notes_window(key="stage_notes", data={"lecture": name[:200]})
    st.stop()


def compute_ahead(scripts: Mapping[str, str]) -> None:
    """For the router, at the end: what the next scene will ask for is worked out while this one is looked at.

    Args:
        scripts: URL path of a page -> its script in pages/.
    """
    if (place := now()) is None:
        return
    scenes = find(place.name).scenes
    if place.scene < len(scenes):
        scene = scenes[place.scene]
        threading.Thread(target=prepare, args=(scene, scripts.get(scene.page)), name=AHEAD, daemon=True).start()


def prepare(scene: Scene, script: str | None = None) -> None:
    """Open the model of a scene and let it read its sentence; kept for all visitors. Shows nothing.

    Args:
        script: of the scene's page, in pages/, whose imports are made as well.
    """
    if script:
        import_for(script)
    box = box_of(scene)
    name = scene.model or next(iter(models.names(box.kind)), "")
    text = scene.text or next(iter(box.sentences.values()))
    with contextlib.suppress(ValueError, OSError):  # the scene itself will say what is wrong
        model = models.open_model(name)
        if box.kind == "gpt":
            from gptviz.trace import WhatIf

            for causal in (True, False)[: 2 if scene.page == "masked" else 1]:
                models.TRACES.get(model, text, WhatIf(causal=causal))
            return
        from gptviz.ui import translation

        translation.as_itself(model.fingerprint, text, model)
        translation.translated(model.fingerprint, text.strip(), 1, model)
        if scene.page == "beam-search":
            from gptviz.ui.beam import FIRST

            beam = int(scene.settings.get("beam") or FIRST)
            translation.translated(model.fingerprint, text.strip(), beam, model)


def import_for(script: str) -> None:
    """Import what the script of a page does, which takes its first visitor a tenth of a second."""
    tree = ast.parse((PAGES_FOLDER / script).read_text(encoding="utf-8"))
    tree.body = [each for each in tree.body if isinstance(each, ast.Import | ast.ImportFrom)]
    exec(compile(tree, script, "exec"), {})  # of our own pages, by the router's names
