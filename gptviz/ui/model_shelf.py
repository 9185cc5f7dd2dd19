"""The page Models: a table of what is installed, downloads on their way, uploads, and what can be done with a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from gptviz import folder as folders
from gptviz import installed, memory
from gptviz.fetch import jobs, known
from gptviz.formats import archive
from gptviz.installed import in_words
from gptviz.progress import duration
from gptviz.ui import models
from gptviz.ui.controls import BOXES
from gptviz.ui.show import escape, literal, table_with_csv

if TYPE_CHECKING:
    from collections.abc import Callable

    from gptviz.fetch.jobs import Job
    from gptviz.installed import Installed

LESSON_OF = {"gpt": "gpt/attention.py", "transformer": "transformer/translate.py"}  # kind -> script of its first lesson
KINDS = {"gpt": "language model", "transformer": "translator"}
EVERY = 0.5  # seconds between two looks at a download
LARGEST_UPLOAD = 2000  # MB; it is kept in memory on its way


def shelf() -> None:
    """All of the page below its title."""
    say_problem()
    found = installed.installed()
    st.subheader("Installed", anchor="installed")
    table_with_csv(table(found), "models.csv", key="models_table")
    st.caption(room())
    one_model(found)
    st.subheader("Get a model", anchor="get")
    get_form()
    at_work = any(job.at_work for job in jobs.JOBS.values())
    st.fragment(downloads, run_every=EVERY if at_work else None)(at_work)
    interrupted()
    st.subheader("Upload a model", anchor="upload")
    upload()


def table(found: list[Installed]) -> pd.DataFrame:
    """One row a model."""
    rows = [
        {
            "model": model.name,
            "kind": KINDS.get(model.kind, model.kind) if not model.problem else "cannot be opened",
            "parameters": f"{model.parameters:,}" if model.parameters else "",
            "on the disk": in_words(model.bytes),
            "memory to open": in_words(model.needed) if model.needed else "",
            "context": f"{model.config.context:,} tokens" if model.config else "",
            "licence": model.licence,
            "source": model.source,
        }
        for model in found
    ]
    columns = ["model", "kind", "parameters", "on the disk", "memory to open", "context", "licence", "source"]
    return pd.DataFrame(rows, columns=columns).set_index("model")


def room() -> str:
    """What is free on this machine, in words."""
    import shutil

    disk = in_words(shutil.disk_usage(installed.existing(folders.root())).free)
    free = memory.free()
    said = f"{disk} on its disk" if free is None else f"{in_words(free)} of memory and {disk} on its disk"
    return f"Free on this machine: {said}. Models that were used last stay open, within half of the memory."


# One model ------------------------------------------------------------------------------------------------------------


def one_model(found: list[Installed]) -> None:
    """What can be done with one of them."""
    if not found:
        st.info("No model is installed. Get one below.", icon=":material/deployed_code:")
        return
    by_name = {model.name: model for model in found}
    chosen = st.session_state.get("models_chosen")
    if chosen not in by_name:
        st.session_state["models_chosen"] = next(iter(by_name))
    name = st.selectbox("Open or remove", list(by_name), key="models_chosen")
    model = by_name[name]
    if model.problem:
        st.error(f"{escape(name)} cannot be opened. {sentence(model.problem)}", icon=":material/broken_image:")
    elif note := too_large(model):
        st.warning(note, icon=":material/memory:")
    with st.container(horizontal=True, gap="small", key="models_buttons"):
        if not model.problem and st.button(
            "Open in a lesson", icon=":material/grid_on:", key="models_open", on_click=use, args=(model,)
        ):
            st.switch_page(LESSON_OF[model.kind], query_params={})
        if model.removable:
            with st.popover("Remove", icon=":material/delete:", key=f"models_remove_{name}"):
                st.markdown(
                    f"Delete **{literal(name)}**? This gives {in_words(model.bytes)} back and cannot be undone."
                )
                act("Remove it", "delete", lambda: remove(model), key="models_removed")
    if not model.removable:
        st.caption("Only what was fetched or uploaded here can be removed here.")


def too_large(model: Installed) -> str:
    """Why a model will not fit now, "" where it will."""
    free = memory.free()
    if free is None or model.needed is None or model.needed <= free:
        return ""
    needed = in_words(model.needed)
    if model.config and memory.bytes_that_fit(model.config, free) == 2:
        half = in_words(memory.needed(model.config, 2))
        return (
            f"In float32 it takes {needed} of memory, and {in_words(free)} is free: it will open in half precision, "
            f"which takes {half}."
        )
    return f"Opening it takes {needed} of memory, and {in_words(free)} is free: close other programs first."


def use(model: Installed) -> None:
    """Let the lessons read with it."""
    box = BOXES[model.kind]
    st.session_state[box.model] = model.name
    st.session_state.get("recalled", {}).get(model.kind, {}).pop(box.model, None)
    if box.text in st.session_state:
        box.changed()


def remove(model: Installed) -> None:
    """Delete it; lessons that showed it go back to the first model."""
    installed.remove(model.name)
    models.forget(model.name)
    for box in BOXES.values():
        st.session_state.get("recalled", {}).get(box.kind, {}).pop(box.model, None)
        if st.session_state.get(box.model) == model.name and (names := models.names(box.kind)):
            st.session_state[box.model] = names[0]


def act(label: str, icon: str, action: Callable[[], object], key: str, disabled: bool = False) -> None:
    """A button that does something, and says in a sentence why where that cannot be."""
    st.button(label, icon=f":material/{icon}:", key=key, disabled=disabled, on_click=attempt, args=(action,))


def attempt(action: Callable[[], object]) -> None:
    """Do it; a refusal is kept for `say_problem`."""
    try:
        action()
    except ValueError as error:
        st.session_state["models_problem"] = str(error)
    except OSError as error:  # its own words have the server's paths
        st.session_state["models_problem"] = f"the disk refused: {error.strerror or type(error).__name__}; try again"


def say_problem() -> None:
    """Why the last button did nothing, or what it did."""
    if problem := st.session_state.pop("models_problem", ""):
        st.error(sentence(problem), icon=":material/error:")
    if done := st.session_state.pop("models_done", ""):
        st.success(done, icon=":material/check:")


def sentence(problem: str) -> str:
    """A complaint as a sentence of literal text."""
    return literal(f"{problem[:1].upper()}{problem[1:]}.")


# Getting --------------------------------------------------------------------------------------------------------------


def get_form() -> None:
    """A name, and a button."""
    st.markdown(
        "**smollm2-135m** is a real language model that comes from the Python package index. **gpt2** and every "
        "*owner/name* of a GPT-2 or Llama-like model come from Hugging Face; *owner/name:file.gguf* takes one GGUF "
        "file."
    )
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.text_input("Name", key="models_name", placeholder="smollm2-135m", persist_state="session")
        names = known()
        st.menu_button(
            "Known names", [f"{name}: {about}" for name, about in names.items()], key="models_known",
            icon=":material/list:", on_click=take_known,
        )  # fmt: skip
        act("Get it", "download", begin, key="models_get")


def take_known() -> None:
    """Put a known name into the box."""
    st.session_state["models_name"] = st.session_state["models_known"].partition(": ")[0]


def begin() -> None:
    """Begin the download of what was typed, an empty box as its example."""
    jobs.begin(st.session_state["models_name"].strip() or "smollm2-135m")


def downloads(were_at_work: bool) -> None:
    """Every download that was begun here; runs by itself while one is at work, and then once more with the page."""
    if "models_problem" in st.session_state:  # of a button below: it is said at the top
        st.rerun()
    for number, job in enumerate(list(jobs.JOBS.values())):
        if job.at_work:
            st.progress(job.progress.fraction, text=progress_text(job))
            act("Cancel", "close", lambda job=job: cancel(job), key=f"models_cancel_{number}")
        elif not job.cancelled:
            ended(job, number)
    if were_at_work != any(job.at_work for job in jobs.JOBS.values()):
        st.rerun()


def progress_text(job: Job) -> str:
    """How far a download is, in words."""
    record = job.progress
    parts = [f"**{literal(record.name)}**", literal(record.doing)]
    if record.total:
        parts.append(f"{in_words(record.done)} of {in_words(record.total)}")
    if left := job.seconds_left():
        parts.append(f"{duration(left)} left")
    return " · ".join(parts) + (f"  \n{literal(record.note)}" if record.note else "")


def ended(job: Job, number: int) -> None:
    """How a download ended, until somebody hides it."""
    if job.error:
        st.error(f"**{literal(job.asked)}** is not here. {sentence(job.error)}", icon=":material/cloud_off:")
        act("Try again", "refresh", lambda: jobs.begin(job.asked), key=f"models_again_{number}")
    else:
        note = f" It {literal(job.progress.note)}." if job.progress.note else ""
        st.success(f"**{literal(job.progress.name)}** is installed.{note}", icon=":material/check:")
    act("Hide", "visibility_off", lambda: jobs.forget(job), key=f"models_hide_{number}")


def cancel(job: Job) -> None:
    """End a download and forget it."""
    job.cancel()
    jobs.forget(job)


def interrupted() -> None:
    """What earlier downloads left, to go on with or to be deleted."""
    on_their_way = {job.progress.name for job in jobs.JOBS.values() if job.at_work}
    for name, size in installed.unfinished():
        if name not in on_their_way and size:
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.caption(
                    f"{in_words(size)} of **{literal(name)}** are here: get it again to go on from there.",
                    width="content",
                )
                act("Delete them", "delete", lambda name=name: installed.remove(name), key=f"models_drop_{name}")


# Uploading ------------------------------------------------------------------------------------------------------------


def upload() -> None:
    """A zip of a model's folder, or a GGUF file."""
    times = st.session_state.setdefault("models_uploads", 0)
    file = st.file_uploader(
        "A zip of a model's folder, or a .gguf file", ["zip", "gguf"], key=f"models_file_{times}",
        max_upload_size=LARGEST_UPLOAD,
        help=f"Up to {LARGEST_UPLOAD // 1000} GB. Larger ones: put the folder under checkpoints/ on the server.",
    )  # fmt: skip
    if file is not None:
        st.text_input("Name of the model", archive.plain_name(file.name), key=f"models_upload_name_{file.file_id}")
        act("Install it", "upload", lambda: take_in(file), key="models_upload")


def take_in(file: object) -> None:
    """Install what was uploaded."""
    name = st.session_state[f"models_upload_name_{file.file_id}"].strip()
    archive.install(file, name)
    models.forget(name)  # of this name, removed from outside
    st.session_state["models_uploads"] += 1
    st.session_state["models_done"] = f"**{literal(name)}** is installed."
    st.session_state["models_chosen"] = name
