"""The backward pass and one step of an optimiser on the page: run where it is quick or asked for, kept, and shown.

Nothing here changes the shared model: `gptviz.analysis.gradients` only reads it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from gptviz.analysis.derived import gradients as derived
from gptviz.figures import gradients as figures
from gptviz.figures.style import minus
from gptviz.ui import losses as loss_parts
from gptviz.ui.controls import pick_one, slide_among, switch
from gptviz.ui.lesson import Reading
from gptviz.ui.matrix import plot_matrix
from gptviz.ui.show import escape, plot, table_with_csv

if TYPE_CHECKING:
    from gptviz.analysis.gradients import Backward, Norms
    from gptviz.analysis.losses import Losses
    from gptviz.config import GPTConfig
    from gptviz.gpt import GPT

COPIES = 4  # of the weights, that a gradient, its norms and a step of an optimiser take
LIGHT = 1e9  # bytes that are taken without asking
UNASKED = 3e10  # multiplications of a forward and a backward pass that need no click: 0.1 to 0.3 s
NORMS = {"gradient": "Gradient", "relative": "Gradient / weights"}
NOTHING = 1e-9  # gradients may all be small
CLAIMED = {
    "weights": "dL/dA [query, key]",
    "kept": "dL/dA, row sum kept [query, key]",
    "scores": "dL/dscores [query, key]",
}
SHOWN = {"weights": "dL/dA", "kept": "Row sum kept at 1", "scores": "dL/dscores"}
OPTIMIZERS = {"sgd": "SGD", "adamw": "AdamW"}
RATES = ("0.00001", "0.00003", "0.0001", "0.0003", "0.001", "0.003", "0.01", "0.03", "0.1", "0.3", "1", "3", "10")


class Learned(NamedTuple):
    """A backward pass over the sentence, and the norms of what it found and of what it was found for."""

    backward: Backward
    gradient: Norms
    weight: Norms


def learn(reading: Reading, layer: int) -> Learned:
    """The backward pass; of a large model only once it is asked for, until then the page ends here."""
    from gptviz import memory
    from gptviz.half import half_dtype, name_of
    from gptviz.trace import keeps_squares

    gpt, ids = reading.model.gpt, reading.trace.ids
    if (dtype := half_dtype(gpt)) is not None:
        st.info(
            f"The weights of this model are held in {name_of(dtype)}. Their gradient would be as many numbers in "
            f"float32, {memory.in_words(4 * gpt.count_parameters())}, and rounded to half precision it would not be "
            "the one that training takes: choose a smaller model to see one.",
            icon=":material/compress:",
        )
        st.stop()
    work, takes = 3 * gpt.count_parameters() * len(ids), COPIES * 4 * gpt.count_parameters()
    if work > UNASKED or takes > LIGHT:
        st.info(
            f"A forward and a backward pass of this model over {len(ids)} tokens takes a while, and "
            f"{takes / 1e9:.1f} GB of memory for the gradient."
        )
        free = memory.free(gpt.device)
        if free is not None and takes > free:
            st.warning(f"Only {free / 1e9:.1f} GB are free: choose a smaller model.", icon=":material/memory:")
            st.stop()
        if not switch("Run the backward pass", key="loss_run"):
            st.stop()
    few = keeps_squares(gpt.config.n_layers, gpt.config.n_heads, len(ids))
    with st.spinner("Running the backward pass …", show_time=work > UNASKED):
        return learned(reading.model.fingerprint, ids, None if few else layer, gpt)


@st.cache_resource(max_entries=2, show_spinner=False)
def learned(fingerprint: str, ids: tuple[int, ...], layer: int | None, _gpt: GPT) -> Learned:
    """Once for a model and a sentence. Few are kept: each holds as many numbers as the model."""
    from gptviz.analysis import gradients

    backward = gradients.backward(_gpt, ids, None if layer is None else [layer])
    own = dict(_gpt.named_parameters())
    return Learned(backward, *(gradients.norms(found, _gpt.config) for found in (backward.parameters, own)))


def show_norms(reading: Reading, learned: Learned, layer: int, head: int) -> None:
    """The norms of all groups by layer, of what is outside the layers, and of each head's query, key and value."""
    from gptviz.analysis.gradients import QKV, groups_of

    what = pick_one("Norm of", NORMS, key="loss_norms")
    unit = "gradient norm" if what == "gradient" else "gradient norm / weight norm"
    whole, heads, outside = values_of(learned, what)
    claim_norms(reading, learned, what)
    span = figures.norm_span(whole, heads, np.array([*outside.values()]))
    layers, places = (list(map(str, range(n))) for n in heads.shape[1:])
    every = figures.with_outside(whole, [*outside.values()])
    config = reading.model.gpt.config
    # A phone has no room for the tied table's name.
    rows = [*groups_of(config), *(name.replace(" = ", "<br>= ") for name in outside)]
    columns = [*layers, "outside"]
    st.markdown(say_norms(reading, learned))
    plot(figures.norm_map(every, rows, columns, span, axes=("", "layer"), unit=unit), key="loss_groups")
    for place, name, values in zip(st.columns(3), QKV, heads, strict=True):
        with place:
            axes, framed = ("layer", "head"), (layer, head)
            figure = figures.norm_map(
                values, layers, places, span, axes=axes, title=f"{name}, by head", unit=unit, framed=framed
            )
            plot(figure, key=f"loss_heads_{name}")
    sharing = config.n_heads // config.n_groups
    st.caption(
        ("" if sharing == 1 else f"{sharing} heads in a row share one key and one value, and show the same number. ")
        + "Weights and biases of a group together. All maps share one logarithmic colour scale, from "
        f"{10 ** span[0]:.2g} (dark) to {10 ** span[1]:.2g} (bright); the frame is head {layer}.{head}."
    )


def claim_norms(reading: Reading, learned: Learned, what: str) -> None:
    """Let the badge check the norms that are drawn, and those of the table."""
    for part in dict.fromkeys(("gradient", "weight", what)):
        layers, heads, outside = values_of(learned, what) if part == "relative" else getattr(learned, part)
        shown = {
            "norm [group, layer]": layers,
            "norm by head [query key value, layer, head]": heads,
            "norm outside [table]": [*outside.values()],
        }
        if part != "relative":
            shown["norm of all"] = getattr(learned, part).total
        reading.claim(f"norms, {part}", shown, derived.norms, part, slow=True, nothing=NOTHING)


def values_of(learned: Learned, what: str) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Norms (G, L), (3, L, H) and outside the layers: of the gradient, or relative to the weights; NaN over 0."""
    gradient, weight = learned.gradient, learned.weight
    if what == "gradient":
        return gradient
    with np.errstate(divide="ignore", invalid="ignore"):
        outside = {name: float(np.divide(norm, weight.outside[name])) for name, norm in gradient.outside.items()}
        return gradient.layers / weight.layers, gradient.heads / weight.heads, outside


def say_norms(reading: Reading, learned: Learned) -> str:
    """The whole gradient in words."""
    query, key, value = np.sqrt((learned.gradient.layers[:3] ** 2).sum(axis=1))
    small = max(query, key)
    shown = {"norm over all layers [query key value]": [query, key, value]}
    shown |= {"value over the larger of the two": value / small} if small > 0 else {}
    reading.claim("norms over all layers", shown, derived.norms, "gradient", slow=True, nothing=NOTHING)
    text = (
        f"The whole gradient has norm **{learned.gradient.total:.4g}**, the weights {learned.weight.total:.4g}. "
        f"Over all layers: query {query:.3g}, key {key:.3g}, value **{value:.3g}**"
    )
    text += f": {value / small:.1f} times the larger one of query and key. " if small > 0 else ". "
    text += (
        "Values pass their gradient on through the weights alone; queries and keys get theirs through the softmax, "
        "which passes on little where attention is sharp."
    )
    if reading.model.gpt.config.tied:
        text += " One table is embedding and unembedding (tied): counted once, with the sum of both gradients."
    return text


def norms_table(learned: Learned, config: GPTConfig) -> pd.DataFrame:
    """Every norm, one row each: groups, heads, and what is outside the layers."""
    from gptviz.analysis.gradients import QKV, groups_of

    groups = groups_of(config)

    rows = []
    for part in ("gradient", "weight"):
        norms: Norms = getattr(learned, part)
        found = dict(norms.outside)
        found |= {f"layer {i}: {groups[g]}": float(v) for (g, i), v in np.ndenumerate(norms.layers)}
        found |= {f"head {i}.{j}: {QKV[p]}": float(v) for (p, i, j), v in np.ndenumerate(norms.heads)}
        rows.append(pd.Series(found, name=f"{part} norm", dtype=float))
    table = pd.concat(rows, axis=1)
    table["gradient / weights"] = table["gradient norm"] / table["weight norm"]
    return table.rename_axis("group")


def show_attention(reading: Reading, learned: Learned, layer: int, head: int) -> None:
    """The weights of a head, beside the gradient of the loss on them."""
    from gptviz.analysis.gradients import row_kept, score_gradient

    backward = learned.backward
    at = backward.layers.index(layer)
    weights, gradient = backward.weights[at, head], backward.attention[at, head]  # (T, T)
    kept = row_kept(gradient, weights)
    what = pick_one("Gradient on", SHOWN, key="loss_on")
    values = {"weights": gradient, "kept": kept, "scores": score_gradient(gradient, weights)}[what]
    shown = {"A [query, key]": weights, CLAIMED[what]: values, CLAIMED["kept"]: kept}
    reading.claim(f"head {layer}.{head}", shown, derived.attention, layer, head, slow=True, nothing=NOTHING)
    pair = figures.attention_pair(weights, values, reading.tokens, SHOWN[what])
    for place, figure, key in zip(st.columns(2), pair, ("loss_weights", "loss_gradient"), strict=True):
        with place:
            plot_matrix(figure, key)
    kept = np.tril(kept)
    shown = {"largest fall for a per cent, nats": -kept.min() / 100}
    reading.claim("what would have helped", shown, derived.attention, layer, head, slow=True, nothing=NOTHING)
    st.markdown(say_attention(reading.tokens, weights, kept))
    st.caption(ABOUT[what] + " Masked cells are grey: their weight is 0 and stays 0.")


ABOUT = {
    "weights": (
        "Blue, below 0: a larger weight would have lowered the loss; orange, above 0: raised it; everything else held. "
        "A row of weights has to sum to 1, so only differences within a row count: see “Row sum kept at 1”."
    ),
    "kept": (
        "dL/dA less its mean over the row, weighted by A. Blue, below 0: moving attention here, from all of the row in "
        "proportion, would have lowered the loss; orange, above 0: raised it."
    ),
    "scores": (
        "A times the gradient with the row sum kept: what is left before the softmax, on its way to query and key. "
        "Where a weight is near 0 nothing gets through, however much the loss would gain."
    ),
}


def say_attention(tokens: tuple[str, ...], weights: np.ndarray, kept: np.ndarray) -> str:
    """The cell whose attention would have helped most, in words."""
    query, key = np.unravel_index(int(kept.argmin()), kept.shape)
    gain, last = -float(kept[query, key]), "The last row is 0: nothing is asked of the last position."
    if gain <= 0:
        return f"No other attention of this head would have lowered the loss, to first order. {last}"
    return (
        f"More attention from {escape(tokens[query])} (position {query}) to {escape(tokens[key])} (position {key}), "
        f"now {weights[query, key]:.3f}, would have helped most: each per cent of the row moved there lowers the loss "
        f"by about **{gain / 100:.2g} nats**. {last}"
    )


class Stepped(NamedTuple):
    """One step, and the losses after it."""

    after: Losses
    slope: float  # nats that the loss should fall for a learning rate of 1


@st.cache_resource(max_entries=128, show_spinner=False)
def stepped(
    fingerprint: str, ids: tuple[int, ...], optimizer: str, rate: float, _gpt: GPT, _learned: Learned
) -> Stepped:
    """The losses after one step, once for a model, a sentence, an optimiser and a learning rate."""
    from gptviz.analysis import one_step

    gradients = _learned.backward.parameters
    step = one_step.direction(_gpt, gradients, optimizer)
    return Stepped(one_step.losses_after(_gpt, step, rate, ids), one_step.slope(gradients, step))


def take_step(reading: Reading, learned: Learned, optimizer: str, rate: str) -> Stepped:
    """`stepped`, for this sentence."""
    model = reading.model
    return stepped(model.fingerprint, reading.trace.ids, optimizer, float(rate), model.gpt, learned)


def pick_step() -> tuple[str, str]:
    """An optimiser, and one of RATES."""
    with st.container(horizontal=True, gap="large", vertical_alignment="bottom"):
        optimizer = pick_one("Optimiser", OPTIMIZERS, key="loss_optimizer")
        rate = slide_among("Learning rate", RATES, "0.001", key="loss_rate", width=420)
    return optimizer, rate


def show_step(reading: Reading, losses: Losses, learned: Learned, optimizer: str, rate: str) -> None:
    """The loss before and after one step, predicted and measured, and by position."""
    step = take_step(reading, learned, optimizer, rate)
    measured, predicted = step.after.mean - losses.mean, -float(rate) * step.slope
    shown = {"slope": step.slope, "nats after [position]": step.after.nats, "loss after, nats": step.after.mean}
    better, made = int((step.after.nats < losses.nats).sum()), (derived.step, optimizer, float(rate))
    reading.claim("one step", shown, *made, slow=True, nothing=NOTHING)
    shown = {
        "change, measured, nats": measured,
        "change, first order, nats": predicted,
        "loss before, nats": losses.mean,
    }
    reading.claim("change of the loss", shown | {"targets that are likelier": better}, *made, slow=True, nothing=1.0)
    with st.container(horizontal=True):
        st.metric("Loss before", f"{losses.mean:.4f} nats")
        st.metric("Loss after", f"{step.after.mean:.4f} nats")
        st.metric("Change, measured", nats_text(measured))
        st.metric("Change, first order", nats_text(predicted), help="−η ⟨gradient, step⟩; for SGD this is −η‖g‖²")
    st.markdown(say_step(len(losses.nats), better, measured, predicted))
    figure = figures.loss_bars(losses.nats, reading.tokens[:-1], reading.tokens[1:], after=step.after.nats)
    loss_parts.show_bars(figure, len(losses.nats), key="loss_after")


def nats_text(change: float) -> str:
    """A change of the loss, as a number with its sign."""
    return minus(f"{change:+.4f}")


def say_step(targets: int, better: int, measured: float, predicted: float) -> str:
    """The step in words; after it, `better` of the targets are likelier."""
    if not math.isfinite(measured):
        return "The step was so large that the loss is no number any more."
    text = f"After the step **{better} of {targets}** targets are likelier than before. "
    if measured > 0:
        return text + (
            f"The gradient promised {minus(f'{predicted:+.3g}')} nats and the loss **rose** by {measured:.3g}: the "
            "step went too far. The gradient holds for a small step only."
        )
    share = measured / predicted if predicted else math.nan
    straight = 0.9 < share < 1.1
    why = (
        "over so small a step the loss is nearly a straight line" if straight
        else "over a step of this size the loss is no straight line"
    )  # fmt: skip
    return text + f"The loss fell by {share:.1%} of what the gradient promised: {why}."


def show_curve(reading: Reading, losses: Losses, learned: Learned, optimizer: str, rate: str) -> None:
    """The loss after one step at each learning rate, computed once it is asked for."""
    if not switch(f"Try all {len(RATES)} learning rates", key="loss_curve"):
        return
    place, after = st.empty(), []
    for count, each in enumerate(RATES, start=1):
        after.append(take_step(reading, learned, optimizer, each))
        place.progress(count / len(RATES), f"{count} of {len(RATES)} steps, each from the model as it is")
    place.empty()
    means, slope = np.array([step.after.mean for step in after]), after[0].slope
    for each, step in zip(RATES, after, strict=True):
        shown = {"loss after, nats": step.after.mean}
        reading.claim(f"a step of {each}", shown, derived.step, optimizer, float(each), slow=True)
    rates = list(map(float, RATES))
    plot(figures.rate_curve(rates, means, losses.mean, slope, chosen=float(rate)), key="loss_rates")
    st.markdown(say_curve(means, losses.mean, optimizer))
    table = pd.DataFrame({"loss after": means, "first order": losses.mean - np.array(rates) * slope}, index=RATES)
    with st.expander("The same as a table"):
        table_with_csv(table.rename_axis("learning rate"), "learning-rates.csv", key="loss_rates_table")


def say_curve(means: np.ndarray, before: float, optimizer: str) -> str:
    """Where it helps most and where it overshoots, in words."""
    numbers = np.where(np.isfinite(means), means, np.inf)
    best, over = int(numbers.argmin()), np.flatnonzero(numbers > before)
    text = f"One {OPTIMIZERS[optimizer]} step lowers the loss most at **{RATES[best]}**, to {means[best]:.3g} nats"
    text += f"; from **{RATES[over[0]]}** on it is worse than before: it overshoots. " if len(over) else ". "
    if (zeros := int((means == 0).sum())) > 0:
        text += f"At {zeros} of them the loss is 0, and a logarithmic axis has no 0: these points are missing. "
    if optimizer == "sgd":
        return text + (
            "SGD moves along the gradient g, so its first-order change is −η‖g‖²: a straight line, which these "
            "logarithmic axes draw as a curve."
        )
    return text + (
        "The first AdamW step divides each gradient by its own size: every weight moves by about the learning rate, "
        "whatever its gradient, so it overshoots at far smaller rates than SGD."
    )
