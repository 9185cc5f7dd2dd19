"""The loss of the sentence on the page: its targets, what the model gave each, and what that asks of the logits."""

from __future__ import annotations

import html
from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from gptviz.analysis import losses as analysis
from gptviz.analysis.derived import predictions as derived
from gptviz.analysis.losses import Losses
from gptviz.figures import gradients as figures
from gptviz.figures.predictions import percent
from gptviz.figures.style import visible
from gptviz.ui.controls import slide
from gptviz.ui.lesson import Reading
from gptviz.ui.matrix import plot_wide
from gptviz.ui.show import escape, plot

MOST_SPREAD = 24  # positions that fit any page; more are scrolled
CELL = "padding:.15rem .6rem;text-align:center;white-space:pre;border:1px solid rgba(128,128,128,.3)"
NAME = (  # stays while the sentence is scrolled, and hides what passes under it
    "padding:.15rem .6rem;text-align:left;white-space:nowrap;position:sticky;left:0;"
    "background:light-dark(#ffffff,#0f151c)"
)


def judge(reading: Reading) -> Losses:
    """The loss of each target; of a single token, which has none, says so and ends the page."""
    if len(reading.tokens) < 2:
        st.info(
            "One token has no target: nothing came after it, so there is no loss and no gradient. Type one word more.",
            icon=":material/keyboard:",
        )
        st.stop()
    losses = analysis.target_losses(reading.trace.logits, reading.trace.ids)
    shown = {
        "probability [position]": losses.probability,
        "rank [position]": losses.rank,
        "nats [position]": losses.nats,
        "loss, nats": losses.mean,
        "loss, bits": losses.bits,
        "perplexity": losses.perplexity,
    }
    reading.claim("targets", shown, derived.sentence)
    return losses


def show_targets(reading: Reading, losses: Losses) -> None:
    """The sentence and, under each token, the one it is asked for, with what the model gave it; scrolled if long."""
    nats, most = losses.nats, float(losses.nats.max()) or 1.0
    tints = [f"background:rgba(224,138,60,{0.6 * value / most:.3f})" for value in nats]
    rows = {
        "position": [str(i) for i in range(len(nats))],
        "input": reading.tokens[:-1],
        "target": reading.tokens[1:],
        "probability": [percent(p) for p in losses.probability],
        "rank": [f"#{rank:,}" for rank in losses.rank],
        "−ln p, nats": [f"{value:.3f}" for value in nats],
    }
    tinted = ("target", "−ln p, nats")
    body = "".join(table_row(name, cells, tints if name in tinted else None) for name, cells in rows.items())
    table = f'<table class="gptviz-targets" style="border-collapse:collapse">{body}</table>'
    st.container(key="loss_row").html(f'<div class="gptviz-sideways">{table}</div>')


def table_row(name: str, cells: Sequence[str | None], tints: list[str] | None) -> str:
    """One row as HTML: every text literal, None as an empty cell."""
    drawn = (
        f'<td style="{CELL};{tint}">{"" if cell is None else html.escape(visible(cell))}</td>'
        for cell, tint in zip(cells, tints or [""] * len(cells), strict=True)
    )
    return f'<tr><th scope="row" style="{NAME}">{name}</th>{"".join(drawn)}</tr>'


def show_mean(losses: Losses) -> None:
    """The loss in nats, in bits and as perplexity."""
    st.latex(r"L = -\frac{1}{T-1} \sum_{t=0}^{T-2} \ln p_t(x_{t+1})")
    with st.container(horizontal=True):
        st.metric("Loss: mean cross-entropy", f"{losses.mean:.4f} nats")
        st.metric("The same in bits, / ln 2", f"{losses.bits:.4f} bits")
        st.metric("Perplexity, exp(loss)", f"{losses.perplexity:,.2f}")


def show_bars(figure: go.Figure, positions: int, key: str) -> None:
    """Bars by position: in the width of the page, or scrolled where they are too many for it."""
    if positions > MOST_SPREAD:
        plot_wide(figure, key)
    else:
        plot(figure.update_layout(width=None), key)


def say_mean(losses: Losses, reading: Reading) -> str:
    """The loss in words."""
    worst = int(losses.nats.argmax())
    vocabulary = reading.model.gpt.config.vocab_size
    even = "below" if losses.perplexity < vocabulary else "above"
    return (
        f"On average the model was as unsure as between **{losses.perplexity:,.1f}** equally likely tokens, {even} the "
        f"{vocabulary:,} of a model that knows nothing. The largest loss is that of position {worst}: after "
        f"{escape(reading.tokens[worst])} it gave {escape(reading.tokens[worst + 1])} "
        f"{escape(percent(float(losses.probability[worst])))}. The last token has no target: nothing came after it."
    )


def targets_table(reading: Reading, losses: Losses) -> pd.DataFrame:
    """One row a position, every digit."""
    return pd.DataFrame(
        {
            "input": [visible(token) for token in reading.tokens[:-1]],
            "target": [visible(token) for token in reading.tokens[1:]],
            "target id": losses.targets,
            "probability": losses.probability,
            "rank": losses.rank,
            "nats": losses.nats,
        },
        index=pd.RangeIndex(len(losses.nats), name="position"),
    )


def pick_position(reading: Reading) -> int:
    """A position that has a target; the last one unless chosen otherwise."""
    last = len(reading.tokens) - 2
    return slide("Position", 0, last, last, 1, key="loss_at") if last else 0


def show_logits(reading: Reading, losses: Losses, at: int, n: int = 10) -> None:
    """p - onehot at a position: the tokens that are pushed hardest."""
    gradient = analysis.logit_gradient(reading.trace.logits[at], int(losses.targets[at]))
    ids = analysis.strongest(gradient, n)
    pull, share = -float(gradient[losses.targets[at]]), abs(gradient[ids]).sum() / abs(gradient).sum()
    shown = {
        "gradient [token id]": gradient,
        "gradient of the tokens named [row]": gradient[ids],
        "largest gradients [row]": abs(gradient[ids]),
        "share of those named": share,
        "pull on the token that came": pull,
    }
    reading.claim("logits", shown, derived.logit_gradient, at, tuple(ids.tolist()))
    tokens = reading.model.tokenizer.token_texts(ids.tolist())
    where = [i for i, token in enumerate(ids.tolist()) if token == losses.targets[at]]
    plot(figures.logit_bars(tokens, gradient[ids], where[0] if where else None), key="loss_logits")
    st.markdown(
        f"After {escape(reading.tokens[at])} came {escape(reading.tokens[at + 1])}. Its logit is pulled up with "
        f"{pull:.4f}, which is 1 − p; every other logit is pushed down by its own probability, so that all "
        f"{len(gradient):,} gradients sum to 0. The {len(ids)} strongest are shown, "
        f"{share:.1%} of all that is pushed and pulled. The loss is a mean over {len(losses.nats)} "
        f"target{'s'[: len(losses.nats) > 1]}, so its own gradient at this position is that "
        + (f"divided by {len(losses.nats)}." if len(losses.nats) > 1 else "very one.")
    )
