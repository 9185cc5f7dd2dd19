"""One backward pass: the gradient of a sentence's loss on every weight, and on every attention weight.

The model is shared by many readers, so it is only read: the pass runs through a twin, which is thrown away. Knows
nothing about figures or pages. Shapes: L layers, H heads, D head width, C model width, T tokens, G groups.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gptviz.attention import additive_mask, attention_weights, fast_attention
from gptviz.config import GPTConfig
from gptviz.gpt import GPT
from gptviz.half import half_dtype, name_of

Parameters = dict[str, Tensor]
"""A tensor for each parameter of a model, by its name; a table that is used twice is there once."""

QKV = ("query", "key", "value")
GROUPS = {  # of a block, and the module whose weights and biases they are
    "output projection": "attention.out",
    "attention norm": "attention_norm",
    "feed-forward gate": "ff.gate",
    "feed-forward in": "ff.expand",
    "feed-forward out": "ff.contract",
    "feed-forward norm": "ff_norm",
}


def groups_of(config: GPTConfig) -> tuple[str, ...]:
    """The groups of a block, G of them: queries, keys, values, and those of `GROUPS` that this model has."""
    return (*QKV, *(name for name in GROUPS if config.gated or name != "feed-forward gate"))


def twin(gpt: GPT, values: Mapping[str, Tensor] | None = None) -> GPT:
    """`gpt` once more, with parameters of its own that take gradients; by default they share the memory of `gpt`'s.

    `torch.func.functional_call` would not do: for the time of a call it exchanges the parameters of the very module
    that other threads are reading.
    """
    if (dtype := half_dtype(gpt)) is not None:
        raise ValueError(
            f"expected weights in float32, found matrices in {name_of(dtype)}: a gradient takes as much memory as all "
            'weights in float32, and would be rounded; load the model with dtype="float32"'
        )
    own = dict(gpt.named_parameters()) if values is None else values
    return with_parameters(gpt, {id(old): nn.Parameter(own[name].detach()) for name, old in gpt.named_parameters()})


def with_parameters(module: nn.Module, own: Mapping[int, nn.Parameter]) -> nn.Module:
    """A module and all below it once more, each parameter replaced by `own` at its id; `copy.deepcopy` takes longer."""
    other = copy.copy(module)
    other._parameters = {name: own.get(id(old)) for name, old in module._parameters.items()}
    other._modules = {name: with_parameters(child, own) for name, child in module._modules.items()}
    return other


class RecordedAttention:
    """Attention of one pass that keeps the weights of some layers in the graph, so that they have a gradient.

    Belongs to the call that makes it. Layers that are not recorded take the fused kernel, which keeps no weights.
    """

    def __init__(self, layers: Collection[int], t: int, device: torch.device) -> None:
        self.mask = additive_mask(t, t, device)  # (T, T), made once for all layers
        self.layers = layers
        self.layer = 0  # blocks attend in the order of their layers
        self.weights: list[Tensor] = []  # (1, H, T, T) for each recorded layer

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor | None]:
        """How one layer attends; see `gptviz.attention.Attend`."""
        layer, self.layer = self.layer, self.layer + 1
        if layer not in self.layers:
            return fast_attention()(q, k, v)
        weights = attention_weights(q, k, mask=self.mask)  # (B, H, T, T), as in a trace
        self.weights.append(weights)
        return weights.to(v.dtype) @ v, weights


@dataclass(frozen=True, eq=False)
class Backward:
    """What one backward pass over T tokens found."""

    loss: float  # mean cross-entropy over the T - 1 targets, nats
    parameters: Parameters = field(repr=False)  # dL/dw for every parameter w
    layers: tuple[int, ...]  # which were recorded
    weights: np.ndarray = field(repr=False)  # (layers, H, T, T), the attention weights A
    attention: np.ndarray = field(repr=False)  # (layers, H, T, T), dL/dA


def backward(gpt: GPT, ids: Sequence[int], layers: Collection[int] | None = None) -> Backward:
    """The gradient of the mean loss over the targets, ids (T,) shifted by one; the last position has none.

    dL/dA is what autograd finds with every other number held: also in masked cells, where A is 0 whatever it says.

    Args:
        gpt: only read, so many threads may share it.
        ids: 2 or more tokens, as many as the context holds at most.
        layers: whose attention weights to record; by default all. Each takes 8 H T^2 bytes.

    Raises:
        ValueError: for one token, which has no target; for a layer that is not there; and as `GPT.trace` does.
    """
    n_layers = gpt.config.n_layers
    recorded = tuple(range(n_layers)) if layers is None else tuple(sorted(set(layers)))
    if not all(0 <= layer < n_layers for layer in recorded):
        raise ValueError(f"expected layers from 0 to {n_layers - 1}, found {list(recorded)}")
    batch = gpt.check(ids)  # (1, T)
    if batch.size(1) < 2:
        raise ValueError("expected 2 tokens or more, found 1: a single token has no target; type one word more")
    attend = RecordedAttention(recorded, batch.size(1), gpt.device)
    with torch.enable_grad():
        model = twin(gpt)
        names, parameters = zip(*model.named_parameters(), strict=True)
        logits = model(batch, attend=attend)[0, :-1]  # (T - 1, V)
        loss = F.cross_entropy(logits.to(fine(logits)), batch[0, 1:])
        gradients = torch.autograd.grad(loss, [*parameters, *attend.weights])
    return Backward(
        loss=loss.item(),
        parameters=dict(zip(names, gradients, strict=False)),  # then come those of the attention weights
        layers=recorded,
        weights=squares(attend.weights, gpt.config, batch.size(1)),
        attention=squares(gradients[len(names) :], gpt.config, batch.size(1)),
    )


def squares(tensors: Sequence[Tensor], config: GPTConfig, t: int) -> np.ndarray:
    """(1, H, T, T) for each of some layers -> (layers, H, T, T), on the CPU."""
    if not tensors:
        return np.empty((0, config.n_heads, t, t), dtype=np.float32)
    return torch.cat([tensor.detach() for tensor in tensors]).cpu().numpy()


def row_kept(gradient: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """How the loss changes if attention is moved to a cell from the whole of its row, (..., T, T) float64, in nats.

    dL/dA_k - sum_j A_j dL/dA_j: for a share e moved to cell k the row becomes (1 - e) A + e onehot(k), which still sums
    to 1, and the loss changes by e times this. Where it is below 0, more attention would have lowered the loss.
    Weighted by A, a row of it sums to 0.
    """
    gradient, weights = (np.asarray(values, dtype=np.float64) for values in (gradient, weights))
    return gradient - (weights * gradient).sum(axis=-1, keepdims=True)


def score_gradient(gradient: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """dL on what the softmax reads, (..., T, T) float64: A * `row_kept`, by the Jacobian of softmax.

    This is what is left of dL/dA on its way back to queries and keys: nothing in masked cells, little where A is small.
    """
    return np.asarray(weights, dtype=np.float64) * row_kept(gradient, weights)


class Norms(NamedTuple):
    """Euclidean norms of tensors that have the shapes of a model's parameters, weights and biases together."""

    layers: np.ndarray  # (G, L) float64, in the order of `groups_of`
    heads: np.ndarray  # (3, L, H) float64: the rows of query, key and value that each head reads; some may share them
    outside: dict[str, float]  # the tables and the final norm, by what they are called

    @property
    def total(self) -> float:
        """Of everything together; what is tied counts once."""
        return float(np.sqrt((self.layers**2).sum() + sum(norm**2 for norm in self.outside.values())))


def norms(parameters: Mapping[str, Tensor], config: GPTConfig) -> Norms:
    """The norms of all groups, from gradients or from weights; where no head shares keys and values with another, the
    squares of a layer's heads sum to those of q, k, v.

    Args:
        parameters: by name, as `Backward.parameters` or `GPT.named_parameters` give them.
    """
    layers, heads = [], []
    for layer in range(config.n_layers):
        here = f"blocks.{layer}."
        each = per_head(parameters, here + "attention.qkv", config)  # queries (H,), keys and values (n_groups,)
        heads.append([np.repeat(part, config.n_heads // len(part)) for part in each])
        rest = [norm_of(parameters, here + GROUPS[name]) for name in groups_of(config)[len(QKV) :]]
        layers.append([*(np.sqrt((part**2).sum()) for part in each), *rest])
    outside = {"token embedding": norm_of(parameters, "token_embedding")}
    if config.tied:
        outside = {"token embedding = unembedding": outside["token embedding"]}
    if config.positions == "learned":
        outside["position embedding"] = norm_of(parameters, "position_embedding")
    if config.norm_order == "pre":
        outside["final norm"] = norm_of(parameters, "final_norm")
    if not config.tied:
        outside["unembedding"] = norm_of(parameters, "unembedding")
    return Norms(np.array(layers).T, np.stack(heads, axis=1), outside)


def norm_of(parameters: Mapping[str, Tensor], module: str) -> float:
    """The norm of a module's weight and, where it has one, its bias."""
    found = (parameters.get(f"{module}.{part}") for part in ("weight", "bias"))
    return float(np.sqrt(sum(squared(tensor) for tensor in found if tensor is not None)))


def per_head(parameters: Mapping[str, Tensor], module: str, config: GPTConfig) -> tuple[np.ndarray, ...]:
    """The norms of each head's rows of the joint projection: to query (H,), to key and to value (n_groups,)."""
    rows = parameters[f"{module}.weight"].detach()
    if (bias := parameters.get(f"{module}.bias")) is not None:
        rows = torch.cat([rows, bias.detach()[:, None]], dim=1)
    rows = rows.unflatten(0, (-1, config.d_head))  # (H + 2 n_groups, D, C or C + 1): all of q, then k, then v
    found = torch.linalg.vector_norm(rows, dim=(1, 2), dtype=finest(rows)).cpu().double().numpy()
    return tuple(np.split(found, [config.n_heads, config.n_heads + config.n_groups]))


def squared(tensor: Tensor) -> float:
    """The sum of squares."""
    return torch.linalg.vector_norm(tensor.detach(), dtype=finest(tensor)).item() ** 2


def finest(tensor: Tensor) -> torch.dtype:
    """What norms are summed in: float64, where the device has it. A float32 sum over a table was off by 4e-5."""
    return fine(tensor) if tensor.device.type == "mps" else torch.float64


def fine(tensor: Tensor) -> torch.dtype:
    """float32 or finer."""
    return torch.promote_types(tensor.dtype, torch.float32)
