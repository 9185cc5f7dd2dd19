"""The lesson on tokens and embeddings in order, with its words: of a GPT, and of either side of an encoder-decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from gptviz.ui import vectors as v
from gptviz.ui.show import show_source, table_with_csv

if TYPE_CHECKING:
    from gptviz.stack import Stack
    from gptviz.ui.lesson import Reading


def show_lesson(reading: Reading) -> None:
    """The whole page below its title: controls, pictures, what they are, and the code behind them."""
    from gptviz.analysis import vectors as analysis

    view = v.pick_view(reading)
    with st.container(key="emb_table"), st.expander("Tokens, ids and bytes", expanded=True, icon=":material/segment:"):
        table_with_csv(v.token_frame(reading.model.tokenizer, reading.trace), "tokens.csv", key="emb_tokens")

    st.header("The vectors", anchor="vectors")
    shown = v.draw_strips(reading, view)
    st.caption(about_strips(reading, view, shown))

    st.header("Who is close to whom", anchor="similarity")
    v.draw_similarity(reading, view)
    st.caption(about_similarity(reading, view))

    st.header("The nearest tokens of the vocabulary", anchor="neighbours")
    nearest = v.draw_neighbours(reading, view)
    st.caption(about_neighbours(reading, view))
    with st.expander("The same for every token of the sentence", icon=":material/table:"):
        table_with_csv(v.closest_frame(reading, view), "closest.csv", key="emb_closest")

    st.header("A map of the vocabulary", anchor="map")
    view = v.pick_map(view)
    seen = v.draw_map(reading, view, nearest)
    st.caption(about_map(view, seen))
    show_source(
        analysis.strips, analysis.cosine_matrix, analysis.nearest, analysis.cosines_with, analysis.principal_axes
    )


def about_strips(reading: Reading, view: v.View, shown: range) -> str:
    """What the strips are, and whether they add up."""
    config, total = reading.config, len(reading.tokens)
    text = f"One row a token, {config.d_model} numbers each; all panels on one scale, centred on 0. "
    if view.stage == 0 and not view.positions_added:
        text += (
            "There is no strip of positions: this model adds nothing for the place of a token. Its positions are "
            "rotary: every head turns its queries and keys by an angle that grows with the place; see Positions."
        )
    elif view.stage == 0:
        text += "The first two add up to the third: at the same position every token gets the same second strip."
        text += about_tables(reading.stack)
    elif config.norm_order == "pre":
        text += "The first three add up to the last: a block only ever adds to the stream."
    else:
        first, additions = ("three", "two") if v.crossed(reading) is None else ("four", "three")
        text += (
            f"The first {first} do not add up to the last: this model normalises the stream after each of the "
            f"{additions} additions, which shifts and rescales every row."
        )
    if len(shown) < total:
        text += f" Tokens {shown.start} to {shown.stop - 1} of {total} are drawn; choose another token to move on."
    return text


def about_tables(stack: Stack) -> str:
    """Where the two vectors come from, where they are not two tables that were trained as they are."""
    if stack.learned_positions:
        return ""
    return (
        f" A token vector is its row of the one table of German and English, times √{stack.config.d_model} = "
        f"{stack.token_scale:.4g} (Vaswani et al. 2017, section 3.4). A position vector is not learned: it is made of "
        "sines and cosines."
    )


def about_similarity(reading: Reading, view: v.View) -> str:
    """How to read the cosines."""
    text = "Cosine of the angle between two vectors: 1 the same direction, 0 at right angles, −1 opposite. "
    if view.stage == 0 and not view.positions_added:
        text += (
            "A token that occurs twice has the same vector twice, wherever it stands: nothing is added for its place. "
        )
    elif view.stage == 0:
        text += (
            "On the left a token that occurs twice has the same vector twice; on the right its positions tell the "
            "two apart. "
        )
    else:
        text += "More orange on the right than on the left: the block made those two tokens more alike. "
    total = len(reading.tokens)
    if total > v.MOST_COSINES:
        text += f"The {v.MOST_COSINES} of {total} tokens around the chosen one are drawn."
    return text


def about_neighbours(reading: Reading, view: v.View) -> str:
    """What closeness to the token vectors means at this stage."""
    config = reading.config
    text = (
        f"Cosine with the token vector of each of the {config.vocab_size:,} entries of the vocabulary, all of them "
        "compared"
    )
    if view.stage == 0 and not view.positions_added:
        return f"{text}. The token itself is left out: its cosine with itself is 1."
    text += ". The token itself is orange"
    if view.stage == 0:
        return text + "; on the left it is left out, its cosine with itself is 1."
    text += ". The stream is no token vector any more, and nothing keeps it among them: a cosine only says which "
    text += "entry it points to most. "
    if v.is_side(reading, "encoder"):
        return text + (
            "The encoder predicts nothing: what it makes of its tokens is for the decoder, which reads it by "
            "cross-attention."
        )
    if config.tied:
        text += (
            "This model uses the same table to predict, so that in the last blocks the stream turns from the token "
            "that was read to tokens that may come next."
        )
        if v.is_side(reading, "decoder") and view.stage == config.n_layers:
            text += " After the last block its product with a row of the table is a token's score: lengths count there."
        return text
    return text + "This model predicts with a different table, so that these entries are no predictions."


def about_map(view: v.View, seen: float) -> str:
    """What the map leaves out."""
    text = (
        f"The {view.dimensions} directions in which the whole vocabulary varies most (principal components); they show "
        f"{seen:.1%} of its variance, so {1 - seen:.1%} is not on the map. The circled tokens are the nearest in all "
        "dimensions: where they lie apart, the map is wrong about distance. "
    )
    if view.stage:
        text += (
            "The axes were fitted to the token vectors, not to the stream: what a block writes in other directions "
            "does not show here at all. "
        )
    if not view.same_length:
        text += "Vectors keep their length: a stream that is much longer than the token vectors lies far outside."
    return text
