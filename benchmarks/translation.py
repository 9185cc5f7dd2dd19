"""Translating with all attentions captured, and training against PyTorch's own `nn.Transformer` of the same size."""

from __future__ import annotations

import math
import shutil
import statistics
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.common import Row, interleave, milliseconds, ratio
from benchmarks.generation import any_tokenizer
from gptviz.checkpoint import TranslationModel
from gptviz.config import TransformerConfig
from gptviz.pairs import Row as PairRow
from gptviz.pairs import arrays
from gptviz.seq2seq import PADDING, Transformer, positional_encoding
from gptviz.train import TrainConfig, train
from gptviz.translation import beam_search, length_limit, trace_pair

CONFIG = TransformerConfig(vocab_size=6000, context=64, n_layers=4, n_heads=8, d_model=256)
ROWS, T = 256, 16  # of a training batch, padding included
SOURCE = 12  # tokens, the end of text included
DROPOUT, SMOOTHING = 0.1, 0.1


def run(quick: bool) -> Iterator[Row]:
    """The shape of transformer-deu-eng with random weights, whose translation goes on to the length limit."""
    yield from translating(quick)
    yield from training(quick)


def translating(quick: bool) -> Iterator[Row]:
    """What `gptviz.translate` does behind the tokenizer: search, then a pass with every stage kept."""
    torch.manual_seed(0)
    tokenizer = any_tokenizer(CONFIG.vocab_size)
    model = TranslationModel("random", Transformer(CONFIG).for_reading(), tokenizer, fingerprint="0" * 16)
    end = tokenizer.end_of_text
    source = [*torch.randint(CONFIG.vocab_size - 1, (SOURCE - 1,)).tolist(), end]
    limit = length_limit(model.transformer, SOURCE)
    lengths = []

    def translate(beam: int) -> None:
        search = beam_search(model.transformer, source, end, beam, limit)
        tokens = search.tokens(search.results[0])
        trace = trace_pair(model, source, [end, *tokens[:-1]])
        assert trace.encoder_weights.shape[-1] == trace.cross_weights.shape[-1] == SOURCE
        assert trace.decoder_weights.shape[-1] == len(tokens)
        lengths.append(len(tokens))

    times = interleave({"greedy": lambda: translate(1), "beam": lambda: translate(4)}, rounds=3 if quick else 25)
    yield Row(
        f"translation of {SOURCE} tokens into {lengths[0]}, greedy, all attentions captured",
        statistics.median(times["greedy"]) * 1000,
        ("<=", 300),
        unit=" ms",
        detail=f"with a beam of 4: {milliseconds(times['beam'])}",
    )


def training(quick: bool) -> Iterator[Row]:
    """A step of each in turn, on the same batch of padded pairs."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(T // 2, T, size=(ROWS, 2))
    pairs = [PairRow(*(rng.integers(CONFIG.vocab_size - 1, size=n).tolist() for n in both)) for both in lengths]
    batch = arrays(pairs, T, CONFIG.vocab_size - 1)
    tokens = int((batch[2] != PADDING).sum())
    runs = {"ours": our_step(batch), "theirs": their_step(*map(torch.from_numpy, batch))}
    times = interleave(runs, rounds=2 if quick else 8, warmups=2)
    speed = {name: f"{tokens / statistics.median(seconds):,.0f}" for name, seconds in times.items()}
    yield Row(
        f"training 4+4 layers, d 256, V 6000, {ROWS} pairs of up to {T} tokens: target tokens per second over "
        "torch.nn.Transformer of the same size in fp32",
        ratio(times, "theirs", "ours"),
        (">=", 1.2),
        detail=f"{speed['ours']} against {speed['theirs']} per second",
    )


def our_step(batch: tuple[np.ndarray, ...]) -> Callable[[], object]:
    """A step of `gptviz.train.train`, as the command line runs it: compiled where there is a C++ compiler."""
    torch.manual_seed(0)
    compiler = any(shutil.which(name) for name in ("c++", "g++", "clang++"))
    if not compiler:
        print("translation: no C++ compiler on the path, so the step is not compiled")
    config = TrainConfig(
        steps=10**6, warmup=1, optimizer="muon", dropout=DROPOUT, smoothing=SMOOTHING, compile=compiler
    )
    records = train(Transformer(CONFIG), lambda step: batch, config)
    return lambda: next(records)


class TheirModel(nn.Module):
    """`torch.nn.Transformer` as it comes, with the embeddings and the tied projection that it leaves to its users."""

    def __init__(self) -> None:
        super().__init__()
        c = CONFIG
        self.table = nn.Embedding(c.vocab_size, c.d_model)
        self.dropout = nn.Dropout(DROPOUT)
        self.register_buffer("positions", positional_encoding(0, T, c.d_model))
        self.transformer = nn.Transformer(
            c.d_model, c.n_heads, c.n_layers, c.n_layers, c.d_ff, dropout=DROPOUT, batch_first=True
        )

    def embed(self, ids: Tensor) -> Tensor:
        """ids (B, T) -> (B, T, C)"""
        return self.dropout(self.table(ids.clamp_min(0)) * math.sqrt(CONFIG.d_model) + self.positions)

    def loss(self, source: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """The same smoothed cross-entropy as ours."""
        padded = source == PADDING
        x = self.transformer(
            self.embed(source),
            self.embed(inputs),
            tgt_mask=nn.Transformer.generate_square_subsequent_mask(T, dtype=torch.bool),
            src_key_padding_mask=padded,
            memory_key_padding_mask=padded,
            tgt_is_causal=True,
        )
        logits = F.linear(x, self.table.weight).flatten(0, 1)
        return F.cross_entropy(logits, targets.flatten(), ignore_index=PADDING, label_smoothing=SMOOTHING)


def their_step(*batch: Tensor) -> Callable[[], object]:
    """A step of PyTorch's model in its defaults: fp32, dropout, AdamW."""
    model = TheirModel().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step() -> float:
        loss = model.loss(*batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step
