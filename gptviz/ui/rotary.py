"""The lesson on positions for a model without a position table: angles in the place of vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from gptviz.analysis.derived import vectors as derived
from gptviz.figures import rotary as figures
from gptviz.figures.style import minus
from gptviz.ui.controls import number, pick_head, pick_layer
from gptviz.ui.show import escape, plot, show_source, table_with_csv

if TYPE_CHECKING:
    from gptviz.config import GPTConfig
    from gptviz.ui.lesson import Reading

MOST = 256  # distances in the picture of all pairs
FARTHEST = 2048  # distances on the line of one score
ANGLE = r"\theta_{i}(p) = \frac{p}{b^{\,2i/D}%s}"
DISTANCE = (
    r"q'_m \cdot k'_n = \sum_{i} \mathrm{Re}\left[ q_{m,i}\, \overline{k_{n,i}}\; e^{\,\mathrm{i}\,(\theta_i(m) - "
    r"\theta_i(n))} \right]"
)


def show_lesson(reading: Reading) -> None:
    """The whole page below its title."""
    from gptviz.analysis import rotary

    st.info(no_table(), icon=":material/rotate_right:")
    st.header("An angle for every place", anchor="angles")
    st.latex(ANGLE % (r"\, f_i" if reading.config.rotary_factors else ""))
    show_angles(reading)

    st.header("A score knows the distance, not the place", anchor="distance")
    st.latex(DISTANCE)
    show_distance(reading)

    st.header("What an attention score is made of", anchor="split")
    st.markdown(no_terms())
    show_source(rotary.speeds, rotary.periods, rotary.before_the_turn, rotary.parts_by_distance)


def no_table() -> str:
    """Why the pictures of other models are not here."""
    return (
        "This model has no vectors for positions: nothing is added to the tokens, so there is no table to draw and no "
        "two places to compare. Its positions are rotary: in every layer each head turns its queries and keys by an "
        "angle that grows with the place."
    )


def no_terms() -> str:
    """Why the four terms of token and position do not apply."""
    return (
        "In a model that adds position vectors a score of layer 0 is the sum of four products, of token and position "
        "with token and position. They do not apply here: with nothing added, a query is made of its token alone, and "
        "the place only turns it. The sum above, pair by pair, is the one that this model has."
    )


def show_angles(reading: Reading) -> None:
    """How fast the pairs turn: a picture, a line and a table."""
    from gptviz.analysis.rotary import cosines_by_distance, periods

    config = reading.config
    each, count = periods(config), min(MOST, config.context)
    cosines = cosines_by_distance(config, count)
    shown = {"period [pair]": each, "cosine of the angle [pair, distance]": cosines}
    reading.claim("angles", shown, derived.angles, count)
    left, right = st.columns(2)
    with left:
        plot(figures.turns_picture(cosines), key="pos_turns")
    with right:
        plot(figures.period_line(each, config.context), key="pos_periods")
    st.caption(say_angles(config, each, count))


def say_angles(config: GPTConfig, each: np.ndarray, count: int) -> str:
    """The fastest and the slowest pair, in words."""
    half, fast, slow = len(each), int(each.argmin()), int(each.argmax())
    beyond = int((each > config.context).sum())
    text = (
        f"A head of D = {config.d_head} has {half} pairs: dimension i with dimension i + {half}. The fastest, pair "
        f"{fast}, is round once in {counted(each[fast])} tokens; the slowest, pair {slow}, in {counted(each[slow])}. "
        f"The dotted line is the context of {config.context:,} tokens: {beyond} of {half} pairs do not come round in "
        "it, so that they tell near from far over the whole text. b is "
        f"{counted(config.rotary_base)}. All heads of all layers turn alike."
    )
    if config.rotary_factors:
        text += " Angles are divided by a factor f of each pair, so that longer texts fit."
    return text + (f" The first {count} distances of {config.context:,} are drawn." if count < config.context else "")


def counted(tokens: float) -> str:
    """A number of tokens to read: with fractions only where it is small."""
    return f"{tokens:,.0f}" if tokens >= 100 else f"{tokens:.4g}"


def show_distance(reading: Reading) -> None:
    """One query and one key of the sentence, moved apart."""
    from gptviz.analysis.head_stages import head_stages, projections
    from gptviz.analysis.rotary import before_the_turn, parts_by_distance, periods

    config, last = reading.config, len(reading.tokens) - 1
    with st.container(horizontal=True, gap="large"):
        layer, head = pick_layer(config), pick_head(config)
    with st.container(horizontal=True, gap="medium"):
        query = number("Query, by position", 0, last, last, key="pos_query", width=200)
        key = number("Key, by position", 0, last, 0, key="pos_key", width=200)
    if key > query:
        st.info("This key stands after the query, where the mask lets nobody look. Choose a key before it.")
        return
    stages = head_stages(reading.trace, layer, head)
    before = before_the_turn(stages, projections(reading.stack.attentions[layer], head))
    count = min(FARTHEST, config.context)
    parts = parts_by_distance(config, before.q[query], before.k[key], max(count, query - key + 1))
    scores, apart = parts.sum(axis=0), query - key
    found = float(stages.scaled[query, key])
    shown = {
        "score [distance]": scores,
        "part of the score [pair]": parts[:, apart],
        "part at distance 0 [pair]": parts[:, 0],
        "turns at this distance [pair]": apart / periods(config),
        "score where they stand": found,
    }
    reading.claim(f"score {query}, {key}", shown, derived.distances, layer, head, query, key, len(scores))
    asks, asked = (escape(reading.tokens[i]) for i in (query, key))
    st.markdown(
        f"Head {layer}.{head}: the query of token {query}, **{asks}**, and the key of token {key}, **{asked}**, as "
        "their projections made them. Only the angle between them changes along the line."
    )
    plot(figures.score_line(scores, apart), key="pos_score")
    st.caption(say_distance(scores, apart, found, config))
    show_parts(config, parts, apart)


def say_distance(scores: np.ndarray, apart: int, found: float, config: GPTConfig) -> str:
    """The line in words, held against the score of the pass."""
    text = minus(
        f"{apart} token{'s' if apart != 1 else ''} apart, as they stand, the line is at {scores[apart]:.4f}; the "
        f"attention score of the pass, divided by √D, is {found:.4f}. Right beside each other they would have "
        f"{scores[min(1, len(scores) - 1)]:.4f}; the highest is {scores.max():.4f} at {int(scores.argmax())} apart, "
        f"the lowest {scores.min():.4f} at {int(scores.argmin())}."
    )
    text += " What else would change if the words stood elsewhere is left out: from layer 1 on, the tokens between "
    text += "them have a part in both vectors."
    cut = len(scores) < config.context
    return text + (f" The first {len(scores):,} distances of {config.context:,} are drawn." if cut else "")


def show_parts(config: GPTConfig, parts: np.ndarray, apart: int) -> None:
    """Which pairs turn by how much at this distance, and what each gives to the score."""
    from gptviz.analysis.rotary import periods

    half = len(parts)
    turns = apart / periods(config)
    st.subheader("Pair by pair", anchor="pairs")
    plot(figures.parts_bars(parts[:, apart]), key="pos_parts")
    frame = pd.DataFrame(
        {
            "dimensions": [f"{i} and {i + half}" for i in range(half)],
            "tokens for a whole turn": periods(config),
            "turns at this distance": turns,
            "angle, degrees": 360 * (turns % 1),
            "part of the score": parts[:, apart],
            "part at distance 0": parts[:, 0],
        },
        index=pd.RangeIndex(half, name="pair"),
    )
    with st.expander("Every pair as a table", icon=":material/table:"):
        table_with_csv(frame, "pairs.csv", key="pos_pairs")
