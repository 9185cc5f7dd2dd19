"""From output to loss to gradient: targets, cross-entropy, one backward pass, one step of an optimiser."""

import streamlit as st

from gptviz import ui
from gptviz.analysis import losses as loss
from gptviz.figures import gradients as pictures
from gptviz.ui import gradients as parts
from gptviz.ui import losses as loss_parts

reading = ui.lesson(
    "From output to loss to gradient",
    look_for="the sentence is its own answer key, shifted by one. Each position pays −ln p for the token that came, "
    "and one backward pass says which weights to blame.",
    caution="a lower loss on this one sentence is not a better model: training takes a small step on many sentences.",
    strip=False,
)
losses = loss_parts.judge(reading)
from gptviz.analysis import gradients, one_step  # noqa: E402 - after the page has begun: torch takes seconds

st.header("The targets: the sentence, shifted by one", anchor="targets")
loss_parts.show_targets(reading, losses)
loss_parts.show_mean(losses)
bars = pictures.loss_bars(losses.nats, reading.tokens[:-1], reading.tokens[1:])
loss_parts.show_bars(bars, len(losses.nats), key="loss_bars")
st.markdown(loss_parts.say_mean(losses, reading))
with st.expander("The same as a table"):
    ui.table_with_csv(loss_parts.targets_table(reading, losses), "losses.csv", key="loss_targets")

st.header("What the loss asks of the logits", anchor="logits")
st.latex(r"\frac{\partial\, (-\ln p_t(x_{t+1}))}{\partial z_t} = p_t - \mathrm{onehot}(x_{t+1})")
loss_parts.show_logits(reading, losses, loss_parts.pick_position(reading))

st.header("One backward pass", anchor="backward")
with st.container(horizontal=True, gap="large"):
    layer, head = ui.pick_layer(reading.config), ui.pick_head(reading.config)
learned = parts.learn(reading, layer)
parts.show_norms(reading, learned, layer, head)
with st.expander("All norms as a table"):
    ui.table_with_csv(parts.norms_table(learned, reading.config), "gradient-norms.csv", key="loss_norms_table")

st.header(f"The gradient on the attention of head {layer}.{head}", anchor="attention")
parts.show_attention(reading, learned, layer, head)

st.header("One step of an optimiser", anchor="step")
st.latex(r"\theta' = \theta - \eta\, d \qquad L(\theta') \approx L(\theta) - \eta\, \langle \nabla L, d \rangle")
st.caption("On a copy of the model that is thrown away; d is the gradient for SGD, and nearly its sign for AdamW.")
optimizer, rate = parts.pick_step()
parts.show_step(reading, losses, learned, optimizer, rate)
parts.show_curve(reading, losses, learned, optimizer, rate)

ui.show_source(
    loss.target_losses, loss.logit_gradient, gradients.backward, gradients.row_kept, gradients.norms,
    one_step.direction, one_step.slope, one_step.losses_after,
)  # fmt: skip
