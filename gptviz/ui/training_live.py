"""What changes while a run trains: how far it is, its losses, the attention of the visitor's sentence, what it writes.

Each part is a fragment that draws itself anew every `EVERY` seconds; the page around it stays. What is worked out of a
set of weights is kept for all visitors, for the machine has a training to do.
"""

from __future__ import annotations

import base64
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import streamlit as st

from gptviz import folder as folders
from gptviz.analysis import progress
from gptviz.figures.matrix import matrix
from gptviz.figures.thumbnail import thumbnail
from gptviz.runs.run import LIVE, Run, State, all_runs, live_steps
from gptviz.ui.address import kept
from gptviz.ui.component import component
from gptviz.ui.matrix import plot_matrix
from gptviz.ui.overview import LARGEST_WALL, draw_wall, is_head
from gptviz.ui.show import literal
from gptviz.ui.training_check import check_button

if TYPE_CHECKING:
    from gptviz.runs.run import Status
    from gptviz.training.records import StepRecord

draw_curve = component("gptviz_curve", ["curve_scale", "curve"], ["curve"])
EVERY, IDLE_EVERY = 1.5, 4.0  # seconds between two looks: at a run that trains, at one that does not
TRIES = 3  # newer weights take the place of those that were just listed
NEW_TOKENS = 24  # of a sample
SAMPLES = 5  # that are shown until all are asked for
PATIENCE = 0.4  # seconds that new samples may take in one look at a run that trains
WORDS = {
    State.STARTING: ":blue-badge[:material/hourglass_top: starting: it reads its text]",
    State.TRAINING: ":blue-badge[:material/model_training: training]",
    State.STOPPING: ":orange-badge[:material/hourglass_bottom: stopping: it finishes its step]",
    State.STOPPED: ":gray-badge[:material/pause: stopped]",
    State.FINISHED: ":green-badge[:material/check: finished]",
    State.DIVERGED: ":red-badge[:material/trending_up: diverged: its loss was no longer a number]",
    State.FAILED: ":red-badge[:material/error: failed]",
    State.INTERRUPTED: ":orange-badge[:material/power_off: interrupted]",
}


class Weights(NamedTuple):
    """A file of weights of a run."""

    folder: Path
    file: str
    step: int | None  # None where that is not known
    stamp: int  # time of change, in ns

    @property
    def when(self) -> str:
        """In words."""
        return "the last good weights" if self.step is None else f"after step {self.step:,}"


class Watched(NamedTuple):
    """What some weights did with a sentence."""

    tokens: tuple[str, ...]  # T tokens, the last ones
    weights: np.ndarray  # (L, H, T, T)
    dropped: int  # tokens that are not shown


def standing() -> list[tuple[str, State]]:
    """All runs and how they are: what the page around the fragments depends on."""
    return [(run.name, run.status().state) for run in all_runs()]


def follow(run: Run, status: Status, before: list[tuple[str, State]]) -> None:
    """How far the run is. Where the standing is not as `before`, the page is drawn anew."""
    if standing() != before:
        st.rerun()
    records = run.curve.read()
    st.markdown(in_words(run, status))
    step = records[-1].step if records else 0
    st.progress(min(1.0, step / run.steps), text=pace(run, status, records))


def losses(run: Run, log: bool, at_work: bool) -> None:
    """The losses so far."""
    records = run.curve.read()
    st.markdown(say_losses(records))
    draw_curve(key="train_curve", data=curve_data(run, records, log, at_work))


def in_words(run: Run, status: Status) -> str:
    """The state of a run, as a badge and what it is."""
    about = run.recipe.get("about", {}).get("corpus", "a text")
    model = run.recipe["model"]
    shape = f"{model['n_layers']} × {model['n_heads']} heads, width {model['d_model']}"
    return f"{WORDS[status.state]} :gray[on {literal(about)} · {shape} · {masking(run)}]"


def masking(run: Run) -> str:
    """Whether it trains with the mask."""
    return "with the mask" if run.recipe["training"].get("causal", True) else "**without the mask**"


def pace(run: Run, status: Status, records: list[StepRecord]) -> str:
    """How far, how fast, how long still."""
    step = records[-1].step if records else 0
    said = [f"Step {step:,} of {run.steps:,}"]
    if records and status.state is State.TRAINING:
        said.append(f"{progress.speed(records):,.0f} tokens a second")
        left = progress.seconds_left(records, run.steps)
        if left:
            said.append(f"{progress.in_words(left)} left")
    return " · ".join(said)


def say_losses(records: list[StepRecord]) -> str:
    """The last numbers of the curve."""
    if not records:
        return "No step has been taken yet."
    train = float(progress.smoothed([record.loss for record in records])[-1])
    held = [record.valid_loss for record in records if record.valid_loss is not None]
    # One line with and without the second number: what is below must not jump when it comes.
    other = f"**{held[-1]:.3f}**" if held else "soon"
    return f"Training loss **{train:.3f}** nats per token, smoothed; on text that was held out: {other}."


def curve_data(run: Run, records: list[StepRecord], log: bool, at_work: bool) -> dict[str, Any]:
    """What assets/curve.js draws; of a run at work with room for the steps to come."""
    losses = [record.loss for record in records]
    smooth, places = progress.smoothed(losses), progress.shown_points(losses)
    held = [record for record in records if record.valid_loss is not None]
    return {
        "steps": [records[at].step for at in places],
        "train": [round(losses[at], 5) for at in places],
        "smooth": [round(float(smooth[at]), 5) for at in places],
        "valid_steps": [record.step for record in held],
        "valid": [round(record.valid_loss, 5) for record in held],
        "total": run.steps if at_work or not records else records[-1].step,
        "guess": math.log(run.recipe["model"]["vocab_size"]),
        "log": log,
        "label": f"Loss by step, up to step {records[-1].step}" if records else "Loss by step: none yet",
    }


# Attention ------------------------------------------------------------------------------------------------------------


def newest(run: Run, status: Status) -> list[Weights]:
    """The weights to look at, the best first: of a run that trains the live ones, of another one its model."""
    live = [weights_at(run.folder / LIVE, step) for step in reversed(live_steps(run))]
    model = []
    if run.has_model():
        step = None if status.state is State.DIVERGED else run.last_step()
        model = [stamped(run.folder / folders.MODEL, folders.WEIGHTS, step)]
    ended = status.state in (State.STOPPED, State.FINISHED, State.DIVERGED)
    return [found for found in (model + live if ended else live + model) if found is not None]


def weights_at(folder: Path, step: int) -> Weights | None:
    """The snapshot of a step in a folder of them."""
    return stamped(folder, folders.snapshot_file(step), step)


def stamped(folder: Path, file: str, step: int | None) -> Weights | None:
    """A file with its time of change; None where it is gone by now."""
    try:
        return Weights(folder, file, step, (folder / file).stat().st_mtime_ns)
    except OSError:
        return None


@st.cache_resource(max_entries=24, show_spinner=False)
def watched(weights: Weights, text: str, causal: bool) -> Watched:
    """One pass over the sentence, of which the last `LARGEST_WALL` tokens are kept."""
    import gptviz
    from gptviz.checkpoint import load_folder

    model = load_folder(weights.folder, None, weights.file)
    trace = gptviz.trace(model, text, what_if=gptviz.WhatIf(causal=causal))
    shown = np.array(trace.weights[:, :, -LARGEST_WALL:, -LARGEST_WALL:])  # a copy: the rest of the trace can go
    return Watched(trace.tokens[-LARGEST_WALL:], shown, trace.dropped + len(trace.tokens) - shown.shape[-1])


def look(run: Run, text: str) -> tuple[Watched, Weights] | None:
    """What the newest weights do with a sentence; None where there are none yet."""
    causal = run.recipe["training"].get("causal", True)
    for _ in range(TRIES):
        for weights in newest(run, run.status())[:1]:
            try:
                return watched(weights, text, causal), weights
            except (ValueError, OSError):  # gone since it was listed, or half there
                continue
    return None


def attention(run: Run, text: str) -> None:
    """Every head on the visitor's sentence, small, and one of them larger, all on one scale."""
    found = look(run, text)
    if found is None:
        st.caption("No weights yet: they come with the first steps.")
        return
    seen, weights = found
    causal = run.recipe["training"].get("causal", True)
    tokens, (n_layers, n_heads) = seen.tokens, seen.weights.shape[:2]
    cut = f" Shown: the last {len(tokens)} tokens." if seen.dropped else ""
    st.caption(
        f"{weights.when[0].upper()}{weights.when[1:]}, {'with' if causal else 'without'} the mask, as it trains. "
        f"All pictures on one scale, from 0 to 1.{cut} Click a head."
    )
    future = ~np.tri(len(tokens), dtype=bool) if causal else np.zeros((len(tokens),) * 2, dtype=bool)  # (T, T)
    layer, head = chosen_head(n_layers, n_heads)
    rows = [[base64.b64encode(thumbnail(one, future)).decode() for one in group] for group in seen.weights]
    left, right = st.columns(2, gap="large")
    with left:
        picked = draw_wall(
            key="train_wall", data={"rows": rows, "what": "show it larger", "chosen": [layer, head]},
            on_pick_change=lambda: choose_head(n_layers, n_heads),
        ).pick  # fmt: skip
        if picked is not None:
            st.rerun()  # of the whole page, which owns the address
    with right:
        values = np.where(future & (seen.weights[layer, head] == 0), -np.inf, seen.weights[layer, head])
        title = f"head {layer}.{head}"
        plot_matrix(
            matrix(values, tokens, tokens, title=title, signed=False, limit=1, axes=("queries", "keys"), room=280),
            "train_head",
        )
    check_button(weights, text, causal, seen)


def chosen_head(n_layers: int, n_heads: int) -> tuple[int, int]:
    """The head of the address, as far as this model has it."""
    numbers = []
    for name, count in (("layer", n_layers), ("head", n_heads)):
        text = kept().get(name) or "0"
        numbers.append(int(text) if text in map(str, range(count)) else 0)
    return numbers[0], numbers[1]


def choose_head(n_layers: int, n_heads: int) -> None:
    """Keep the head that was clicked, for the lessons, too."""
    picked = st.session_state["train_wall"].pick
    if is_head(picked, n_layers, n_heads):
        kept()["layer"], kept()["head"] = picked


# Samples --------------------------------------------------------------------------------------------------------------


@st.cache_data(max_entries=512, show_spinner=False)
def written(folder: str, file: str, stamp: int, text: str) -> str:
    """How the weights in a file go on from a text: always the same draw, so that only the weights make a difference."""
    import gptviz
    from gptviz.checkpoint import load_folder

    return gptviz.generate(load_folder(Path(folder), None, file), text, NEW_TOKENS, seed=0).text


def samples(run: Run, text: str, active: bool, every: bool) -> None:
    """How the run's snapshots go on from the visitor's sentence, the newest first. Of a run at work a few at a time."""
    found = list(reversed(folders.snapshot_steps(run.snapshots)))
    shown, end = [], time.monotonic() + PATIENCE
    for step in found if every else found[:SAMPLES]:
        if active and time.monotonic() > end:
            break
        weights = weights_at(run.snapshots, step)
        if weights is None:
            continue
        try:
            shown.append((step, written(str(weights.folder), weights.file, weights.stamp, text)))
        except (ValueError, OSError):
            continue
    if not found:
        st.caption("No snapshot yet.")
    for step, continuation in shown:
        with st.container(horizontal=True, gap="small", vertical_alignment="top"):
            st.caption(f"step {step:,}", width=90)
            st.text("…" + continuation.replace("\r", "␍").replace("\n", "⏎"), width="stretch")
