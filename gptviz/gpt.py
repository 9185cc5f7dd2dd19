"""The decoder-only transformer: embeddings, blocks, the projection to the vocabulary.

One forward serves training, inference and tracing. What it saw is in what it returns; nothing stays on a module.
Shapes: B batch, T tokens, C model width, F feed-forward width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gptviz.attention import Attend, KeyValueCache, MultiHeadAttention, Turn, fast_attention
from gptviz.config import GPTConfig, TransformerConfig
from gptviz.half import HalfLinear, half_dtype
from gptviz.linear import Linear
from gptviz.trace import BlockTrace, Trace, TracedAttention, WhatIf, room_for_weights

Drop = Callable[[Tensor], Tensor]
"""What is done to the output of a sub-layer before it is added: (B, T, C) -> (B, T, C)."""


def nothing(x: Tensor) -> Tensor:
    """No dropout: the `Drop` of every pass but a training step's."""
    return x


ACTIVATIONS = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
}


def norm_of(config: GPTConfig | TransformerConfig) -> nn.LayerNorm | nn.RMSNorm:
    """A norm over the residual stream, of the kind that the config names."""
    if config.norm == "rms":
        return nn.RMSNorm(config.d_model, eps=config.norm_epsilon)
    return nn.LayerNorm(config.d_model, eps=config.norm_epsilon, bias=config.bias == "all")


class FeedForward(nn.Module):
    """Linear, activation, Linear, each position on its own (Vaswani et al. 2017, section 3.3).

    Gated, the hidden layer is activation(gate x) * (expand x) (Shazeer 2020, equation 6).
    """

    def __init__(self, config: GPTConfig | TransformerConfig) -> None:
        super().__init__()
        bias = config.bias == "all"
        self.gate = Linear(config.d_model, config.d_ff, bias=bias) if config.gated else None
        self.expand = Linear(config.d_model, config.d_ff, bias=bias)
        self.contract = Linear(config.d_ff, config.d_model, bias=bias)
        self.activation = ACTIVATIONS[config.activation]

    def hidden(self, x: Tensor) -> Tensor:
        """(B, T, C) -> activations (B, T, F)"""
        if self.gate is None:
            return self.activation(self.expand(x))
        return self.activation(self.gate(x)) * self.expand(x)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)"""
        return self.contract(self.hidden(x))


class Block(nn.Module):
    """Attention and feed-forward, each with a residual add; normalised after the add or before the sub-layer."""

    def __init__(self, config: GPTConfig | TransformerConfig) -> None:
        super().__init__()
        self.post_norm = config.norm_order == "post"
        self.attention = MultiHeadAttention(config.d_model, config.n_heads, config.d_head, config.n_groups, config.bias)
        self.attention_norm = norm_of(config)
        self.ff = FeedForward(config)
        self.ff_norm = norm_of(config)

    def forward(
        self,
        x: Tensor,
        attend: Attend,
        cache: KeyValueCache | None = None,
        drop: Drop = nothing,
        turn: Turn | None = None,
    ) -> tuple[Tensor, BlockTrace]:
        """(B, T, C) -> the stream after this block (B, T, C), and what the block saw.

        `drop` is done to what each sub-layer adds, in training; `turn` to queries and keys, where positions are rotary.
        """
        attention_in = x if self.post_norm else self.attention_norm(x)
        attention = self.attention(attention_in, attend=attend, cache=cache, turn=turn)
        middle = x + drop(attention.out)
        if self.post_norm:
            middle = self.attention_norm(middle)
        ff_in = middle if self.post_norm else self.ff_norm(middle)
        ff_out = self.ff(ff_in)
        out = middle + drop(ff_out)
        if self.post_norm:
            out = self.ff_norm(out)
        return out, BlockTrace(attention, attention_in, middle, ff_in, self.ff.hidden, ff_out, out)


class GPT(nn.Module):
    """The GPT of the lesson, and by its config GPT-2 and Llama-like models. Token ids in, logits out."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
        learned = config.positions == "learned"
        self.position_embedding = nn.Embedding(config.context, config.d_model) if learned else None
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.final_norm = norm_of(config) if config.norm_order == "pre" else nn.Identity()
        self.unembedding = Linear(config.d_model, config.vocab_size, bias=False)
        if config.tied:
            self.unembedding.weight = self.token_embedding.weight
        if not self.token_embedding.weight.is_meta:  # what has no memory has nothing to begin with
            self.initialise()

    def initialise(self) -> None:
        """Random weights to begin a training with."""
        self.apply(initialise)
        if self.config.norm_order == "post":
            # The first block reads the embeddings as they are: give them the unit variance that norms give the others.
            nn.init.normal_(self.token_embedding.weight, std=math.sqrt(0.5))
            if self.position_embedding is not None:
                self.position_embedding.weight.data.copy_(sinusoids(self.config.context, self.config.d_model))
            if self.config.tied:  # logits of unit variance, from a table that is not small
                nn.init.constant_(self.blocks[-1].ff_norm.weight, math.sqrt(2 / self.config.d_model))
        for block in self.blocks:  # keep the variance of the stream independent of depth (GPT-2, section 2.3)
            for last in (block.attention.out, block.ff.contract):
                last.weight.data /= math.sqrt(2 * self.config.n_layers)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.token_embedding.weight.device

    def for_reading(self) -> GPT:
        """Itself, to be read and no longer trained: no gradients, the matrices of its blocks laid out by columns.

        A product with few rows then takes less time on a CPU: up to a quarter less with 16 tokens in gpt-stories.
        """
        lay_out_by_columns(self.blocks)
        return self.requires_grad_(False).eval()

    def count_parameters(self) -> int:
        """Trained numbers; a tied output projection counts once."""
        return sum(p.numel() for p in self.parameters())

    def embed(self, ids: Tensor, start: int = 0) -> tuple[Tensor, Tensor]:
        """ids (B, T), the first at position `start` -> token vectors (B, T, C), position vectors (T, C).

        Where positions are rotary nothing is added: their vectors are zeros without memory of their own.
        """
        end = start + ids.size(1)
        if end > self.config.context:
            raise ValueError(f"{end} tokens do not fit a context of {self.config.context}; cut them at the left")
        tokens = self.token_embedding(ids)
        if self.position_embedding is None:
            return tokens, tokens.new_zeros(1).expand(tokens.shape[1:])
        return tokens, self.position_embedding.weight[start:end]

    def turn(self, start: int, end: int) -> Turn | None:
        """How queries and keys at these positions are turned; None where positions are learned."""
        if self.position_embedding is not None:
            return None
        dtype = torch.float32 if half_dtype(self) else self.token_embedding.weight.dtype
        return Turn(*(part.to(dtype) for part in rotary_turn(self.config, start, end, self.device)))

    def hidden(self, ids: Tensor, attend: Attend, caches: Sequence[KeyValueCache] | None = None) -> Tensor:
        """ids (B, T) -> what the vocabulary projection reads, (B, T, C)."""
        start = caches[0].used if caches else 0
        tokens, positions = self.embed(ids, start)
        x, turn = tokens + positions, self.turn(start, start + ids.size(1))
        for i, block in enumerate(self.blocks):
            x, _ = block(x, attend, caches[i] if caches else None, turn=turn)
        return self.final_norm(x)

    def forward(
        self, ids: Tensor, caches: Sequence[KeyValueCache] | None = None, attend: Attend | None = None
    ) -> Tensor:
        """ids (B, T) -> logits (B, T, V). With `caches`, `ids` continue what the caches hold."""
        return self.unembedding(self.hidden(ids, attend or fast_attention(), caches))

    def loss(self, ids: Tensor, targets: Tensor, attend: Attend | None = None) -> Tensor:
        """Mean cross-entropy in nats over the targets (B, T) that are not negative; ids (B, T) -> ()."""
        logits = self(ids, attend=attend)  # (B, T, V)
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=-1)

    @torch.no_grad()
    def trace(self, ids: Sequence[int] | Tensor, what_if: WhatIf | None = None) -> Trace:
        """One forward pass over ids (T,), with everything it saw.

        Args:
            ids: the sequence, 1 to `config.context` token ids.
            what_if: what to change in this pass; the model itself is never changed.

        Raises:
            ValueError: for no ids, too many, or an id outside the vocabulary.
        """
        what_if = what_if or WhatIf()
        batch = self.check(ids)  # (1, T)
        what_if.check(self.config, batch.size(1))
        tokens, positions = self.embed(batch)
        x, turn = tokens + positions, self.turn(0, batch.size(1))
        attention = TracedAttention(what_if, batch.size(1), self.device)
        weights = room_for_weights(self.config, batch.size(1), like=x)
        blocks = []
        for layer, block in enumerate(self.blocks):
            x, seen = block(x, attention.attend(layer, weights), turn=turn)
            blocks.append(seen)
        return Trace(
            ids=tuple(batch[0].tolist()) if batch.device.type != "meta" else (),
            what_if=what_if,
            token_vectors=tokens[0],
            position_vectors=positions,
            blocks=tuple(blocks),
            final=self.final_norm(x)[0],
            unembedding=self.unembedding.weight,
            kept_weights=weights,
        )

    def check(self, ids: Sequence[int] | Tensor) -> Tensor:
        """ids (T,) -> (1, T) on the model's device, or a `ValueError` that says what does not fit."""
        batch = torch.as_tensor(ids, dtype=torch.long).reshape(1, -1)
        if not 1 <= batch.size(1) <= self.config.context:
            raise ValueError(
                f"expected 1 to {self.config.context} tokens, found {batch.size(1)}; "
                + ("type something" if batch.size(1) == 0 else "cut the sequence at the left")
            )
        if batch.device.type != "meta" and not 0 <= int(batch.min()) <= int(batch.max()) < self.config.vocab_size:
            raise ValueError(
                f"expected ids from 0 to {self.config.vocab_size - 1}, found {int(batch.min())} to "
                f"{int(batch.max())}; was the text encoded with this model's tokenizer?"
            )
        return batch.to(self.device)


def lay_out_by_columns(blocks: nn.Module) -> None:
    """Put the matrices of `blocks` into memory column by column, but those in half precision, which go by rows."""
    for module in blocks.modules():
        if isinstance(module, nn.Linear) and not isinstance(module, HalfLinear):
            module.weight.data = module.weight.data.T.contiguous().T


def initialise(module: nn.Module) -> None:
    """Normal weights: of deviation 0.02 in tables, and in projections such that outputs vary as much as inputs."""
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        to_vocabulary = module.bias is None
        nn.init.normal_(module.weight, std=0.02 if to_vocabulary else module.in_features**-0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def rotary_turn(config: GPTConfig, start: int, end: int, device: torch.device | None = None) -> Turn:
    """Cosines and sines of the angles of the positions from `start` to before `end`, each (T, D / 2), float32.

    Pair i turns by base^(-2 i / D) a token, divided by its factor (Su et al. 2021, section 3.2.2). Float64 until the
    last step: at position 8,000 a float32 angle is off by 2e-4.
    """
    d = config.d_head
    speeds = config.rotary_base ** (-torch.arange(0, d, 2, dtype=torch.float64, device="cpu") / d)  # (D / 2,)
    if config.rotary_factors:
        speeds = speeds / torch.tensor(config.rotary_factors, dtype=torch.float64, device="cpu")
    angles = torch.arange(start, end, dtype=torch.float64, device="cpu")[:, None] * speeds  # (T, D / 2)
    return Turn(angles.cos().float().to(device), angles.sin().float().to(device))


def sinusoids(context: int, d_model: int, slowest: float = 500.0) -> Tensor:
    """Where learned positions begin: (context, C) of variance 1/2, each half a sine and a cosine of every frequency.

    Vaswani et al. 2017, section 3.5, with frequencies from 1 down to 1 / `slowest`, as contexts here are short. "The
    token before" is then one rotation for all positions. With it a head of gpt-stories gave that token 0.48 of its
    attention after 3.7 million tokens of training; from random tables, in a run with other rates and larger batches
    too, the best head had 0.16 after 2.5 million.
    """
    frequencies = slowest ** -torch.linspace(0, 1, (d_model + 1) // 2)  # (C / 2,)
    angles = torch.arange(context)[:, None] * frequencies  # (context, C / 2)
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :d_model]
