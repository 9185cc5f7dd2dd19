"""The recorded trainings that the repository ships show what their cards say, measured from the snapshots."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from gptviz.checkpoint import CARD, WEIGHTS
from gptviz.evaluate import bits_per_byte, induction_scores
from gptviz.folder import SNAPSHOTS, available, snapshot_file
from gptviz.runs.recording import Recording, find_recording, recordings
from tests.test_shipped import STORIES

NAME = "gpt-small"


@pytest.fixture(scope="module")
def recording() -> Recording:
    return find_recording(NAME)


def test_it_has_snapshots_from_the_first_weights_to_the_model_itself(recording: Recording) -> None:
    assert len(recording.steps) >= 16
    assert recording.steps[0] == 0
    files = [recording.folder / WEIGHTS, recording.folder / SNAPSHOTS / snapshot_file(recording.steps[-1])]
    assert len({hashlib.sha256(file.read_bytes()).hexdigest() for file in files}) == 1
    gaps = np.diff(np.log(recording.steps[2:]))
    assert gaps.max() < 1.6 * gaps.min()  # steps grow by a factor


def test_it_learns_to_write_and_to_look_for_what_came_before(recording: Recording) -> None:
    first, last = (recording.load(recording.steps[at], "cpu") for at in (0, -1))
    assert bits_per_byte(first, STORIES) > 3  # it knows nothing: the logarithm of the vocabulary, for each token
    assert bits_per_byte(last, STORIES) < 1.5
    assert induction_scores(first).max() < 0.1
    scores = induction_scores(last)
    assert scores.max() > 0.6
    layer, head = np.unravel_index(scores.argmax(), scores.shape)
    assert f"{layer}.{head} is an induction head" in (recording.folder / CARD).read_text(encoding="utf-8")


def test_the_log_has_the_losses_of_the_whole_run(recording: Recording) -> None:
    losses = recording.losses()
    assert losses.steps[0] == 1 and losses.steps[-1] == losses.valid_steps[-1] == recording.steps[-1]
    assert losses.train[0] > 6 and losses.valid[-1] < 2.2


def test_its_twin_without_the_mask_is_the_same_until_the_loss_collapses(recording: Recording) -> None:
    twin = recording.twin()
    assert twin is not None and not twin.causal and recording.causal
    assert twin.steps == recording.steps[: len(twin.steps)]
    begins = [each.load(0, "cpu").gpt.state_dict() for each in (recording, twin)]
    assert all(np.array_equal(begins[0][name], begins[1][name]) for name in begins[0])
    assert twin.losses().train[-1] < 0.1 < 1 < recording.losses().train[-1]
    assert twin.name in recordings()
    assert twin.name not in available()  # the lessons would mask it
