"""The check of what the page Train shows of a sentence: on a click, for weights come and go while a run trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from gptviz.analysis.derived import twins as derived
from gptviz.ui.check import LABELS, verdict_of
from gptviz.ui.one_number import say
from gptviz.ui.show import literal

if TYPE_CHECKING:
    from gptviz.ui.training_live import Watched, Weights


def check_button(weights: Weights, text: str, causal: bool, seen: Watched) -> None:
    """A button that checks the attention as it is shown; what came out stays, with the step that it is of."""
    asked = st.button(
        "Check these numbers", key="train_check", icon=":material/calculate:", type="tertiary",
        help="The whole forward pass of these weights on your sentence, and the attention that is drawn here, against "
        "float64 from the raw weights. What came out stays while newer weights are drawn.",
    )  # fmt: skip
    if asked:
        with st.spinner("Working the pass out in float64 …"):
            st.session_state["train_checked"] = str(weights.folder), text, checked(weights, text, causal, seen)
    *whose, said = st.session_state.get("train_checked", ("", "", ""))
    if whose == [str(weights.folder), text]:
        st.markdown(said)


def checked(weights: Weights, text: str, causal: bool, seen: Watched) -> str:
    """What came out, in words. Newer weights may have taken the place of these."""
    import gptviz
    from gptviz.analysis.check import check
    from gptviz.analysis.claims import check_claim
    from gptviz.analysis.passes import float64_pass
    from gptviz.analysis.shown import claim
    from gptviz.checkpoint import load_folder

    try:
        model = load_folder(weights.folder, None, weights.file)
        same = (weights.folder / weights.file).stat().st_mtime_ns == weights.stamp
    except (ValueError, OSError):
        same = False
    if not same:
        return f":gray[:material/update:] {literal(weights.when)}: newer ones took the place of these; ask again."
    trace = gptviz.trace(model, text, what_if=gptviz.WhatIf(causal=causal))
    drawn = {"weight [layer, head, query, key]": seen.weights}
    shown = claim("attention as drawn", drawn, derived.last_weights, seen.weights.shape[-1], of=(trace,))
    exact = float64_pass(model.gpt, trace)
    done = [check(model.gpt, trace, exact.pieces), check_claim(shown, [exact])]
    wrong = next((each for each in done if each.verdict == "differs"), done[0])
    return f"{LABELS[verdict_of(done, quick=True)]}, {weights.when}: {say(wrong)}"
