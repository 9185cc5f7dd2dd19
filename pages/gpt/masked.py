"""Lesson 3: what the causal mask changes, with the same weights and the same sentence."""

from __future__ import annotations

import streamlit as st

from gptviz import ui
from gptviz.analysis import masking
from gptviz.figures import masking as pictures
from gptviz.ui import masking as parts

reading = ui.lesson(
    "Masked and unmasked",
    look_for="the upper right triangle, forbidden by the mask and filled when it is gone: same weights, same sentence.",
    caution="the model **never saw the future in training**. Unmasked is not a better model, but this one outside "
    "everything it learned.",
    strip=False,
)
tokens = reading.tokens
unmasked, comparison = parts.compare(reading)
with st.container(horizontal=True, gap="large"):
    layer, head = ui.pick_layer(reading.config), ui.pick_head(reading.config)

st.subheader(f"The attention of head {layer}.{head}", anchor="attention")
parts.show_both(reading, unmasked)
st.markdown(parts.say_moved(comparison, layer, head))
parts.future_strip(tokens, comparison.future[layer, head])
parts.see_encoder()

st.subheader(f"Head {layer}.{head}: unmasked − masked", anchor="difference")
parts.show_difference(reading, unmasked, layer, head)

st.subheader("Attention moved to the future, per head", anchor="heads")
st.caption("Click a head to see it above. Masked, every one of these shares is 0.")
parts.plot_to_pick(pictures.heads_map(comparison.moved, layer, head), "mask_heads", parts.choose_head)
with st.expander("The same as a table"):
    ui.table_with_csv(masking.heads_table(comparison), "moved-to-the-future.csv", key="mask_heads_table")

st.subheader("What it does to the next token", anchor="next")
at = parts.pick_position(tokens, key="mask_at")
parts.plot_to_pick(pictures.position_bars(comparison.divergence, tokens, at), "mask_positions", parts.choose_position)
moved = parts.probability_moved(reading, unmasked, at)
st.markdown(parts.say_divergence(comparison, moved, tokens[at], at, len(tokens) - 1))
changes = parts.changes_table(reading, unmasked, at)
ui.plot(pictures.change_bars(changes["masked"], changes["unmasked"], changes["token"]), key="mask_changes")
with st.expander("The same as a table"):
    ui.table_with_csv(changes, "largest-changes.csv", key="mask_changes_table")

st.subheader("What it does to the loss at each position", anchor="loss")
if len(tokens) < 2:
    st.info("One token: nothing came after it, so there is nothing to be surprised at. Type one word more.")
else:
    surprise = comparison.surprise_masked, comparison.surprise_unmasked  # 2 x (T - 1,)
    ui.plot(pictures.surprise_bars(*surprise, tokens), key="mask_surprise")
    st.markdown(parts.say_surprise(reading, unmasked, *surprise))
    with st.expander("The same as a table"):
        ui.table_with_csv(parts.surprise_table(comparison, tokens), "surprise.csv", key="mask_surprise_table")
ui.show_source(masking.compare, masking.future_share, masking.divergence_bits, masking.compare_predictions)
