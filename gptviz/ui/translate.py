"""What the page of a translation is made of: the stepper, drawn by assets/translate*.js, and its numbers as tables.

All that a step needs is in the browser: stepping, playing and pointing at a token ask nothing of the server, which is
told where the visitor stopped, for the link and for the table.
"""

from __future__ import annotations

import base64

import numpy as np
import pandas as pd
import streamlit as st

from gptviz.analysis import decoding
from gptviz.analysis.derived import translations as derived
from gptviz.figures.style import SEQUENTIAL, minus, visible
from gptviz.ui.address import kept, put_right
from gptviz.ui.component import component
from gptviz.ui.controls import give_keys_back, number_in, pick_head, pick_layer, pick_one
from gptviz.ui.show import escape, table_with_csv
from gptviz.ui.translation import PairReading

SCRIPTS = ("translate_state", "translate_pictures", "translate_paint", "translate_parts", "translate")
draw = component("gptviz_translate", SCRIPTS, ["translate"])
OVER = {"mean": "Mean of all heads", "head": "One head"}
ATTENTIONS = ("encoder", "decoder", "cross")
MOST_CANDIDATES = 6
MOST_KEPT = 64  # candidates of translations, for all visitors
RAMP = [[int(channel) for channel in colour[4:-1].split(",")] for _, colour in SEQUENTIAL]  # 9 x RGB


def pick_attention(reading: PairReading) -> tuple[int, int | None]:
    """Layer, and head or None for the mean of all heads of the layer."""
    config = reading.model.transformer.config
    with st.container(horizontal=True, gap="medium"):
        layer = pick_layer(config, first=config.n_layers - 1)  # where cross-attention follows words
        over = pick_one("Show", OVER, key="translate_view")
        return layer, pick_head(config) if over == "head" else None


def name_of(layer: int, head: int | None) -> str:
    """What is shown, in words."""
    return f"layer {layer}, mean of its heads" if head is None else f"head {layer}.{head}"


def chosen_step(reading: PairReading) -> int | None:
    """The step of the link, 1 to T; None for the whole translation."""
    text = kept().get("step")
    if not text:
        return None
    try:
        return number_in(1, len(reading.written), int)(text)
    except ValueError:
        return put_right("step")


def stepper(reading: PairReading, layer: int, head: int | None) -> int | None:
    """The translation to step through, with its three attentions; returns the step at which the visitor stopped."""
    step = chosen_step(reading)
    draw(
        key="translation",
        data=payload(reading, layer, head) | {"step": step or 0},
        on_step_change=lambda: hear_step(reading),
    )
    give_keys_back(key="translate_keys", height=1)
    return step


def hear_step(reading: PairReading) -> None:
    """The visitor stopped at a step, {"id", "step"}, 0 for the whole; what the browser says may be anything."""
    told = st.session_state["translation"].step
    if not isinstance(told, dict) or told.get("id") != id_of(reading):
        return
    step = told.get("step")
    if isinstance(step, int) and not isinstance(step, bool) and 0 <= step <= len(reading.written):
        kept()["step"] = step


def id_of(reading: PairReading) -> str:
    """Of a sentence in a model."""
    return f"{reading.model.fingerprint} {reading.text}"


def payload(reading: PairReading, layer: int, head: int | None) -> dict[str, object]:
    """What the browser draws."""
    tokenizer, ids, found = reading.model.tokenizer, reading.result.ids, candidates_of(reading)
    names = [tokens_shown(tokenizer.token_texts(row)) for row in found.ids.tolist()]
    weights = {side: decoding.of_heads(getattr(reading.trace, side).weights, layer, head) for side in ATTENTIONS}
    shown = {f"{side} [query, key]": matrix for side, matrix in weights.items()}
    reading.claim("attention", shown, derived.attentions, layer, head)
    return {
        "id": id_of(reading),
        "end": visible(tokenizer.token_text(tokenizer.end_of_text)),
        "source": tokens_shown(reading.source),
        "inputs": tokens_shown(reading.inputs),
        "written": tokens_shown(reading.written),
        "texts": [tokenizer.decode(ids[:n]) for n in range(len(ids) + 1)],  # n tokens written; the end adds nothing
        "candidates": [list(zip(*row, strict=True)) for row in zip(names, found.probabilities.tolist(), strict=True)],
        "rest": found.rest.tolist(),
        "chosen": [row.index(token) if token in row else -1 for row, token in zip(
            found.ids.tolist(), reading.written_ids, strict=True)],
        "probabilities": found.written.tolist(),
        "weights": {side: packed(matrix) for side, matrix in weights.items()},
        "ramp": RAMP,
    }  # fmt: skip


def tokens_shown(tokens: tuple[str, ...]) -> list[str]:
    """Tokens as they are shown here."""
    return [visible(token) for token in tokens]


def packed(weights: np.ndarray) -> str:
    """float32 as base64: exact, and half as long as digits."""
    return base64.b64encode(weights.astype("<f4").tobytes()).decode()


def candidates_of(reading: PairReading) -> decoding.Candidates:
    """What could have been written at each step."""
    found = likeliest(reading.model.fingerprint, reading.text, reading)
    shown = {
        "probability of the tokens named [step, rank]": found.probabilities,
        "largest probabilities [step, rank]": found.probabilities,
        "all others together [step]": found.rest,
        "probability of the token written [step]": found.written,
    }
    written, named = reading.written_ids, tuple(map(tuple, found.ids.tolist()))
    reading.claim("candidates", shown, derived.steps, written, named, side="decoder")
    return found


@st.cache_resource(max_entries=MOST_KEPT, show_spinner=False)
def likeliest(fingerprint: str, text: str, _reading: PairReading) -> decoding.Candidates:
    """`decoding.candidates`, once for a model and a sentence."""
    return decoding.candidates(_reading.trace.decoder.logits, _reading.written_ids, MOST_CANDIDATES)


def show_result(reading: PairReading) -> None:
    """How probable the translation is, in words, and its attentions as a file."""
    from gptviz.translation import LENGTH_PENALTY

    result, n = reading.result, len(reading.written)
    mean = decoding.mean_probability(result.probabilities)
    shown = {"mean token probability": mean, "beam score": result.score}
    reading.claim("translation", shown, derived.judged, reading.written_ids, side="decoder")
    st.markdown(
        f"Mean token probability **{mean:.1%}** (geometric, over {n} "
        f"tokens). Beam score **{minus(f'{result.score:.2f}')}**: the log-probability of all of them, in nats, divided "
        rf"by the length penalty $\left(\frac{{5 + {n}}}{{6}}\right)^{{{LENGTH_PENALTY}}}$, so that a longer "
        "translation can win a beam search."
    )
    st.download_button(
        "Save the three attentions (.npz)",
        lambda: npz_of(reading),
        file_name="attentions.npz",
        mime="application/octet-stream",
        key="translate_npz",
        icon=":material/download:",
        on_click="ignore",
        help="For NumPy: encoder_weights L × H × S × S, decoder_weights L × H × T × T, cross_weights L × H × T × S, "
        "and the tokens of their rows and columns",
    )


def npz_of(reading: PairReading) -> bytes:
    """The attentions of all heads, with their tokens."""
    arrays = {f"{side}_weights": getattr(reading.trace, side).weights for side in ATTENTIONS}
    texts = {"source_tokens": reading.source, "decoder_tokens": reading.inputs, "written_tokens": reading.written}
    return decoding.as_npz(arrays, {name: tokens_shown(tokens) for name, tokens in texts.items()})


def show_weights(reading: PairReading, layer: int, head: int | None, step: int | None) -> None:
    """The weights of the chosen step as a table, or of the whole cross-attention."""
    shown = name_of(layer, head)
    if step is None:
        st.subheader("The whole cross-attention as numbers", anchor="weights")
        st.caption(f"Of {shown}: a row for each token written, a column for each German token.")
        table = cross_table(reading, layer, head)
    else:
        st.subheader(f"Step {step} as numbers", anchor="weights")
        written, read = escape(reading.written[step - 1]), escape(reading.inputs[step - 1])
        st.caption(f"To write {written}, with {read} read last. “shown” is {shown}, then come the heads of the layer.")
        table = step_table(reading, layer, head, step)
    table_with_csv(table, "weights.csv", key="translate_weights")


def cross_table(reading: PairReading, layer: int, head: int | None) -> pd.DataFrame:
    """T rows by S columns, each with its place, as tokens come again."""
    names = [[f"{i} {token}" for i, token in enumerate(tokens_shown(t))] for t in (reading.written, reading.source)]
    weights = decoding.of_heads(reading.trace.cross_weights, layer, head)
    reading.claim("whole cross-attention", {"cross [query, key]": weights}, derived.attentions, layer, head)
    return pd.DataFrame(weights, *names)


def step_table(reading: PairReading, layer: int, head: int | None, step: int) -> pd.DataFrame:
    """What the query of one step attended to: S rows of cross-attention, then those that the decoder could see."""
    row = step - 1
    parts = {
        "cross": (reading.trace.cross_weights[:, :, row], reading.source),  # (L, H, S)
        "decoder": (reading.trace.decoder_weights[:, :, row, :step], reading.inputs[:step]),  # (L, H, step)
    }
    tables, shown = [], {}
    for attention, (weights, tokens) in parts.items():
        heads = {f"head {layer}.{i}": values for i, values in enumerate(weights[layer])}
        mean = decoding.of_heads(weights[:, :, None], layer, head)[0]
        shown |= {f"{attention} [key]": mean, f"{attention} by head [head, key]": weights[layer]}
        columns = {"attention": attention, "position": range(len(tokens)), "token": tokens_shown(tokens)}
        tables.append(pd.DataFrame(columns | {"shown": mean} | heads))
    reading.claim(f"step {step}", shown, derived.attention_at, layer, head, row)
    return pd.concat(tables, ignore_index=True)
