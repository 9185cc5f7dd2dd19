"""Translating: cached and uncached, greedy and beams, the tree, teacher forcing, traces, checkpoints, bad input."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import gptviz
from gptviz import checkpoint, folder
from gptviz.attention import plain_attention
from gptviz.checkpoint import TranslationModel
from gptviz.config import TransformerConfig
from gptviz.trace import STAGES
from gptviz.translation import beam_search, length_limit, new_caches, next_log_probabilities, normalised_score
from tests.tiny import random_gpt, tiny_ranks, translator

SENTENCES = ["My dog has fleas.", "Once upon a time", "Tom", "the cat and the red ball, said Lily!", "Привет, 世界 🙂"]


@pytest.fixture(scope="module")
def model() -> TranslationModel:
    return translator()


def log_probabilities(model: TranslationModel, source: list[int], inputs: list[int]) -> torch.Tensor:
    """Of every next token, from one whole pass without a cache: (T, V)."""
    with torch.no_grad():
        return model.transformer(torch.tensor([source]), torch.tensor([inputs]))[0].double().log_softmax(-1)


def source_of(model: TranslationModel, text: str) -> list[int]:
    return [*model.tokenizer.encode(text), model.tokenizer.end_of_text]


# Caches


def test_a_cached_pass_is_the_whole_pass(model: TranslationModel) -> None:
    source, end = source_of(model, SENTENCES[0]), model.tokenizer.end_of_text
    inputs = [end, 5, 300, 17, 42, 99]
    whole = log_probabilities(model, source, inputs)
    with torch.no_grad():
        memory, mask, _ = model.transformer.encode(torch.tensor([source]))
        caches = new_caches(model.transformer, len(inputs), len(source))
        for i, token in enumerate(inputs):
            following = next_log_probabilities(model.transformer, torch.tensor([[token]]), memory, caches)
            torch.testing.assert_close(following[0], whole[i], rtol=0, atol=1e-4)
        assert caches[0].cross.used == len(source)  # the source's keys were made once
        x, _ = model.transformer.decode(torch.tensor([inputs]), memory, mask, plain_attention)
    torch.testing.assert_close(model.transformer.logits(x)[0].double().log_softmax(-1), whole, rtol=0, atol=1e-4)


# Greedy and beams


@pytest.mark.parametrize("text", SENTENCES)
@pytest.mark.parametrize("end_bias", [0.0, 6.0])
def test_a_beam_of_one_takes_the_most_probable_token_each_time(text: str, end_bias: float) -> None:
    model = translator(end_bias=end_bias)
    end, source = model.tokenizer.end_of_text, source_of(model, text)
    limit = length_limit(model.transformer, len(source))
    result = gptviz.translate(model, text)
    ids, total = [end], 0.0
    while len(ids) <= limit:
        log_p = log_probabilities(model, source, ids)[-1]
        ids.append(int(log_p.argmax()))
        total += float(log_p.max())
        if ids[-1] == end:
            break
    assert list(result.ids) == [i for i in ids[1:] if i != end]
    assert result.text == model.tokenizer.decode(result.ids)
    assert result.stopped == ("end" if ids[-1] == end else "length")
    assert result.score == pytest.approx(total / ((5 + len(ids) - 1) / 6) ** 0.6, rel=1e-4)
    assert np.log(result.probabilities).sum() == pytest.approx(total, rel=1e-3)


def test_both_ways_to_stop_are_met() -> None:
    stopped = {gptviz.translate(translator(end_bias=bias), SENTENCES[0]).stopped for bias in (-6.0, 6.0)}
    assert stopped == {"end", "length"}


@pytest.mark.parametrize("beam", [2, 4, 7])
def test_a_wider_beam_finds_better_translations_on_average(beam: int) -> None:
    greedy, wide = [], []
    for seed in range(6):
        model = translator(seed, end_bias=2.0)
        for text in SENTENCES[:3]:
            greedy.append(gptviz.translate(model, text).score)
            wide.append(gptviz.translate(model, text, beam=beam).score)
    assert np.mean(wide) > np.mean(greedy)


@pytest.mark.parametrize("beam", [1, 3, 5])
@pytest.mark.parametrize("end_bias", [0.0, 2.0, 6.0])
def test_the_tree_holds_together(beam: int, end_bias: float) -> None:
    model = translator(2, end_bias)
    source, end = source_of(model, SENTENCES[3]), model.tokenizer.end_of_text
    search = beam_search(model.transformer, source, end, beam, 12)
    assert search.nodes[0] == (-1, end, 0.0, 0.0, False)
    depth = {0: 0}
    for i, node in enumerate(search.nodes[1:], start=1):
        above = search.nodes[node.parent]
        assert node.parent < i and not above.ended  # nothing follows an end
        assert node.total == pytest.approx(above.total + node.log_probability)
        assert node.ended == (node.token == end)
        depth[i] = depth[node.parent] + 1
    at = np.bincount(list(depth.values()))
    assert at.max() <= beam and len(at) - 1 <= 12
    assert len(search.results) == beam
    assert [search.score(i) for i in search.results] == sorted(map(search.score, search.results), reverse=True)
    for i in search.results:
        tokens = search.tokens(i)
        log_p = log_probabilities(model, source, [end, *tokens[:-1]])
        total = float(log_p[range(len(tokens)), tokens].sum())
        assert search.nodes[i].total == pytest.approx(total, abs=1e-3)
        assert search.score(i) == pytest.approx(normalised_score(total, len(tokens)), abs=1e-3)
    siblings = [(node.parent, node.token) for node in search.nodes]
    assert len(set(siblings)) == len(siblings)


def test_the_first_level_is_the_most_probable_tokens(model: TranslationModel) -> None:
    source, end = source_of(model, SENTENCES[0]), model.tokenizer.end_of_text
    search = beam_search(model.transformer, source, end, 5, 4)
    expected = log_probabilities(model, source, [end])[0].topk(5).indices.tolist()
    assert [node.token for node in search.nodes if node.parent == 0] == expected


# Traces


def test_weights_are_rows_that_sum_to_one_with_the_right_zeros(model: TranslationModel) -> None:
    result = gptviz.translate(model, SENTENCES[0])
    trace, s, t = result.trace, len(source_of(model, SENTENCES[0])), len(result.probabilities)
    assert trace.encoder_weights.shape == (3, 4, s, s)
    assert trace.decoder_weights.shape == (3, 4, t, t)
    assert trace.cross_weights.shape == (3, 4, t, s)
    for weights in (trace.encoder_weights, trace.decoder_weights, trace.cross_weights):
        np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
        assert weights.dtype == np.float32 and not weights.flags.writeable
    assert (trace.encoder_weights > 0).all() and (trace.cross_weights > 0).all()
    future = np.triu(np.ones((t, t), dtype=bool), k=1)
    assert (trace.decoder_weights[:, :, future] == 0).all() and (trace.decoder_weights[:, :, ~future] > 0).all()


def test_each_side_has_the_stages_of_a_trace_and_they_fit_together(model: TranslationModel) -> None:
    result = gptviz.translate(model, SENTENCES[0])
    trace, transformer = result.trace, model.transformer
    for side in (trace.encoder, trace.decoder, trace.cross):
        arrays = {stage: getattr(side, stage) for stage in STAGES}
        assert all(np.isfinite(arrays[stage]).all() for stage in STAGES if stage != "masked")
        np.testing.assert_allclose(softmax(arrays["masked"]), arrays["weights"], atol=1e-5)
        np.testing.assert_allclose(arrays["weights"] @ arrays["v"], arrays["heads"], atol=1e-4)
    assert trace.cross.scores.shape == trace.cross_weights.shape
    np.testing.assert_allclose(trace.decoder.residual[0], trace.decoder.attention_in[0], atol=1e-6)
    np.testing.assert_allclose(trace.encoder.residual[-1], trace.encoder.final_vectors, atol=1e-6)
    block, (x, added) = transformer.decoder[1], (trace.decoder.attention_in[1], trace.decoder.attention_out[1])
    cross_in = block.attention_norm(torch.from_numpy(x + added))
    np.testing.assert_allclose(cross_in, trace.cross.attention_in[1], atol=1e-5)
    middle = block.cross_norm(cross_in + torch.from_numpy(trace.cross.attention_out[1].copy()))
    np.testing.assert_allclose(middle, trace.decoder.middle[1], atol=1e-5)
    expected = log_probabilities(model, list(trace.encoder.ids), list(trace.decoder.ids)).exp().numpy()
    np.testing.assert_allclose(softmax(trace.decoder.logits.astype(np.float64)), expected, atol=1e-5)


def softmax(x: np.ndarray) -> np.ndarray:
    raised = np.exp(x - x.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def test_tokens_of_both_sides_are_named(model: TranslationModel) -> None:
    result = gptviz.translate(model, " My dog ")  # white space around a sentence is no part of it
    assert result.trace.encoder.tokens[-1] == result.trace.decoder.tokens[0] == "<|endoftext|>"
    assert "".join(result.trace.encoder.tokens[:-1]) == "My dog"
    assert result.trace.decoder.ids[1:] == result.ids[: len(result.trace.decoder.ids) - 1]
    assert result.trace.cross.tokens == result.trace.decoder.tokens


def test_translating_leaves_nothing_on_the_model(model: TranslationModel) -> None:
    before = {name: id(value) for name, value in vars(model.transformer).items()}
    first = gptviz.translate(model, SENTENCES[0], beam=3)
    gptviz.translate(model, SENTENCES[3])
    again = gptviz.translate(model, SENTENCES[0], beam=3)
    assert (first.ids, first.score, first.search) == (again.ids, again.score, again.search)
    assert {name: id(value) for name, value in vars(model.transformer).items()} == before


# Teacher forcing


def test_forcing_reads_the_reference_and_says_what_the_model_would_have_said(model: TranslationModel) -> None:
    forced = gptviz.force(model, SENTENCES[0], "the red ball")
    end = model.tokenizer.end_of_text
    reference = model.tokenizer.encode("the red ball")
    assert forced.ids == (*reference, end)
    p = log_probabilities(model, source_of(model, SENTENCES[0]), [end, *reference]).exp()
    np.testing.assert_allclose(forced.probabilities, p[range(len(forced.ids)), forced.ids], atol=1e-5)
    np.testing.assert_allclose(forced.choice_probabilities, p.max(-1).values, atol=1e-5)
    assert list(forced.choices) == p.argmax(-1).tolist()
    assert forced.trace.decoder_weights.shape[-1] == len(forced.ids)
    own = gptviz.translate(model, SENTENCES[0])
    if own.stopped == "end":
        again = gptviz.force(model, SENTENCES[0], own.text)
        assert again.choices == again.ids


# Bad input


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_an_empty_sentence_is_refused(model: TranslationModel, text: str) -> None:
    with pytest.raises(ValueError, match="expected a sentence of one token or more, found an empty one"):
        gptviz.translate(model, text)
    with pytest.raises(ValueError, match="expected a reference of one token or more"):
        gptviz.force(model, "Tom", text)


def test_a_sentence_longer_than_the_context_is_refused_and_the_longest_is_not(model: TranslationModel) -> None:
    with pytest.raises(ValueError, match="expected a sentence of at most 47 tokens, found 48; translate one"):
        gptviz.translate(model, "the" + " the" * 47)
    result = gptviz.translate(model, "the" + " the" * 46)
    assert 1 <= len(result.probabilities) <= 48


@pytest.mark.parametrize("text", ["?!…", "\ud800", "مرحبا", "\x00\x1b[2J", "<|endoftext|>", "a\u0301" * 5])
def test_any_other_text_gets_an_end(model: TranslationModel, text: str) -> None:
    for beam in (1, 4):
        result = gptviz.translate(model, text, beam=beam)
        assert 1 <= len(result.probabilities) <= length_limit(model.transformer, 48)


@pytest.mark.parametrize("beam", [0, -1, 17, 2.0, True, None])
def test_a_beam_that_is_none_is_refused(model: TranslationModel, beam: object) -> None:
    with pytest.raises(ValueError, match="expected a beam of 1 to 16"):
        gptviz.translate(model, "Tom", beam=beam)


def test_models_of_the_other_kind_and_no_text_are_refused(model: TranslationModel) -> None:
    from tests.tiny import language_model

    gpt = language_model("tiny-gpt", random_gpt())
    with pytest.raises(TypeError, match="expected a model that translates, found tiny-gpt, which goes on from a text"):
        gptviz.translate(gpt, "Tom")
    with pytest.raises(TypeError, match=r"found 3; gptviz\.load\('transformer-deu-eng'\) gives one"):
        gptviz.translate(3, "Tom")
    with pytest.raises(TypeError, match=r"expected a language model, found tiny, which translates"):
        gptviz.trace(model, "Tom")
    with pytest.raises(TypeError, match=r"expected a language model, found tiny, which translates"):
        gptviz.generate(model, "Tom")
    with pytest.raises(TypeError, match="expected a sentence as a text, found list"):
        gptviz.translate(model, [1, 2])


# Checkpoints


@pytest.fixture
def saved(tmp_path: Path, model: TranslationModel, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(folder.ENVIRONMENT, str(tmp_path))
    checkpoint.save(tmp_path / "pair", model.transformer, model.tokenizer)
    return tmp_path / "pair"


def test_a_saved_model_loads_by_its_name_and_translates_alike(saved: Path, model: TranslationModel) -> None:
    loaded = gptviz.load("pair", "cpu")
    assert isinstance(loaded, TranslationModel)
    assert (loaded.name, loaded.folder) == ("pair", saved)
    assert loaded.transformer.config == model.transformer.config
    for text in SENTENCES:
        ours, again = (gptviz.translate(one, text, beam=2) for one in (model, loaded))
        assert ours.ids == again.ids and ours.score == pytest.approx(again.score, abs=1e-6)
    assert json.loads((saved / "config.json").read_text())["kind"] == "transformer"


def test_sizes_are_known_before_a_weight_is_read(saved: Path, model: TranslationModel) -> None:
    config, _ = folder.read_config(saved)
    state = model.transformer.state_dict()
    assert folder.expected_sizes(config) == (len(state), model.transformer.count_parameters())
    weights = saved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-2])
    with pytest.raises(folder.CheckpointError, match=r"pair/model\.safetensors"):
        gptviz.load("pair", "cpu")


def test_kinds_tell_models_apart(saved: Path) -> None:
    gpt = random_gpt()
    checkpoint.save(saved.parent / "story", gpt, checkpoint.Tokenizer(tiny_ranks()))
    assert "kind" not in json.loads((saved.parent / "story" / "config.json").read_text())  # as in older folders
    assert folder.available() == ["pair", "story"]
    assert (folder.available("gpt"), folder.available("transformer")) == (["story"], ["pair"])
    config = saved / "config.json"
    config.write_text(config.read_text().replace('"transformer"', '"mixer"'))
    with pytest.raises(folder.CheckpointError, match=r'expected "kind": one of gpt, transformer, found \'mixer\''):
        gptviz.load("pair")
    assert folder.available("gpt") == ["pair", "story"]  # a damaged one is listed where people will see it


def test_lessons_about_a_gpt_do_not_offer_it(saved: Path) -> None:
    from gptviz.ui import models

    checkpoint.save(saved.parent / "story", random_gpt(), checkpoint.Tokenizer(tiny_ranks()))
    assert models.names() == ["story"]


def test_the_command_line_lists_both_kinds(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from gptviz.__main__ import main

    assert main(["models"]) == 0
    assert "pair  3+3" in capsys.readouterr().out
    for command in ("trace", "generate"):
        assert main([command, "Tom", "--model", "pair", "--device", "cpu"]) == 2
        assert "expected a model that goes on from a text, found pair, which translates" in capsys.readouterr().err


def test_the_weights_of_the_shape_to_ship_take_less_than_25_megabytes() -> None:
    shape = {"vocab_size": 6000, "context": 64, "n_layers": 4, "n_heads": 8, "d_model": 256}
    _, numbers = folder.expected_sizes(TransformerConfig(**shape))
    assert 2 * numbers < 25e6
    assert dataclasses.asdict(TransformerConfig(**shape))["d_ff"] == 1024
