"""What a run may be told: schedules, accumulation, no mask, a stop; what its records hold; and a run that diverges."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from gptviz import train as training
from gptviz.attention import MultiHeadAttention, plain_attention
from gptviz.config import GPTConfig, TransformerConfig
from gptviz.device import memory_used
from gptviz.gpt import GPT
from gptviz.seq2seq import Transformer
from gptviz.train import Diverged, StepRecord, TrainConfig, train
from gptviz.training.ranks import Ranks

V, T = 60, 12
FAST = {"steps": 6, "warmup": 2, "learning_rate": 5e-3, "precision": "float32"}


def new_gpt(seed: int = 0, **changes: object) -> GPT:
    torch.manual_seed(seed)
    return GPT(GPTConfig(V, T, 2, 2, 16, **changes))


def batches(step: int) -> tuple[np.ndarray, np.ndarray]:
    """Seven rows; of some the first targets do not count, so that parts hold unequal numbers of targets."""
    rng = np.random.default_rng([5, step])
    rows = np.cumsum(rng.integers(1, 3, (7, T + 1)), axis=1) % V
    targets = rows[:, 1:].copy()
    for row, hidden in enumerate([0, 9, 2, 0, 11, 5, 1]):
        targets[row, :hidden] = -1
    return rows[:, :-1], targets


def pair_batches(step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sources, inputs and targets of five rows, with padding at their ends."""
    inputs, targets = batches(step)
    inputs, targets = inputs[:5].copy(), inputs[:5, ::-1].copy()
    for row, length in enumerate([3, 12, 7, 9, 5]):
        inputs[row, length:] = targets[row, length:] = -1
    return inputs, np.where(inputs < 0, -1, targets), targets


def losses(records: list[StepRecord]) -> list[float]:
    return [record.loss for record in records]


# Schedules


def test_a_cosine_rises_evenly_and_falls_on_half_a_cosine_to_its_lowest() -> None:
    config = TrainConfig(steps=110, learning_rate=2.0, warmup=10, schedule="cosine", lowest=0.1)
    rates = [config.rate(step) for step in range(110)]
    np.testing.assert_allclose(rates[:10], [0.2 * n for n in range(1, 11)])
    expected = [0.2 + 0.5 * 1.8 * (1 + math.cos(math.pi * n / 100)) for n in range(100)]
    np.testing.assert_allclose(rates[10:], expected)
    assert rates[60] == pytest.approx(1.1)  # half way
    assert config.rate(110) == pytest.approx(0.2)


def test_a_constant_rate_stays() -> None:
    config = TrainConfig(steps=50, learning_rate=2.0, warmup=4, schedule="constant")
    assert [config.rate(step) for step in range(50)] == [0.5, 1.0, 1.5] + [2.0] * 47


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
@pytest.mark.parametrize("changes", [{"warmup": 0}, {"warmup": 1000}, {"steps": 1}, {"warmup": 50}])
def test_odd_schedules_stay_above_nothing(schedule: str, changes: dict[str, int]) -> None:
    config = TrainConfig(**({"steps": 50, "learning_rate": 1.0, "warmup": 5, "schedule": schedule} | changes))
    assert all(0 < config.rate(step) <= 1 for step in range(config.steps))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"schedule": "linear"}, "expected the schedule sqrt, cosine or constant, found 'linear'"),
        ({"precision": "fp8"}, "expected the precision auto, bfloat16 or float32, found 'fp8'"),
        ({"lowest": 2.0}, "expected lowest from 0 to 1"),
        ({"accumulate": 0}, "expected accumulate of 1 or more, found 0"),
        ({"save_every": 0}, "expected save_every of 1 or more, found 0"),
    ],
)
def test_a_config_that_no_run_can_have_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        TrainConfig(steps=1, **wrong)


# Accumulation


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("parts", [2, 3, 7])
def test_a_batch_in_parts_is_the_whole_batch(optimizer: str, parts: int) -> None:
    """Parts of unequal rows with unequal targets: their gradients, weighted, are those of all at once."""
    config = TrainConfig(**FAST, optimizer=optimizer)
    whole, cut = new_gpt(), new_gpt()
    expected = list(train(whole, batches, config))
    found = list(train(cut, batches, dataclasses.replace(config, accumulate=parts)))
    assert losses(found) == pytest.approx(losses(expected), rel=1e-5)
    assert [r.gradient_norm for r in found] == pytest.approx([r.gradient_norm for r in expected], rel=1e-4)
    assert [r.tokens for r in found] == [r.tokens for r in expected]


def test_pairs_in_parts_are_the_whole_batch() -> None:
    config = TrainConfig(**FAST, smoothing=0.1)
    runs = []
    for parts in (1, 2, 5):
        torch.manual_seed(0)
        model = Transformer(TransformerConfig(V, T, 1, 2, 16))
        runs.append(losses(list(train(model, pair_batches, dataclasses.replace(config, accumulate=parts)))))
    assert runs[1] == pytest.approx(runs[0], rel=1e-5)
    assert runs[2] == pytest.approx(runs[0], rel=1e-5)


def test_more_parts_than_rows_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected 8 rows or more in a batch, .* found 7"):
        next(train(new_gpt(), batches, TrainConfig(**FAST, accumulate=8)))


def test_a_part_without_a_target_is_refused() -> None:
    empty = batches(0)[0], np.concatenate([batches(0)[1][:6], np.full((1, T), -1)])
    with pytest.raises(ValueError, match="expected targets in every part of a batch, found one without"):
        next(train(new_gpt(), lambda step: empty, TrainConfig(**FAST, accumulate=7)))


# Without the mask


def test_a_gpt_is_trained_without_the_mask() -> None:
    model = new_gpt()
    inputs, targets = (torch.from_numpy(a) for a in batches(0))
    masked, unmasked = (model.loss(inputs, targets, plain_attention(causal)).item() for causal in (True, False))
    assert abs(masked - unmasked) > 1e-3
    record = next(train(model, batches, TrainConfig(**FAST, causal=False)))
    assert record.loss == pytest.approx(unmasked, rel=1e-5)
    assert new_gpt().config == model.config  # a GPT like any other


def test_who_sees_the_answer_learns_to_copy_it() -> None:
    """Random tokens: nothing in the past predicts the next one, which only an unmasked model can look at."""

    def random(step: int) -> tuple[np.ndarray, np.ndarray]:
        rows = np.random.default_rng([8, step]).integers(0, V, (16, T + 1))
        return rows[:, :-1], rows[:, 1:]

    config = TrainConfig(steps=250, warmup=10, learning_rate=1e-2, precision="float32")
    last = {}
    for causal in (True, False):
        records = list(train(new_gpt(), random, dataclasses.replace(config, causal=causal)))
        last[causal] = np.mean(losses(records[-10:]))
    assert last[True] > 0.95 * math.log(V)
    assert last[False] < 0.7 * math.log(V)


def test_an_encoder_decoder_keeps_its_mask() -> None:
    with pytest.raises(ValueError, match="only a GPT is trained unmasked"):
        next(train(Transformer(TransformerConfig(V, T, 1, 2, 16)), pair_batches, TrainConfig(**FAST, causal=False)))


# Stop


def test_a_run_stops_on_request_and_goes_on_to_the_same_losses(tmp_path: Path) -> None:
    config, state = TrainConfig(**FAST), tmp_path / "state.pt"
    whole = list(train(new_gpt(), batches, config))
    answers = iter([False, False, False, True])
    first = list(train(new_gpt(), batches, config, state, lambda model: 1.5, stop=lambda: next(answers)))
    assert [r.step for r in first] == [1, 2, 3, 4]
    assert [r.valid_loss for r in first] == [None, None, None, 1.5]
    rest = list(train(new_gpt(seed=9), batches, config, state, stop=lambda: False))
    assert losses(first + rest) == losses(whole)


# Divergence


def test_a_run_that_diverges_says_so_and_keeps_the_last_good_state(tmp_path: Path) -> None:
    state, seen = tmp_path / "state.pt", []
    config = TrainConfig(**FAST | {"steps": 9}, save_every=3)

    def broken(step: int) -> tuple[np.ndarray, np.ndarray]:
        """The vectors of a token that comes at the sixth step only were damaged."""
        inputs, targets = batches(step)
        inputs[inputs == 7] = 8
        if step == 5:
            inputs[2, 3] = 7
        return inputs, targets

    model = new_gpt()
    with torch.no_grad():
        model.token_embedding.weight[7] = math.nan
    with pytest.raises(Diverged, match=r"step 6, found a loss of nan .*; .*state\.pt holds the last good") as said:
        for record in train(model, broken, config, state):
            seen.append(record)
    assert "lower learning_rate, now 0.005" in str(said.value)
    assert [record.step for record in seen] == [1, 2, 3, 4, 5]
    assert torch.load(state, weights_only=True)["step"] == 3


@pytest.mark.parametrize("save_every", [1, 2])
def test_weights_that_lead_nowhere_are_not_saved(tmp_path: Path, save_every: int) -> None:
    """A step so large that every number is still finite, and the next loss is not."""
    state = tmp_path / "state.pt"
    list(train(new_gpt(), batches, TrainConfig(**FAST | {"steps": 2}, save_every=save_every), state))
    good = state.read_bytes()
    wild = TrainConfig(**FAST | {"learning_rate": 1e30}, save_every=save_every)
    with pytest.raises(Diverged, match="lower learning_rate, now 1e\\+30"):
        list(train(new_gpt(), batches, wild, state))
    assert state.read_bytes() == good
    model = new_gpt(seed=3)
    assert all(math.isfinite(r.loss) for r in train(model, batches, TrainConfig(**FAST), state))


def test_a_run_that_diverges_at_once_saved_nothing() -> None:
    model = new_gpt()
    with torch.no_grad():
        model.blocks[0].ff.expand.weight[0, 0] = math.inf
    with pytest.raises(Diverged, match=r"step 1, .* nothing was saved before"):
        next(train(model, batches, TrainConfig(**FAST)))


# Records


@pytest.mark.parametrize("tied", [False, True])
def test_the_norms_of_the_parts_are_those_of_their_gradients(tied: bool) -> None:
    model = new_gpt(tied=tied)
    inputs, targets = (torch.from_numpy(a) for a in batches(0))
    loss = model.loss(inputs, targets, plain_attention())
    names = [name for name, _ in model.named_parameters()]
    gradients = dict(zip(names, torch.autograd.grad(loss, list(model.parameters())), strict=True))
    record = next(train(model, batches, TrainConfig(**FAST, clip=0.01)))
    of = {
        "embeddings": lambda name: "embedding" in name and "unembedding" not in name,
        "attention": lambda name: ".attention." in name,
        "feed_forward": lambda name: ".ff." in name,
        "norms": lambda name: "norm" in name,
        "unembedding": lambda name: "unembedding" in name,
    }
    expected = {
        part: math.sqrt(sum(float(g.double().square().sum()) for name, g in gradients.items() if mine(name)))
        for part, mine in of.items()
    }
    if tied:
        assert expected.pop("unembedding") == 0
    assert record.gradient_norms == pytest.approx(expected, rel=1e-4)
    assert record.gradient_norm == pytest.approx(math.hypot(*expected.values()), rel=1e-4)


def test_the_parts_of_an_encoder_decoder_hold_all_of_it() -> None:
    model = Transformer(TransformerConfig(V, T, 1, 2, 16))
    groups = training.Optimizers(model, TrainConfig(steps=1)).groups
    assert set(groups) == {"embeddings", "attention", "feed_forward", "norms"}
    assert sum(p.numel() for group in groups.values() for p in group) == model.count_parameters()
    heads = [m for m in model.modules() if isinstance(m, MultiHeadAttention)]
    assert sum(p.numel() for p in groups["attention"]) == sum(p.numel() for m in heads for p in m.parameters())


def test_records_say_how_much_memory_the_process_holds() -> None:
    record = next(train(new_gpt(), batches, TrainConfig(**FAST)))
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("what the process holds is compared with Linux's own figure")
    held = int(re.search(r"VmRSS:\s+(\d+) kB", status.read_text())[1]) * 1024
    assert record.memory == pytest.approx(held, rel=0.1)
    assert memory_used(torch.device("cpu")) == pytest.approx(held, rel=0.1)


# Precision


def test_a_run_goes_on_in_the_precision_that_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is faster is measured; a busy machine must not change the losses of a run that goes on."""
    config = TrainConfig(**FAST | {"precision": "auto"})
    state = tmp_path / "state.pt"
    monkeypatch.setattr(training, "bf16_pays", lambda device: True)
    whole = losses(list(train(new_gpt(), batches, config)))
    list(train(new_gpt(), batches, dataclasses.replace(config), state, stop=lambda: True))
    monkeypatch.setattr(training, "bf16_pays", lambda device: False)
    assert losses(list(train(new_gpt(), batches, config, state))) == whole[1:]
    assert losses(list(train(new_gpt(), batches, config))) != whole


# Engines


def test_sharding_and_muon_do_not_go_together() -> None:
    with pytest.raises(ValueError, match="expected the optimizer adamw with FSDP, found muon"):
        next(train(new_gpt(), batches, TrainConfig(**FAST, optimizer="muon"), ranks=Ranks(shard=True)))


def test_the_rows_of_all_processes_are_the_batch() -> None:
    whole = batches(4)
    parts = [part for rank in range(3) for part in Ranks(rank, 3).parts(whole, 2, torch.device("cpu"))]
    assert [part.number for part in parts] == [0, 1, 2, 3, 4, 5]
    for column, array in enumerate(whole):
        assert np.array_equal(torch.cat([part.tensors[column] for part in parts]), array)
    assert sum(part.weight for part in parts) == pytest.approx(1)
    targets = [int((part.tensors[1] >= 0).sum()) for part in parts]
    assert [part.weight for part in parts] == pytest.approx([n / sum(targets) for n in targets])
