"""What the page on why the mask exists shows of a pair: losses, heads, predictions and texts, with words to each."""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from gptviz.analysis import twins
from gptviz.analysis.derived import predictions
from gptviz.analysis.derived import twins as derived
from gptviz.analysis.shown import Sentence
from gptviz.figures.heatmap import heatmap
from gptviz.figures.predictions import top_bars
from gptviz.figures.thumbnail import thumbnail
from gptviz.figures.twins import Curves, loss_curves, next_bars
from gptviz.ui.address import kept
from gptviz.ui.controls import number, pick_head, pick_layer, slide
from gptviz.ui.overview import LARGEST_WALL, draw_wall, is_head
from gptviz.ui.show import escape, plot, table_with_csv
from gptviz.ui.strip import token_strip
from gptviz.ui.twins import Side

if TYPE_CHECKING:
    from gptviz import LanguageModel
    from gptviz.runs.recording import Losses
    from gptviz.runs.twins import Twins

COLLAPSED = 0.5  # of the masked one's loss: below it the unmasked one's has clearly fallen away
MOST_WRITTEN = 40  # tokens
FIRST = 3  # of them are judged on their own: before a text can repeat itself
LONGEST = 64  # tokens that are asked for one by one
ONE_TOKEN = "One token: nothing came after it. Type one word more."


# The losses -----------------------------------------------------------------------------------------------------------


def show_losses(pair: Twins, step: int, context: int) -> None:
    """Both trainings in one figure, and where they end in words."""
    names = ("with the mask", "without")
    losses = dict(zip(names, (pair.masked.losses(), pair.unmasked.losses()), strict=True))
    if not all(each.train for each in losses.values()):
        st.info("One of the two has no log of its losses yet.")
        return
    curves = {
        name: Curves(*twins.thinned(each.steps, each.train), np.array(each.valid_steps), np.array(each.valid))
        for name, each in losses.items()
    }
    plot(loss_curves(curves, step), key="twins_loss")
    st.markdown(say_losses(*losses.values(), context))
    st.caption("Solid: on what is trained on, each point the mean of neighbouring steps. Dotted: on held-out text.")
    with st.expander("The same as a table"):
        frames = [
            pd.DataFrame({f"{name}, {kind}": values}, index=pd.Index(steps, name="step"))
            for name, each in losses.items()
            for kind, steps, values in (
                ("trained on", each.steps, each.train),
                ("held out", each.valid_steps, each.valid),
            )
        ]
        table_with_csv(
            pd.concat(frames, axis=1).sort_index(), "losses-with-and-without-mask.csv", key="twins_loss_table"
        )


def say_losses(masked: Losses, unmasked: Losses, context: int) -> str:
    """Where both trainings are at the last step that both have, in words."""
    end = min(masked.steps[-1], unmasked.steps[-1])
    (with_mask, with_mask_out), (without, without_out) = (twins.at_step(each, end) for each in (masked, unmasked))
    text = (
        f"After {end:,} steps **{without:.2g} nats** per token without the mask, **{with_mask:.2f} nats** with it "
        f"(training loss, mean of the last {twins.LAST} records)"
    )
    if not math.isnan(with_mask_out + without_out):
        text += f"; on held-out text {without_out:.2g} and {with_mask_out:.2f}"
    text += ". "
    if without > COLLAPSED * with_mask:
        return text + (
            "So far the one without the mask has not found the answer, though it stands in its input: a head has to "
            "learn to look one place to the right first."
        )
    return text + (
        "By this number the one without the mask is far better, on text it never saw, too. It is a number about "
        "**copying**: the token that is asked for stands in its input, one place to the right. Only the last of the "
        f"{context} places of a training window has no answer in view."
    )


# The attention --------------------------------------------------------------------------------------------------------


def show_attention(masked: Side, unmasked: Side) -> None:
    """All heads of both on one scale, and one of them large."""
    share = [twins.next_share(side.trace.weights) for side in (masked, unmasked)]  # 2 x (L, H)
    for side, each in zip((masked, unmasked), share, strict=True):
        side.claim("attention to the next token", {"share on the next token [layer, head]": each}, derived.next_share)
    config = masked.model.gpt.config
    first = twins.largest(share[1])
    layer, head = chosen_head((config.n_layers, config.n_heads), first)
    columns = st.columns(2)
    for place, side in zip(columns, (masked, unmasked), strict=True):
        with place:
            st.markdown(f"**{side.name}**, every head")
            wall(side, (layer, head))
    if len(masked.tokens) > 1:
        st.markdown(say_share(*share, len(masked.tokens)))
    with st.container(horizontal=True, gap="large"):
        layer, head = pick_layer(config, first[0]), pick_head(config, first[1])
    for place, side, each in zip(st.columns(2), (masked, unmasked), share, strict=True):
        with place:
            st.markdown(f"**{side.name}**, head {layer}.{head}: {each[layer, head]:.1%} on the next token")
            plot(head_figure(side, layer, head), key=f"twins_head_{'on' if side.causal else 'off'}")
    with st.expander("The share on the next token as a table"):
        table_with_csv(twins.heads_table(*share), "attention-on-the-next-token.csv", key="twins_heads_table")


def chosen_head(counts: tuple[int, int], first: tuple[int, int]) -> tuple[int, int]:
    """Layer and head as the address has them, of so many; without an address, `first`."""
    numbers = []
    for name, count, default in zip(("layer", "head"), counts, first, strict=True):
        text = kept().get(name) or str(default)
        numbers.append(min(int(text), count - 1) if text.isascii() and text.isdigit() and len(text) < 9 else 0)
    return numbers[0], numbers[1]


def wall(side: Side, chosen: tuple[int, int]) -> None:
    """Every head of one side, small; a click shows it large on both."""
    weights = side.trace.weights[:, :, -LARGEST_WALL:, -LARGEST_WALL:]  # (L, H, T, T)
    future = mask_of(side, weights.shape[-1])
    rows = [[base64.b64encode(thumbnail(head, future)).decode() for head in layer] for layer in weights]
    key = f"twins_wall_{'on' if side.causal else 'off'}"
    data = {"rows": rows, "chosen": list(chosen), "what": "show it large"}
    draw_wall(key=key, data=data, on_pick_change=lambda: choose_head(key, *weights.shape[:2]))
    if weights.shape[-1] < len(side.tokens):
        st.caption(f"Shown: the last {weights.shape[-1]} of {len(side.tokens)} tokens.")


def mask_of(side: Side, t: int) -> np.ndarray:
    """Which cells one side may not look at: (T, T) bool."""
    return np.triu(np.full((t, t), side.causal), k=1)


def choose_head(key: str, n_layers: int, n_heads: int) -> None:
    """Keep the head that was clicked, for both."""
    picked = st.session_state[key].pick
    if is_head(picked, n_layers, n_heads):
        kept()["layer"], kept()["head"] = map(str, picked)  # 0 as well: without an address another one is shown


def head_figure(side: Side, layer: int, head: int) -> object:
    """One head, large."""
    weights = side.trace.layer_weights(layer)[head]  # (T, T)
    return heatmap(weights, side.tokens, side.tokens, masked=mask_of(side, len(side.tokens)), span=(0, 1))


def say_share(masked: np.ndarray, unmasked: np.ndarray, t: int) -> str:
    """Which head of the unmasked one looks ahead most, in words."""
    layer, head = twins.largest(unmasked)
    return (
        f"Without the mask, head **{layer}.{head}** gives **{unmasked[layer, head]:.1%}** of its attention to the "
        "**next** token, the most of all its heads: to the very token that it is asked for. Spread evenly over the "
        f"sentence that would be {1 / t:.1%}. With the mask no head can look there: its largest share is "
        f"{masked.max():.0%}."
    )


# The predictions ------------------------------------------------------------------------------------------------------


def show_next(masked: Side, unmasked: Side) -> None:
    """What each gives to the tokens that really came: with the answer in view, without it, and with a mask put on."""
    if len(masked.tokens) < 2:
        st.info(ONE_TOKEN)
        return
    logs = next_logs(masked, unmasked)
    claim_next(masked, unmasked, logs)
    tokens = masked.tokens[-1 - len(logs[WAYS[0]]) :]
    if len(tokens) < len(masked.tokens):
        st.caption(f"Asked for: the last {len(tokens) - 1} of {len(masked.tokens)} tokens.")
    plot(next_bars({name: np.exp(each) for name, each in logs.items()}, tokens), key="twins_next")
    st.markdown(
        say_next({name: -float(each.mean()) for name, each in logs.items()}, masked.model.gpt.config.vocab_size)
    )
    with st.expander("The same as a table"):
        columns = {"after": tokens[:-1], "came": tokens[1:], **{name: np.exp(each) for name, each in logs.items()}}
        table_with_csv(pd.DataFrame(columns), "probability-of-the-next-token.csv", key="twins_next_table")


WAYS = ("with the mask", "without, the answer in view", "without, nothing after it there", "without, but masked now")


def next_logs(masked: Side, unmasked: Side) -> dict[str, np.ndarray]:
    """Log-probabilities of the tokens that really came, each (n,), by the way in which they were asked for."""
    from gptviz.trace import WhatIf  # torch

    ids, last = masked.trace.ids, min(LONGEST, len(masked.tokens) - 1)
    remasked = unmasked.trace_with(WhatIf())
    traces = (masked.trace, unmasked.trace, remasked)
    seen, in_view, put_on = (twins.of_the_next(trace.logits, ids)[-last:] for trace in traces)
    unseen = asked_one_by_one(unmasked.model.fingerprint, ids, last, unmasked.model)
    return dict(zip(WAYS, (seen, in_view, unseen, put_on), strict=True))


def claim_next(masked: Side, unmasked: Side, logs: dict[str, np.ndarray]) -> None:
    """Let the badge check all four ways of asking."""
    from gptviz.trace import WhatIf

    ids, last = masked.trace.ids, len(logs[WAYS[0]])
    alone = tuple(Sentence(ids[:at], causal=False) for at in range(len(ids) - last, len(ids)))
    remasked = unmasked.trace_with(WhatIf())
    asked = (masked, (masked.trace,)), (unmasked, (unmasked.trace,)), (unmasked, alone), (unmasked, (remasked,))
    for (side, passes), (way, each) in zip(asked, logs.items(), strict=True):
        shown = {"log-probability of the next token [place]": each, "mean loss, nats": -each.mean()}
        derive = derived.came_alone if passes is alone else derived.came
        side.claim(f"sentence {way}", shown, derive, ids[len(ids) - last :], of=passes)


@st.cache_data(max_entries=64, show_spinner=False)
def asked_one_by_one(fingerprint: str, ids: tuple[int, ...], last: int, _model: LanguageModel) -> np.ndarray:
    """What the one without the mask gives to each of the `last` tokens when nothing after it is there."""
    return twins.of_the_next_unseen(_model.gpt, ids, causal=False, last=last)


def say_next(means: dict[str, float], vocab_size: int) -> str:
    """The mean losses on the sentence in words, in nats per token; `means` are in the order of `WAYS`."""
    masked, in_view, unseen, put_on = means.values()
    even = math.log(vocab_size)
    return (
        f"Mean loss on this sentence: **{masked:.2f} nats** with the mask, **{in_view:.2g} nats** without it while the "
        f"answer stands in the input. Now the honest test: each token is asked for when **nothing after it exists**, "
        f"as when a model writes. The one without the mask then has **{unseen:.2f} nats**, "
        f"{'worse' if unseen > masked else 'not worse'} than the one with it"
        f"{', and worse than guessing all tokens alike' if unseen > even else ''} ({even:.2f} would be guessing all "
        f"{vocab_size:,} tokens alike). Read **with a mask put on it** after its training it has **{put_on:.2f} nats**"
        + (": its heads look for an answer that is hidden from them." if put_on > masked else ".")
    )


def show_last(masked: Side, unmasked: Side) -> None:
    """What both expect after the last token, where neither has an answer in view."""
    for place, side in zip(st.columns(2), (masked, unmasked), strict=True):
        found = twins.likeliest(side.trace.logits[-1])
        shown = {
            "probability of the tokens named [rank]": found.probabilities,
            "largest probabilities [rank]": found.probabilities,
            "the rest": found.rest,
            "entropy, bits": found.entropy,
        }
        side.claim("next token", shown, predictions.next_token, tuple(found.ids.tolist()))
        vocabulary = side.model.tokenizer
        tokens = vocabulary.token_texts(found.ids.tolist())
        with place:
            st.markdown(f"**{side.name}**, after “{escape(side.tokens[-1])}”: entropy {found.entropy:.2f} bits")
            others = side.model.gpt.config.vocab_size - len(found.ids)
            figure = top_bars(tokens, found.probabilities, found.rest, others)
            plot(figure, key=f"twins_last_{'on' if side.causal else 'off'}")


# What they write ------------------------------------------------------------------------------------------------------


def show_writing(masked: Side, unmasked: Side) -> None:
    """How both go on from the sentence, and what the one with the mask makes of either text."""
    with st.container(horizontal=True, gap="large"):
        temperature = slide("Temperature", 0.0, 1.5, 0.8, 0.1, "pair_temperature")
        seed = number("Seed", 0, 9999, 0, "pair_seed", width=140)
    amount = min(MOST_WRITTEN, masked.model.gpt.config.context - 2)
    texts, rows = [], []
    for place, side in zip(st.columns(2), (masked, unmasked), strict=True):
        ids = written(side.model.fingerprint, side.trace.ids, amount, temperature, seed, side.causal, side.model)
        judged = twins.written_log_probabilities(masked.model.gpt, (*side.trace.ids, *ids), len(ids))
        whole = Sentence((*side.trace.ids, *ids)[-masked.config.context :])
        shown = {"log-probability of the next token [place]": judged}
        masked.claim(f"what was written {side.name.lower()}", shown, derived.came, tuple(ids), of=(whole,))
        tokens = side.model.tokenizer.token_texts(ids)
        texts.append((ids, judged))
        rows += [(side.name, i, token, float(log)) for i, (token, log) in enumerate(zip(tokens, judged, strict=True))]
        with place:
            st.markdown(f"**{side.name}**" + ("" if ids else ": ended the text at once"))
            labels = ["typed"] * len(side.tokens) + [f"log-probability {log:.3f}, by the one with it" for log in judged]
            tints = [0.0] * len(side.tokens) + [0.35] * len(ids)
            token_strip(side.tokens + tokens, f"twins_text_{'on' if side.causal else 'off'}", tints, labels=labels)
    if all(ids for ids, _ in texts):
        st.markdown(say_writing(*texts))
    with st.expander("The same as a table"):
        columns = ["written", "place", "token", "log-probability, by the one with the mask"]
        table_with_csv(pd.DataFrame(rows, columns=columns), "written-by-both.csv", key="twins_text_table")


@st.cache_data(max_entries=64, show_spinner=False)
def written(
    fingerprint: str, ids: tuple[int, ...], amount: int, temperature: float, seed: int, causal: bool,
    _model: LanguageModel,
) -> tuple[int, ...]:  # fmt: skip
    """The tokens that a model adds, read and drawn as it was trained; without the one that ends a text."""
    from gptviz.sampling import stream

    steps = stream(_model, ids, amount, temperature=temperature, seed=seed, causal=causal)
    return tuple(step.id for step in steps if step.id != _model.tokenizer.end_of_text)


Written = tuple[tuple[int, ...], np.ndarray]  # ids, and the log-probability of each, by the one with the mask


def say_writing(masked: Written, unmasked: Written) -> str:
    """How probable and how varied either text is, in words; both have a token or more."""
    (own, own_logs), (other, other_logs) = masked, unmasked
    first = min(FIRST, len(own), len(other))
    kinds = len(set(other))
    begin = "token" if first == 1 else f"{first} tokens"
    return (
        f"Without the mask it wrote {len(other)} tokens, of **{kinds} kind{'s'[: kinds > 1]}**; with it {len(own)}, of "
        f"{len(set(own))}. To the model with the mask, the first {begin} of the former have a mean "
        f"log-probability of **{other_logs[:first].mean():.2f} nats**, those of its own text "
        f"{own_logs[:first].mean():.2f}. Over the whole texts it is {other_logs.mean():.2f} and {own_logs.mean():.2f}: "
        "that says less, since a text that repeats itself is soon easy to guess. Both are drawn with the same seed and "
        "temperature, and read as their models were trained: the one without the mask sees all that is there so far, "
        "but the token that it learned to copy is not written yet."
    )
