"""Controls and shared work of the lesson on tokens and embeddings: one token, one stage, the map of a vocabulary."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from gptviz.analysis.derived import vectors as derived
from gptviz.figures import vectors as figures
from gptviz.figures.style import visible
from gptviz.ui import strip
from gptviz.ui.address import kept
from gptviz.ui.controls import number, pick_one, slide, switch
from gptviz.ui.show import plot
from gptviz.ui.translation import SideReading

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from gptviz import Trace
    from gptviz.analysis.vectors import Projection
    from gptviz.config import ModelConfig
    from gptviz.tokenizer import Tokenizer
    from gptviz.ui.lesson import Reading


NEAREST = 12  # neighbours to show
MOST_POINTS = 20_000  # of a vocabulary on its map: the browser gets a text with each of them
MOST_COSINES = 128  # tokens in a matrix of cosines: more would be smaller than a pixel on a phone


def pick_view(reading: Reading) -> View:
    """The token and the stage to look at."""
    place = st.container()
    left, right = st.columns([1, 3])
    with left:
        chosen = pick_token(reading.tokens, place, key="emb_token", given=reading.template)
    with right:
        stage = pick_stage(reading.config, key="emb_stage")
    return View(chosen, stage, positions_added=reading.config.positions != "rotary")


def pick_token(tokens: Sequence[str], place: DeltaGenerator, key: str, given: Sequence[bool] | None = None) -> int:
    """One token of the sentence: clicked in the strip in `place`, or by its number here, which owns the choice.

    `given` says which are the chat template's.
    """
    chosen = number("Chosen token, from 0", 0, len(tokens) - 1, 0, key)
    data = {"tokens": [visible(token) for token in tokens], "values": None, "labels": None, "given": given}

    def clicked() -> None:
        kept()[key] = st.session_state[f"{key}_strip"].toggle

    with place:
        strip.draw(
            key=f"{key}_strip",
            data=data | {"selected": [chosen], "selectable": True},
            on_toggle_change=clicked,
        )
    return chosen


def pick_stage(config: ModelConfig, key: str) -> int:
    """0 for the embeddings, l for the residual stream after block l - 1."""
    label = "Stage: 0 is the embeddings, then the residual stream after each block"
    return slide(label, 0, config.n_layers, 0, 1, key)


@dataclass(frozen=True)
class View:
    """What the visitor chose to see."""

    chosen: int  # token of the sentence
    stage: int  # 0 for the embeddings, l for the residual stream after block l - 1
    dimensions: int = 2
    same_length: bool = True
    positions_added: bool = True

    @property
    def names(self) -> tuple[str, str]:
        """What the stream was before and is after this stage, in words."""
        return "token vectors" if self.stage == 0 else self.name(self.stage - 1), self.name(self.stage)

    def name(self, stage: int) -> str:
        """The stream of a stage in words."""
        if stage == 0:
            return "token + position" if self.positions_added else "token vectors"
        return f"after block {stage - 1}"

    @property
    def moves(self) -> tuple[str, ...]:
        """Before and after this stage; only "after" where nothing is added to the token vectors."""
        return ("before", "after") if self.stage or self.positions_added else ("after",)


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """What does not depend on the sentence, made once for a model. Shared by all visitors: never change it."""

    table: np.ndarray  # (V, C) the token vectors
    unit: np.ndarray  # (V, C) the same, of length 1
    tokens: tuple[str, ...]  # V
    labels: np.ndarray  # (V,) for hovering
    kinds: np.ndarray  # (V,) index into KINDS


def vocabulary(reading: Reading) -> Vocabulary:
    """The vocabulary of a model, the same for both sides of an encoder-decoder."""
    return cached_vocabulary(reading, reading.model.fingerprint)


@st.cache_resource(max_entries=2, show_spinner="Reading the vocabulary …")
def cached_vocabulary(_reading: Reading, fingerprint: str) -> Vocabulary:
    """By fingerprint: two models never share an entry."""
    from gptviz.analysis.vectors import KINDS, embedding_table, token_kind, unit_rows

    table, tokenizer = embedding_table(_reading.stack), _reading.model.tokenizer
    tokens = tokenizer.token_texts(range(len(table)))
    kinds = np.array([KINDS.index(token_kind(tokenizer.token_bytes(i))) for i in range(len(table))])
    return Vocabulary(table, unit_rows(table), tokens, figures.point_labels(tokens), kinds)


@dataclass(frozen=True, eq=False)
class Axes:
    """The principal axes of a vocabulary, and its points on them."""

    projection: Projection
    points: np.ndarray  # (V, 3) float32


@st.cache_resource(max_entries=4, show_spinner="Finding the principal axes of the vocabulary …")
def cached_axes(_reading: Reading, fingerprint: str, same_length: bool) -> Axes:
    """Fitted on the whole table, of vectors as they are or all of length 1."""
    from gptviz.analysis.vectors import principal_axes

    whole = vocabulary(_reading)
    table = whole.unit if same_length else whole.table
    projection = principal_axes(table, min(3, table.shape[1]))
    return Axes(projection, projection(table).astype(np.float32))


def crossed(reading: Reading) -> Trace | None:
    """The cross-attention of a decoder's pass; of other stacks none."""
    return reading.pair.trace.cross if is_side(reading, "decoder") else None


def is_side(reading: Reading, side: str) -> bool:
    """Whether this is that side of an encoder-decoder."""
    return isinstance(reading, SideReading) and reading.side == side


def draw_strips(reading: Reading, view: View) -> range:
    """Show what made the stream of this stage; returns which tokens are shown."""
    from gptviz.analysis.vectors import strips

    parts = strips(reading.trace, view.stage, crossed(reading), positions_added=view.positions_added)
    shown = figures.window(len(reading.tokens), view.chosen)
    vectors = parts.vectors[:, shown.start : shown.stop]
    tokens = reading.tokens[shown.start : shown.stop]
    here = (view.stage, shown.start, shown.stop)
    reading.claim("tokens shown", {"vector [part, token, dimension]": vectors}, derived.strips, *here)
    plot(figures.strips(parts.names, vectors, tokens, view.chosen - shown.start), "emb_strips")
    return shown


def draw_similarity(reading: Reading, view: View) -> None:
    """Show the cosines between the tokens before and after this stage, on one scale."""
    from gptviz.analysis.vectors import cosine_matrix, step

    shown = figures.window(len(reading.tokens), view.chosen, MOST_COSINES)
    tokens = reading.tokens[shown.start : shown.stop]
    moved = zip(step(reading.trace, view.stage), view.names, ("before", "after"), strict=True)
    sides = [each for each in moved if each[2] in view.moves]
    for place, (vectors, name, key) in zip(st.columns(2), sides, strict=False):
        with place:
            cosines = cosine_matrix(vectors[shown.start : shown.stop])
            here = (view.stage, shown.start, shown.stop)
            reading.claim(f"cosines {key}", {f"cosine {key} [token, token]": cosines}, derived.strips, *here)
            plot(figures.similarity(cosines, tokens, name.capitalize()), f"emb_cosines_{key}")


def draw_neighbours(reading: Reading, view: View) -> Sequence[int]:
    """Show the vocabulary's tokens closest to the chosen one, before and after this stage; returns the ids after it."""
    from gptviz.analysis.vectors import nearest, step

    whole, own = vocabulary(reading), reading.trace.ids[view.chosen]
    before, after = (vectors[view.chosen] for vectors in step(reading.trace, view.stage))
    itself = own if view.stage == 0 else None  # a token vector is its own nearest, which says nothing
    alone = len(view.moves) == 1
    found = [
        (nearest(before, whole.unit, NEAREST, without=itself), view.names[0], "before", 0, itself),
        (nearest(after, whole.unit, NEAREST), view.names[1], "after", -1, None),
    ][: 1 if alone else 2]
    cosines = np.concatenate([near.cosines for near, *_ in found])
    span = float(cosines.min()), float(cosines.max())
    for place, (near, name, key, when, left_out) in zip(st.columns(2), found, strict=False):
        tokens, marked = [whole.tokens[i] for i in near.ids], [bool(i == own) for i in near.ids]
        claimed = {"cosine of the tokens named [rank]": near.cosines, "largest cosines [rank]": near.cosines}
        what = (view.stage, view.chosen, when, tuple(near.ids.tolist()), left_out)
        reading.claim(f"neighbours {key}", claimed, derived.neighbours, *what)
        with place:
            plot(figures.neighbours(tokens, near.cosines, marked, name.capitalize(), span), f"emb_near_{key}")
    return found[-1][0].ids.tolist()


def draw_map(reading: Reading, view: View, ringed: Sequence[int]) -> float:
    """Show the vocabulary with the sentence in it; returns the share of the table's variance that is seen."""
    from gptviz.analysis.vectors import KINDS, step, unit_rows

    whole, axes = vocabulary(reading), cached_axes(reading, reading.model.fingerprint, view.same_length)
    explained = axes.projection.explained[: view.dimensions]
    before, after = (
        axes.projection(unit_rows(vectors) if view.same_length else vectors)[:, : view.dimensions]
        for vectors in step(reading.trace, view.stage)
    )
    claimed = {
        "share of the variance [axis]": axes.projection.explained,
        "vocabulary [token id, axis]": axes.points[:MOST_POINTS],
        "before [token, axis]": before,
        "after [token, axis]": after,
    }
    for name, each in claimed.items():
        claimed[name] = each[..., : view.dimensions]
    axes_shown = min(axes.points.shape[1], view.dimensions)
    reading.claim("map", claimed, derived.map_of, view.stage, view.same_length, axes_shown, MOST_POINTS)
    drawn = [*range(min(MOST_POINTS, len(whole.table))), *(i for i in ringed if i >= MOST_POINTS)]
    points = axes.points[drawn, : view.dimensions]
    cloud = figures.Cloud(points, whole.labels[drawn], whole.kinds[drawn], KINDS, explained)
    if len(drawn) < len(whole.table):
        st.info(
            f"The vocabulary has {len(whole.table):,} entries. The axes are those of all of them; the first "
            f"{MOST_POINTS:,} by their ids are drawn as points, and the nearest to the chosen token in any case."
        )
    sentence = figures.Sentence(reading.tokens, before, after, view.names, view.chosen)
    plot(figures.vocabulary_map(cloud, sentence, [drawn.index(i) for i in ringed]), "emb_map")
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

    whole, shown = vocabulary(reading), figures.window(len(reading.tokens), view.chosen)
    rows = slice(shown.start, shown.stop)
    found = closest(reading.trace.residual[view.stage][rows], whole.unit, reading.trace.ids[rows])
    claimed = {
        "cosine of the nearest [token]": found.cosines,
        "cosine of the one named [token]": found.cosines,
        "cosine with itself [token]": found.own_cosines,
        "rank of itself [token]": found.own_ranks,
    }
    reading.claim("nearest", claimed, derived.closest, view.stage, shown.start, tuple(found.ids.tolist()))
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
