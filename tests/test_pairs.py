"""Sentence pairs: reading, the split that must not leak, batches; and a whole run on a small archive."""

from __future__ import annotations

import itertools
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gptviz import recipe as recipes
from gptviz.data import DataError
from gptviz.pairs import Pair, PairBatches, Row, arrays, encode_pairs, normalised, read_pairs, split_pairs
from gptviz.recipe import TranslationRecipe, load_recipe, run, with_steps
from gptviz.seq2seq import PADDING
from gptviz.tokenizer import Tokenizer

NOUNS = {"dog": "Hund", "tree": "Baum", "man": "Mann", "table": "Tisch", "moon": "Mond", "son": "Sohn", "fish": "Fisch"}
VERBS = {"sees": "sieht", "finds": "findet", "needs": "braucht", "has": "hat", "paints": "malt", "eats": "isst"}
NAMES = ["Tom", "Maria", "Anna", "Otto", "Emil", "Ida", "Paul", "Rosa", "Karl", "Nina"]

RECIPE = """
[model]
kind = "transformer"
vocab_size = 320
context = 32
n_layers = 1
n_heads = 2
d_model = 16

[training]
steps = 6
learning_rate = 1e-3
warmup = 2
optimizer = "muon"
dropout = 0.1
smoothing = 0.1
eval_every = 2
save_every = 2

[batch]
tokens = 64

[pairs]
file = "small.zip"
member = "small.txt"
"""


def sentences() -> list[Pair]:
    """1,260 pairs with their traps: English that comes twice, in other spelling too, and German of several meanings."""
    pairs = []
    for name, (noun, nomen), (verb, zeitwort) in itertools.product(NAMES, NOUNS.items(), VERBS.items()):
        english, german = f"{name} {verb} the {noun}.", f"{name} {zeitwort} den {nomen}."
        pairs.append(Pair(german, english))
        pairs.append(Pair(f"Den {nomen} {zeitwort} {name}.", english.upper().replace(".", " !")))
        pairs.append(Pair(german.replace(".", "!"), f"It is the {noun} that {name} {verb}."))
    return pairs


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    with zipfile.ZipFile(tmp_path / "small.zip", "w") as archive:
        lines = [f"{pair.target}\t{pair.source}\tCC-BY 2.0\n" for pair in sentences()]
        archive.writestr("small.txt", "".join(lines))
    return tmp_path


@pytest.fixture
def recipe(tmp_path: Path) -> TranslationRecipe:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    loaded = load_recipe(path)
    assert isinstance(loaded, TranslationRecipe)
    return loaded


# Reading


def test_pairs_are_read_target_first_and_a_third_column_is_left_out(texts: Path) -> None:
    assert list(read_pairs(texts / "small.zip", "small.txt")) == sentences()


@pytest.mark.parametrize(
    ("content", "member", "message"),
    [
        (None, "small.txt", r"none\.zip: expected a zip archive with small\.txt"),
        (b"no archive", "small.txt", r"bad\.zip: expected a zip archive with small\.txt"),
        ("a\tb\nno tab\n", "small.txt", r"bad\.zip, small\.txt, line 2: expected two columns, found 'no tab"),
        ("a\tb\n", "other.txt", r"bad\.zip: expected a zip archive with other\.txt"),
    ],
)
def test_an_archive_that_does_not_fit_is_refused(
    tmp_path: Path, content: bytes | str | None, member: str, message: str
) -> None:
    path = tmp_path / ("none.zip" if content is None else "bad.zip")
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("small.txt", content)
    with pytest.raises(DataError, match=message):
        list(read_pairs(path, member))


# The split


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Tom's here.", "tom s  HERE!", True),
        ("Straße", "STRASSE", True),
        ("I ate 3.", "I ate 4.", False),
        ("?!", "!?", False),
    ],
)
def test_sentences_are_the_same_whatever_case_and_punctuation(one: str, other: str, same: bool) -> None:
    assert (normalised(one) == normalised(other)) == same


def leaks(train: list[Pair], held_out: list[Pair]) -> list[Pair]:
    """Pairs to train on that share a sentence with a held-out one, on either side."""
    targets, sources = ({normalised(getattr(p, side)) for p in held_out} for side in ("target", "source"))
    return [p for p in train if normalised(p.target) in targets or normalised(p.source) in sources]


def test_no_held_out_sentence_is_in_training_on_either_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gptviz.pairs.SHARE", 8)
    split = split_pairs(sentences())
    assert min(map(len, split)) > 30
    assert leaks(split.train, split.test) == leaks(split.train, split.valid) == leaks(split.valid, split.test) == []
    everything = sentences()
    assert leaks(everything, split.test)  # the check can fail
    assert set(split.train) | set(split.valid) | set(split.test) < set(everything)
    assert len(split.train) > 0.5 * len(everything)  # not by leaving out more than there is need for


def test_the_split_hangs_on_the_target_alone_and_not_on_order_or_company() -> None:
    pairs = sentences()
    test = split_pairs(pairs).test
    assert split_pairs(pairs[::-1]).test != test or len(test) < 2
    assert {normalised(p.target) for p in split_pairs(pairs[::-1]).test} == {normalised(p.target) for p in test}
    assert [normalised(p.target) for p in split_pairs(test).test] == [normalised(p.target) for p in test]
    assert len({normalised(p.target) for p in test}) == len(test)


# Batches


def test_arrays_shift_the_target_right_and_pad() -> None:
    source, inputs, targets = arrays([Row([1, 2, 3], [4, 5]), Row([6], [7, 8, 9])], 5, 0)
    assert source.tolist() == [[1, 2, 3, 0, -1], [6, 0, -1, -1, -1]]
    assert inputs.tolist() == [[0, 4, 5, -1, -1], [0, 7, 8, 9, -1]]
    assert targets.tolist() == [[4, 5, 0, -1, -1], [7, 8, 9, 0, -1]]
    assert PADDING == -1


@pytest.fixture
def rows(tiny_tokenizer: Tokenizer) -> list[Row]:
    return encode_pairs(sentences(), tiny_tokenizer, 32)


def batches_of(rows: list[Row], seed: int = 0, tokens: int = 128) -> PairBatches:
    return PairBatches(rows, context=32, tokens=tokens, seed=seed, end_of_text=0)


def test_an_epoch_holds_each_pair_once_but_for_what_fills_no_batch(rows: list[Row]) -> None:
    batches = batches_of(rows)
    seen = [tuple(row) for step in range(batches.epoch_steps) for row in batches.batch(step)[0].tolist()]
    sizes = {batches.batch(step)[0].shape for step in range(batches.epoch_steps)}
    assert all(1 <= b * t <= 128 for b, t in sizes)
    assert len({t for _, t in sizes}) == len(sizes) > 1  # few shapes: one for every length
    expected = sorted(tuple(arrays([row], 32, 0)[0][0]) for row in rows)
    padded = sorted((*row, *[PADDING] * (32 - len(row))) for row in seen)
    left_out = len(expected) - len(padded)
    assert 0 <= left_out < sum(128 // t for _, t in sizes)
    for row in padded:
        expected.remove(row)  # no pair more often than it is there
    assert len(expected) == left_out


def test_a_batch_is_a_function_of_seed_and_step(rows: list[Row]) -> None:
    one, other = batches_of(rows), batches_of(rows)
    late = one.epoch_steps + 3
    for step in (5, late, 0, late):
        for ours, again in zip(one.batch(step), other.batch(step), strict=True):
            np.testing.assert_array_equal(ours, again)
    flat = [np.concatenate([batches.batch(s)[0].ravel() for s in range(9)]) for batches in (one, batches_of(rows, 1))]
    assert len(flat[0]) != len(flat[1]) or (flat[0] != flat[1]).any()
    assert one.batch(0)[0].shape != one.batch(one.epoch_steps)[0].shape or (
        one.batch(0)[0] != one.batch(one.epoch_steps)[0]
    ).any()


def test_a_pair_longer_than_the_context_is_left_out(tiny_tokenizer: Tokenizer) -> None:
    pairs = [Pair("der Hund " * 20, "the dog"), Pair("der Hund", "the dog")]
    assert [len(row.target) for row in encode_pairs(pairs, tiny_tokenizer, 32)] == [2]


def test_batches_too_small_for_a_row_are_refused(rows: list[Row]) -> None:
    with pytest.raises(DataError, match=f"32 tokens a batch or more; found {len(rows)} and 16"):
        batches_of(rows, tokens=16)


# A whole run


def test_an_interrupted_run_goes_on_to_the_same_losses(
    recipe: TranslationRecipe, texts: Path, tmp_path: Path
) -> None:
    whole = [record.loss for record in run(recipe, texts, tmp_path / "whole", "cpu")]
    assert len(whole) == 6
    parts = tmp_path / "parts"
    first = [record.loss for record in itertools.islice(run(recipe, texts, parts, "cpu"), 3)]  # saved after step 2
    rest = list(run(recipe, texts, parts, "cpu"))
    assert first == whole[:3]
    assert [record.loss for record in rest] == whole[2:]
    assert [record.valid_loss is not None for record in rest] == [False, True, False, True]
    assert [json.loads(line)["step"] for line in (parts / "log.jsonl").read_text().splitlines()] == [1, 2, 3, 4, 5, 6]
    assert json.loads((parts / "model" / "config.json").read_text())["kind"] == "transformer"


def test_training_sees_no_held_out_sentence(
    recipe: TranslationRecipe, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gptviz.pairs.SHARE", 8)
    taught: list[str] = []
    learn = recipes.train_ranks

    def watched(given, vocab_size: int) -> dict[bytes, int]:
        taught.extend(given)
        return learn(taught, vocab_size)

    monkeypatch.setattr(recipes, "train_ranks", watched)
    prepared = recipe.prepare(texts, tmp_path)
    batches = prepared.batches.__self__
    decode = prepared.tokenizer.decode
    train = [Pair(decode(row.source), decode(row.target)) for row in batches.rows]
    held_out = [pair for part in split_pairs(sentences())[1:] for pair in part]
    assert len(train) > 300 and len(held_out) > 60
    assert leaks(train, held_out) == []
    assert {normalised(text) for text in taught}.isdisjoint(normalised(text) for pair in held_out for text in pair)


def test_more_steps_and_other_recipes(recipe: TranslationRecipe, tmp_path: Path) -> None:
    assert with_steps(recipe, 9).training.steps == 9
    path = tmp_path / "odd.toml"
    path.write_text(RECIPE.replace('kind = "transformer"', 'kind = "mixer"'))
    with pytest.raises(DataError, match="expected a model of the kind gpt or transformer, found 'mixer'"):
        load_recipe(path)
    path.write_text(RECIPE.replace("tokens = 64", ""))
    with pytest.raises(DataError, match=r"expected a recipe with .* \[batch\] tokens .* KeyError: 'tokens'"):
        load_recipe(path)
    path.write_text(RECIPE.replace("dropout = 0.1", "dropout = 1.5"))
    with pytest.raises(DataError, match=r"dropout and smoothing from 0 to below 1, found 1\.5"):
        load_recipe(path)
