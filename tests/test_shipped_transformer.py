"""The encoder-decoder that the repository ships does what its card says, as far as its data is not needed for that."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

import gptviz
from gptviz.analysis.doubts import passes_for_itself
from gptviz.checkpoint import CARD, WEIGHTS
from gptviz.recipe import TranslationRecipe
from gptviz.translation_scores import alignment_error_rate, read_aligned
from gptviz.ui.controls import GERMAN

LINKED = Path(__file__).parent / "word_alignments.txt"
# Written for this test, with everyday words. Each is fine if one of the answers comes out.
ANSWERS = {
    "Ich habe Hunger.": {"I'm hungry.", "I am hungry."},
    "Wo ist mein Hund?": {"Where is my dog?", "Where's my dog?"},
    "Das Wasser ist kalt.": {"The water is cold.", "The water's cold."},
    "Ich kann dich nicht hören.": {"I can't hear you.", "I cannot hear you."},
    "Wir haben keine Zeit.": {"We don't have time.", "We have no time.", "We don't have any time."},
    "Er ist mein Bruder.": {"He is my brother.", "He's my brother."},
}


@pytest.fixture(scope="module")
def model() -> gptviz.TranslationModel:
    return gptviz.load("transformer-deu-eng", "cpu")


@pytest.fixture(scope="module")
def card(model: gptviz.TranslationModel) -> str:
    return (model.folder / CARD).read_text(encoding="utf-8")


def test_it_is_four_and_four_layers_in_half_precision(model: gptviz.TranslationModel) -> None:
    transformer = model.transformer
    assert len(transformer.encoder) == len(transformer.decoder) == 4
    assert sum(file.stat().st_size for file in model.folder.iterdir()) <= 25e6
    with safe_open(model.folder / WEIGHTS, "np") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}  # noqa: SIM118 - not a dict


@pytest.mark.parametrize("sentence", ANSWERS)
def test_it_translates_easy_sentences(model: gptviz.TranslationModel, sentence: str) -> None:
    result = gptviz.translate(model, sentence)
    assert result.text in ANSWERS[sentence] and result.stopped == "end"


ENGLISH = ("My dog has fleas", "She is reading a book.", "This is a test.", "I am hungry.")


@pytest.mark.parametrize("sentence", [*ANSWERS, *GERMAN.values(), *ENGLISH])
def test_it_tells_english_from_german(model: gptviz.TranslationModel, sentence: str) -> None:
    probabilities = gptviz.translate(model, sentence).probabilities
    as_itself = gptviz.force(model, sentence, sentence).probabilities
    assert passes_for_itself(sentence, probabilities, as_itself) == (sentence in ENGLISH)


def test_attention_follows_a_word_that_changes_places(model: gptviz.TranslationModel) -> None:
    """ "gestern" comes early in German, "yesterday" late in English: the row that predicts it looks back."""
    forced = gptviz.force(model, "Ich habe gestern ein Buch gelesen.", "I read a book yesterday.")
    written, source = model.tokenizer.token_texts(forced.ids), forced.trace.encoder.tokens
    row, column = written.index(" yesterday"), source.index(" gestern")
    assert column in forced.trace.cross_weights.mean(axis=1)[:, row].argmax(axis=-1)  # of a layer or more


def test_the_alignment_error_rate_is_the_cards(model: gptviz.TranslationModel, card: str) -> None:
    aligned = read_aligned(LINKED)
    rates = [alignment_error_rate(model, aligned, layer) for layer in range(4)]
    assert min(rates) <= 0.35
    said = re.search(r"heads of layer (\d) has an alignment error rate of \*\*([\d.]+)\*\*", card)
    assert int(said[1]) == int(np.argmin(rates)) and float(said[2]) == pytest.approx(min(rates), abs=0.01)


def test_the_card_says_what_was_asked_for(model: gptviz.TranslationModel, card: str) -> None:
    scores = [float(score) for score in re.findall(r"^\| (?:greedy|beam 4) \| \*\*([\d.]+)\*\*", card, re.MULTILINE)]
    assert len(scores) == 2 and min(scores) >= 30
    assert "CC BY 2.0" in card and (model.folder / "ATTRIBUTION.md").is_file()
    table = card.split("| German | a person's translation | greedy |")[1]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ") and "---" not in line]
    assert len(rows) == 20 and all(len(row) == 3 for row in rows)
    for row in rows[:5]:
        german, english = row[0].removeprefix("| "), row[2].removesuffix(" |")
        assert gptviz.translate(model, german).text == english
    TranslationRecipe.load(model.folder / "recipe.toml")
