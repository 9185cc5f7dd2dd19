"""Training: the first step by hand, the schedule, records, and that an interrupted run goes on to the same losses."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch

from gptviz import train as training
from gptviz.config import GPTConfig
from gptviz.data import Mixture, Source, tokenize
from gptviz.gpt import GPT
from gptviz.tokenizer import Tokenizer
from gptviz.train import Optimizers, StepRecord, TrainConfig, kernel_for, record_dict, train

TALE = "My dog has fleas. The cat has a red ball. Once upon a time Tom and Lily went to play in a big house. "
SHAPE = {"context": 16, "n_layers": 2, "n_heads": 2, "d_model": 16}
OPTIMIZERS = ["adamw", "muon"]


@pytest.fixture
def batches(tiny_tokenizer: Tokenizer) -> training.Batches:
    """Rows of one small tale, told over and over, and some repeated random rows."""
    tokens = tokenize([TALE * 4] * 3, tiny_tokenizer)
    rules = {"context": 16, "batch": 8, "seed": 1, "end_of_text": tiny_tokenizer.end_of_text}
    return Mixture([Source("tale", tokens, 1.0)], repeats=[(0, 0.1)], **rules).batch


def new_gpt(tokenizer: Tokenizer, seed: int = 0, **changes: object) -> GPT:
    torch.manual_seed(seed)
    return GPT(GPTConfig(vocab_size=tokenizer.vocab_size, **(SHAPE | changes)))


def losses(records: list[StepRecord]) -> list[float]:
    return [record.loss for record in records]


# Interrupted and resumed


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("tied", [False, True])
def test_an_interrupted_run_goes_on_to_exactly_the_same_losses(
    tmp_path: Path, tiny_tokenizer: Tokenizer, batches: training.Batches, optimizer: str, tied: bool
) -> None:
    config = TrainConfig(steps=14, warmup=3, optimizer=optimizer, save_every=4, learning_rate=5e-3)
    whole_model = new_gpt(tiny_tokenizer, tied=tied)
    whole = list(train(whole_model, batches, config))

    state = tmp_path / "state.pt"
    records: list[StepRecord] = []
    model = new_gpt(tiny_tokenizer, tied=tied)
    for last_seen, begun, seed in [(6, 0, 0), (11, 4, 77), (14, 8, 78)]:  # saved at 4 and 8, stopped at 6 and 11
        model = model if seed == 0 else new_gpt(tiny_tokenizer, seed, tied=tied)  # other weights: all is in the file
        torch.rand(seed)  # another process would have another generator
        run = train(model, batches, config, state)
        part = list(itertools.islice(run, last_seen - begun))
        run.close()
        assert [record.step for record in part] == list(range(begun + 1, last_seen + 1))
        records = records[:begun] + part

    assert losses(records) == losses(whole)
    assert [r.gradient_norm for r in records] == [r.gradient_norm for r in whole]
    assert [(r.tokens, r.learning_rate) for r in records] == [(r.tokens, r.learning_rate) for r in whole]
    for (name, ours), right in zip(model.named_parameters(), whole_model.parameters(), strict=True):
        assert torch.equal(ours, right), name


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_that_forgot_its_optimizer_would_be_seen(
    tmp_path: Path,
    tiny_tokenizer: Tokenizer,
    batches: training.Batches,
    optimizer: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = TrainConfig(steps=8, warmup=1, optimizer=optimizer, save_every=4, learning_rate=5e-3)
    whole = list(train(new_gpt(tiny_tokenizer), batches, config))
    state = tmp_path / "state.pt"
    list(itertools.islice(train(new_gpt(tiny_tokenizer), batches, config, state), 4))
    monkeypatch.setattr(torch.optim.Optimizer, "load_state_dict", lambda self, saved: None)
    resumed = list(train(new_gpt(tiny_tokenizer), batches, config, state))
    assert resumed[0].loss == whole[4].loss
    assert losses(resumed)[1:] != losses(whole)[5:]


def test_a_finished_run_has_nothing_left_to_do(
    tmp_path: Path, tiny_tokenizer: Tokenizer, batches: training.Batches
) -> None:
    state, config = tmp_path / "state.pt", TrainConfig(steps=3)
    assert len(list(train(new_gpt(tiny_tokenizer), batches, config, state))) == 3
    assert list(train(new_gpt(tiny_tokenizer), batches, config, state)) == []
    longer = list(train(new_gpt(tiny_tokenizer), batches, dataclasses.replace(config, steps=5), state))
    assert [record.step for record in longer] == [4, 5]


def test_a_half_written_state_never_takes_the_place_of_a_good_one(
    tmp_path: Path, tiny_tokenizer: Tokenizer, batches: training.Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, config = tmp_path / "state.pt", TrainConfig(steps=4, save_every=2)
    list(itertools.islice(train(new_gpt(tiny_tokenizer), batches, config, state), 2))
    good = state.read_bytes()

    def out_of_disk(state: object, file: BinaryIO) -> None:
        file.write(good[:100])
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", out_of_disk)
        with pytest.raises(OSError, match="no space left"):
            list(train(new_gpt(tiny_tokenizer), batches, config, state))
    assert state.read_bytes() == good
    assert [record.step for record in train(new_gpt(tiny_tokenizer), batches, config, state)] == [3, 4]


@pytest.mark.parametrize("changes", [{"n_layers": 1}, {"d_model": 32}, {"activation": "gelu"}, {"tied": True}])
def test_a_state_of_another_shape_is_refused_and_the_model_left_alone(
    tmp_path: Path, tiny_tokenizer: Tokenizer, batches: training.Batches, changes: dict[str, object]
) -> None:
    state, config = tmp_path / "state.pt", TrainConfig(steps=1)
    list(train(new_gpt(tiny_tokenizer), batches, config, state))
    other = new_gpt(tiny_tokenizer, **changes)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(ValueError, match=r"state\.pt holds a model of shape .*, expected .*; choose another"):
        next(train(other, batches, config, state))
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_state_of_another_optimizer_is_refused(
    tmp_path: Path, tiny_tokenizer: Tokenizer, batches: training.Batches, optimizer: str
) -> None:
    state = tmp_path / "state.pt"
    list(train(new_gpt(tiny_tokenizer), batches, TrainConfig(steps=1, optimizer=optimizer), state))
    other = TrainConfig(steps=2, optimizer=next(name for name in OPTIMIZERS if name != optimizer))
    with pytest.raises(ValueError, match=r"state\.pt was saved by another optimizer"):
        next(train(new_gpt(tiny_tokenizer), batches, other, state))


def test_an_unknown_optimizer_is_refused() -> None:
    with pytest.raises(ValueError, match="expected the optimizer adamw or muon, found 'sgd'"):
        TrainConfig(steps=1, optimizer="sgd")


# What a step does


@pytest.fixture
def full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """No autocast, whatever this machine prefers: the numbers are compared closely."""
    monkeypatch.setattr(training, "autocast", lambda *_: contextlib.nullcontext())


@pytest.mark.usefixtures("full_precision")
@pytest.mark.parametrize("clip", [1e9, 0.01])
def test_the_first_step_of_adamw_is_the_one_of_the_paper(
    tiny_tokenizer: Tokenizer, batches: training.Batches, clip: float
) -> None:
    """Loshchilov and Hutter 2019, algorithm 2: after one step the moments are the gradient and its square."""
    model = new_gpt(tiny_tokenizer)
    before = {name: p.detach().double().clone() for name, p in model.named_parameters()}
    inputs, targets = (torch.from_numpy(a) for a in batches(0))
    loss = model.loss(inputs, targets)
    gradients = dict(zip(before, torch.autograd.grad(loss, list(model.parameters())), strict=True))
    norm = math.sqrt(sum(float(g.double().square().sum()) for g in gradients.values()))

    config = TrainConfig(steps=100, warmup=10, clip=clip, weight_decay=0.25, learning_rate=0.01)
    record = next(train(model, batches, config))
    assert record.loss == pytest.approx(loss.item(), rel=1e-5)
    assert record.gradient_norm == pytest.approx(norm, rel=1e-4)
    assert record.learning_rate == pytest.approx(0.001)
    for name, p in model.named_parameters():
        gradient = gradients[name].double() * min(1.0, clip / norm)
        decay = 0.25 if p.ndim == 2 and name.startswith("blocks") else 0.0
        expected = before[name] * (1 - 0.001 * decay) - 0.001 * gradient / (gradient.abs() + 1e-8)
        clear = gradient.abs() > 1e-6  # where it is almost 0 its sign hangs on rounding
        assert clear.any(), name
        torch.testing.assert_close(p.detach().double()[clear], expected[clear], rtol=0, atol=2e-5, msg=name)


@pytest.mark.usefixtures("full_precision")
def test_muon_makes_every_step_of_a_matrix_equally_long_in_all_directions(
    tiny_tokenizer: Tokenizer, batches: training.Batches
) -> None:
    """Jordan et al. 2024: the update is near an orthogonal matrix, scaled so that its entries are of AdamW's size."""
    model = new_gpt(tiny_tokenizer)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    config = TrainConfig(steps=100, warmup=1, weight_decay=0.0, optimizer="muon", learning_rate=0.01)
    next(train(model, batches, config))
    for name, p in model.named_parameters():
        moved = (p.detach() - before[name]) / 0.01
        if name.startswith("blocks") and p.ndim == 2:
            for part in moved.chunk(3) if "qkv" in name else [moved]:  # queries, keys and values each by themselves
                singular = torch.linalg.svdvals(part) / (0.2 * math.sqrt(max(part.shape)))
                assert 0.5 < singular.median() < 1.5, name
                assert singular.max() < 1.5, name
        else:
            assert moved.abs().max() == pytest.approx(1, abs=0.02), name


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_parameter_is_moved_by_one_optimizer_and_only_the_matrices_of_blocks_decay(
    tiny_tokenizer: Tokenizer, optimizer: str, tied: bool
) -> None:
    model = new_gpt(tiny_tokenizer, tied=tied, norm_order="pre")
    optimizers = Optimizers(model, TrainConfig(steps=1, optimizer=optimizer))
    groups = [group for one in optimizers.all for group in one.param_groups]
    moved = [(p.data_ptr(), p.numel()) for group in groups for p in group["params"]]
    assert sum(n for _, n in moved) == sum(p.numel() for p in model.parameters())
    assert len({place for place, _ in moved}) == len(moved)  # none twice
    inside = {p.data_ptr() for p in model.blocks.parameters() if p.ndim == 2}
    for group in groups:
        assert all((p.ndim == 2 and p.data_ptr() in inside) == (group["weight_decay"] > 0) for p in group["params"][:1])
    if optimizer == "muon":
        assert all(p.ndim == 2 for p in optimizers.all[1].param_groups[0]["params"])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_loss_falls_on_a_small_text(
    tiny_tokenizer: Tokenizer, batches: training.Batches, optimizer: str
) -> None:
    model = new_gpt(tiny_tokenizer)
    config = TrainConfig(steps=70, warmup=5, optimizer=optimizer, learning_rate=1e-2)
    seen = losses(list(train(model, batches, config)))
    assert seen[0] == pytest.approx(math.log(tiny_tokenizer.vocab_size), abs=0.3)
    assert np.mean(seen[-10:]) < 0.5 * seen[0]


@pytest.mark.usefixtures("full_precision")
def test_training_on_the_written_out_attention_is_training_on_the_fast_one(
    tiny_tokenizer: Tokenizer, batches: training.Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(steps=5, warmup=1)
    plain = losses(list(train(new_gpt(tiny_tokenizer), batches, config)))
    monkeypatch.setattr(training, "kernel_for", lambda device, t, causal: training.fast_attention(causal))
    assert losses(list(train(new_gpt(tiny_tokenizer), batches, config))) == pytest.approx(plain, rel=1e-5)


def test_a_cpu_writes_attention_out_and_other_devices_fuse_it() -> None:
    q = torch.randn(1, 2, 5, 4)
    assert kernel_for(torch.device("cpu"), 5)(q, q, q)[1] is not None
    assert kernel_for(torch.device("meta"), 5)(q, q, q)[1] is None


# Records


def test_records_say_what_happened(tiny_tokenizer: Tokenizer, batches: training.Batches) -> None:
    config = TrainConfig(steps=7, warmup=3, eval_every=3)
    model = new_gpt(tiny_tokenizer)
    asked: list[GPT] = []

    def evaluate(gpt: GPT) -> float:
        asked.append(gpt)
        return 0.5 * len(asked)

    records = list(train(model, batches, config, evaluate=evaluate))
    assert [r.step for r in records] == [1, 2, 3, 4, 5, 6, 7]
    assert [r.tokens for r in records] == [8 * 16 * n for n in range(1, 8)]
    assert [r.learning_rate for r in records] == [config.rate(step) for step in range(7)]
    assert [r.valid_loss for r in records] == [None, None, 0.5, None, None, 1.0, 1.5]
    assert all(gpt is model for gpt in asked)
    assert all(r.tokens_per_second > 0 and r.gradient_norm > 0 for r in records)
    assert set(record_dict(records[0])) == {field.name for field in dataclasses.fields(StepRecord)}
    assert StepRecord(**record_dict(records[2])) == records[2]


def test_nothing_happens_before_the_first_record_is_asked_for(tiny_tokenizer: Tokenizer) -> None:
    def never(step: int) -> tuple[np.ndarray, np.ndarray]:
        raise AssertionError("a generator starts when it is asked")

    train(new_gpt(tiny_tokenizer), never, TrainConfig(steps=1))


# The schedule


def test_the_rate_rises_stays_and_falls() -> None:
    config = TrainConfig(steps=100, learning_rate=2.0, warmup=10, decay=0.4)
    rates = [config.rate(step) for step in range(100)]
    np.testing.assert_allclose(rates[:10], [0.2 * n for n in range(1, 11)])
    np.testing.assert_allclose(rates[10:60], 2.0)
    np.testing.assert_allclose(rates[60:], [2.0 * (1 - (n / 40) ** 0.5) for n in range(40)])


@pytest.mark.parametrize("changes", [{"warmup": 0}, {"decay": 0.0}, {"decay": 1.0}, {"warmup": 1000}, {"steps": 1}])
def test_odd_schedules_stay_between_nothing_and_the_plateau(changes: dict[str, float]) -> None:
    config = TrainConfig(**({"steps": 50, "learning_rate": 1.0, "warmup": 5} | changes))
    rates = [config.rate(step) for step in range(config.steps)]
    assert all(0 < rate <= 1 for rate in rates)
