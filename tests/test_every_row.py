"""Every row of attention that a page shows sums to 1, every probability is a float64 softmax over the vocabulary.

Walks what the pages are drawn from, with the very functions that they call, over sentences of every kind. The softmax
here is written out on its own, in extended precision.
"""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import pytest

import gptviz
from gptviz import sampling
from gptviz.analysis import gradients, head_stages, heads, losses, masking, predictions
from gptviz.trace import CellEdit, HeadGain, WhatIf

ROW = 1e-5  # attention is float32
EXACT = 1e-12  # probabilities are float64

SENTENCES = {
    "the lecture's": "My dog has fleas",
    "one token": "a",
    "two tokens": " the the",
    "a story": "Once upon a time there was a little girl. She saw a big red ball and wanted to play with it.",
    "said": "“Where is my cat?” asked Tim. 'It’s in the tree,' said Sue.",
    "markup": "<img src=x onerror=alert(1)> $x$ **b** :smile: [a](b)",
    "other scripts": "שלום عليكم привет 你好 ὕβρις e\u0301",
    "emoji": "😀😀 👩‍👩‍👧 🇪🇺",
    "control characters": "a\x00b\x07 \u202ec\u200bd\ufeff",
    "white space": "   \n\n\tthe  dog \n",
    "numbers": "3.14159 + 2,718 = 5.859 (or 42%)",
    "repeated": "dog " * 60,
    "longer than a context": "Tom and Lily went to the park and had a picnic there . " * 40,
}
MODELS = ("tiny_model", "tiny_pre_norm", "shipped")


@pytest.fixture(scope="session")
def shipped() -> gptviz.LanguageModel:
    """The checkpoint of the repository."""
    return gptviz.load("gpt-stories")


@cache
def read(model: gptviz.LanguageModel, text: str, causal: bool) -> gptviz.Trace:
    """One pass, kept for the tests of this module."""
    return gptviz.trace(model, text, causal=causal)


@pytest.fixture(scope="module", autouse=True)
def forget():
    """Traces are not kept for the rest of the run."""
    yield
    read.cache_clear()


@pytest.fixture(params=MODELS)
def model(request) -> gptviz.LanguageModel:
    """Both orders of normalising, and the model that visitors see."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=SENTENCES.values(), ids=SENTENCES.keys())
def text(request) -> str:
    """A sentence."""
    return request.param


@pytest.fixture(params=[True, False], ids=["masked", "unmasked"])
def trace(request, model, text) -> gptviz.Trace:
    """One pass of each model over each sentence, with the mask and without."""
    return read(model, text, request.param)


def softmax(logits: np.ndarray) -> np.ndarray:
    """(..., V) -> (..., V): exp(x) / sum exp(x), in extended precision where the machine has it."""
    powers = np.exp(logits.astype(np.longdouble) - logits.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float64)


def assert_rows(rows: np.ndarray, total: float = 1.0, within: float = ROW) -> None:
    """Every row is made of shares, and they add up."""
    assert np.isfinite(rows).all()
    assert (rows >= 0).all() and (rows <= 1 + within).all()
    np.testing.assert_allclose(rows.astype(np.float64).sum(axis=-1), total, rtol=0, atol=within)


def assert_distribution(p: np.ndarray, logits: np.ndarray) -> None:
    """`p` is the softmax of `logits`, of all of them, in float64."""
    assert p.dtype == np.float64 and p.shape == logits.shape
    assert_rows(p, within=EXACT)
    np.testing.assert_allclose(p, softmax(logits), rtol=1e-9, atol=1e-300)


def token_bytes(model: gptviz.LanguageModel, trace: gptviz.Trace) -> list[bytes]:
    """Tokens as the attention page has them."""
    return [model.tokenizer.token_bytes(token) for token in trace.ids]


def test_the_checks_notice_what_they_are_for():
    logits = np.linspace(-3, 3, 200)
    with pytest.raises(AssertionError):
        assert_rows(np.array([[0.5, 0.49998]]))
    with pytest.raises(AssertionError):
        assert_rows(np.array([[1.2, -0.2]]))
    few = np.where(logits >= np.sort(logits)[-50], softmax(logits), 0)
    with pytest.raises(AssertionError):
        assert_distribution(few / few.sum(), logits)  # renormalised over the top 50
    with pytest.raises(AssertionError):
        assert_distribution(softmax(logits).astype(np.float32), logits)


def test_attention_of_every_head(trace):
    assert_rows(trace.weights)
    if trace.what_if.causal:
        assert (trace.weights[..., ~np.tri(len(trace.ids), dtype=bool)] == 0).all()


@pytest.mark.parametrize("causal", [True, False])
def test_attention_under_what_ifs(tiny_model, text, causal):
    last = len(read(tiny_model, text, causal).ids) - 1
    changes = [
        WhatIf(causal, scaled=False),
        WhatIf(causal, gains=(HeadGain(0, 1, 0.0), HeadGain(1, 2, 3.0))),
    ]
    if last:  # a single token can only look at itself
        changes.append(WhatIf(causal, edits=(CellEdit(0, 1, last, 0, 0.9), CellEdit(2, 3, last, last, 0.0))))
    for what_if in changes:
        assert_rows(gptviz.trace(tiny_model, text, what_if=what_if).weights)


def test_summaries_over_heads_and_layers(trace):
    weights = trace.weights
    assert_rows(heads.mean_attention(weights))
    for layer in range(len(weights)):
        assert_rows(heads.mean_attention(weights[layer]))
        assert_rows(heads.rollout(weights[: layer + 1]))
    largest = heads.max_attention(weights)  # the one summary whose rows need not sum to 1, and the page says so
    assert (largest.sum(axis=-1) >= 1 - ROW).all() and (largest <= 1 + ROW).all()


def test_tokens_joined_into_words(model, trace):
    groups = heads.word_groups(token_bytes(model, trace))
    for matrix in (trace.weights, heads.rollout(trace.weights), heads.mean_attention(trace.weights)):
        assert_rows(heads.join_words(matrix, groups))


def test_every_view_of_the_attention_page(model, trace):
    tokens, t = token_bytes(model, trace), len(trace.ids)
    masked = ~np.tri(t, dtype=bool) if trace.what_if.causal else np.zeros((t, t), dtype=bool)
    layer, head = len(trace.weights) - 1, 1
    for what, words, hide_first, whole in product(("head", "mean", "rollout"), *[(False, True)] * 3):
        view = heads.look(
            trace.weights, masked, tokens, what=what, layer=layer, head=head, whole_model=whole, words=words,
            hide_first=hide_first,
        )  # fmt: skip
        for matrix in (view.weights, view.heads):
            if not hide_first:
                assert_rows(matrix)
                continue
            assert np.isnan(matrix[..., 0]).all()
            rest = matrix[..., 1:]
            empty = np.isnan(rest).all(axis=-1)  # of a single token or word nothing is left
            assert_rows(rest[~empty])
            assert not np.isnan(rest[~empty]).any()


def test_hiding_the_first_token_empties_only_rows_that_have_nothing_else(trace):
    kept = heads.without_first(trace.weights)
    empty = np.isnan(kept).all(axis=-1)
    np.testing.assert_array_equal(empty, trace.weights[..., 1:].sum(axis=-1) == 0)
    if trace.what_if.causal:
        assert empty[..., 0].all()


def test_what_clicked_tokens_attend_to(trace):
    t = len(trace.ids)
    for picked in ([0], [t - 1], list(range(t))):
        total = heads.attended_by(trace.weights[0, 0], picked).sum()
        assert total == pytest.approx(len(picked), abs=ROW * len(picked))
    shares = heads.attending_to(trace.weights[0, 0], list(range(t)))
    np.testing.assert_allclose(shares, 1, atol=ROW)


def test_what_drawn_tokens_looked_at(trace):
    n_layers = len(trace.weights)
    for start in {1, len(trace.ids)}:
        for own in (False, True):
            for where in ({}, {"layer": n_layers - 1}, {"layer": 0, "head": 1}):
                assert_rows(predictions.chosen_rows(trace.weights, start, own=own, **where))


def test_masked_page_rows(model, text):
    masked, unmasked = (read(model, text, causal).weights for causal in (True, False))
    past = masking.only_past(unmasked)
    seen = np.tril(unmasked).sum(axis=-1) > 0  # a head that looks at the future alone leaves nothing to rescale
    np.testing.assert_allclose(past.sum(axis=-1), seen, atol=ROW)
    np.testing.assert_allclose(masking.difference(masked, unmasked).sum(axis=-1), 0, atol=2 * ROW)
    future = masking.future_share(unmasked)
    kept = np.tril(unmasked.astype(np.float64)).sum(axis=-1)
    np.testing.assert_allclose(future + kept, 1, atol=ROW)
    assert ((future >= 0) & (future <= 1 + ROW)).all()


def test_next_token_distributions(trace):
    assert_distribution(predictions.probabilities(trace.logits), trace.logits)
    assert_distribution(np.exp(masking.log_probabilities(trace.logits)), trace.logits)
    assert_distribution(sampling.softmax(trace.logits), trace.logits)


def test_bars_and_their_rest(trace):
    logits = trace.logits[-1]
    p = predictions.probabilities(logits)
    for n in (3, 12, 40):
        top = predictions.top(p, n)
        assert_rows(np.append(top.probabilities, top.rest), within=EXACT)
        np.testing.assert_allclose(top.probabilities, softmax(logits)[top.ids], rtol=1e-9)
        assert top.others + n == len(logits)


SETTINGS = [(1.0, None, None), (0.8, 40, 0.95), (0.0, None, None), (2.0, 5, 0.3), (0.05, None, 0.05), (1.3, 1000, 1.0)]


@pytest.mark.parametrize(("temperature", "top_k", "top_p"), SETTINGS)
def test_the_funnel_and_its_bars(model, text, temperature, top_k, top_p):
    logits = read(model, text, True).logits[-1]
    stages = sampling.funnel(logits, temperature, top_k, top_p)
    assert_distribution(stages.raw, logits)
    for full in (stages.tempered, stages.final):
        assert full.dtype == np.float64
        assert_rows(full, within=EXACT)
    if temperature:
        expected = softmax(logits.astype(np.float64) / temperature)
        np.testing.assert_allclose(stages.tempered, expected, rtol=1e-8, atol=1e-15)
    assert stages.top_k.sum() + stages.removed_top_k == pytest.approx(1, abs=EXACT)
    assert stages.top_p.sum() + stages.removed_top_k + stages.removed_top_p == pytest.approx(1, abs=EXACT)
    arrays = [stages.raw, stages.tempered, stages.top_k, stages.top_p, stages.final]
    widths = predictions.stack(arrays, 10, sampling.draw(stages.final, 0.5)).widths
    np.testing.assert_allclose(widths.sum(axis=-1), [array.sum() for array in arrays], atol=EXACT)


def test_the_sentence_as_typed(trace):
    table = predictions.read_sentence(trace.logits, trace.ids)
    p = softmax(trace.logits)
    came = p[np.arange(len(trace.ids) - 1), trace.ids[1:]]
    np.testing.assert_allclose(table["probability"][1:-1].to_numpy(), came, rtol=1e-9)
    np.testing.assert_allclose(table["surprise"][1:-1].to_numpy(), -np.log2(came), atol=1e-9)
    entropy = -(p * np.log2(p, where=p > 0, out=np.zeros_like(p))).sum(axis=-1)
    np.testing.assert_allclose(table["entropy"][1:].to_numpy(), entropy, atol=1e-9)


def test_predictions_of_the_masked_page(model, text):
    masked, unmasked = (read(model, text, causal) for causal in (True, False))
    p, q = softmax(masked.logits), softmax(unmasked.logits)
    found = masking.compare(masked, unmasked)
    np.testing.assert_allclose(found.divergence, (p * (np.log2(p) - np.log2(q))).sum(axis=-1), atol=1e-9)
    for at in {0, len(p) - 1}:
        whole = masking.largest_changes(masked.logits[at], unmasked.logits[at], p.shape[-1])
        assert_distribution(whole.sort_values("id")["masked"].to_numpy(), masked.logits[at])
        assert_distribution(whole.sort_values("id")["unmasked"].to_numpy(), unmasked.logits[at])
        few = masking.largest_changes(masked.logits[at], unmasked.logits[at], 10)
        np.testing.assert_array_equal(few.to_numpy(), whole[:10].to_numpy())  # not renormalised over the ten


def test_stages_of_a_head_end_in_the_weights_of_the_pass(trace):
    for layer, head in ((0, 0), (len(trace.blocks) - 1, trace.weights.shape[1] - 1)):
        stages = head_stages.head_stages(trace, layer, head)
        assert_rows(stages.weights)
        np.testing.assert_allclose(softmax(stages.masked), stages.weights, rtol=0, atol=ROW)


def test_probabilities_of_targets(trace):
    if len(trace.ids) < 2:
        return  # a single token has no target
    found = losses.target_losses(trace.logits, trace.ids)
    expected = softmax(trace.logits)[np.arange(len(trace.ids) - 1), trace.ids[1:]]
    np.testing.assert_allclose(found.probability, expected, rtol=1e-9, atol=1e-300)
    for at in (0, len(trace.ids) - 2):
        gradient = softmax(trace.logits[at])
        gradient[trace.ids[at + 1]] -= 1
        found_here = losses.logit_gradient(trace.logits[at], trace.ids[at + 1])
        np.testing.assert_allclose(found_here, gradient, rtol=0, atol=EXACT)


def test_attention_that_a_backward_pass_recorded(model, text):
    ids = read(model, text, True).ids
    if len(ids) < 2:
        return  # a single token has no loss
    found = gradients.backward(model.gpt, ids, (0,))
    assert_rows(found.weights)
