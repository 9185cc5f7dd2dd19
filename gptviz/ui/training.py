"""The runs on the page Train: which one is shown, what can be done with it, and what it did, to be taken along.

What changes while a run trains is in `training_live`, the form for a new one in `training_form`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import streamlit as st

from gptviz.folder import snapshot_steps
from gptviz.runs import begin
from gptviz.runs.run import ACTIVE, Run, RunError, State, Status, all_runs, deleted, restore_deleted
from gptviz.ui import training_live as live
from gptviz.ui.address import kept, linked
from gptviz.ui.controls import BOXES, among, switch
from gptviz.ui.show import escape, literal, table_with_csv
from gptviz.ui.training_form import new_run, parameters

ATTENTION, TIME_LAPSE = "gpt/attention.py", "training/time_lapse.py"  # scripts of pages
REMEDIES = {
    State.DIVERGED: "What is above is the whole story of this run; the steps after it would be worth nothing.",
    State.FAILED: "**Continue** tries again from the last saved state, once the cause is gone.",
    State.INTERRUPTED: "Press **Continue**: it goes on from the last saved state, and no step is lost but those since.",
    State.STOPPED: "**Continue** goes on from there to the same losses as if it had never been stopped.",
}
GOES_ON = (State.STOPPED, State.INTERRUPTED, State.FAILED)


def runs() -> list[Run]:
    """Every run, the newest first; each with the records that were read before, for all visitors."""
    found = []
    for run in all_runs():
        try:
            found.append(shared(run.folder, run.recipe_file.stat().st_mtime_ns))
        except OSError:  # deleted since it was listed
            continue
    return found


@st.cache_resource(max_entries=64, show_spinner=False)
def shared(folder: Path, stamp: int) -> Run:
    """`stamp`, the recipe's time of change, makes a run of the same name another one."""
    return Run(folder)


def training() -> None:
    """The form, the chosen run, and all runs as a table."""
    found = runs()
    active = next((run for run in found if run.status().state in ACTIVE), None)
    run = pick_run(found, active)
    st.session_state["train_shown"] = run.name if run else None
    say_problem()
    form = st.session_state.get("train_begun", 0)  # a new one is closed: what has begun is to be seen
    with st.expander("**Train a new model**", expanded=not found, icon=":material/add:", key=f"train_form_{form}"):
        new_run(active)
    offer_undo()
    if run is None:
        st.info("No run yet. Begin one above: a tiny model takes half a minute.", icon=":material/model_training:")
        return
    show(run, active)
    with st.expander(f"All runs ({len(found)})", icon=":material/table:"):
        table_with_csv(table(found), "runs.csv", key="train_runs")


def pick_run(found: list[Run], active: Run | None) -> Run | None:
    """The run of the address, else the one that trains, else the newest; None where there is none."""
    names = [run.name for run in found]
    wanted = kept().get("run")
    if wanted and wanted not in names:
        st.warning(f"There is no run called {escape(wanted[:80])} here" + (": showing another one." if names else "."))
        kept()["run"] = ""
    if not found:
        return None
    first = (active or found[0]).name
    name = linked(
        st.selectbox, "Run", names, key="run", default=first, read=among({name: name for name in names}),
        spelt_out=True, help="Runs live on this machine: everybody who opens this page sees the same ones.",
    )  # fmt: skip
    return next(run for run in found if run.name == name)


def show(run: Run, active: Run | None) -> None:
    """One run: how it is, what can be done with it, its losses, its attention, its samples."""
    status, standing = run.status(), live.standing()
    at_work = status.state in ACTIVE
    again = live.EVERY if at_work else None
    st.html("<style>.st-key-train_live [data-stale=true] { opacity: 1 !important; transition: none }</style>")
    with st.container(key="train_live"):
        st.header(literal(run.name), anchor="run")
        st.fragment(live.follow, run_every=again or live.IDLE_EVERY)(run, status, standing)
        buttons(run, status, active)
        explain(run, status)
        st.subheader("Loss", anchor="loss")
        log = switch("Steps on a logarithmic scale", key="train_log")
        st.fragment(live.losses, run_every=again)(run, log, at_work)
        st.download_button(
            "Save every record as CSV", lambda: log_of(run), f"{run.name}.csv", "text/csv", key="train_csv",
            icon=":material/download:", on_click="ignore",
        )  # fmt: skip
        _, text = BOXES["gpt"].now()
        st.subheader("The attention of your sentence", anchor="attention")
        if not text.strip():
            st.info("Type a sentence above, or take one from “Try another”.", icon=":material/keyboard:")
            return
        st.fragment(live.attention, run_every=again)(run, text)
        st.subheader("What it writes after your sentence", anchor="samples")
        every = say_samples(run)
        st.fragment(live.samples, run_every=again)(run, text, at_work, every)


def say_samples(run: Run) -> bool:
    """What the samples are; returns whether all of them are asked for."""
    causal = run.recipe["training"].get("causal", True)
    st.caption(
        f"{live.NEW_TOKENS} tokens from each snapshot of the training, the newest first, drawn at temperature 0.8 with "
        "the same seed: what changes comes from the weights alone."
        + ("" if causal else " They are drawn with the mask, for there is no future to look at when a text goes on.")
    )
    return switch("All snapshots", key="train_all")


def log_of(run: Run) -> bytes:
    """The records as CSV, as the run wrote them."""
    try:
        return (run.folder / "log.csv").read_bytes()
    except OSError:
        return b""


def explain(run: Run, status: Status) -> None:
    """Why a run ended, and what can be done about it."""
    said = f"{literal(status.message[0].upper() + status.message[1:])}. " if status.message else ""
    remedy = REMEDIES.get(status.state, "")
    if status.state in (State.DIVERGED, State.FAILED):
        st.error(said + remedy, icon=":material/error:")
    elif status.state in (State.INTERRUPTED, State.STOPPED):
        st.info(said + remedy, icon=":material/info:")
    if not run.recipe["training"].get("causal", True):
        st.info(
            "This run trains without the mask. The pictures below show it as it trains; the lessons show every model "
            "with the mask on, which this one has never met: there it reads a sentence that it was not trained for.",
            icon=":material/visibility_off:",
        )


# What a person can do -------------------------------------------------------------------------------------------------


def buttons(run: Run, status: Status, active: Run | None) -> None:
    """All that can be done with a run as it is now."""
    state, at_work = status.state, status.state in ACTIVE
    has_model, snapshots = run.has_model(), len(snapshot_steps(run.snapshots))
    with st.container(horizontal=True, gap="small", key="train_buttons"):
        if at_work:
            act("Stop training", "stop", run.stop, disabled=state is State.STOPPING)
        elif state in GOES_ON:
            act("Continue", "play_arrow", lambda: begin.go_on(run), disabled=active is not None)
        if has_model and st.button(
            "Open in the attention lesson", icon=":material/grid_on:", key="train_open", on_click=use_model, args=(run,)
        ):
            st.switch_page(ATTENTION, query_params={})
        if snapshots > 1 and st.button(
            "Replay as time-lapse", icon=":material/timelapse:", key="train_replay", on_click=use_recording, args=(run,)
        ):
            st.switch_page(TIME_LAPSE, query_params={})
        if has_model:
            st.download_button(
                "Download", run.archive, f"{run.name}.zip", "application/zip", key="train_zip",
                icon=":material/download:", on_click="ignore", help="The model, its recipe and its log, as a zip file",
            )  # fmt: skip
        if not at_work:
            rename_and_delete(run)


def act(label: str, icon: str, action: Callable[[], object], disabled: bool = False, key: str = "") -> None:
    """A button that does something with a run, and says in a sentence why where that cannot be."""
    st.button(
        label, icon=f":material/{icon}:", key=f"train_{key or icon}", disabled=disabled, on_click=attempt,
        args=(action,),
    )  # fmt: skip


def attempt(action: Callable[[], object]) -> None:
    """Do it; a refusal is kept for `say_problem`."""
    try:
        action()
    except RunError as error:
        st.session_state["train_problem"] = str(error)
    except OSError as error:  # its own words have the server's paths
        st.session_state["train_problem"] = f"the disk refused: {error.strerror or type(error).__name__}; try again"


def say_problem() -> None:
    """Why the last button did nothing."""
    if problem := st.session_state.pop("train_problem", ""):
        st.error(literal(f"{problem[0].upper()}{problem[1:]}."), icon=":material/error:")


def rename_and_delete(run: Run) -> None:
    """Two buttons that ask first."""
    with st.popover("Rename", icon=":material/edit:", key=f"train_rename_{run.name}"):
        st.text_input("New name", run.name, key=f"train_new_name_{run.name}")
        act("Rename it", "check", lambda: rename(run), key="renamed")
    with st.popover("Delete", icon=":material/delete:", key=f"train_delete_{run.name}"):
        st.markdown(f"Delete **{literal(run.name)}**, its model and its snapshots? This can be undone until the next.")
        act("Delete it", "delete", lambda: delete(run), key="deleted")


def rename(run: Run) -> None:
    """Give the run the name that was typed, and follow it there."""
    moved = run.rename(st.session_state[f"train_new_name_{run.name}"].strip())
    kept()["run"] = moved.name
    if st.session_state.get(BOXES["gpt"].model) == run.model_name and moved.has_model():
        st.session_state[BOXES["gpt"].model] = moved.model_name


def delete(run: Run) -> None:
    """Put the run away, and show another one."""
    run.delete()
    kept()["run"] = ""


def offer_undo() -> None:
    """Bring back the run that was deleted last."""
    name = deleted()
    if name is not None:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.caption(f"**{literal(name)}** was deleted.", width="content")
            act("Undo", "undo", undo)


def undo() -> None:
    """Bring it back, and show it."""
    kept()["run"] = restore_deleted().name


def use_model(run: Run) -> None:
    """Let the lessons read with the run's model."""
    st.session_state[BOXES["gpt"].model] = run.model_name
    BOXES["gpt"].changed()


def use_recording(run: Run) -> None:
    """Let the time-lapse show this run."""
    kept()["recording"] = run.model_name


def table(found: list[Run]) -> pd.DataFrame:
    """One row a run."""
    rows = []
    for run in found:
        records = run.curve.read()
        held = [record.valid_loss for record in records if record.valid_loss is not None]
        model, training = run.recipe["model"], run.recipe["training"]
        rows.append({
            "run": run.name, "state": run.status().state.value, "step": records[-1].step if records else 0,
            "of": run.steps, "training loss": records[-1].loss if records else None,
            "held-out loss": held[-1] if held else None, "text": run.recipe.get("about", {}).get("corpus", ""),
            "parameters": parameters(begin.Size(*(model[name] for name in begin.Size._fields))),
            "mask": training.get("causal", True), "learning rate": training["learning_rate"],
        })  # fmt: skip
    return pd.DataFrame(rows).set_index("run")
