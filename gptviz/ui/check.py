"""The check of every number, on every lesson: a badge, green only if all that the page shows was made anew and agrees.

The page comes first: it is drawn with the badge still open, and a moment later the browser asks for the check, in a
fragment of its own. Where that would take long, a click asks for it.
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from gptviz.ui import address
from gptviz.ui.show import escape

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from gptviz import LanguageModel, Trace
    from gptviz.analysis.check import Check, Difference
    from gptviz.ui.lesson import Reading

WAIT = 0.3  # seconds: a check that takes longer waits for a click
MOST_CHECKS = 256  # that are kept
NAMES = {"displayed": "as displayed", "plain": "plain attention", "fused": "scaled_dot_product_attention"}
LABELS = {
    "agrees": ":green[:material/verified:] Forward pass checked",
    "differs": ":red[:material/error:] A number is wrong",
    "undecided": ":orange[:material/help:] Not every number could be checked",
    "checking": ":gray[:material/hourglass_empty:] Checking the forward pass …",
    "waiting": ":gray[:material/help:] Forward pass not checked yet",
}
ask = st.components.v2.component(
    "gptviz_wake", js=(Path(__file__).parent / "assets" / "wake.js").read_text(encoding="utf-8")
)


class Checks:
    """The checks done last, for all visitors, by model, sentence and what-if."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.lock = threading.Lock()
        self.done: OrderedDict[tuple, Check] = OrderedDict()

    def find(self, model: LanguageModel, trace: Trace) -> Check | None:
        """What came out, if it is known."""
        with self.lock:
            return self.done.get(key_of(model, trace))

    def make(self, model: LanguageModel, trace: Trace) -> Check:
        """Check a trace, and keep what came out."""
        from gptviz.analysis.check import check

        done = check(model.gpt, trace)  # outside the lock: others need not wait for it
        with self.lock:
            self.done[key_of(model, trace)] = done
            while len(self.done) > self.most:
                self.done.popitem(last=False)
        return done


CHECKS = Checks(MOST_CHECKS)


def key_of(model: LanguageModel, trace: Trace) -> tuple:
    """What a check depends on."""
    return model.fingerprint, trace.ids, trace.what_if


def expected_seconds(model: LanguageModel, t: int) -> float:
    """How long the check of a pass over `t` tokens takes, about: measured with gpt-stories on two cores."""
    return model.gpt.count_parameters() * (1e-8 + 7e-10 * t)


def check_numbers() -> None:
    """The badge, for the router, once the page has drawn all it shows; in the place that `lesson` kept for it."""
    reading = st.session_state.pop("reading", None)
    if reading is not None:
        with reading.badge:
            fragment_of(st.session_state["kept_page"])(reading)


@functools.cache
def fragment_of(page: str) -> Callable[[Reading], None]:
    """`badge` as a fragment of one page: with one name for all, a late answer of one page would run in the next."""

    def badge_here(reading: Reading) -> None:
        badge(reading)

    badge_here.__qualname__ = f"badge_on_{page}"
    return st.fragment(badge_here)


def badge(reading: Reading) -> None:
    """One button that says how the numbers of this page are, and opens the check of a single one."""
    model, traces = reading.model, reading.shown
    open_ones = [trace for trace in traces if CHECKS.find(model, trace) is None]
    quick = sum(expected_seconds(model, len(trace.ids)) for trace in open_ones) <= WAIT
    row = st.container(horizontal=True, vertical_alignment="center", gap="small")
    if open_ones and (asked_by_browser(model, open_ones) if quick else asked_by_visitor(row)):
        for trace in open_ones:
            CHECKS.make(model, trace)
    done = [CHECKS.find(model, trace) for trace in traces]
    verdict = verdict_of(done, quick)
    place = row.popover(
        LABELS[verdict],
        key="check",
        on_change="rerun",
        help="Every number of the forward pass, against float64 from the raw weights; look one up",
    )
    if place.open:
        with place:
            explain(reading, [check for check in done if check is not None], verdict)


def asked_by_browser(model: LanguageModel, traces: list[Trace]) -> bool:
    """Whether the page is at rest, so that it is time to check these."""
    name = str(hash(tuple(key_of(model, trace) for trace in traces)))
    return ask(key="check_ask", data={"ask": name}, height=1, on_check_change=lambda: None).check == name


def asked_by_visitor(row: DeltaGenerator) -> bool:
    """Whether somebody wants a check that takes long."""
    return row.button("Check every number", key="check_now", icon=":material/calculate:")


def verdict_of(done: list[Check | None], quick: bool) -> str:
    """One word for all passes that the page shows: the worst of them; a key of `LABELS`."""
    verdicts = {check.verdict for check in done if check is not None}
    if "differs" in verdicts:
        return "differs"
    if None in done or not done:
        return "checking" if quick else "waiting"
    return "undecided" if "undecided" in verdicts else "agrees"


def explain(reading: Reading, done: list[Check], verdict: str) -> None:
    """What was compared, what came out, and one number of the visitor's choice."""
    from gptviz.analysis.check import TOLERANCE

    if verdict in ("checking", "waiting"):
        st.markdown("These numbers have not been compared yet.")
    for check in done:
        st.markdown(say(check))
    trace = pick_trace(reading.shown)
    place = pick_place(reading, trace)
    show_number(reading.model, trace, *place)
    st.caption(
        "float64 is computed anew in NumPy from the raw weights, sharing no code with the model. All are compared "
        f"with it, relative to the largest number of the stage in its layer: {TOLERANCE:.1e}, that is 512 roundings "
        "of a float32, is allowed; more only where rounding alone moves this very pass further. The fused kernel "
        "shows no scores."
    )
    found = next((check for check, shown in zip(done, reading.shown, strict=False) if shown is trace), None)
    if found is not None and found.differences:
        st.dataframe(table(found), key="check_table", width="stretch", hide_index=True)


def say(check: Check) -> str:
    """What came out for one pass, in a sentence."""
    if check.missing:
        return "Not checked: " + "; ".join(check.missing) + "."
    worst = check.worst
    if check.verdict == "differs":
        return (
            f"**{escape(worst.stage)}**, {NAMES[worst.path]}, at {list(worst.at)}: found **{worst.found:.7g}**, "
            f"expected **{worst.expected:.7g}**. Do not trust this page; please report it."
        )
    stages = len({row.stage for row in check.differences})
    if check.verdict == "undecided":
        return (
            f"All {stages} stages agree as far as can be told: in this pass rounding alone may change "
            f"{escape(worst.stage)} by {max(row.tolerance for row in check.differences):.1%} of its largest number."
        )
    return (
        f"All {stages} stages agree, every cell of them. The largest difference: **{worst.absolute:.1e}**, in "
        f"{escape(worst.stage)} ({NAMES[worst.path]}), {worst.relative:.1e} of its largest number."
    )


def pick_trace(traces: list[Trace]) -> Trace:
    """One of the passes that the page shows."""
    if len(traces) == 1:
        return traces[0]
    names = [name_of(trace) for trace in traces]
    return traces[names.index(st.selectbox("Pass", names, key="check_pass"))]


def name_of(trace: Trace) -> str:
    """A pass by what was changed in it."""
    changed = trace.what_if
    parts = ["masked" if changed.causal else "unmasked", *([] if changed.scaled else ["not scaled"])]
    parts += [f"head {gain.layer}.{gain.head} times {gain.gain:g}" for gain in changed.gains]
    return ", ".join(parts + ["weights set by hand"] * bool(changed.edits))


def pick_place(reading: Reading, trace: Trace) -> tuple[str, int | None, tuple[int, ...]]:
    """Stage, layer and cell: those of the page at first."""
    from gptviz.analysis.check import WHOLE
    from gptviz.trace import STAGES

    config, t = reading.model.gpt.config, len(trace.ids)
    stage = st.selectbox("Stage", STAGES, STAGES.index(reading.stage), key="check_stage")
    columns = iter(st.columns(4))
    layer = None
    if stage not in WHOLE:
        count = config.n_layers + (stage == "residual")
        layer = number(next(columns), "Layer", count, chosen("layer", count))
    sizes = sizes_of(stage, config, t)
    cell = [number(next(columns), "Head", sizes[0], chosen("head", sizes[0]))] if len(sizes) == 3 else []
    cell.append(number(next(columns), "Row", sizes[-2], sizes[-2] - 1))
    cell.append(number(next(columns), "Column", sizes[-1], 0))
    return stage, layer, tuple(cell)


def sizes_of(stage: str, config: Any, t: int) -> tuple[int, ...]:
    """The shape of a stage in one layer."""
    if stage in ("scores", "scaled", "masked", "weights"):
        return config.n_heads, t, t
    if stage in ("q", "k", "v", "heads"):
        return config.n_heads, t, config.d_head
    return t, {"logits": config.vocab_size, "ff_hidden": config.d_ff}.get(stage, config.d_model)


def chosen(name: str, count: int) -> int:
    """The layer or head of the page, or 0."""
    text = address.kept().get(name) or "0"
    return int(text) if text.isdecimal() and int(text) < count else 0


def number(place: Any, label: str, count: int, first: int) -> int:
    """A number from 0 to `count` - 1, in a column; another widget for another range."""
    key = f"check_{label.lower()}_{count}"
    return int(place.number_input(f"{label}, 0 to {count - 1:,}", 0, max(count - 1, 1), first, key=key)) % count


def show_number(model: LanguageModel, trace: Trace, stage: str, layer: int | None, cell: tuple[int, ...]) -> None:
    """One number by every path, with its differences."""
    from gptviz.analysis.check import PATHS

    values = looked_up(model.fingerprint, trace.ids, trace.what_if, stage, layer, cell[0] // 64, model, trace)
    inside = (cell[0] - values.start, *cell[1:])
    expected = float(values.expected[inside])
    rows = [{"computed by": "float64, from the raw weights", "value": f"{expected:.12g}", "off by": ""}]
    for path in PATHS:
        array = values.found[path]
        found = None if array is None else float(array[inside])
        off = "" if found is None else f"{0.0 if found == expected else abs(found - expected):.1e}"
        rows.append({"computed by": NAMES[path], "value": "not shown by it" if found is None else f"{found:.9g}"})
        rows[-1]["off by"] = off
    st.dataframe(pd.DataFrame(rows), key="check_number", width="stretch", hide_index=True)


@st.cache_resource(max_entries=8, show_spinner=False)
def looked_up(
    fingerprint: str, ids: tuple[int, ...], what_if: Any, stage: str, layer: int | None, part: int,
    _model: LanguageModel, _trace: Trace,
) -> Any:  # fmt: skip
    """`analysis.check.look_up`, once for a stage and layer; `part` tells the pieces of logits apart."""
    from gptviz.analysis.check import ROWS, look_up

    return look_up(_model.gpt, _trace, stage, layer, part * ROWS if stage == "logits" else 0)


def table(check: Check) -> pd.DataFrame:
    """A row a stage: the largest difference of each path, absolute and relative."""
    rows: dict[str, dict[str, object]] = {}
    for difference in check.differences:
        row = rows.setdefault(difference.stage, {"stage": difference.stage})
        row[NAMES[difference.path]] = written(difference)
    return pd.DataFrame(list(rows.values())).replace({np.nan: "not shown by it"})


def written(difference: Difference) -> str:
    """A difference, absolute and relative, and whether it is allowed."""
    text = f"{difference.absolute:.1e} ({difference.relative:.1e})"
    return text if difference.agrees else f"{text}, wrong"
