"""Translating with an encoder-decoder: beam search with its tree, teacher forcing, and all that was seen on the way.

The encoder runs once; the decoder goes on from cached keys and values. Shapes: L layers, H heads, S source tokens,
T target tokens, K beams, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gptviz.attention import Attend, KeyValueCache
from gptviz.checkpoint import TranslationModel, expect_translator
from gptviz.seq2seq import DecoderCache, Transformer
from gptviz.stack import SIDES
from gptviz.trace import BlockTrace, Trace, TracedAttention, WhatIf, room_for_weights

if TYPE_CHECKING:
    import pandas as pd

LENGTH_PENALTY = 0.6  # Vaswani et al. 2017, section 6.1
WIDEST = 16  # beams


class Node(NamedTuple):
    """A token that the search kept: one node of its tree. The root, node 0, is the end of text it begins with."""

    parent: int  # place in the tree; -1 for the root
    token: int
    log_probability: float  # of this token after those above it
    total: float  # of all tokens from the root to here
    ended: bool  # it is the end of the text: nothing follows


class BeamSearch(NamedTuple):
    """What a search looked at, and what it found."""

    nodes: tuple[Node, ...]  # in the order they were kept: parents come first
    results: tuple[int, ...]  # nodes at which a translation ends, best score first
    stopped: str  # "end" of text, or the "length" limit, of the best one

    def path(self, node: int) -> list[int]:
        """The nodes from the first token to `node`."""
        way = []
        while node > 0:
            way.append(node)
            node = self.nodes[node].parent
        return way[::-1]

    def tokens(self, node: int) -> list[int]:
        """The token ids from the first one to `node`."""
        return [self.nodes[i].token for i in self.path(node)]

    def score(self, node: int) -> float:
        """`normalised_score` of the tokens down to `node`."""
        return normalised_score(self.nodes[node].total, len(self.path(node)))


@dataclass(frozen=True, eq=False)
class TranslationTrace:
    """Everything an encoder-decoder pass showed: one `Trace` for each of its three attentions, with the same stages.

    In `decoder` and `cross` the streams are the decoder's; the attention stages of `cross` are (L, H, T, S) with the
    target's queries and the source's keys, and its `attention_in` is the stream after the masked self-attention.
    """

    encoder: Trace
    decoder: Trace
    cross: Trace = field(repr=False)

    @property
    def key(self) -> tuple:
        """What every number of the pass depends on, but for the model."""
        return self.encoder.key, self.decoder.key, self.cross.key

    @property
    def encoder_weights(self) -> np.ndarray:
        """(L, H, S, S) attention weights of the encoder, which sees the whole source."""
        return self.encoder.weights

    @property
    def decoder_weights(self) -> np.ndarray:
        """(L, H, T, T) attention weights of the decoder on the target so far; 0 in the future."""
        return self.decoder.weights

    @property
    def cross_weights(self) -> np.ndarray:
        """(L, H, T, S) attention weights of the decoder on the encoder's output."""
        return self.cross.weights

    def to_frame(
        self, stage: str = "weights", layer: int | None = None, head: int | None = None, side: str = "cross"
    ) -> pd.DataFrame:
        """A stage of one of the three attentions as a long pandas table; see `Trace.to_frame`.

        Args:
            side: one of `gptviz.stack.SIDES`; the keys of "cross" are the tokens of the source.

        Raises:
            ValueError: for another side, and as `Trace.to_frame` does.
        """
        from gptviz.frames import frame

        if side not in SIDES:
            raise ValueError(f"expected one of {', '.join(SIDES)}, found {side!r}")
        return frame(getattr(self, side), stage, layer, head, self.encoder.tokens if side == "cross" else ())

    def _repr_html_(self) -> str:
        """What a notebook shows: what was read and written, and the three attentions with their shapes."""
        from gptviz.notebook import pair_html

        return pair_html(self)


@dataclass(frozen=True, eq=False)
class Translation:
    """A translation, how probable it is, and how it came about."""

    text: str
    score: float  # log-probability in nats, end of text included, over the length penalty: see `normalised_score`
    ids: tuple[int, ...]  # of the text, without the end of text
    probabilities: np.ndarray  # (T,) of each token, and of the end of text where the model came to it
    stopped: str  # "end" of text, or the "length" limit
    trace: TranslationTrace = field(repr=False)
    search: BeamSearch = field(repr=False)


@dataclass(frozen=True, eq=False)
class Forced:
    """A reference translation as the model reads it, token by token: T tokens, the end of text included."""

    ids: tuple[int, ...]  # of the reference, and the end of text
    probabilities: np.ndarray  # (T,) that the model gives each token after the reference before it
    choices: tuple[int, ...]  # the most probable token at each place
    choice_probabilities: np.ndarray  # (T,)
    trace: TranslationTrace = field(repr=False)


def translate(model: TranslationModel, text: str, beam: int = 1) -> Translation:
    """Translate a sentence.

    Args:
        model: from `gptviz.load`.
        text: a sentence of the source language; any other text gets what the model makes of it.
        beam: translations that are followed at the same time, 1 (greedy) to 16.

    Raises:
        ValueError: for an empty text, one that does not fit the context, and a beam that is none.
    """
    source = encode_source(model, text)
    search, end = search_for(model, source, beam), model.tokenizer.end_of_text
    best = search.results[0]
    path = [search.nodes[i] for i in search.path(best)]
    ids = [node.token for node in path if not node.ended]
    return Translation(
        text=model.tokenizer.decode(ids),
        score=search.score(best),
        ids=tuple(ids),
        probabilities=np.exp([node.log_probability for node in path], dtype=np.float32),
        stopped=search.stopped,
        trace=trace_pair(model, source, [end, *(node.token for node in path[:-1])]),
        search=search,
    )


def translate_text(model: TranslationModel, text: str, beam: int = 1) -> str:
    """The text of `translate` alone, for many sentences: no trace is made."""
    search = search_for(model, encode_source(model, text), beam)
    ids = search.tokens(search.results[0])
    return model.tokenizer.decode(i for i in ids if i != model.tokenizer.end_of_text)


def search_for(model: TranslationModel, source: list[int], beam: int) -> BeamSearch:
    """The beam search for a translation of source (S,)."""
    if isinstance(beam, bool) or not isinstance(beam, int) or not 1 <= beam <= WIDEST:
        raise ValueError(f"expected a beam of 1 to {WIDEST}, found {beam!r}")
    transformer = model.transformer
    return beam_search(transformer, source, model.tokenizer.end_of_text, beam, length_limit(transformer, len(source)))


def force(model: TranslationModel, text: str, reference: str) -> Forced:
    """Give the decoder a reference translation in place of its own words (teacher forcing).

    Raises:
        ValueError: for a text or a reference that is empty or does not fit the context.
    """
    source = encode_source(model, text)
    target = encode_text(model, reference, "reference")
    trace = trace_pair(model, source, [model.tokenizer.end_of_text, *target[:-1]])
    logits = torch.from_numpy(trace.decoder.logits.copy()).double()  # (T, V)
    p = logits.softmax(-1)
    best, choices = p.max(-1)
    given = p.gather(1, torch.tensor(target)[:, None])[:, 0]
    return Forced(tuple(target), given.float().numpy(), tuple(choices.tolist()), best.float().numpy(), trace)


def encode_source(model: TranslationModel, text: str) -> list[int]:
    """Ids of a source, the end of text last; raises `ValueError` where there is nothing to translate, or too much."""
    return encode_text(expect_translator(model), text, "sentence")


def encode_text(model: TranslationModel, text: str, what: str) -> list[int]:
    """Ids of a text without the white space around it, the end of text last."""
    if not isinstance(text, str):
        raise TypeError(f"expected a {what} as a text, found {type(text).__name__}")
    ids = model.tokenizer.encode(text.strip())
    context = model.transformer.config.context
    if not ids:
        raise ValueError(f"expected a {what} of one token or more, found an empty one; type something")
    if len(ids) >= context:
        raise ValueError(
            f"expected a {what} of at most {context - 1} tokens, found {len(ids)}; translate one sentence at a time"
        )
    return [*ids, model.tokenizer.end_of_text]


def length_limit(transformer: Transformer, s: int) -> int:
    """Most tokens that a translation of `s` source tokens may have, so that decoding ends: 2 s + 10, or the context."""
    return min(2 * s + 10, transformer.config.context)


def normalised_score(total: float, tokens: int) -> float:
    """A log-probability over ((5 + tokens) / 6)^0.6, the end of text counted (Wu et al. 2016, equation 14).

    Without it a search prefers short translations, as every token costs.
    """
    return total / ((5 + tokens) / 6) ** LENGTH_PENALTY


@torch.no_grad()
def beam_search(transformer: Transformer, source: list[int], end: int, beam: int, limit: int) -> BeamSearch:
    """Follow the `beam` most probable beginnings, token by token, until as many have ended (Graves 2012).

    Each translation that ends takes a beam with it, so that a beam of 1 is greedy decoding.
    """
    memory, _, _ = transformer.encode(torch.tensor([source], device=transformer.device))
    caches = new_caches(transformer, limit, len(source))
    nodes, alive, results = [Node(-1, end, 0.0, 0.0, False)], [0], []
    for step in range(limit):
        inputs = torch.tensor([[nodes[i].token] for i in alive], device=transformer.device)  # (K, 1)
        if step == 1:
            memory = memory.expand(len(alive), -1, -1)
        log_p = next_log_probabilities(transformer, inputs, memory, caches)  # (K, V)
        totals = torch.tensor([nodes[i].total for i in alive], dtype=torch.float64)[:, None] + log_p
        best = totals.flatten().topk(min(beam - len(results), totals.numel())).indices.tolist()
        rows, following = [], []
        for place in best:
            row, token = divmod(place, log_p.size(1))
            node = Node(alive[row], token, float(log_p[row, token]), float(totals[row, token]), token == end)
            nodes.append(node)
            if node.ended or step == limit - 1:
                results.append(len(nodes) - 1)
            else:
                rows.append(row)
                following.append(len(nodes) - 1)
        alive = following
        if not alive:
            break
        for cache in caches:
            cache.own.choose(torch.tensor(rows, device=transformer.device))
    found = BeamSearch(tuple(nodes), tuple(results), "end")
    ordered = tuple(sorted(results, key=found.score, reverse=True))
    return found._replace(results=ordered, stopped="end" if nodes[ordered[0]].ended else "length")


def new_caches(transformer: Transformer, target: int, source: int) -> list[DecoderCache]:
    """Caches of every decoder block, for a target and a source of so many tokens."""
    return [DecoderCache(KeyValueCache(target), KeyValueCache(source)) for _ in transformer.decoder]


def next_log_probabilities(
    transformer: Transformer, inputs: Tensor, memory: Tensor, caches: list[DecoderCache]
) -> Tensor:
    """inputs (K, 1) after what the caches hold -> log-probabilities of what follows (K, V), float64 on the CPU."""
    x, _ = transformer.decode(inputs, memory, None, caches=caches)
    return transformer.logits(x[:, -1]).double().log_softmax(-1).cpu()


AS_TRAINED = {"encoder": WhatIf(causal=False), "decoder": WhatIf(), "cross": WhatIf(causal=False)}
"""What each of `SIDES` does where nothing is changed: only the decoder's own attention has a mask."""


@torch.no_grad()
def trace_pair(
    model: TranslationModel, source: list[int], inputs: list[int], what_ifs: dict[str, WhatIf] | None = None
) -> TranslationTrace:
    """One pass over a source (S,) and the decoder's inputs (T,), the end of text first, with everything it saw.

    `what_ifs` says what each of `SIDES` does, `AS_TRAINED` if not given.
    """
    transformer, what_ifs = model.transformer, what_ifs or AS_TRAINED
    source_ids, input_ids = (torch.tensor([ids], device=transformer.device) for ids in (source, inputs))
    attend, kept = attend_as(transformer, what_ifs, sizes_of(len(source), len(inputs)))
    # One source alone has no padding, and the decoder's own attention is the one that comes with a causal mask.
    memory, _, encoder_blocks = transformer.encode(source_ids, lambda **_: attend["encoder"])
    out, decoder_blocks = transformer.decode(
        input_ids, memory, None, lambda causal, **_: attend["decoder" if causal else "cross"]
    )
    crossed = [seen.own._replace(attention=seen.cross, attention_in=seen.cross_in) for seen in decoder_blocks]

    def side(name: str, ids: list[int], blocks: list[BlockTrace], final: Tensor, memory: Tensor | None = None) -> Trace:
        tokens, positions = transformer.embed(torch.tensor([ids], device=transformer.device))
        return Trace(
            ids=tuple(ids),
            what_if=what_ifs[name],
            token_vectors=tokens[0],
            position_vectors=positions,
            blocks=tuple(blocks),
            final=final[0],
            unembedding=transformer.token_embedding.weight,
            kept_weights=kept[name],
            tokens=model.tokenizer.token_texts(ids),
            memory=memory,
            texts_of=model.tokenizer.token_texts,
        )

    return TranslationTrace(
        encoder=side("encoder", source, encoder_blocks, memory),
        decoder=side("decoder", inputs, [seen.own for seen in decoder_blocks], out),
        cross=side("cross", inputs, crossed, out, memory=memory[0]),
    )


def attend_as(
    transformer: Transformer, what_ifs: dict[str, WhatIf], sizes: dict[str, tuple[int, int]]
) -> tuple[dict[str, Attend], dict[str, Tensor | None]]:
    """For each of `SIDES`, how its layers attend in one pass, and where they write their weights (L, H, T, S)."""
    table, attend, kept = transformer.token_embedding.weight, {}, {}
    for side, (t, s) in sizes.items():
        kept[side] = room_for_weights(transformer.config, t, table, s)
        attend[side] = TracedAttention(what_ifs[side], t, transformer.device).in_turn(kept[side])
    return attend, kept


def sizes_of(s: int, t: int) -> dict[str, tuple[int, int]]:
    """How many queries and how many keys each of `SIDES` has, for `s` source and `t` target tokens."""
    return {"encoder": (s, s), "decoder": (t, t), "cross": (t, s)}


def retrace(model: TranslationModel, trace: TranslationTrace, side: str, what_if: WhatIf) -> TranslationTrace:
    """The same source and the same inputs of the decoder once more, with one of the three attentions changed.

    Args:
        model: that made `trace`.
        trace: of a pass; what it changed in the other two attentions stays changed.
        side: whose attention, in all layers, one of `SIDES`. What a changed encoder makes reaches the decoder.
        what_if: its changes. Only the decoder's own attention has a mask, for the others `causal` is False.

    Raises:
        ValueError: for another side, a mask where there is none, and a layer, head or token that is not there.
    """
    if side not in SIDES:
        raise ValueError(f"expected one of {', '.join(SIDES)}, found {side!r}")
    if what_if.causal and side != "decoder":
        raise ValueError(
            f"expected causal=False for {side} attention, which has no mask, found causal=True; only the decoder's own "
            "attention can be masked or unmasked"
        )
    source, inputs = trace.encoder.ids, trace.decoder.ids
    what_if.check(model.transformer.config, *sizes_of(len(source), len(inputs))[side])
    what_ifs = {name: getattr(trace, name).what_if for name in SIDES} | {side: what_if}
    return trace_pair(model, list(source), list(inputs), what_ifs)
