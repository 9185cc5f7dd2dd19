"""How good is a model, beside what cheap methods reach: bits per byte, and whether its heads have something to show."""

from __future__ import annotations

import lzma
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from gptviz.analysis.scores import induction_score, previous_token_score
from gptviz.checkpoint import LanguageModel
from gptviz.tokenizer import Tokenizer

PERIOD = 64  # tokens of the random sequence that is repeated once for the induction score
SEQUENCES = 32  # over which head scores are averaged


@dataclass(frozen=True)
class Report:
    """Figures of a model on held-out documents."""

    documents: int
    text_bytes: int
    bits_per_byte: float
    ngram_bits_per_byte: float
    xz_bits_per_byte: float
    previous_token: np.ndarray  # (L, H)
    induction: np.ndarray  # (L, H)

    def lines(self) -> Iterator[str]:
        """The report as text."""
        yield f"held-out text        {self.documents} documents, {self.text_bytes:,} bytes"
        yield f"bits per byte        {self.bits_per_byte:.4f}"
        yield f"  byte 5-gram        {self.ngram_bits_per_byte:.4f}"
        yield f"  xz -9              {self.xz_bits_per_byte:.4f}"
        for name, scores in (("previous-token head", self.previous_token), ("induction head", self.induction)):
            layer, head = np.unravel_index(scores.argmax(), scores.shape)
            yield f"{name:20} {layer}.{head} at {scores.max():.3f}"


def evaluate(model: LanguageModel, held_out: Sequence[str], training: Sequence[str]) -> Report:
    """Measure `model` on the documents `held_out`.

    Args:
        model: what to measure.
        held_out: documents that it was not trained on.
        training: documents of the same kind that it was trained on, for the byte 5-gram.
    """
    documents = [text.strip() for text in held_out]
    whole = "\n".join(documents).encode()
    return Report(
        documents=len(documents),
        text_bytes=sum(len(text.encode()) for text in documents),
        bits_per_byte=bits_per_byte(model, documents),
        ngram_bits_per_byte=ByteNGram("\n".join(training).encode()).bits_per_byte(whole),
        xz_bits_per_byte=8 * len(lzma.compress(whole, preset=9)) / len(whole),
        previous_token=previous_token_scores(model, documents),
        induction=induction_scores(model),
    )


@torch.inference_mode()
def bits_per_byte(model: LanguageModel, documents: Sequence[str]) -> float:
    """-log2 of the probability of all documents, over their length in UTF-8 bytes.

    Each document stands alone behind the tokens that begin every text of the model, else behind an end-of-text token.
    A vocabulary of characters has neither: there, the first character of a document is not counted. Beyond the
    context, windows advance by half of it, and every token is counted once, with at least half a context before it.
    """
    tokenizer, context = model.tokenizer, model.gpt.config.context
    before = len(tokenizer.begin)
    alone = before == 0 and tokenizer.end_of_text >= tokenizer.vocab_size
    nats, n_bytes = 0.0, 0
    for text in documents:
        ids = [*([] if before or alone else [tokenizer.end_of_text]), *tokenizer.encode(text)]
        row = torch.tensor(ids, dtype=torch.long, device=model.gpt.device)
        n_bytes += len(text.encode()) - (len(text[:1].encode()) if alone else 0)
        counted = first = max(1, before)
        while counted < len(row):
            end = min(len(row), context + 1 if counted == first else counted + context // 2)
            begin = max(0, end - 1 - context)
            logits = model.gpt(row[None, begin : end - 1])[0]  # (T, V)
            nll = F.cross_entropy(logits.float(), row[begin + 1 : end], reduction="none")  # (T,)
            nats += float(nll[counted - begin - 1 :].double().sum())
            counted = end
    return nats / np.log(2) / n_bytes


def previous_token_scores(model: LanguageModel, documents: Sequence[str]) -> np.ndarray:
    """`previous_token_score` on the first tokens of held-out documents, (L, H)."""
    length = 2 * period_for(model)
    rows = (model.tokenizer.encode(text)[:length] for text in documents[:SEQUENCES])
    return np.mean([previous_token_score(model.gpt.trace(row).weights) for row in rows if len(row) > 1], axis=0)


def induction_scores(model: LanguageModel, seed: int = 0) -> np.ndarray:
    """`induction_score` on random token sequences, each repeated once, (L, H)."""
    rng = np.random.default_rng(seed)
    period, usual = period_for(model), usual_ids(model)
    rows = usual[rng.integers(0, len(usual), size=(SEQUENCES, period))]
    return np.mean([induction_score(model.gpt.trace(np.tile(row, 2)).weights, period) for row in rows], axis=0)


def usual_ids(model: LanguageModel) -> np.ndarray:
    """The ids that texts are made of, (N,): in our vocabularies those below the end, in others all but special ones."""
    tokenizer = model.tokenizer
    if isinstance(tokenizer, Tokenizer):
        return np.arange(tokenizer.end_of_text)
    return np.array([i for i in range(tokenizer.vocab_size) if not tokenizer.is_special(i)])


def period_for(model: LanguageModel) -> int:
    """Tokens of the sequence that is repeated: `PERIOD`, or half a context where that is shorter."""
    return min(PERIOD, model.gpt.config.context // 2)


class ByteNGram:
    """An interpolated byte n-gram model (Witten & Bell 1991): the baseline that costs nothing.

    Args:
        text: to count.
        order: bytes of an n-gram, at most 8.
    """

    def __init__(self, text: bytes, order: int = 5) -> None:
        self.order = order
        self.tables = []  # for n = 1..order: n-grams and counts, contexts with total and number of distinct followers
        for n in range(1, order + 1):
            grams, counts = np.unique(keys(text, n), return_counts=True)
            contexts, first = np.unique(grams >> np.uint64(8), return_index=True)
            followers = np.diff(np.append(first, len(grams)))
            self.tables.append((grams, counts, contexts, np.add.reduceat(counts, first), followers))

    def bits_per_byte(self, text: bytes) -> float:
        """Mean -log2 probability of a byte; the first order - 1 bytes have shorter contexts only."""
        p = np.full(len(text), 1 / 256)
        for n, (grams, counts, contexts, totals, followers) in enumerate(self.tables, start=1):
            here = keys(text, n)  # (N - n + 1,), ending at byte n - 1 and on
            gram_count = lookup(here, grams, counts)
            context = here >> np.uint64(8)
            total, distinct = lookup(context, contexts, totals), lookup(context, contexts, followers)
            seen = total > 0
            lower = p[n - 1 :]
            p[n - 1 :] = np.where(seen, (gram_count + distinct * lower) / np.maximum(total + distinct, 1), lower)
        return float(-np.log2(p).mean())


def keys(text: bytes, n: int) -> np.ndarray:
    """Every run of n bytes as one number, the last byte lowest: (N - n + 1,) uint64."""
    raw = np.frombuffer(text, dtype=np.uint8).astype(np.uint64)
    key = np.zeros(len(raw) - n + 1, dtype=np.uint64)
    for i in range(n):
        key = (key << np.uint64(8)) | raw[i : len(raw) - n + 1 + i]
    return key


def lookup(wanted: np.ndarray, names: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The value of each wanted name in a sorted table, 0 where it is not there."""
    place = np.searchsorted(names, wanted).clip(max=len(names) - 1)
    return np.where(names[place] == wanted, values[place], 0)
