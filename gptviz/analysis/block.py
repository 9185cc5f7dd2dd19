"""What happens inside a block: what each sub-layer adds to the residual stream, how the norms rescale it, what fires.

Pure functions from a trace (and the model's own parameters) to float64 arrays.
Shapes: L layers, H heads, T tokens, C model width, F feed-forward width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch

if TYPE_CHECKING:
    from gptviz.gpt import GPT
    from gptviz.trace import Trace


class Vectors(NamedTuple):
    """The stream through one block, and what is read from it and added to it; all (T, C).

    A "post" model reads the stream as it is, and puts the sum through a layer norm; a "pre" model normalises what it
    reads, and keeps the sum: there `middle` is `attention_sum` and `out` is `ff_sum`.
    """

    stream: np.ndarray  # into the block
    attention_in: np.ndarray
    attention_out: np.ndarray
    attention_sum: np.ndarray  # stream + attention_out
    middle: np.ndarray
    ff_in: np.ndarray
    ff_out: np.ndarray
    ff_sum: np.ndarray  # middle + ff_out
    out: np.ndarray  # of the block


def vectors(trace: Trace, layer: int) -> Vectors:
    """The vectors of one block, the two sums added up in float64."""
    stages = ("attention_in", "attention_out", "middle", "ff_in", "ff_out")
    seen = {stage: getattr(trace, stage)[layer].astype(np.float64) for stage in stages}
    stream, out = (trace.residual[i].astype(np.float64) for i in (layer, layer + 1))
    sums = {"attention_sum": stream + seen["attention_out"], "ff_sum": seen["middle"] + seen["ff_out"]}
    return Vectors(stream=stream, out=out, **seen, **sums)


def norms(x: np.ndarray) -> np.ndarray:
    """The Euclidean length of every vector, (..., C) -> (...)."""
    return np.sqrt(np.square(x, dtype=np.float64).sum(axis=-1))


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of the angle between vectors, (..., C) twice -> (...): 1 the same direction, 0 at a right angle.

    NaN where one of the two is zero and has no direction.
    """
    lengths = norms(a) * norms(b)
    products = (a * b).sum(axis=-1, dtype=np.float64)
    return np.divide(products, lengths, out=np.full_like(lengths, np.nan), where=lengths > 0)


def flow(trace: Trace) -> np.ndarray:
    """The length of every vector of `Vectors` in every block, (L, 9, T), in the order of its fields."""
    return np.stack([[norms(x) for x in vectors(trace, layer)] for layer in range(len(trace.blocks))])


class Directions(NamedTuple):
    """How what a sub-layer adds lies to the stream, per token; all (T,)."""

    share: np.ndarray  # its length, as a part of the length of the stream it is added to
    with_stream: np.ndarray  # cosine with the stream before: under 0 it takes away
    with_sum: np.ndarray  # cosine with the sum: how much of it is still there


def directions(stream: np.ndarray, added: np.ndarray) -> Directions:
    """A contribution (T, C) against the stream (T, C) that it is added to."""
    length = norms(stream)
    share = np.divide(norms(added), length, out=np.full_like(length, np.nan), where=length > 0)
    return Directions(share, cosines(added, stream), cosines(added, stream + added))


def head_contributions(gpt: GPT, trace: Trace, layer: int) -> tuple[np.ndarray, np.ndarray | None]:
    """What each head adds to the stream, (H, T, C), and the bias of the output projection, (C,), None without one.

    The projection of the concatenated heads is a sum over heads: every head meets its own D columns of W_out (Elhage
    et al. 2021). All heads and the bias sum to `attention_out`.
    """
    heads = trace.heads[layer].astype(np.float64)  # (H, T, D)
    out = gpt.blocks[layer].attention.out
    weight = out.weight.detach().float().cpu().numpy().astype(np.float64)  # (C, H D)
    columns = weight.reshape(len(weight), len(heads), -1).transpose(1, 2, 0)  # (H, D, C)
    return heads @ columns, None if out.bias is None else out.bias.detach().cpu().numpy().astype(np.float64)


class Firing(NamedTuple):
    """Which hidden units of a feed-forward are active: over 0 after the activation.

    For ReLU the others are exactly 0. GELU has no such border: a unit whose input is under 0 still gives a little, and
    is counted as inactive. Of a gated feed-forward, a unit is active where its gate is open: over 0 before the
    activation; what passes may have either sign.
    """

    share: np.ndarray  # (T,) of the F units that are active at each token
    times: np.ndarray  # (F,) at how many of the T tokens each unit is active

    @property
    def never(self) -> int:
        """Units that are active at no token."""
        return int((self.times == 0).sum())


def activity(gpt: GPT, trace: Trace, layer: int) -> np.ndarray:
    """What has to be over 0 for a unit to be active, (T, F): its activation, or what its gate is given."""
    gate = gpt.blocks[layer].ff.gate
    if gate is None:
        return trace.ff_hidden[layer]
    with torch.no_grad():
        return gate(trace.blocks[layer].ff_in)[0].float().cpu().numpy()


def firing(hidden: np.ndarray) -> Firing:
    """From the `activity` of a layer, (T, F)."""
    active = hidden > 0
    return Firing(active.mean(axis=-1), active.sum(axis=0))


def firing_over(gpt: GPT, traces: Sequence[Trace]) -> np.ndarray:
    """At how many tokens of several texts each unit is active, (L, F)."""
    layers = range(gpt.config.n_layers)
    return np.stack([sum((activity(gpt, trace, layer) > 0).sum(axis=0) for trace in traces) for layer in layers])


class Normalised(NamedTuple):
    """One layer norm: (x - mean) / sqrt(variance + 1e-5) * gain + bias, over the C numbers of a token (Ba et al. 2016).

    Means and variances are (T,), the variance that of a population: divided by C. An RMS norm takes no mean away and
    divides by the root of the mean square (Zhang and Sennrich 2019): there that stands in the place of the variance.
    """

    mean: np.ndarray
    variance: np.ndarray
    mean_after: np.ndarray
    variance_after: np.ndarray
    gain: np.ndarray  # (C,)
    bias: np.ndarray | None  # (C,)


def layer_norms(gpt: GPT, seen: Vectors, layer: int) -> dict[str, Normalised]:
    """Both norms of a block, by the sub-layer that they belong to; `seen` are its `vectors`."""
    if gpt.config.norm_order == "post":
        through = {"attention": (seen.attention_sum, seen.middle), "feed-forward": (seen.ff_sum, seen.out)}
    else:
        through = {"attention": (seen.stream, seen.attention_in), "feed-forward": (seen.middle, seen.ff_in)}
    block, spread = gpt.blocks[layer], mean_square if gpt.config.norm == "rms" else variance
    found = {}
    for (name, (before, after)), norm in zip(through.items(), (block.attention_norm, block.ff_norm), strict=True):
        gain, bias = (getattr(norm, part, None) for part in ("weight", "bias"))
        own = (None if part is None else part.detach().cpu().numpy().astype(np.float64) for part in (gain, bias))
        found[name] = Normalised(before.mean(-1), spread(before), after.mean(-1), spread(after), *own)
    return found


def variance(x: np.ndarray) -> np.ndarray:
    """Of the C numbers of each token: (T, C) -> (T,)."""
    return x.var(-1)


def mean_square(x: np.ndarray) -> np.ndarray:
    """Of the C numbers of each token: (T, C) -> (T,)."""
    return np.square(x).mean(-1)


def token_table(seen: Vectors, tokens: Sequence[str]) -> pd.DataFrame:
    """A row a token: lengths through the block, and how both contributions lie to the stream."""
    attention, ff = directions(seen.stream, seen.attention_out), directions(seen.middle, seen.ff_out)
    columns = {"token": list(tokens)} | {f"|{name}|": norms(x) for name, x in zip(seen._fields, seen, strict=True)}
    for name, found in (("attention", attention), ("feed-forward", ff)):
        columns |= {f"{name}: {field}": values for field, values in found._asdict().items()}
    return pd.DataFrame(columns)


def norm_table(found: dict[str, Normalised], tokens: Sequence[str]) -> pd.DataFrame:
    """A row a token: mean and variance of what each norm reads and of what it gives."""
    columns: dict[str, object] = {"token": list(tokens)}
    for name, norm in found.items():
        values = norm._asdict()
        columns |= {f"{name}: {field}": values[field] for field in Normalised._fields[:4]}
    return pd.DataFrame(columns)
