"""What the page of the time-lapse is made of: a recording, all its snapshots on one sentence, and the view of both.

All steps of a sentence are worked out at once and go to the browser as one blob, so that stepping and playing ask
nothing of the server, which is told where the visitor stopped. Drawn by assets/lapse*.js.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import streamlit as st

from gptviz.figures.style import SEQUENTIAL, visible
from gptviz.folder import OF_A_RUN, SNAPSHOTS, snapshot_file
from gptviz.ui.address import kept, linked
from gptviz.ui.component import component
from gptviz.ui.controls import BOXES, among, give_keys_back
from gptviz.ui.show import escape, literal, table_with_csv
from gptviz.view.payload import pack

if TYPE_CHECKING:
    from gptviz.analysis.lapse import HeadScores, Moments
    from gptviz.checkpoint import LanguageModel
    from gptviz.runs.recording import Losses, Recording

SCRIPTS = ("translate_state", "translate_pictures", "lapse_state", "lapse_pictures", "lapse_parts", "lapse")
draw = component("gptviz_lapse", SCRIPTS, ["lapse"])
store = component("gptviz_lapse_store", ["lapse_store"])
MODEL_BYTES = 256 * 2**20  # what all snapshots that are kept may take
MOST_KEPT = 16  # sentences on recordings, for all visitors
MOST_TOKENS = 64  # that are shown: more would be less than a pixel a cell
RAMP = [[int(channel) for channel in colour[4:-1].split(",")] for _, colour in SEQUENTIAL]  # 9 x RGB
HOW_TO_GET = (
    "Nothing has been recorded here. **Train** a model on the page of that name: each run keeps snapshots on the way, "
    "and can be replayed here. On the command line, `snapshots = 18` under `[training]` in a recipe does the same."
)


class Snapshots:
    """The models of recordings used last, up to a number of bytes. A model is never changed, so all may share one."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.lock = threading.Lock()
        self.models: OrderedDict[tuple, tuple[LanguageModel, int]] = OrderedDict()

    def get(self, recording: Recording, step: int) -> LanguageModel:
        """The model after a recorded step, kept or new."""
        key = stamp(recording, step)
        with self.lock:
            if key in self.models:
                self.models.move_to_end(key)
                return self.models[key][0]
        model = recording.load(step)  # outside the lock: others need not wait for it
        with self.lock:
            self.models[key] = model, 4 * model.gpt.count_parameters()
            while len(self.models) > 1 and sum(size for _, size in self.models.values()) > self.limit:
                self.models.popitem(last=False)
        return model


def stamp(recording: Recording, step: int) -> tuple:
    """Of the file of a snapshot: another one in its place is another model."""
    path = recording.folder / SNAPSHOTS / snapshot_file(step)
    found = path.stat()
    return str(path), found.st_mtime_ns, found.st_size


MODELS = Snapshots(MODEL_BYTES)


class Replay(NamedTuple):
    """A recording and what its models did with the typed sentence."""

    recording: Recording
    steps: tuple[int, ...]
    shown: tuple[str, ...]  # T tokens as they are shown, the last ones
    total: int  # tokens that were read
    dropped: int  # tokens before those, which no context holds
    next: list[list[str]]  # N x K tokens as they are shown
    moments: Moments
    scores: HeadScores
    losses: Losses
    id: str  # of all that travels to the browser


# A recording and a sentence -------------------------------------------------------------------------------------------


def pick_recording() -> Recording:
    """The chosen recording; where there is none, says how to get one and ends the page."""
    from gptviz.runs.recording import find_recording, recordings

    names = recordings()
    if not names:
        st.info(HOW_TO_GET, icon=":material/movie:")
        st.stop()
    wanted = kept().get("recording")
    if wanted and wanted not in names:
        st.warning(f"There is no recording {escape(wanted[:80])} here. Showing {escape(names[0])} instead.")
        kept()["recording"] = ""
    read = among({name: name for name in names})
    name = linked(
        st.selectbox, "Recording", names, key="recording", default=names[0], read=read, format_func=name_of_recording
    )
    return find_recording(name)


def name_of_recording(name: str) -> str:
    """As people see it: of a run of the app, the name that it was given."""
    return f"{name.removeprefix(OF_A_RUN)} (trained here)" if name.startswith(OF_A_RUN) else name


def replay() -> Replay:
    """All snapshots of the chosen recording on the typed sentence; says why where that cannot be, and ends the page."""
    text = BOXES["gpt"].now()[1]
    try:
        recording = pick_recording()
        if not text.strip():
            st.info("Type a sentence above, or take one from “Try another”.", icon=":material/keyboard:")
            st.stop()
        with st.spinner(f"Letting {len(recording.steps)} snapshots read it …"):
            return work_out(recording, text)
    except (ValueError, OSError, KeyError) as error:
        why = f"{Path(error.filename or '').name}: {error.strerror}" if isinstance(error, OSError) else str(error)
        st.error(f"This recording cannot be replayed. {literal(why)}", icon=":material/broken_image:")
        st.stop()


def work_out(recording: Recording, text: str) -> Replay:
    """What `Replay` says."""
    steps = tuple(recording.steps)
    last = MODELS.get(recording, steps[-1])
    ids, dropped = last.encode(text)
    stamps = tuple(stamp(recording, step) for step in steps)
    moments = moments_of(stamps, tuple(ids), recording)
    tokenizer = last.tokenizer
    shown = tuple(map(visible, tokenizer.token_texts(ids)))[-MOST_TOKENS:]
    candidates = [list(map(visible, tokenizer.token_texts(row))) for row in moments.ids.tolist()]
    losses = recording.losses()
    mark = hashlib.sha256(repr((stamps, ids, len(losses.steps))).encode()).hexdigest()[:20]
    return Replay(
        recording, steps, shown, len(ids), dropped, candidates, moments, scores_of(stamps, recording), losses, mark
    )


@st.cache_resource(max_entries=MOST_KEPT, show_spinner=False)
def moments_of(stamps: tuple, ids: tuple[int, ...], _recording: Recording) -> Moments:
    """`look_at_all`, once for a recording and a sentence."""
    from gptviz.analysis.lapse import look_at_all

    models = (MODELS.get(_recording, step) for step in _recording.steps)
    return look_at_all(models, ids, causal=_recording.causal, most=MOST_TOKENS)


@st.cache_resource(max_entries=MOST_KEPT, show_spinner=False)
def scores_of(stamps: tuple, _recording: Recording) -> HeadScores:
    """`score_all`, once for a recording."""
    from gptviz.analysis.lapse import score_all

    return score_all((MODELS.get(_recording, step) for step in _recording.steps), causal=_recording.causal)


# What travels, and what comes back ------------------------------------------------------------------------------------


def view(shown: Replay) -> None:
    """The heads, next tokens, losses and scores, to step through and to play."""
    step = chosen_step(shown)
    store(data=encode(shown), key="lapse_store")
    told = draw(
        key="lapse",
        data={"id": shown.id, "step": step},
        on_step_change=lambda: hear_step(shown),
        on_open_change=lambda: hear_open(shown),
    )
    give_keys_back(key="lapse_keys", height=1)
    if told_step(shown, told.open) is not None:
        st.switch_page("gpt/attention.py", query_params={})


def chosen_step(shown: Replay) -> int:
    """The recorded step of the link, else the last one."""
    text = kept().get("lapse_step")
    if text and text not in map(str, shown.steps):
        kept()["lapse_step"] = text = ""  # of another recording
    return int(text) if text else shown.steps[-1]


def told_step(shown: Replay, told: object) -> int | None:
    """The recorded step in what the browser says, which may be anything."""
    if not isinstance(told, dict) or told.get("id") != shown.id or isinstance(told.get("step"), bool):
        return None
    return told["step"] if told.get("step") in shown.steps else None


def hear_step(shown: Replay) -> None:
    """The visitor stopped at a step; the last one is what an address without a step shows."""
    step = told_step(shown, st.session_state["lapse"].step)
    if step is not None:
        kept()["lapse_step"] = "" if step == shown.steps[-1] else str(step)


def hear_open(shown: Replay) -> None:
    """The visitor wants a step in a lesson: its weights become the chosen model."""
    step = told_step(shown, st.session_state["lapse"].open)
    if step is not None:
        kept()["lapse_step"] = "" if step == shown.steps[-1] else str(step)
        st.session_state[BOXES["gpt"].model] = f"{shown.recording.name}@{step}"


def encode(shown: Replay) -> bytes:
    """All that the browser draws: a header, and float32 in the order of its "parts"."""
    from gptviz.analysis.lapse import thinned

    _, n_layers, n_heads, t, _ = shown.moments.weights.shape
    weights = shown.moments.weights
    if shown.recording.causal:
        weights = weights[..., np.tri(t, dtype=bool)]  # the rest is masked, and does not travel
    train = thinned(shown.losses.steps, shown.losses.train)
    valid = thinned(shown.losses.valid_steps, shown.losses.valid)
    parts = {
        "weights": weights,
        "probabilities": shown.moments.probabilities,
        "rest": shown.moments.rest,
        "previous": shown.scores.previous,
        "induction": shown.scores.induction,
        "train_steps": train[0],
        "train": train[1],
        "valid_steps": valid[0],
        "valid": valid[1],
    }
    header = {
        "id": shown.id, "steps": shown.steps, "L": n_layers, "H": n_heads, "T": t, "K": len(shown.next[0]),
        "causal": shown.recording.causal, "tokens": shown.shown, "ids": shown.moments.ids.tolist(), "next": shown.next,
        "ramp": RAMP, "parts": [(name, int(np.size(values))) for name, values in parts.items()],
    }  # fmt: skip
    return pack(header, b"".join(np.asarray(values, "<f4").tobytes() for values in parts.values()))


# In words and as numbers ----------------------------------------------------------------------------------------------


def say_what_is_shown(shown: Replay) -> None:
    """What was cut, what the mask was, and what scores are measured on."""
    from gptviz.analysis.lapse import SEQUENCES
    from gptviz.evaluate import period_for

    period = period_for(MODELS.get(shown.recording, shown.steps[-1]))
    said = [
        f"Both scores are means over {SEQUENCES} sequences of {period} random tokens, each written twice, the same for "
        "every step: the previous-token score is the attention to the token just before, the induction score that to "
        "the token after the earlier occurrence. They do not depend on your sentence. Step 0 is before training."
    ]
    if len(shown.moments.weights[0]) == 1:
        said.append(
            "Induction takes two layers, a head that finds the token before and one above that uses it: a model of one "
            "layer has no induction head."
        )
    if len(shown.shown) < shown.total:
        said.append(f"Pictures show the last {len(shown.shown)} of {shown.total} tokens; the models read all of them.")
    if shown.dropped:
        said.append(f"The first {shown.dropped:,} tokens do not fit the context and were cut.")
    if not shown.recording.causal:
        said.append(
            "This model was trained without the mask, and is shown without it. Lessons show it with the mask on."
        )
    st.caption(" ".join(said))


def show_tables(shown: Replay) -> None:
    """The scores of every head and the next tokens at every step."""
    from gptviz.analysis.lapse import next_table, score_table

    st.subheader("Scores of every head at every step", anchor="scores")
    table_with_csv(score_table(shown.steps, shown.scores), "scores.csv", key="lapse_scores")
    st.subheader("The likeliest next tokens at every step", anchor="next")
    table_with_csv(next_table(shown.steps, shown.next, shown.moments), "next_tokens.csv", key="lapse_next")
