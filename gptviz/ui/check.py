"""The check of every number, on every lesson: a badge, green only if all that the page shows was made anew and agrees.

The lessons on a GPT show passes of one, `Trace`, those on the encoder-decoder passes of both sides, `TranslationTrace`;
some show two models.

The page comes first: it is drawn with the badge still open, and a moment later the browser asks for the check, in a
fragment of its own. Where that would take long, a click asks for it.
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import streamlit as st

from gptviz.analysis.shown import Claim, Sentence
from gptviz.places import TRANSFORMER_PAGES
from gptviz.ui.address import kept
from gptviz.ui.component import component
from gptviz.ui.controls import BOXES
from gptviz.ui.one_number import explain, is_pair, network_of, pick_reading

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from gptviz.analysis.check import Check
    from gptviz.analysis.passes import AnyPass
    from gptviz.checkpoint import AnyModel
    from gptviz.ui.lesson import Reading
    from gptviz.ui.one_number import AnyTrace
    from gptviz.ui.translation import PairReading

    Thing = tuple[AnyModel, AnyTrace | Claim]  # a pass or what was made of it, and whose it is

WAIT = 0.3  # seconds for each thing that a page is about: a check that takes longer waits for a click
MOST_CHECKS = 1024  # that are kept
PASS_BYTES = 192 * 2**20  # of passes in float64, which claims and checks of the same sentence share
OWN_PASS = 0.4  # of the time of a check is the pass in float64
LABELS = {
    "agrees": ":green[:material/verified:] Forward pass checked",
    "differs": ":red[:material/error:] A number is wrong",
    "undecided": ":orange[:material/help:] Not every number could be checked",
    "checking": ":gray[:material/hourglass_empty:] Checking the forward pass …",
    "waiting": ":gray[:material/help:] Forward pass not checked yet",
    "partly": ":blue[:material/verified:] Forward pass checked, gradients not yet",
}
ask = component("gptviz_wake", ["busy", "wake"])


class Checks:
    """The checks done last, for all visitors: of traces by model, sentence and what-if, and of what is made of them."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.lock = threading.Lock()
        self.done: OrderedDict[tuple, Check] = OrderedDict()

    def find(self, model: AnyModel, what: AnyTrace | Claim) -> Check | None:
        """What came out, if it is known."""
        with self.lock:
            return self.done.get(key_of(model, what))

    def make(self, model: AnyModel, what: AnyTrace | Claim) -> Check:
        """Check a trace or a claim, and keep what came out."""
        from gptviz.analysis.check import check
        from gptviz.analysis.check_translation import check_translation
        from gptviz.analysis.claims import check_claim

        if isinstance(what, Claim):
            done = check_claim(what, [PASSES.get(model, trace) for trace in what.traces])
        elif is_pair(what):
            done = check_translation(model.transformer, what, PASSES.get(model, what).pieces)
        else:
            done = check(model.gpt, what, PASSES.get(model, what).pieces)  # outside the lock: others need not wait
        with self.lock:
            self.done[key_of(model, what)] = done
            while len(self.done) > self.most:
                self.done.popitem(last=False)
        return done


class Passes:
    """The passes in float64 used last, up to a number of bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.lock = threading.Lock()
        self.passes: OrderedDict[tuple, AnyPass] = OrderedDict()

    def has(self, model: AnyModel, trace: AnyTrace) -> bool:
        """Whether it is there."""
        return key_of(model, trace) in self.passes

    def get(self, model: AnyModel, trace: AnyTrace) -> AnyPass:
        """The pass of a trace, kept or new."""
        from gptviz.analysis.passes import float64_pass

        key = key_of(model, trace)
        with self.lock:
            seen = self.passes.pop(key, None) or float64_pass(network_of(model), trace)
            self.passes[key] = seen  # the last one used
            while len(self.passes) > 1 and sum(each.size for each in self.passes.values()) > self.limit:
                self.passes.popitem(last=False)
        return seen


CHECKS = Checks(MOST_CHECKS)
PASSES = Passes(PASS_BYTES)


def key_of(model: AnyModel, what: AnyTrace | Claim) -> tuple:
    """What a check depends on."""
    return (model.fingerprint, *what.key)


def expected_seconds(model: AnyModel, trace: AnyTrace) -> float:
    """How long the check of a pass takes, about: measured with the shipped models on two cores."""
    if is_pair(trace):
        return seconds_of_pair(model, len(trace.encoder.ids) + len(trace.decoder.ids))
    return model.gpt.count_parameters() * (1e-8 + 7e-10 * len(trace.ids))


def seconds_of_pair(model: AnyModel, tokens: int) -> float:
    """The same of an encoder-decoder, by how many tokens both sides read."""
    return model.transformer.count_parameters() * (1.2e-8 + 2e-10 * tokens)


def trees_of(things: Sequence[AnyTrace | Claim]) -> set[int]:
    """How large the trees are that claims need, each in one more pass in float64."""
    return {each.nodes for each in things if isinstance(each, Claim) and each.nodes}


def seconds_for(model: AnyModel, things: Sequence[AnyTrace | Claim]) -> float:
    """How long these checks take together, about; what claims take beside their passes is little."""
    traces = [each for each in things if not isinstance(each, Claim)]
    passes = {id(t): t for each in things if isinstance(each, Claim) for t in each.traces if not PASSES.has(model, t)}
    own = sum(expected_seconds(model, trace) for trace in traces)
    own += OWN_PASS * sum(seconds_of_pair(model, nodes) for nodes in trees_of(things))
    return own + OWN_PASS * sum(expected_seconds(model, t) for t in passes.values() if t not in traces)


def seconds_allowed(things: Sequence[AnyTrace | Claim]) -> float:
    """How long they may take without being asked for: a page may be about more than one pass."""
    pairs = sum(1 for each in things if not isinstance(each, Claim) and is_pair(each))
    of_others = any(isinstance(t, Sentence) for each in things if isinstance(each, Claim) for t in each.traces)
    return WAIT * (max(1, pairs) + len(trees_of(things)) + of_others)


def check_numbers() -> None:
    """The badge, for the router, once the page has drawn all it shows; in the place that `lesson` kept for it."""
    readings = st.session_state.pop("readings", None)
    if readings:
        st.session_state["drawn"] = chosen()
        st.session_state["runs"] = st.session_state.get("runs", 0) + 1
        with readings[0].badge:
            fragment_of(st.session_state["kept_page"])(*readings)


def chosen() -> tuple:
    """All that presses change: with another one the page is another."""
    box = BOXES["transformer" if st.session_state.get("kept_page") in TRANSFORMER_PAGES else "gpt"]
    return dict(kept()), st.session_state.get("stage"), [st.session_state.get(key) for key in (box.model, box.text)]


@functools.cache
def fragment_of(page: str) -> Callable[..., None]:
    """`badge` as a fragment of one page: with one name for all, a late answer of one page would run in the next."""

    def badge_here(*readings: Reading | PairReading) -> None:
        badge(*readings)

    badge_here.__qualname__ = f"badge_on_{page}"
    return st.fragment(badge_here)


def badge(*readings: Reading | PairReading) -> None:
    """One button that says how the numbers of this page are, and opens the check of a single one."""
    if chosen() != st.session_state["drawn"]:  # a press came with the browser's question, which alone was answered
        st.rerun()
    things = [(reading.model, each) for reading in readings for each in (*reading.shown, *reading.claims)]
    line = st.container(horizontal=True, vertical_alignment="center", gap="small")
    row = line.container(horizontal=True, vertical_alignment="center", gap="small", width="content")
    with line:  # what asks stands behind the badge: below it, it would push the lesson down while it asks
        quick = ask_and_check(things, row)
    done = {key_of(*each): CHECKS.find(*each) for each in things}
    later = any(waits(what) and done[key_of(model, what)] is None for model, what in things)
    verdict = verdict_of([done[key_of(*each)] for each in things if not (later and waits(each[1]))], quick, later)
    place = row.popover(
        label_of(verdict, [claim for reading in readings for claim in reading.claims]),
        key="check",
        on_change="rerun",
        help="Every number of the forward pass, and what this page makes of them, against float64 from the raw "
        "weights; look one up",
    )
    if place.open:
        with place:
            reading = pick_reading(readings)
            explain(reading, [done[key_of(reading.model, each)] for each in (*reading.shown, *reading.claims)], verdict)


def ask_and_check(things: Sequence[Thing], row: DeltaGenerator) -> bool:
    """Check what is open and asked for, by the browser or a click; returns whether it is little enough not to ask."""
    open_ones = [each for each in things if CHECKS.find(*each) is None]
    first, later = ([each for each in open_ones if waits(each[1]) is late] for late in (False, True))
    quick = is_quick(first)
    if first and quick:
        if not asked_by_browser(first):
            return quick
        now = first
    elif first:
        now = open_ones if row.button("Check every number", key="check_now", icon=":material/calculate:") else []
    else:
        now = []
    for each in now:
        CHECKS.make(*each)
    if later and quick and row.button("Check the gradients", key="check_later", icon=":material/calculate:"):
        with st.spinner("Working out the gradients in float64 …"):
            for each in later:
                CHECKS.make(*each)
        for model, trace in {id(trace): (model, trace) for model, each in later for trace in each.traces}.values():
            PASSES.get(model, trace).forget()
    return quick


def is_quick(things: Sequence[Thing]) -> bool:
    """Whether these take so little that nobody has to ask: what one model takes, and what the next."""
    of_model: dict[str, tuple[AnyModel, list[AnyTrace | Claim]]] = {}
    for model, what in things:
        of_model.setdefault(model.fingerprint, (model, []))[1].append(what)
    return all(seconds_for(model, each) <= seconds_allowed(each) for model, each in of_model.values())


def waits(what: AnyTrace | Claim) -> bool:
    """Whether its check takes long for any sentence."""
    return isinstance(what, Claim) and what.slow


def asked_by_browser(things: Sequence[Thing]) -> bool:
    """Whether the page is at rest, so that it is time to check these."""
    name = str(hash(tuple(key_of(*each) for each in things)))
    data = {"ask": name, "run": st.session_state.get("runs", 0)}
    return ask(key="check_ask", data=data, height=1, width=1, on_check_change=lambda: None).check == name


def verdict_of(done: list[Check | None], quick: bool, later: bool = False) -> str:
    """One word for all that the page shows: the worst of it; a key of `LABELS`. `later`: gradients wait for a click."""
    verdicts = {check.verdict for check in done if check is not None}
    if "differs" in verdicts:
        return "differs"
    if None in done or not done:
        return "checking" if quick else "waiting"
    if "undecided" in verdicts:
        return "undecided"
    return "partly" if later else "agrees"


def label_of(verdict: str, claims: Sequence[Claim]) -> str:
    """What the badge says: a pass that was checked with all that is made of it says how much that is."""
    results = sum(len(each.shown) for each in claims)
    return LABELS[verdict] + (f", and {results} results" if verdict == "agrees" and results else "")
