"""Why the mask exists: two GPTs of one seed, one trained with it and one without, side by side."""

from __future__ import annotations

import streamlit as st

from gptviz import ui
from gptviz.analysis import twins
from gptviz.ui import twins as pairs
from gptviz.ui import why_mask as parts

badge = ui.begin(
    "Why the mask exists",
    look_for="two GPTs of one seed and one text. The loss of the one trained **without** the mask falls far below the "
    "other's, and what it writes is rubbish.",
    caution="a low loss does not mean a good model. It counts only where the answer is **not in the input**.",
)
pair, step = pairs.pick_twins()
masked, unmasked = pairs.read_twins(pair, step, badge)

st.subheader("The losses of both trainings", anchor="loss")
parts.show_losses(pair, step, masked.model.gpt.config.context)

st.subheader(f"What the heads of both look at after step {step:,}", anchor="attention")
st.caption("Each reads the sentence as it was trained. All on one scale. Click a head to see it large in both.")
parts.show_attention(masked, unmasked)

st.subheader("What each gives to the token that came next", anchor="next")
parts.show_next(masked, unmasked)

st.subheader("After the last token: no answer in view for either", anchor="last")
parts.show_last(masked, unmasked)

st.subheader("What each writes", anchor="writing")
parts.show_writing(masked, unmasked)

ui.see_also("One model that was trained with the mask, read without it:", "gpt/masked.py", "Masked and unmasked")
ui.see_also("What a head looks at, in every detail:", "gpt/attention.py", "Attention")
ui.see_also("A training of your own, with the mask or without:", "training/train.py", "Train")
ui.show_source(twins.next_share, twins.of_the_next, twins.of_the_next_unseen, twins.written_log_probabilities)
