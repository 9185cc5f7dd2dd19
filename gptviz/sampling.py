"""From logits to the next token: temperature, top-k, top-p, the draw; and token after token, generation.

Probabilities are NumPy float64 over the whole vocabulary. Knows nothing about pages or pictures. Shapes: V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real

import numpy as np
import torch

from gptviz.attention import KeyValueCache, fast_attention
from gptviz.checkpoint import LanguageModel, expect_model
from gptviz.gpt import GPT

ROUNDING = 1e-12  # eight tokens of 0.1 hold 0.8, though their sum in float64 is just below it


@dataclass(frozen=True, eq=False)
class Funnel:
    """A distribution on its way from the model to the draw; every array is (V,) float64 and read-only.

    `top_k` and `top_p` keep the probabilities of `tempered` and hold 0 for what was removed, so that
    `removed_top_k` + `removed_top_p` + `top_p.sum()` is 1. Only `final` is scaled up to sum to 1 again.
    """

    raw: np.ndarray  # softmax of the logits
    tempered: np.ndarray  # softmax of the logits / temperature
    top_k: np.ndarray  # tempered, without what top-k removes
    top_p: np.ndarray  # top_k, without what top-p removes
    final: np.ndarray  # what is drawn from
    removed_top_k: float  # mass of `tempered` that top-k removes
    removed_top_p: float  # mass of `tempered` that top-p removes after that

    @property
    def kept(self) -> int:
        """Number of tokens that can be drawn."""
        return int(np.count_nonzero(self.final))


@dataclass(frozen=True, eq=False)
class Drawn:
    """One token of a generation."""

    id: int
    token: str  # as text, for a label
    probability: float  # in the distribution it was drawn from, after temperature, top-k and top-p
    u: float  # the point in [0, 1) on the cumulative bar, most probable token first
    dropped: int  # tokens at the left that did not fit the context when it was drawn
    funnel: Funnel | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Generation:
    """A prompt and how the model went on. `str()` of it is both together."""

    prompt: str
    text: str  # the continuation alone
    ids: tuple[int, ...]  # of the continuation; an end-of-text token that ended it is not among them
    tokens: tuple[str, ...]  # of the continuation, as labels
    probabilities: tuple[float, ...]  # of each, in the distribution it was drawn from
    dropped: int  # tokens at the left that the model no longer saw at the end
    stopped: str  # "end of text" or "length"

    def __str__(self) -> str:
        return self.prompt + self.text


def softmax(logits: np.ndarray) -> np.ndarray:
    """(..., V) -> probabilities (..., V) float64."""
    logits = np.asarray(logits, dtype=np.float64)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def keep_likeliest(probabilities: np.ndarray, n: int) -> np.ndarray:
    """(V,) probabilities with 0 for all but the `n` most probable, of equals the lower ids."""
    v = len(probabilities)
    if n >= v:
        return probabilities
    edge = np.partition(probabilities, v - n)[v - n]  # the n-th largest
    above = probabilities > edge
    kept = np.where(above, probabilities, 0.0)
    kept[np.flatnonzero(probabilities == edge)[: n - np.count_nonzero(above)]] = edge
    return kept


def funnel(
    logits: np.ndarray, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Funnel:
    """Every stage from logits (V,) to the distribution that a token is drawn from.

    Args:
        logits: one score per vocabulary entry.
        temperature: divides the logits; 0 is greedy: all mass on the largest logit, of equals on the lowest id.
        top_k: keep the k most probable tokens, of equals the lower id (Fan et al. 2018, section 5.1).
        top_p: of these, keep the fewest most probable ones that hold at least this share of what top-k left
            (nucleus sampling, Holtzman et al. 2020, section 3.1).

    Raises:
        ValueError: for settings out of range, or logits that are no (V,) numbers.
    """
    check_settings(temperature, top_k, top_p)
    logits = np.asarray(logits, dtype=np.float64)
    if logits.ndim != 1 or not logits.size or np.isnan(logits).any() or not math.isfinite(logits.max()):
        raise ValueError(f"expected logits of one position, (V,), without NaN or infinity, found shape {logits.shape}")
    raw = softmax(logits)
    tempered = with_temperature(logits, temperature)
    after_k = tempered
    if top_k is not None:
        after_k = keep_likeliest(tempered, int(top_k))
    mass_k = float(after_k.sum())
    after_p = after_k
    if top_p is not None and top_p < 1:
        bar = np.cumsum(np.sort(after_k)[::-1])
        after_p = keep_likeliest(after_k, int(np.searchsorted(bar, top_p * mass_k - ROUNDING)) + 1)
    mass_p = float(after_p.sum())
    stages = (raw, tempered, after_k, after_p, after_p / mass_p)
    for stage in stages:
        stage.flags.writeable = False
    removed_k = float(tempered[after_k == 0].sum())
    removed_p = float(after_k[after_p == 0].sum())
    return Funnel(*stages, removed_k, removed_p)


def with_temperature(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax of (V,) logits / temperature; at 0 its limit, with the lowest id alone among equals."""
    if temperature == 0:
        greedy = np.zeros(len(logits))
        greedy[np.argmax(logits)] = 1.0
        return greedy
    with np.errstate(over="ignore"):  # a tiny temperature sends all others to -inf, which is their probability 0
        return softmax((logits - logits.max()) / temperature)


def draw(probabilities: np.ndarray, u: float) -> int:
    """The id that the point `u` falls on, when the probabilities (V,) lie side by side, most probable first.

    Of equals the lower id comes first.

    Args:
        probabilities: sums to 1.
        u: in [0, 1); uniform random numbers make the draw a fair one.
    """
    if not 0 <= u < 1:
        raise ValueError(f"expected a point from 0 to below 1, found {u!r}")
    # Sorting numbers is several times as fast as sorting ids by them, and equal numbers make the same bar.
    falling = np.sort(probabilities)[::-1]
    place = int(np.searchsorted(np.cumsum(falling), u, side="right"))
    # Rounding may leave the sum just below 1, and `u` beyond it: that is still the last possible token.
    place = min(place, np.count_nonzero(falling) - 1)
    equals = np.flatnonzero(probabilities == falling[place])
    return int(equals[place - np.count_nonzero(probabilities > falling[place])])


def check_settings(temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Raise `ValueError` for settings that are no numbers or out of range."""
    if not is_number(temperature) or not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be a number from 0 (greedy) up, found {temperature!r}; try 0.8")
    if top_k is not None and (not is_number(top_k, Integral) or top_k < 1):
        raise ValueError(f"top_k must be a whole number from 1 up, or None for no limit, found {top_k!r}")
    if top_p is not None and (not is_number(top_p) or not 0 < top_p <= 1):
        raise ValueError(f"top_p must be above 0 and at most 1, or None for no limit, found {top_p!r}")


def is_number(value: object, kind: type = Real) -> bool:
    """A number, and not a truth value."""
    return isinstance(value, kind) and not isinstance(value, bool)


def stream(
    model: LanguageModel,
    ids: Sequence[int],
    max_new_tokens: int = 20,
    *,
    temperature: float = 0.8,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | np.random.Generator | None = 0,
    keep_funnel: bool = False,
    causal: bool = True,
) -> Iterator[Drawn]:
    """Generate token by token, each drawn from what the model says about the last `context` tokens.

    Ends after `max_new_tokens`, or with the end-of-text token, which is the last one yielded. While the sequence fits
    the context, keys and values are kept, and a step reads one token. Beyond it the sequence loses a token at the
    left per step (`Drawn.dropped` counts them); positions are counted from the left, so that all of it is read again.

    Args:
        model: from `gptviz.load`.
        ids: the prompt, of any length; an empty one begins with the end-of-text token, as documents do in training.
        max_new_tokens: 0 or more.
        temperature, top_k, top_p: as for `funnel`.
        seed: equal seeds give equal tokens; None gives others every time; a NumPy generator goes on from where it is.
        keep_funnel: yield the whole `Funnel` with every token: five arrays of (V,).
        causal: False lets every token see all that is there so far, for a GPT that was trained without the mask. What
            was read changes with each token then, so that all of it is read again.

    Raises:
        ValueError: at once, for settings or ids out of range.
    """
    check_settings(temperature, top_k, top_p)
    if not is_number(max_new_tokens, Integral) or max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must be a whole number from 0 up, found {max_new_tokens!r}")
    if seed is not None and not isinstance(seed, np.random.Generator) and (not is_number(seed, Integral) or seed < 0):
        raise ValueError(f"seed must be a whole number from 0 up, or None for a new one each time, found {seed!r}")
    ids = [int(i) for i in ids] or [model.tokenizer.end_of_text]
    model.gpt.check(ids[-model.gpt.config.context :])
    settings = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    return steps(model, ids, int(max_new_tokens), settings, np.random.default_rng(seed), keep_funnel, causal)


def steps(
    model: LanguageModel,
    ids: list[int],
    max_new_tokens: int,
    settings: dict[str, float | None],
    rng: np.random.Generator,
    keep_funnel: bool,
    causal: bool,
) -> Iterator[Drawn]:
    """What `stream` does once its arguments are checked."""
    context = model.gpt.config.context
    length = min(context, len(ids) + max_new_tokens)
    caches: list[KeyValueCache] | None = None
    unread = ids
    for _ in range(max_new_tokens):
        if caches is None:
            unread = ids[-context:]
            # A full context has no next step that could use what is kept.
            kept = causal and len(unread) < context
            caches = [KeyValueCache(length) for _ in model.gpt.blocks] if kept else None
        stages = funnel(next_logits(model.gpt, unread, caches, causal), **settings)
        u = float(rng.random())
        chosen = draw(stages.final, u)
        yield Drawn(
            id=chosen,
            token=model.tokenizer.token_text(chosen),
            probability=float(stages.final[chosen]),
            u=u,
            dropped=max(0, len(ids) - context),
            funnel=stages if keep_funnel else None,
        )
        if chosen == model.tokenizer.end_of_text:
            return
        ids.append(chosen)
        unread = [chosen]
        if len(ids) > context:
            caches = None


@torch.inference_mode()
def next_logits(gpt: GPT, ids: list[int], caches: list[KeyValueCache] | None = None, causal: bool = True) -> np.ndarray:
    """Logits (V,) of what follows `ids`, which continue what the caches hold; of the last position alone."""
    batch = torch.tensor([ids], device=gpt.device)  # (1, T)
    last = gpt.hidden(batch, fast_attention(causal), caches)[:, -1]  # (1, C)
    return gpt.unembedding(last)[0].float().cpu().numpy()


def generate(
    model: LanguageModel,
    text: str,
    max_new_tokens: int = 20,
    temperature: float = 0.8,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = 0,
    causal: bool = True,
) -> Generation:
    """Let `model` go on from `text`.

    Args:
        model: from `gptviz.load`.
        text: the prompt. Beyond the context it is cut at the left, and `Generation.dropped` says by how many tokens;
            an empty one lets the model begin a document of its own.
        max_new_tokens: stop after so many, if the end-of-text token has not come before.
        temperature: below 1 sharpens the distribution, above 1 flattens it, 0 always takes the most probable token.
        top_k: draw from the k most probable tokens only; None for no limit.
        top_p: draw from the fewest most probable tokens that hold this share; None for no limit.
        seed: equal seeds give equal texts; None gives another one every time.
        causal: False for a GPT that was trained without the mask, as for `stream`.

    Returns:
        The continuation as text, ids and tokens, and why it stopped; `print` it for prompt and continuation.

    Raises:
        ValueError: for settings out of range.
    """
    ids, cut = expect_model(model).encode(text)
    settings = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    drawn = list(stream(model, ids, max_new_tokens, **settings, seed=seed, causal=causal))
    ended = bool(drawn) and drawn[-1].id == model.tokenizer.end_of_text
    dropped = cut + (drawn[-1].dropped if drawn else 0)
    if ended:
        drawn.pop()
    return Generation(
        prompt=text,
        text=model.tokenizer.decode(step.id for step in drawn),
        ids=tuple(step.id for step in drawn),
        tokens=tuple(step.token for step in drawn),
        probabilities=tuple(step.probability for step in drawn),
        dropped=dropped,
        stopped="end of text" if ended else "length",
    )
