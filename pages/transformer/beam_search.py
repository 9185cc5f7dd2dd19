"""Beam search as a tree with scores, and greedy decoding in the same picture."""

from __future__ import annotations

import streamlit as st

from gptviz import ui
from gptviz.analysis import beam as analysis
from gptviz.ui import beam as parts

reading = ui.pair_lesson(
    "Beam search",
    "the search keeps several beginnings, and the best whole is not always the one with the best first token.",
    "a wider beam finds translations that are mostly more probable, and these are not always better ones.",
)
found = parts.search(reading)
from gptviz import translation  # noqa: E402 - after the page has begun: torch takes seconds

st.markdown(parts.say_found(found))
parts.say_limits(found)

st.subheader("The tree of the search", anchor="tree")
st.caption(
    "Each column is one token more; the largest running total is on top, and stands under its token. Click a token, "
    "or walk with the arrow keys, to see what could follow there."
)
at = parts.pick_node(found)

st.subheader("What could follow there", anchor="candidates")
parts.show_node(found, at)

st.subheader("The translations that ended", anchor="results")
st.latex(
    r"\begin{gathered} \mathrm{beam\ score}(y) = \frac{\sum_t \ln p(y_t \mid y_{<t}, x)}{\mathrm{lp}(y)} \\[0.6em] "
    r"\mathrm{lp}(y) = \left(\frac{5 + |y|}{6}\right)^{0.6} \end{gathered}"
)
st.caption(
    "The log-probability over the length penalty (Wu et al. 2016, equation 14, without the coverage penalty; 0.6 as in "
    "Vaswani et al. 2017, section 6.1). Every token makes the log-probability smaller, so without the penalty short "
    "translations would win."
)
parts.show_results(found)
ui.show_source(translation.beam_search, translation.normalised_score, analysis.draw_tree)
