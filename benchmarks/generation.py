"""Generation with the key/value cache against Hugging Face's `generate` with its cache, same weights, greedy."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from itertools import product

import torch

from benchmarks.common import Row, interleave, ratio
from benchmarks.peers import gpt2_shape, hugging_face, ours_with_weights_of
from gptviz.checkpoint import LanguageModel
from gptviz.sampling import stream
from gptviz.tokenizer import Tokenizer

PROMPT, NEW = 16, 100
SAME = 20  # tokens that both sides must agree on; further on, rounding may decide between near equals


def run(quick: bool) -> Iterator[Row]:
    """4.2 million parameters, 16 tokens of prompt, 100 new ones; then the same with the whole funnel of a draw."""
    config = gpt2_shape(n_layers=4, n_heads=4, d_model=256, vocab_size=4096, context=256)
    theirs = hugging_face(config).eval()
    gpt = ours_with_weights_of(theirs, config).for_reading()
    ours = LanguageModel("random", gpt, any_tokenizer(config.vocab_size), fingerprint="0" * 16)
    ids = torch.randint(config.vocab_size - 1, (PROMPT,), generator=torch.Generator().manual_seed(0)).tolist()

    def greedy() -> list[int]:
        return [drawn.id for drawn in stream(ours, ids, NEW, temperature=0.0)]

    def sampled() -> list[int]:
        return [drawn.id for drawn in stream(ours, ids, NEW, temperature=1.0, top_k=50, top_p=0.9, seed=0)]

    def hugging_face_greedy() -> list[int]:
        batch = torch.tensor([ids])
        settings = {"max_new_tokens": NEW, "do_sample": False, "use_cache": True, "pad_token_id": 0}
        out = theirs.generate(batch, attention_mask=torch.ones_like(batch), **settings)
        return out[0, PROMPT:].tolist()

    mine, yours = greedy(), hugging_face_greedy()
    if mine[:SAME] != yours[:SAME] or len(mine) != NEW or len(yours) != NEW:
        raise AssertionError(f"expected {NEW} tokens of both, the first {SAME} equal, found {mine} and {yours}")
    runs = {"ours": greedy, "sampled": sampled, "theirs": hugging_face_greedy}
    times = interleave(runs, rounds=3 if quick else 25)
    speed = {name: f"{NEW / statistics.median(seconds):.0f}" for name, seconds in times.items()}
    yield Row(
        f"generation with the cache, {gpt.count_parameters() / 1e6:.1f} M parameters, {PROMPT} + {NEW} tokens, greedy: "
        "tokens per second over Hugging Face generate with its cache",
        ratio(times, "theirs", "ours"),
        (">=", 1.5),
        detail=f"{speed['ours']} against {speed['theirs']} per second",
    )
    yield Row(
        "the same with temperature, top-k 50, top-p 0.9 and the draw, over Hugging Face's greedy one",
        ratio(times, "theirs", "sampled"),
        None,
        detail=f"{speed['sampled']} per second",
    )


def any_tokenizer(vocab_size: int) -> Tokenizer:
    """A vocabulary of a size, its tokens of no meaning: ids are all that is needed here."""
    pieces = [bytes([byte]) for byte in range(256)] + [bytes(pair) for pair in product(range(256), repeat=2)]
    return Tokenizer({piece: rank for rank, piece in enumerate(pieces[: vocab_size - 1])})
