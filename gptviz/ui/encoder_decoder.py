"""What the page on encoder and decoder is made of: the picture pair of the masking lesson, and where heads look."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from gptviz.analysis.directions import Directions, directions, directions_table, share_of_last, spread_evenly
from gptviz.analysis.masking import future_share
from gptviz.figures import directions as figures
from gptviz.ui import pair_claims as claims
from gptviz.ui.address import kept
from gptviz.ui.attention_view import attention_view, view_of_trace
from gptviz.ui.masking import plot_to_pick
from gptviz.ui.strip import token_strip
from gptviz.ui.translation import PairReading
from gptviz.view import ViewState

TITLES = {
    "encoder": "Encoder: unmasked, as trained",
    "decoder": "Decoder: masked, as trained",
    "cross": "Cross-attention: from English to German",
}
HEIGHT = 520  # pixels of a picture


def show_pair(pair: PairReading) -> None:
    """Self-attention of encoder and decoder in the attention view, on one scale, with the same head chosen."""
    for place, name in zip(st.columns(2), ("encoder", "decoder"), strict=True):
        with place:
            st.markdown(f"**{TITLES[name]}**")
            show_side(pair, name)


def show_side(pair: PairReading, name: str) -> None:
    """One of the three attentions. Each has a sentence of its own, so that each keeps its own clicks."""
    side = pair.side(name)
    keys = side.keys if name == "cross" else None
    view = view_of_trace(side.trace, title=TITLES[name], largest=1.0, keys=keys)
    view.state = ViewState(mode="matrix")
    attention_view(view, key=f"side_{name}", state_key=f"{name}_view", owner=kept(), height=HEIGHT)


def future_strip(pair: PairReading, layer: int, head: int) -> None:
    """The German sentence, each token coloured by the share of its attention that goes to its future."""
    share = future_share(pair.trace.encoder.layer_weights(layer)[head])  # (S,)
    claims.claim_future(pair, layer, head, share)
    st.caption("Each German token as a query: the more colour, the more of its attention went to tokens after it.")
    token_strip(pair.source, "side_strip", share, labels=[f"{x:.2%} on the tokens after it" for x in share])


class Measured(NamedTuple):
    """Where the heads of one side look, and where they would if each looked at all that it may see alike."""

    heads: Directions  # (L, H)
    even: Directions  # ()
    last: float  # mean over the heads of the share of the last token as a later one
    tokens: int


def measure(pair: PairReading) -> dict[str, Measured]:
    """Both sides, by name."""
    found = {}
    for name in ("encoder", "decoder"):
        trace = getattr(pair.trace, name)
        causal, t = trace.what_if.causal, len(trace.ids)
        last = float(share_of_last(trace.weights).mean())
        found[name] = Measured(directions(trace.weights, causal), spread_evenly(t, causal), last, t)
        claims.claim_directions(pair, name, found[name])
    return found


def show_shares(found: dict[str, Measured], layer: int, head: int) -> None:
    """The heads of one layer of both sides as bars; a click on a bar chooses its head."""
    for place, (name, measured) in zip(st.columns(2), found.items(), strict=True):
        every = measured.heads
        shares = np.stack([every.past[layer], every.itself[layer], every.future[layer]])  # (3, H)
        bars = figures.share_bars(shares, every.distance[layer], measured.even, layer, head, name.capitalize())
        with place:
            plot_to_pick(bars, f"side_shares_{name}", functools.partial(choose_head, shares.shape[1]))


def choose_head(heads: int, point: dict) -> None:
    """Write the head of the clicked bar into the control that all pages share; the bar below the heads is none."""
    if int(point["y"]) < heads:
        kept()["head"] = int(point["y"])


def shares_table(found: dict[str, Measured]) -> pd.DataFrame:
    """Every head of both sides."""
    return directions_table({name: measured.heads for name, measured in found.items()})


def say_directions(found: dict[str, Measured], layer: int, head: int) -> str:
    """Where one head of each side looks, and all of the encoder's, in words."""
    encoder, decoder = found["encoder"], found["decoder"]
    return " ".join((say_encoder(encoder, layer, head), say_decoder(decoder, layer, head), say_all(encoder)))


def say_encoder(measured: Measured, layer: int, head: int) -> str:
    """The encoder's head."""
    own = Directions(*(value[layer, head] for value in measured.heads))
    return (
        f"Head **{layer}.{head}** of the encoder puts **{own.future:.1%}** of its attention on later tokens, "
        f"{own.past:.1%} on earlier ones and {own.itself:.1%} on the token itself; what it looks at is "
        f"{own.distance:.1f} tokens away."
    )


def say_decoder(measured: Measured, layer: int, head: int) -> str:
    """The decoder's head of the same number."""
    if measured.tokens == 1:
        return "The decoder read a single token here, which can only look at itself."
    own = Directions(*(value[layer, head] for value in measured.heads))
    return (
        f"Head **{layer}.{head}** of the decoder: **{own.future:.0%}** on later tokens, which the mask forbids, "
        f"{own.past:.1%} on earlier ones, {own.itself:.1%} on the token itself, {own.distance:.1f} tokens away."
    )


def say_all(measured: Measured) -> str:
    """All heads of the encoder, with those that look furthest ahead and back."""
    every = measured.heads
    ahead, back = (np.unravel_index(value.argmax(), value.shape) for value in (every.future, every.past))
    return (
        f"Over all {every.future.size} heads of the encoder {every.future.mean():.1%} goes to later tokens "
        f"({measured.last:.1%} to the end of text alone) and {every.past.mean():.1%} to earlier ones; spread "
        f"evenly, each would get {measured.even.future:.1%}. Head **{ahead[0]}.{ahead[1]}** looks ahead most, with "
        f"{every.future[ahead]:.1%}, and head **{back[0]}.{back[1]}** back most, with {every.past[back]:.1%}."
    )
