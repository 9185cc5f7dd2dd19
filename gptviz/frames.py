"""Stages of a trace as long pandas tables: one number a row, with the names of its axes as columns.

pandas is imported when the first table is asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gptviz.trace import AXES, STAGES, Trace

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 2_000_000  # of a table: some 150 MB
VALUES = {"weights": "weight", "scores": "score", "logits": "logit"}  # the column of the numbers; else "value"
SQUARES = ("scores", "scaled", "masked")  # (L, H, T, S), made when they are asked for: of one layer where one is chosen


def frame(
    trace: Trace, stage: str = "weights", layer: int | None = None, head: int | None = None, keys: Sequence[str] = ()
) -> pd.DataFrame:
    """One stage of a trace as a table; see `Trace.to_frame`.

    Args:
        keys: texts of the keys, where they are not the trace's own tokens: of the source, for cross-attention.
    """
    import pandas as pd

    sizes = trace.axes(stage)
    chosen = chosen_places(stage, sizes, layer, head)
    rest = {name: size for name, size in sizes.items() if name not in chosen}
    if (rows := int(np.prod(list(rest.values())))) > MOST_ROWS:
        raise ValueError(
            f"expected a table of at most {MOST_ROWS:,} rows, found {rows:,} in {stage} ({shape_in_words(rest)}); "
            + remedy(stage, rest)
        )
    values = part(trace, stage, chosen)
    places = dict(zip(rest, np.indices(values.shape).reshape(values.ndim, -1), strict=True)) | chosen
    columns: dict[str, object] = {name: places[name] for name in sizes}
    own = () if trace.memory is not None else trace.tokens
    texts = {"token": trace.tokens, "query": trace.tokens, "key": keys or own}
    for name in sizes:
        if texts.get(name):
            labels = np.array(texts[name], dtype=object)
            columns["text" if name == "token" else f"{name}_token"] = labels[places[name]]
    return pd.DataFrame(columns | {VALUES.get(stage, "value"): values.reshape(-1)})


def chosen_places(stage: str, sizes: dict[str, int], layer: int | None, head: int | None) -> dict[str, int]:
    """Layer and head, where they were given and are there."""
    chosen = {name: place for name, place in (("layer", layer), ("head", head)) if place is not None}
    for name, place in chosen.items():
        if name not in sizes:
            raise ValueError(f"expected no {name} for {stage}, whose axes are {', '.join(sizes)}; found {place}")
        if not 0 <= place < sizes[name]:
            raise ValueError(f"expected a {name} from 0 to {sizes[name] - 1} for {stage}, found {place}")
    return chosen


def remedy(stage: str, rest: dict[str, int]) -> str:
    """How to get at so many numbers."""
    free = [name for name in ("layer", "head") if name in rest]
    if free:
        return "choose one with " + " and ".join(f"{name}=0" for name in free)
    return f"the array has no such bound: trace.{stage}"


def part(trace: Trace, stage: str, chosen: dict[str, int]) -> np.ndarray:
    """The numbers of a stage at a layer and a head: no other layer's squares are made."""
    layer = chosen.get("layer")
    if layer is not None and stage == "weights":
        array = trace.layer_weights(layer)
    elif layer is not None and stage in SQUARES:
        alone = dataclasses.replace(trace, blocks=(trace.blocks[layer],), kept_weights=None, arrays={})
        array = getattr(alone, stage)[0]
    else:
        array = getattr(trace, stage)
        array = array if layer is None else array[layer]
    if "head" in chosen:
        array = np.take(array, chosen["head"], axis=AXES[stage].index("head") - (layer is not None))
    return array


def sizes_of(trace: Trace, stage: str) -> dict[str, int]:
    """The axes of a stage with their sizes, in order, without computing it; see `Trace.axes`."""
    if stage not in STAGES:
        raise ValueError(f"expected one of {', '.join(STAGES)}, found {stage!r}")
    block, (t, c) = trace.blocks[0], trace.final.shape
    seen = block.attention
    sizes = {"layer": len(trace.blocks), "head": seen.q.size(1), "query": t, "key": seen.k.size(2), "token": t}
    sizes["dimension"] = getattr(seen, stage).size(-1) if stage in {"q", "k", "v", "heads"} else c
    if stage == "residual":
        sizes["layer"] += 1
    elif stage == "ff_hidden":
        sizes["unit"] = block.ff_hidden(block.ff_in[:, :1]).size(-1)
    elif stage == "logits":
        sizes["id"] = trace.unembedding.size(0)
    elif stage in {"k", "v"}:
        sizes["head"] = getattr(seen, stage).size(1)
    return {name: sizes[name] for name in AXES[stage]}


def shape_in_words(sizes: dict[str, int]) -> str:
    """Such as "4 layers x 4 heads x 6 queries x 6 keys"."""
    many = {"query": "queries", "token": "tokens"}
    return " x ".join(f"{size:,} {name if size == 1 else many.get(name, name + 's')}" for name, size in sizes.items())
