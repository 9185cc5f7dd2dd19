"""Scores of translations: alignment by hand, the file of linked pairs, BLEU of a model that is right, the command."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

import gptviz
from gptviz import checkpoint, translation_scores
from gptviz.__main__ import main
from gptviz.data import DataError
from gptviz.pairs import Pair
from gptviz.translation_scores import (
    WORD,
    Aligned,
    alignment_error_rate,
    attention_links,
    evaluate_translations,
    read_aligned,
    sample,
    words_of_tokens,
)
from tests.tiny import translator

LINKED = Path(__file__).parent / "word_alignments.txt"
PAIR = Pair("My dog, said Tom!", "the red ball.")


# Pairs with links


def test_the_fifty_linked_pairs_are_read_and_every_word_but_two_has_a_link() -> None:
    pairs = read_aligned(LINKED)
    assert len(pairs) == len({pair.pair for pair in pairs}) == 50
    without = []
    for pair, links in pairs:
        for side in (0, 1):
            linked = {link[side] for link in links}
            without += [word for i, word in enumerate(WORD.findall(pair[side])) if i not in linked]
    assert without == ["There", "der"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Ich bin ||| I am", r"bad\.txt, line 1: expected source \|\|\| target"),
        ("Ich bin ||| I am ||| 0:0", r"expected source"),
        ("Ich bin! ||| I am. ||| 0-0 2-1", r"expected links among \(2, 2\) words, found 0-0 2-1"),
    ],
)
def test_a_line_of_another_form_is_refused(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "bad.txt").write_text(line)
    with pytest.raises(DataError, match=message):
        read_aligned(tmp_path / "bad.txt")


# Alignment


def test_tokens_belong_to_the_words_that_they_are_in() -> None:
    text = "Grün, o'clock  x!"
    tokens = [b"Gr", b"\xc3", b"\xbcn", b",", b" o", b"'", b"clock", b" ", b" x", b"!"]
    assert b"".join(tokens) == text.encode()
    assert words_of_tokens(text, tokens) == [0, 0, 0, -1, 1, 1, 1, -1, 2, -1]


def test_links_are_the_heaviest_source_word_of_each_target_word(monkeypatch: pytest.MonkeyPatch) -> None:
    model = translator()
    source, target = (model.tokenizer.token_texts(model.tokenizer.encode(text)) for text in PAIR)
    s, t = len(source) + 1, len(target) + 1  # and the end of text
    forced = translation_scores.force(model, PAIR.source, PAIR.target)
    weights = np.full((3, 4, t, s), 0.0)
    heavy = {"the": "Tom", " red": "My", " ball": " dog"}
    for row, token in enumerate(target):
        weights[1, :, row, -1] = 0.5  # the end of text is no word
        for column, word in enumerate(source):
            if heavy.get(token, "?").strip() == word.strip():
                weights[1, :2, row, column] = 0.4  # two of four heads
    trace = type("Seen", (), {"cross_weights": weights})
    monkeypatch.setattr(translation_scores, "force", lambda *_: type("Forced", (), {"trace": trace}))
    found = attention_links(model, PAIR, 1)
    assert forced.trace.cross_weights.shape == weights.shape
    words = WORD.findall(PAIR.source), WORD.findall(PAIR.target)
    named = {(words[0][a], words[1][b]) for a, b in found}
    assert named == {("Tom", "the"), ("My", "red"), ("dog", "ball")}
    wanted = [Aligned(PAIR, frozenset(found)), Aligned(PAIR, frozenset({(0, 0), (0, 1)}))]
    assert alignment_error_rate(model, wanted[:1], 1) == 0
    hits = len(found & wanted[1].links)
    assert alignment_error_rate(model, wanted, 1) == pytest.approx(1 - 2 * (3 + hits) / (3 + 3 + 3 + 2))


# BLEU


def test_a_model_that_says_the_references_has_a_bleu_of_100(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sacrebleu")
    pairs = [Pair("Der Hund schläft.", "The dog sleeps here."), Pair("Das Haus ist rot.", "The house is red.")]
    said = {1: {p.source: p.target for p in pairs}, 4: {p.source: "The house is blue." for p in pairs}}
    monkeypatch.setattr(translation_scores, "translate_text", lambda model, text, beam: said[beam][text])
    report = evaluate_translations(translator(), pairs)
    assert tuple(report.greedy) == pytest.approx((100, 100))
    assert 0 < report.beam.bleu < 60 and 0 < report.beam.chrf < 80
    assert "tok:13a" in report.signature
    lines = list(report.lines())
    assert lines[0].endswith(" 2") and "BLEU 100.00  chrF 100.00" in lines[1] and len(lines) == 4


def test_no_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="expected held-out pairs, found none"):
        evaluate_translations(translator(), [])


def test_the_command_measures_the_held_out_pairs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sacrebleu")
    from tests.test_pairs import RECIPE, sentences

    monkeypatch.setattr("gptviz.pairs.SHARE", 8)
    with zipfile.ZipFile(tmp_path / "small.zip", "w") as archive:
        archive.writestr("small.txt", "".join(f"{pair.target}\t{pair.source}\n" for pair in sentences()))
    model = translator(end_bias=2.0)
    checkpoint.save(tmp_path / "pair", model.transformer, model.tokenizer)
    (tmp_path / "pair" / "recipe.toml").write_text(RECIPE)
    (tmp_path / "links.txt").write_text("".join(LINKED.read_text().splitlines(keepends=True)[:3]))
    arguments = ["evaluate", str(tmp_path / "pair"), "--data", str(tmp_path), "--device", "cpu", "--pairs", "3"]
    assert main([*arguments, "--show", "2", "--alignments", str(tmp_path / "links.txt")]) == 0
    out = capsys.readouterr().out
    assert "held-out pairs       3\n" in out
    assert out.count("  reference  ") == out.count("  greedy     ") == 2
    assert "greedy               BLEU" in out and "beam 4               BLEU" in out
    assert "on 3 pairs (layer 0: " in out and "layer 2: " in out
    assert main([*arguments[:-1], "1", "--show", "1", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["model"], said["pairs"], said["aligned"], said["error_rates"]) == ("pair", 1, 0, [])
    assert set(said["greedy"]) == set(said["beam"]) == {"bleu", "chrf"}
    assert [set(drawn) for drawn in said["samples"]] == [{"source", "reference", "greedy"}]


def test_a_seed_draws_pairs_and_not_taste() -> None:
    pairs = [Pair(f"dog {i}", f"the dog {i}") for i in range(9)]
    model = translator()
    drawn = sample(model, pairs, 4)
    assert [pair for pair, _ in drawn] == [pair for pair, _ in sample(model, pairs, 4)]
    assert len({pair for pair, _ in drawn}) == 4 and {pair for pair, _ in drawn} <= set(pairs)
    assert [pair for pair, _ in drawn] != [pair for pair, _ in sample(model, pairs, 4, seed=1)]
    assert all(text == gptviz.translate(model, pair.source).text for pair, text in drawn)
    assert len(sample(model, pairs, 99)) == 9
