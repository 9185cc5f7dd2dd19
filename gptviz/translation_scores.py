"""How good is an encoder-decoder: BLEU and chrF on held-out pairs, and whether its cross-attention aligns words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gptviz.checkpoint import TranslationModel
from gptviz.data import DataError
from gptviz.pairs import Pair
from gptviz.translation import force, translate_text

PAIRS = 1000  # the first of the test's, which are in the order of a hash
BEAM = 4
WORD = re.compile(r"\w[\w'’-]*")  # punctuation is not aligned


class Scores(NamedTuple):
    """Of one way to decode, by sacrebleu."""

    bleu: float
    chrf: float


class Aligned(NamedTuple):
    """A pair whose words a person has linked: (place in the source, place in the target), punctuation left out."""

    pair: Pair
    links: frozenset[tuple[int, int]]


@dataclass(frozen=True)
class TranslationReport:
    """Figures of a model on held-out pairs."""

    pairs: int
    greedy: Scores
    beam: Scores
    signature: str  # of sacrebleu's BLEU: what exactly was computed
    aligned: int  # pairs with links; 0 if there were none
    error_rates: tuple[float, ...]  # of alignment, (L,), by the mean of each layer's heads

    def lines(self) -> Iterator[str]:
        """The report as text."""
        yield f"held-out pairs       {self.pairs}"
        for name, scores in (("greedy", self.greedy), (f"beam {BEAM}", self.beam)):
            yield f"{name:20} BLEU {scores.bleu:.2f}  chrF {scores.chrf:.2f}"
        yield f"  sacrebleu          {self.signature}"
        if self.aligned:
            rates = "  ".join(f"layer {layer}: {rate:.3f}" for layer, rate in enumerate(self.error_rates))
            yield f"alignment error rate {min(self.error_rates):.3f} on {self.aligned} pairs ({rates})"


def evaluate_translations(
    model: TranslationModel, pairs: Sequence[Pair], aligned: Sequence[Aligned] = ()
) -> TranslationReport:
    """Measure `model` on held-out pairs, and its alignment on pairs with links.

    Raises:
        ValueError: without pairs, or without sacrebleu, a development dependency.
    """
    if not pairs:
        raise ValueError("expected held-out pairs, found none")
    found = [score(model, pairs, beam) for beam in (1, BEAM)]
    rates = tuple(alignment_error_rate(model, aligned, layer) for layer in range(model.transformer.config.n_layers))
    return TranslationReport(
        len(pairs), found[0][0], found[1][0], found[0][1], len(aligned), rates if aligned else ()
    )


def score(model: TranslationModel, pairs: Sequence[Pair], beam: int) -> tuple[Scores, str]:
    """BLEU and chrF of a beam's translations, and BLEU's signature."""
    try:
        from sacrebleu.metrics import BLEU, CHRF
    except ImportError as error:
        raise ValueError("expected sacrebleu, found none; pip install -r requirements-dev.txt") from error
    ours = [translate_text(model, pair.source, beam) for pair in pairs]
    references = [[pair.target for pair in pairs]]
    bleu = BLEU()
    result = bleu.corpus_score(ours, references)
    return Scores(result.score, CHRF().corpus_score(ours, references).score), str(bleu.get_signature())


def sample(model: TranslationModel, pairs: Sequence[Pair], count: int, seed: int = 0) -> list[tuple[Pair, str]]:
    """Pairs chosen by a seed, without repetition, in the order of the draw; each with the greedy translation."""
    chosen = np.random.default_rng(seed).choice(len(pairs), size=min(count, len(pairs)), replace=False)
    return [(pairs[i], translate_text(model, pairs[i].source)) for i in chosen]


def read_aligned(path: Path) -> list[Aligned]:
    """Pairs with links, one a line: source ||| target ||| 0-0 1-2 ..., words counted from 0 without punctuation.

    Raises:
        DataError: for a line of another form, or a link to a word that is not there.
    """
    pairs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            source, target, links = (part.strip() for part in line.split("|||"))
            linked = frozenset((int(s), int(t)) for s, t in (link.split("-") for link in links.split()))
        except ValueError as error:
            raise DataError(
                f"{path.name}, line {number}: expected source ||| target ||| 0-0 1-2, found {line[:60]!r}"
            ) from error
        words = len(WORD.findall(source)), len(WORD.findall(target))
        if not all(s < words[0] and t < words[1] for s, t in linked):
            raise DataError(f"{path.name}, line {number}: expected links among {words} words, found {links}")
        pairs.append(Aligned(Pair(source, target), linked))
    return pairs


def alignment_error_rate(model: TranslationModel, aligned: Iterable[Aligned], layer: int) -> float:
    """1 - 2 |A and S| / (|A| + |S|) over all pairs (Och and Ney 2003, section 5, every link sure).

    A links each target word to the source word that the mean of the layer's heads weighs most, where the reference is
    forced and a word's weights are those with which its tokens are predicted.
    """
    hits = total = 0
    for pair, links in aligned:
        found = attention_links(model, pair, layer)
        hits += len(found & links)
        total += len(found) + len(links)
    return 1 - 2 * hits / total if total else 0.0


def attention_links(model: TranslationModel, pair: Pair, layer: int) -> set[tuple[int, int]]:
    """The source word that each target word attends to most: {(source word, target word)}."""
    trace = force(model, pair.source, pair.target).trace
    weights = trace.cross_weights[layer].mean(axis=0)  # (T, S)
    source, target = (
        words_of_tokens(text, [model.tokenizer.token_bytes(i) for i in model.tokenizer.encode(text)])
        for text in pair
    )
    shares = np.zeros((max(target) + 1, max(source) + 1))  # (target words, source words)
    for row, word in zip(weights, target, strict=False):  # the last row predicts the end of text
        for weight, place in zip(row, source, strict=False):
            if word >= 0 and place >= 0:
                shares[word, place] += weight
    return {(int(place), word) for word, place in enumerate(shares.argmax(axis=1))}


def words_of_tokens(text: str, tokens: Sequence[bytes]) -> list[int]:
    """Which word each token is a part of, -1 for punctuation and white space alone."""
    ends = [(len(text[: m.start()].encode()), len(text[: m.end()].encode())) for m in WORD.finditer(text)]
    places, begin = [], 0
    for token in tokens:
        end = begin + len(token)
        places.append(next((i for i, (a, b) in enumerate(ends) if begin < b and a < end), -1))
        begin = end
    return places
