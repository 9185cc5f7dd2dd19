"""A translation judged token by token: against torch's own softmax, by hand, and what force() says itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import gptviz
from gptviz.analysis import forcing
from tests.tiny import translator


def test_judged_tokens_have_the_probabilities_of_torch() -> None:
    logits = torch.randn(5, 40, generator=torch.Generator().manual_seed(0)) * 3
    ids = [3, 0, 39, 7, 7]
    judged = forcing.judge(logits.numpy(), ids)
    loss = torch.nn.functional.cross_entropy(logits.double(), torch.tensor(ids), reduction="none")
    np.testing.assert_allclose(judged.log_p, -loss.numpy(), rtol=1e-12)
    np.testing.assert_array_equal(judged.choices, logits.argmax(-1).numpy())
    np.testing.assert_allclose(judged.choice_probability, logits.double().softmax(-1).max(-1).values.numpy())
    assert judged.total == pytest.approx(-loss.sum().item())
    assert judged.perplexity == pytest.approx(math.exp(loss.mean().item()))
    order = [sorted(row, reverse=True).index(row[i]) + 1 for row, i in zip(logits.tolist(), ids, strict=True)]
    assert judged.rank.tolist() == order


def test_two_tokens_by_hand() -> None:
    judged = forcing.judge(np.log([[0.25, 0.75], [0.5, 0.5]]), [0, 1])
    np.testing.assert_allclose(judged.probability, [0.25, 0.5])
    assert judged.total == pytest.approx(math.log(0.125))
    assert judged.mean == pytest.approx(math.log(0.125) / 2)
    assert judged.perplexity == pytest.approx(math.sqrt(8))
    assert judged.rank.tolist() == [2, 1]


def test_hopeless_tokens_stay_finite_and_their_perplexity_is_inf() -> None:
    judged = forcing.judge(np.array([[0.0, -2000.0]], dtype=np.float32), [1])
    assert judged.total == -2000 and judged.perplexity == math.inf
    assert forcing.odds(0, -2000) == math.inf
    assert forcing.odds(math.log(6), math.log(2)) == pytest.approx(3)


def test_rows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="found 2 rows for 1 tokens"):
        forcing.judge(np.zeros((2, 3)), [0])
    with pytest.raises(ValueError, match="found 0 rows for 0 tokens"):
        forcing.judge(np.zeros((0, 3)), [])


@pytest.mark.parametrize(
    ("first", "second", "place"),
    [
        ([1, 2], [1, 2], None),
        ([1, 2], [1, 3], 1),
        ([1], [1, 2], 1),
        ([], [], None),
        ([4, 1], [3, 1], 0),
        ([1, 2], [1], 1),
    ],
)
def test_where_two_translations_part(first: list[int], second: list[int], place: int | None) -> None:
    assert forcing.parting(first, second) == place


def test_it_agrees_with_force_and_the_runs_are_one_until_they_part() -> None:
    model = translator()
    for text in ("Tom", "My dog has fleas.", "Once upon a time"):
        free = gptviz.translate(model, text)
        own = free.text[: len(free.text) // 2] + "a cat" if free.text else "a cat"
        seen = gptviz.force(model, text, own)
        judged = forcing.judge(seen.trace.decoder.logits, seen.ids)
        assert tuple(judged.choices) == seen.choices
        np.testing.assert_allclose(judged.probability, seen.probabilities, rtol=1e-5)
        wrote = forcing.judge(
            free.trace.decoder.logits, [*free.ids, model.tokenizer.end_of_text][: len(free.probabilities)]
        )
        at = forcing.parting(judged.ids.tolist(), wrote.ids.tolist())
        assert at is not None and forcing.parting(judged.ids.tolist(), judged.choices.tolist()) == at
        np.testing.assert_allclose(judged.log_p[:at], wrote.log_p[:at], atol=1e-4)
        assert judged.choices[at] == wrote.ids[at]
