"""The model that the repository ships does what its card says, as far as that can be measured without its texts."""

from __future__ import annotations

import numpy as np
import pytest

import gptviz
from gptviz.checkpoint import CARD, WEIGHTS
from gptviz.evaluate import bits_per_byte, induction_scores, previous_token_scores

# Written for this test, so that no model has seen them.
STORIES = [
    "One day, a boy named Ben found a small box under his bed. He wanted to open it, but the lid did not move. "
    "His mom came in and smiled. “Push it, do not pull it,” she said. Ben pushed, and the box was open. Inside he "
    "saw a red button from the coat of his grandma. He was very happy and gave it to his mom.",
    "The duck was sad because her pond was dry. She asked the cow for water, but the cow had no water. She asked the "
    "hen, but the hen had no water. Then it began to rain. The duck danced in the rain all day, and at night the pond "
    "was full again.",
]


@pytest.fixture(scope="module")
def model() -> gptviz.LanguageModel:
    return gptviz.load("gpt-stories", "cpu")


def test_its_size_is_what_was_asked_for(model) -> None:
    config = model.gpt.config
    assert config.n_layers >= 4 and config.n_heads >= 4 and config.context >= 256
    assert 4096 <= config.vocab_size <= 8192
    assert 3e6 <= model.gpt.count_parameters() <= 10e6
    assert (model.folder / WEIGHTS).stat().st_size <= 25e6


def test_it_knows_stories(model) -> None:
    """Far above what noise or a byte 5-gram (about 1.6) would reach."""
    assert bits_per_byte(model, STORIES) < 1.25


def test_a_head_looks_at_the_previous_token_and_the_card_names_it(model) -> None:
    scores = previous_token_scores(model, STORIES)
    assert scores.max() >= 0.6
    layer, head = np.unravel_index(scores.argmax(), scores.shape)
    assert f"{layer}.{head} puts" in (model.folder / CARD).read_text(encoding="utf-8")


def test_a_head_finds_the_earlier_occurrence_and_the_card_names_it(model) -> None:
    scores = induction_scores(model, seed=1)
    assert scores.max() >= 0.4
    layer, head = np.unravel_index(scores.argmax(), scores.shape)
    assert f"{layer}.{head} is an induction" in (model.folder / CARD).read_text(encoding="utf-8")


def test_it_goes_on_in_words(model) -> None:
    text = str(gptviz.generate(model, "Once upon a time there was a little", max_new_tokens=12, temperature=0))
    words = [word.strip(".,!?“”\"'") for word in text.split()]
    assert len(words) > 10 and all(word.isalpha() for word in words if word)
