"""The page Lectures: choose one, upload one, or build one out of views, in order, and save it as a file."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st

from gptviz.exhibits import EXHIBITS
from gptviz.ui import stage
from gptviz.ui.show import escape, literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gptviz.lecture import Lecture, Scene

MY_LECTURE = "My lecture"
MOST_SCENES = 200


def shelf() -> None:
    """All of the page below its title."""
    st.subheader("Present", anchor="present")
    choose()
    st.subheader("Upload a lecture", anchor="upload")
    upload()
    st.subheader("Build a lecture", anchor="build")
    build()


def lines(said: str) -> str:
    """What is wrong with a file, a line each, as literal text."""
    return "  \n".join(map(literal, said.splitlines()))


def choose() -> None:
    """The lectures that are here, and the button that begins one."""
    name = st.selectbox("Lecture", stage.names(), key="lecture_chosen")
    if name is None:
        return
    try:
        chosen = stage.find(name)
    except (ValueError, OSError) as error:
        st.error(f"{escape(name)} cannot be read.  \n{lines(str(error))}", icon=":material/broken_image:")
        return
    from gptviz import lecture

    say_missing(lecture.check(chosen))
    st.caption(
        f"{literal(chosen.title)}: {len(chosen.scenes)} scenes. The arrow keys, Page Up and Page Down turn them."
    )
    with st.container(horizontal=True, gap="small"):
        st.button(
            "Present", icon=":material/slideshow:", type="primary", key="lecture_present", on_click=stage.present,
            args=(name,),
        )  # fmt: skip
        st.button("Edit a copy", icon=":material/edit:", key="lecture_edit", on_click=edit, args=(chosen,))
        st.download_button("Save as YAML", lecture.write(chosen), f"{name}.yaml", key="lecture_saved")
        save_slides(chosen, name, "lecture")


def say_missing(wrong: list[str]) -> None:
    """What of a lecture cannot be shown here, in one box; it can be presented all the same, and each scene says so."""
    from gptviz.lecture.reading import in_part

    if wrong:
        said = lines("\n".join(in_part(wrong)))
        st.warning(f"Not all of it can be shown here.  \n{said}", icon=":material/deployed_code_alert:")


PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"


def save_slides(talk: Lecture, name: str, key: str) -> None:
    """Buttons that draw all scenes, some seconds of work, and save them as slides."""
    from gptviz import lecture

    missing = bool(lecture.check(talk)) or not talk.scenes
    why = "Some scenes ask for what is not here" if missing else "Draws every scene: some seconds"
    for kind, label, mime in (("html", "Slides as HTML", "text/html"), ("pptx", "as PowerPoint", PPTX)):
        st.download_button(
            label, functools.partial(slides_of, talk, kind), f"{name}.{kind}", mime, key=f"{key}_{kind}", help=why,
            disabled=missing, on_click="ignore",
        )  # fmt: skip


def slides_of(talk: Lecture, kind: str) -> bytes:
    """The bytes of the slides; made when a button is pressed."""
    from gptviz.export import deck

    return deck.to_html(talk).encode() if kind == "html" else deck.to_pptx(talk)


def edit(chosen: Lecture) -> None:
    """Let the builder begin with these scenes; what it had can be had back."""
    change(list(chosen.scenes))
    st.session_state["draft_title"] = chosen.title


def upload() -> None:
    """A file of the visitor; its mistakes are shown with their lines, and nothing else is lost."""
    given = st.file_uploader("A lecture (YAML)", type=["yaml", "yml"], key="lecture_file", max_upload_size=1)
    if given is None:
        return
    from gptviz import lecture

    name = given.name.rpartition(".")[0][:80] or MY_LECTURE
    talk, wrong = lecture.examine_bytes(given.getvalue(), given.name)
    if talk is None:
        st.error("This is no lecture yet.  \n" + lines("\n".join(wrong)), icon=":material/broken_image:")
        return
    stage.own_lectures()[name] = talk
    say_missing(wrong)
    st.button(f"Present {literal(name)}", key="lecture_uploaded", on_click=stage.present, args=(name,))


# Building -------------------------------------------------------------------------------------------------------------


def draft() -> list[Scene]:
    """The scenes of the lecture that this visitor builds."""
    return st.session_state.setdefault("draft", [])


def change(scenes: list[Scene]) -> None:
    """Other scenes take the place of the draft, which Undo brings back."""
    st.session_state.setdefault("draft_before", []).append(draft())
    st.session_state["draft"] = scenes
    st.session_state["draft_version"] = st.session_state.get("draft_version", 0) + 1  # boxes begin anew


def add_scene(page: str, query: Mapping[str, str]) -> None:
    """Add a view, as its link says it, to the lecture that is built here; call it in a callback."""
    from gptviz import lecture

    if len(draft()) < MOST_SCENES:
        change([*draft(), lecture.scene_of(page, query)])


def undo() -> None:
    """Bring back what was there before the last change."""
    if before := st.session_state.get("draft_before"):
        st.session_state["draft"] = before.pop()
        st.session_state["draft_version"] = st.session_state.get("draft_version", 0) + 1


def move(at: int, by: int) -> None:
    """Change the places of two neighbours."""
    scenes = list(draft())
    scenes[at], scenes[at + by] = scenes[at + by], scenes[at]
    change(scenes)


def remove(at: int) -> None:
    """Take a scene out."""
    change([scene for i, scene in enumerate(draft()) if i != at])


def keep_words(at: int, what: str, key: str) -> None:
    """A title, a caption or a note was typed."""
    scenes = list(draft())
    scenes[at] = replace(scenes[at], **{what: st.session_state[key]})
    st.session_state["draft"] = scenes


def build() -> None:
    """The scenes of the draft, each with its words, and what can be done with all of them."""
    if not draft():
        st.info("No scene yet. Choose “Edit a copy” above to begin with the scenes of a lecture.")
    st.text_input("Title", key="draft_title", placeholder=MY_LECTURE)
    for at, scene in enumerate(draft()):
        one_scene(at, scene)
    if st.session_state.get("draft_before"):
        st.button("Undo", icon=":material/undo:", key="draft_undo", on_click=undo)
    if not draft():
        return
    from gptviz import lecture

    title = st.session_state.get("draft_title", "").strip() or MY_LECTURE
    built = lecture.Lecture(title, tuple(draft()))
    with st.container(horizontal=True, gap="small"):
        st.button(
            "Present these scenes", icon=":material/slideshow:", key="draft_present", on_click=present_draft,
            args=(built,),
        )  # fmt: skip
        st.download_button("Save these scenes as YAML", lecture.write(built), "lecture.yaml", key="draft_saved")
        save_slides(built, "lecture", "draft")


def present_draft(built: Lecture) -> None:
    """Begin with what is built here."""
    stage.own_lectures()[MY_LECTURE] = built
    stage.present(MY_LECTURE)


def one_scene(at: int, scene: Scene) -> None:
    """One scene of the draft: its place, its words."""
    mark = f"{st.session_state.get('draft_version', 0)}_{at}"
    with st.expander(f"{at + 1}. {literal(scene.title or scene.page)}", key=f"draft_{mark}"):
        st.caption(literal(scene.link()))
        for what, box in (("title", st.text_input), ("caption", st.text_area), ("note", st.text_area)):
            key = f"draft_{what}_{mark}"
            box(what.capitalize(), getattr(scene, what), key=key, on_change=keep_words, args=(at, what, key))
        if len(shown := list(EXHIBITS.get(scene.page, ()))) > 1:
            key = f"draft_show_{mark}"
            at_first = shown.index(scene.show) if scene.show in shown else 0
            st.selectbox("Shown first", shown, at_first, key=key, on_change=keep_words, args=(at, "show", key))
        with st.container(horizontal=True, gap="small"):
            act("Up", at > 0, f"draft_up_{mark}", move, at, -1)
            act("Down", at + 1 < len(draft()), f"draft_down_{mark}", move, at, 1)
            act("Remove", True, f"draft_remove_{mark}", remove, at)


def act(label: str, possible: bool, key: str, do: Callable[..., None], *given: int) -> None:
    """A button of a scene."""
    st.button(label, key=key, on_click=do, args=given, disabled=not possible)
