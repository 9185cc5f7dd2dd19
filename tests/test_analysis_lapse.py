"""Snapshots on one sentence: against single passes of `gptviz.trace`, and scores counted cell by cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import gptviz
from gptviz.analysis import lapse
from gptviz.evaluate import induction_scores
from gptviz.runs.recording import find_recording
from tests.recorded import STEPS, write_recording

TEXT = "My dog has fleas and the cat was happy"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shelf")
    write_recording(folder)
    return folder


@pytest.fixture
def models(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> list[gptviz.LanguageModel]:
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(shelf))
    monkeypatch.setenv("GPTVIZ_RUNS", str(shelf / "none"))
    recording = find_recording("seen")
    assert recording.steps == list(STEPS)
    return [recording.load(step) for step in recording.steps]


@pytest.mark.parametrize("causal", [True, False])
def test_every_step_is_what_its_snapshot_does_alone(models: list[gptviz.LanguageModel], causal: bool) -> None:
    ids, _ = models[0].encode(TEXT)
    seen = lapse.look_at_all(models, ids, causal=causal, candidates=5)
    for n, step in enumerate(STEPS):
        trace = gptviz.trace(gptviz.load(f"seen@{step}"), TEXT, causal=causal)
        np.testing.assert_allclose(seen.weights[n], trace.weights, rtol=1e-6)
        p = torch.from_numpy(trace.logits[-1].copy()).double().softmax(-1).numpy()
        order = np.argsort(-p)[:5]
        assert seen.ids[n].tolist() == order.tolist()
        np.testing.assert_allclose(seen.probabilities[n], p[order], rtol=1e-9)
        assert seen.rest[n] == pytest.approx(1 - p[order].sum(), rel=1e-6)
    assert not np.allclose(seen.weights[0], seen.weights[1]), "steps differ"
    assert bool(seen.weights[:, :, :, 0, 1:].any()) is not causal


def test_only_the_last_tokens_are_shown_of_a_pass_over_all(models: list[gptviz.LanguageModel]) -> None:
    ids, _ = models[0].encode(TEXT)
    whole, last = (lapse.look_at_all(models, ids, most=most) for most in (64, 4))
    np.testing.assert_array_equal(last.weights, whole.weights[..., -4:, -4:])
    np.testing.assert_array_equal(last.probabilities, whole.probabilities)


@pytest.mark.parametrize("causal", [True, False])
def test_scores_are_means_over_the_cells_that_they_name(models: list[gptviz.LanguageModel], causal: bool) -> None:
    scores = lapse.score_all(models, causal=causal)
    period = models[0].gpt.config.context // 2
    rng = np.random.default_rng(0)
    rows = rng.integers(0, models[0].tokenizer.end_of_text, size=(lapse.SEQUENCES, period))
    for n, model in enumerate(models):
        previous, induction = np.zeros((2, 2, 3))
        for row in rows:
            weights = model.gpt.trace(np.tile(row, 2), gptviz.WhatIf(causal=causal)).weights
            for query in range(1, 2 * period):
                previous += weights[:, :, query, query - 1] / (2 * period - 1) / lapse.SEQUENCES
            for query in range(period, 2 * period):
                induction += weights[:, :, query, query - period + 1] / period / lapse.SEQUENCES
        np.testing.assert_allclose(scores.previous[n], previous, rtol=1e-4)
        np.testing.assert_allclose(scores.induction[n], induction, rtol=1e-4)


def test_scores_are_those_of_the_evaluation_with_fewer_sequences(
    models: list[gptviz.LanguageModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gptviz.evaluate.SEQUENCES", lapse.SEQUENCES)
    np.testing.assert_allclose(lapse.score_all(models).induction[2], induction_scores(models[2]), rtol=1e-4)


def test_a_thinned_curve_keeps_its_ends_and_every_peak() -> None:
    steps = list(range(1, 20001))
    values = np.sin(np.arange(20000) / 50) + 3
    values[7777], values[3] = 99.0, float("nan")
    x, y = lapse.thinned(steps, values, most=300)
    assert x.dtype == y.dtype == np.float32
    assert len(x) == len(y) <= 300
    assert (x[y == 99], x[0]) == ([7778], 1)
    assert np.isfinite(y).all()
    assert np.all(np.diff(x) > 0)
    np.testing.assert_allclose(values[x.astype(int) - 1], y, rtol=1e-6)  # nothing is averaged
    short = lapse.thinned([5, 6], [1.0, 2.0])
    assert [part.tolist() for part in short] == [[5, 6], [1, 2]]
    assert [len(part) for part in lapse.thinned([], [])] == [0, 0]


def test_tables_have_a_row_for_each_number(models: list[gptviz.LanguageModel]) -> None:
    scores = lapse.score_all(models)
    table = lapse.score_table(STEPS, scores)
    row = table[(table["step"] == 10) & (table["head"] == "1.2")]
    assert len(table) == 4 * 6
    assert row["previous token"].item() == scores.previous[2, 1, 2]
    assert row["induction"].item() == scores.induction[2, 1, 2]
    seen = lapse.look_at_all(models, models[0].encode(TEXT)[0], candidates=3)
    names = [[f"{n}-{k}" for k in range(3)] for n in range(4)]
    table = lapse.next_table(STEPS, names, seen)
    row = table[(table["step"] == 40) & (table["rank"] == 2)]
    assert (row["token"].item(), row["probability"].item()) == ("3-1", seen.probabilities[3, 1])
