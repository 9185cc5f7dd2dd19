"""Where the weights of a view come from, one layer at a time: arrays, tensors, lists of layers, a trace.

Knows nothing of torch: a tensor is what has `detach`. Shapes: L layers, H heads, T queries, S keys.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from gptviz.trace import Trace

LARGE_LAYER = 2**20  # weights of a layer from which on making it takes longer than asking a thread
KEPT_LAYERS = 2  # of a trace: the one that is looked at, and the one before it


class Source(Protocol):
    """Weights that are made when they are asked for. May also have `mask()`, see `TraceSource.mask`."""

    shape: tuple[int, int, int, int]  # (L, H, T, S)

    def layer(self, index: int) -> np.ndarray:
        """(H, T, S) float32, the weights of one layer."""
        ...


class LayersSource:
    """Weights that are in memory: one array or tensor a layer, each (H, T, S)."""

    def __init__(self, layers: Sequence[Any]) -> None:
        self.layers = layers
        self.shape = (len(layers), *map(int, layers[0].shape))

    def layer(self, index: int) -> np.ndarray:
        """(H, T, S) float32, copied only if it was something else."""
        return as_array(self.layers[index])


class TraceSource:
    """The weights of a `gptviz.Trace`, computed again where a long trace keeps none; holds two layers at most.

    >>> gptviz.attention_view(TraceSource(trace), trace.tokens)  # doctest: +SKIP
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        first = trace.blocks[0].attention
        (_, h, t, _), s = first.q.shape, first.k.shape[2]
        self.shape = (len(trace.blocks), int(h), int(t), int(s))
        self.lock = threading.Lock()  # one view may be shown to many visitors
        self.kept: OrderedDict[int, np.ndarray] = OrderedDict()

    def layer(self, index: int) -> np.ndarray:
        """(H, T, S) float32."""
        if (found := self.kept.get(index)) is None:
            found = self.trace.layer_weights(index)  # outside the lock: others need not wait for it
        with self.lock:
            self.kept[index] = found
            self.kept.move_to_end(index)
            while len(self.kept) > KEPT_LAYERS:
                self.kept.popitem(last=False)
        return found

    def mask(self) -> np.ndarray:
        """(T, S) bool, True where a score of the first head was -inf: from the scores, not from what they should be."""
        from gptviz.attention import attention_stages

        seen, rule = self.trace.blocks[0].attention, self.trace.what_if
        q, k, v = (x[:1, :1] for x in (seen.q, seen.k, seen.v))
        masked = attention_stages(q, k, v, causal=rule.causal, scaled=rule.scaled).masked[0, 0]
        return np.isneginf(as_array(masked))


class MappedSource:
    """Another source's layers, each changed when it is asked for, such as tokens joined into words.

    Args:
        source: where the layers come from.
        change: (H, T, S) -> (H, N, M).
        size: (N, M), which no layer has to be made to know.
    """

    def __init__(self, source: Source, change: Callable[[np.ndarray], np.ndarray], size: tuple[int, int]) -> None:
        self.source, self.change = source, change
        self.shape = (*source.shape[:2], *size)

    def layer(self, index: int) -> np.ndarray:
        """(H, N, M) float32."""
        return as_array(self.change(self.source.layer(index)))


def layers_in_turn(source: Source) -> Iterator[np.ndarray]:
    """Every layer; of a long text the next one is made in a thread while one is looked at, as NumPy lets it run."""
    n_layers, n_heads, t, s = source.shape
    if n_layers == 1 or n_heads * t * s < LARGE_LAYER:
        yield from (source.layer(index) for index in range(n_layers))
        return
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(source.layer, 0)
        for index in range(n_layers):
            layer = coming.result()
            if index + 1 < n_layers:
                coming = pool.submit(source.layer, index + 1)
            yield layer


def as_array(weights: Any) -> np.ndarray:
    """An array or tensor as float32, on the CPU."""
    if hasattr(weights, "detach"):
        weights = weights.detach().float().cpu().numpy()
    return np.asarray(weights, dtype=np.float32)


def as_source(weights: Any) -> Source:
    """Weights of any kind that `attention_view` takes as a `Source`.

    Raises:
        ValueError: for a shape that is none of attention's, or with no head, query or key in it.
        TypeError: for what holds no numbers.
    """
    if callable(getattr(weights, "layer", None)) and hasattr(weights, "shape"):
        source = weights
    elif isinstance(weights, list | tuple) and any(layer is None for layer in weights):
        raise ValueError(
            "expected the weights of every layer, found None; models of Hugging Face return them with "
            'attn_implementation="eager" and output_attentions=True'
        )
    elif isinstance(weights, list | tuple) and weights and all(len(getattr(w, "shape", ())) >= 3 for w in weights):
        source = LayersSource([one_batch(layer) for layer in weights])  # as Hugging Face's models return them
        if any(tuple(layer.shape) != source.shape[1:] for layer in source.layers):
            raise ValueError("expected every layer of one shape, (H, T, S); pass the layers of one attention at a time")
    else:
        source = LayersSource(split_layers(weights))
    if len(source.shape) != 4 or not all(source.shape):
        raise ValueError(f"expected at least one layer, head, query and key, found {tuple(source.shape)}")
    return source


def split_layers(weights: Any) -> list[Any]:
    """One array of (L, H, T, S), (H, T, S) or (T, S) as its layers, each (H, T, S)."""
    if not hasattr(weights, "shape"):
        weights = np.asarray(weights)  # nested lists
        if weights.dtype.kind not in "fiu":
            raise TypeError(f"expected weights as numbers, found {weights.dtype}; pass an array or a tensor")
    dimensions = len(weights.shape)
    if dimensions not in {2, 3, 4}:
        raise ValueError(
            f"expected weights (L, H, T, S), (H, T, S) or (T, S), found {tuple(weights.shape)}; "
            "choose one text of a batch"
        )
    if dimensions == 2:
        weights = weights[None]
    layers = [weights] if dimensions < 4 else list(weights)
    if not layers:
        raise ValueError(f"expected at least one layer, head, query and key, found {tuple(weights.shape)}")
    return layers


def one_batch(layer: Any) -> Any:
    """(1, H, T, S) or (H, T, S) -> (H, T, S)."""
    if len(layer.shape) == 4 and layer.shape[0] == 1:
        return layer[0]
    if len(layer.shape) != 3:
        found = tuple(layer.shape)
        raise ValueError(f"expected each layer as (H, T, S) or (1, H, T, S), found {found}; choose one text of a batch")
    return layer
