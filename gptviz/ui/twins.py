"""The pair that the page on the mask is about: found, chosen, read at a step, trained while the visitor looks on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from gptviz import folder as folders
from gptviz.runs.run import ACTIVE, RunError, State, active_run, find_run
from gptviz.runs.twins import Twins, all_twins
from gptviz.ui import models
from gptviz.ui.address import linked
from gptviz.ui.controls import BOXES, among, check_layer_and_head, slide_among
from gptviz.ui.lesson import Reading, check_these
from gptviz.ui.show import escape, literal

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from gptviz import LanguageModel
    from gptviz.runs.recording import Recording

ON, OFF = "mask on", "mask off"  # begin the names of what is trained here; their number follows
LIVE_SIZE, LIVE_STEPS = "Tiny", 1500
SIDES = ("With the mask", "Without the mask")


@dataclass(frozen=True, eq=False)
class Side(Reading):
    """One of the two at one step, and what it made of the sentence, read as it was trained."""

    causal: bool = True

    @property
    def name(self) -> str:
        """By how it was trained."""
        return SIDES[not self.causal]


def pick_twins() -> tuple[Twins, int]:
    """A pair and one of its steps, both in the link; where there is no pair, says how to get one and ends the page."""
    pairs = {pair.name: pair for pair in all_twins()}
    train_both(not pairs)
    if not pairs:
        st.info(
            "There is no pair of trainings here that differ in nothing but the mask. Train both above, or begin two "
            "runs on the page Train with everything alike but the mask.",
            icon=":material/model_training:",
        )
        st.stop()
    names = {name: name for name in pairs}
    chosen = linked(
        st.selectbox, "Pair of trainings", list(names), key="pair", default=next(iter(names)), read=among(names),
        format_func=str,
    )  # fmt: skip
    steps = [str(step) for step in pairs[chosen].steps]
    if len(steps) == 1:
        return pairs[chosen], int(steps[0])
    label = "Step of training at which both are looked at"
    return pairs[chosen], int(slide_among(label, steps, default=steps[-1], key="pair_step"))


def read_twins(pair: Twins, step: int, badge: DeltaGenerator) -> tuple[Side, Side]:
    """Both of a pair after a step, on the typed sentence; where that cannot be, says why and ends the page."""
    text = BOXES["gpt"].now()[1]
    if not text.strip():
        st.info("Type a sentence above, or take one from “Try another”.", icon=":material/keyboard:")
        st.stop()
    from gptviz.trace import WhatIf  # torch

    sides = []
    for recording, causal in zip(pair, (True, False), strict=True):
        try:
            model = open_step(recording, step)
        except (ValueError, OSError) as error:
            st.error(
                f"{escape(recording.name)} cannot be opened. {literal(str(error))}", icon=":material/broken_image:"
            )
            st.stop()
        trace = models.TRACES.get(model, text, WhatIf(causal=causal))
        sides.append(Side(model, text, trace, badge=badge, causal=causal))
    config, dropped = sides[0].model.gpt.config, sides[0].trace.dropped
    check_layer_and_head(config)
    if dropped:
        st.warning(
            f"The text has {dropped + len(sides[0].tokens):,} tokens and these models read {config.context:,}: the "
            f"first {dropped:,} were cut at the left."
        )
    check_these(*sides)
    return sides[0], sides[1]


def open_step(recording: Recording, step: int) -> LanguageModel:
    """A snapshot, opened once for everybody."""
    file = recording.folder / folders.SNAPSHOTS / folders.snapshot_file(step)
    return load_once(recording.name, recording.folder, step, file.stat().st_mtime_ns, recording)


@st.cache_resource(max_entries=6, show_spinner=False)
def load_once(name: str, folder: Path, step: int, stamp: int, _recording: Recording) -> LanguageModel:
    """The file's time of change, `stamp`, makes one that was replaced a new one."""
    return _recording.load(step)


# Trained while the visitor looks on -----------------------------------------------------------------------------------


def train_both(empty: bool) -> None:
    """Buttons that begin the one and then the other: one run trains at a time."""
    active = active_run()
    with st.expander(
        "Train both in front of me", icon=":material/model_training:", expanded=empty or active is not None
    ):
        st.caption(
            f"Two GPTs of the size “{LIVE_SIZE}” on the sample tales, {LIVE_STEPS:,} steps each, the same seed, one "
            "after the other. They go on when you leave this page."
        )
        on, off = what_is_next()
        with st.container(horizontal=True):
            first = st.button(
                f"1. Train “{ON} {on}”", key="twins_begin_on", icon=":material/play_arrow:",
                disabled=active is not None,
            )  # fmt: skip
            second = st.button(
                f"2. Then “{OFF} {off}”" if off else "2. Then the one without", key="twins_begin_off",
                icon=":material/play_arrow:", disabled=active is not None or not off,
            )  # fmt: skip
        if first or second:
            begin_one(f"{OFF} {off}" if second else f"{ON} {on}", causal=first)
        if active is not None:
            watch(active.name)
        st.page_link("training/train.py", label="All runs, and all that can be chosen", icon=":material/arrow_forward:")


def what_is_next() -> tuple[int, int | None]:
    """The number of the next run with the mask; of the next one without, None unless its other half is finished."""
    number = 1
    while find_run(f"{ON} {number}") is not None or find_run(f"{OFF} {number}") is not None:
        number += 1
    last = find_run(f"{ON} {number - 1}")
    waits = last is not None and last.status().state is State.FINISHED and not find_run(f"{OFF} {number - 1}")
    return number, number - 1 if waits else None


def begin_one(name: str, causal: bool) -> None:
    """Begin a run, or say why not."""
    from gptviz.runs import begin

    try:
        with st.spinner("Cutting the text into tokens …"):
            begin.begin(begin.Choice(name, begin.SIZES[LIVE_SIZE], steps=LIVE_STEPS, causal=causal))
    except (RunError, OSError) as error:
        st.error(literal(str(error)))
    else:
        st.rerun()


@st.fragment(run_every=2.0)
def watch(name: str) -> None:
    """How far a run is; once it has ended the whole page is drawn anew."""
    run = find_run(name)
    if run is None or run.status().state not in ACTIVE:
        st.rerun(scope="app")
    records = run.curve.read()
    done, loss = (records[-1].step, records[-1].loss) if records else (0, None)
    said = f"step {done:,} of {run.steps:,}, loss {loss:.3f} nats" if records else "reads the text"
    st.progress(min(1.0, done / run.steps), f"{escape(name)}: {said}")
