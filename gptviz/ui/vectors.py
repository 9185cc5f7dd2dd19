"""Controls and shared work of the lesson on tokens and embeddings: one token, one stage, the map of a vocabulary."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from gptviz.figures import vectors as figures
from gptviz.figures.style import visible
from gptviz.ui import strip
from gptviz.ui.address import kept
from gptviz.ui.controls import number, pick_one, slide, switch
from gptviz.ui.show import plot

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from gptviz import LanguageModel, Trace
    from gptviz.analysis.vectors import Projection
    from gptviz.tokenizer import Tokenizer
    from gptviz.ui.lesson import Reading


NEAREST = 12  # neighbours to show
MOST_COSINES = 128  # tokens in a matrix of cosines: more would be smaller than a pixel on a phone


def pick_view(reading: Reading) -> View:
    """The token and the stage to look at."""
    place = st.container()
    left, right = st.columns([1, 3])
    with left:
        chosen = pick_token(reading.tokens, place, key="emb_token")
    with right:
        stage = pick_stage(reading.model, key="emb_stage")
    return View(chosen, stage)


def pick_token(tokens: Sequence[str], place: DeltaGenerator, key: str) -> int:
    """One token of the sentence: clicked in the strip in `place`, or by its number here, which owns the choice."""
    chosen = number("Chosen token, from 0", 0, len(tokens) - 1, 0, key)
    data = {"tokens": [visible(token) for token in tokens], "values": None, "labels": None}

    def clicked() -> None:
        kept()[key] = st.session_state[f"{key}_strip"].toggle

    with place:
        strip.draw(
            key=f"{key}_strip",
            data=data | {"selected": [chosen], "selectable": True},
            on_toggle_change=clicked,
        )
    return chosen


def pick_stage(model: LanguageModel, key: str) -> int:
    """0 for the embeddings, l for the residual stream after block l - 1."""
    label = "Stage: 0 is the embeddings, then the residual stream after each block"
    return slide(label, 0, model.gpt.config.n_layers, 0, 1, key)


@dataclass(frozen=True)
class View:
    """What the visitor chose to see."""

    chosen: int  # token of the sentence
    stage: int  # 0 for the embeddings, l for the residual stream after block l - 1
    dimensions: int = 2
    same_length: bool = True

    @property
    def names(self) -> tuple[str, str]:
        """What the stream was before and is after this stage, in words."""
        return ("token vectors", "token + position") if self.stage == 0 else (name(self.stage - 1), name(self.stage))


def name(stage: int) -> str:
    """The stream of a stage in words."""
    return "token + position" if stage == 0 else f"after block {stage - 1}"


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """What does not depend on the sentence, made once for a model. Shared by all visitors: never change it."""

    table: np.ndarray  # (V, C) the token vectors
    unit: np.ndarray  # (V, C) the same, of length 1
    tokens: tuple[str, ...]  # V
    labels: np.ndarray  # (V,) for hovering
    kinds: np.ndarray  # (V,) index into KINDS


def vocabulary(model: LanguageModel) -> Vocabulary:
    """The vocabulary of a model."""
    return cached_vocabulary(model, model.fingerprint)


@st.cache_resource(max_entries=2, show_spinner="Reading the vocabulary …")
def cached_vocabulary(_model: LanguageModel, fingerprint: str) -> Vocabulary:
    """By fingerprint: two models never share an entry."""
    from gptviz.analysis.vectors import KINDS, embedding_table, token_kind, unit_rows

    table, tokenizer = embedding_table(_model.gpt), _model.tokenizer
    tokens = tokenizer.token_texts(range(len(table)))
    kinds = np.array([KINDS.index(token_kind(tokenizer.token_bytes(i))) for i in range(len(table))])
    return Vocabulary(table, unit_rows(table), tokens, figures.point_labels(tokens), kinds)


@dataclass(frozen=True, eq=False)
class Axes:
    """The principal axes of a vocabulary, and its points on them."""

    projection: Projection
    points: np.ndarray  # (V, 3) float32


@st.cache_resource(max_entries=4, show_spinner="Finding the principal axes of the vocabulary …")
def cached_axes(_model: LanguageModel, fingerprint: str, same_length: bool) -> Axes:
    """Fitted on the whole table, of vectors as they are or all of length 1."""
    from gptviz.analysis.vectors import principal_axes

    whole = vocabulary(_model)
    table = whole.unit if same_length else whole.table
    projection = principal_axes(table, min(3, table.shape[1]))
    return Axes(projection, projection(table).astype(np.float32))


def draw_strips(reading: Reading, view: View) -> range:
    """Show what made the stream of this stage; returns which tokens are shown."""
    from gptviz.analysis.vectors import strips

    parts, shown = strips(reading.trace, view.stage), figures.window(len(reading.tokens), view.chosen)
    vectors = parts.vectors[:, shown.start : shown.stop]
    tokens = reading.tokens[shown.start : shown.stop]
    plot(figures.strips(parts.names, vectors, tokens, view.chosen - shown.start), "emb_strips")
    return shown


def draw_similarity(reading: Reading, view: View) -> None:
    """Show the cosines between the tokens before and after this stage, on one scale."""
    from gptviz.analysis.vectors import cosine_matrix, step

    shown = figures.window(len(reading.tokens), view.chosen, MOST_COSINES)
    tokens = reading.tokens[shown.start : shown.stop]
    sides = zip(st.columns(2), step(reading.trace, view.stage), view.names, ("before", "after"), strict=True)
    for place, vectors, name, key in sides:
        with place:
            cosines = cosine_matrix(vectors[shown.start : shown.stop])
            plot(figures.similarity(cosines, tokens, name.capitalize()), f"emb_cosines_{key}")


def draw_neighbours(reading: Reading, view: View) -> Sequence[int]:
    """Show the vocabulary's tokens closest to the chosen one, before and after this stage; returns the ids after it."""
    from gptviz.analysis.vectors import nearest, step

    whole, own = vocabulary(reading.model), reading.trace.ids[view.chosen]
    before, after = (vectors[view.chosen] for vectors in step(reading.trace, view.stage))
    itself = own if view.stage == 0 else None  # a token vector is its own nearest, which says nothing
    found = nearest(before, whole.unit, NEAREST, without=itself), nearest(after, whole.unit, NEAREST)
    cosines = np.concatenate([near.cosines for near in found])
    span = float(cosines.min()), float(cosines.max())
    for place, near, name, key in zip(st.columns(2), found, view.names, ("before", "after"), strict=True):
        tokens, marked = [whole.tokens[i] for i in near.ids], [bool(i == own) for i in near.ids]
        with place:
            plot(figures.neighbours(tokens, near.cosines, marked, name.capitalize(), span), f"emb_near_{key}")
    return found[1].ids.tolist()


def draw_map(reading: Reading, view: View, ringed: Sequence[int]) -> float:
    """Show the vocabulary with the sentence in it; returns the share of the table's variance that is seen."""
    from gptviz.analysis.vectors import KINDS, step, unit_rows

    whole, axes = vocabulary(reading.model), cached_axes(reading.model, reading.model.fingerprint, view.same_length)
    explained = axes.projection.explained[: view.dimensions]
    before, after = (
        axes.projection(unit_rows(vectors) if view.same_length else vectors)[:, : view.dimensions]
        for vectors in step(reading.trace, view.stage)
    )
    cloud = figures.Cloud(axes.points[:, : view.dimensions], whole.labels, whole.kinds, KINDS, explained)
    sentence = figures.Sentence(reading.tokens, before, after, view.names, view.chosen)
    plot(figures.vocabulary_map(cloud, sentence, ringed), "emb_map")
    return float(explained.sum())


def token_frame(tokenizer: Tokenizer, trace: Trace) -> pd.DataFrame:
    """One row a token: the token, its id, its bytes in hexadecimal."""
    pieces = [tokenizer.token_bytes(i) for i in trace.ids]
    return pd.DataFrame(
        {
            "token": [visible(token) for token in trace.tokens],
            "id": trace.ids,
            "bytes": [piece.hex(" ") for piece in pieces],
            "number of bytes": [len(piece) for piece in pieces],
        },
        index=pd.RangeIndex(len(pieces), name="position"),
    )


def closest_frame(reading: Reading, view: View) -> pd.DataFrame:
    """One row a token: the vocabulary entry closest to its stream, and where the token's own entry comes."""
    from gptviz.analysis.vectors import closest

    whole, shown = vocabulary(reading.model), figures.window(len(reading.tokens), view.chosen)
    rows = slice(shown.start, shown.stop)
    found = closest(reading.trace.residual[view.stage][rows], whole.unit, reading.trace.ids[rows])
    return pd.DataFrame(
        {
            "token": [visible(reading.tokens[i]) for i in shown],
            "closest in the vocabulary": [visible(whole.tokens[i]) for i in found.ids],
            "its cosine": found.cosines,
            "rank of the token itself": found.own_ranks,
            "cosine with the token itself": found.own_cosines,
        },
        index=pd.RangeIndex(shown.start, shown.stop, name="position"),
    )


def pick_map(view: View) -> View:
    """How the map is drawn."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        dimensions = pick_one("Dimensions", {2: "2", 3: "3"}, key="emb_dims")
        same_length = switch("Directions only: every vector scaled to length 1", "emb_unit", default=True)
    return dataclasses.replace(view, dimensions=dimensions, same_length=same_length)


def about_strips(reading: Reading, view: View, shown: range) -> str:
    """What the strips are, and whether they add up."""
    config, total = reading.model.gpt.config, len(reading.tokens)
    text = f"One row a token, {config.d_model} numbers each; all panels on one scale, centred on 0. "
    if view.stage == 0:
        text += "The first two add up to the third: at the same position every token gets the same second strip."
    elif config.norm_order == "pre":
        text += "The first three add up to the last: a block only ever adds to the stream."
    else:
        text += (
            "The first three do not add up to the last: this model normalises the stream after each of the two "
            "additions, which shifts and rescales every row."
        )
    if len(shown) < total:
        text += f" Tokens {shown.start} to {shown.stop - 1} of {total} are drawn; choose another token to move on."
    return text


def about_similarity(reading: Reading, view: View) -> str:
    """How to read the cosines."""
    text = "Cosine of the angle between two vectors: 1 the same direction, 0 at right angles, −1 opposite. "
    if view.stage == 0:
        text += (
            "On the left a token that occurs twice has the same vector twice; on the right its positions tell the "
            "two apart. "
        )
    else:
        text += "More orange on the right than on the left: the block made those two tokens more alike. "
    total = len(reading.tokens)
    if total > MOST_COSINES:
        text += f"The {MOST_COSINES} of {total} tokens around the chosen one are drawn."
    return text


def about_neighbours(reading: Reading, view: View) -> str:
    """What closeness to the token vectors means at this stage."""
    config = reading.model.gpt.config
    text = (
        f"Cosine with the token vector of each of the {config.vocab_size:,} entries of the vocabulary, all of them "
        "compared. The token itself is orange"
    )
    if view.stage == 0:
        return text + "; on the left it is left out, its cosine with itself is 1."
    text += ". The stream is no token vector any more, and nothing keeps it among them: a cosine only says which "
    text += "entry it points to most. "
    if config.tied:
        return text + (
            "This model uses the same table to predict, so that in the last blocks the stream turns from the token "
            "that was read to tokens that may come next."
        )
    return text + "This model predicts with a different table, so that these entries are no predictions."


def about_map(view: View, seen: float) -> str:
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
