"""Gradients against autograd of a forward written here, in float64, and against finite differences; threads."""

from __future__ import annotations

import copy
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from gptviz.analysis import gradients, one_step
from gptviz.checkpoint import LanguageModel
from gptviz.gpt import GPT
from gptviz.trace import CellEdit, WhatIf
from tests.tiny import random_gpt

SHAPES = {
    "post, untied": {"n_layers": 2},
    "post, tied": {"n_layers": 2, "tied": True},
    "pre, untied, GELU": {"n_layers": 2, "norm_order": "pre", "activation": "gelu"},
    "pre, tied, GELU by tanh": {"n_layers": 2, "norm_order": "pre", "activation": "gelu_tanh", "tied": True},
}
IDS = [40, 7, 200, 7, 31, 99, 7]


@pytest.fixture(scope="module", params=SHAPES.values(), ids=SHAPES.keys())
def exact(request: pytest.FixtureRequest) -> GPT:
    """Small models of every kind, in float64."""
    return random_gpt(seed=5, **request.param).double()


class Answer(NamedTuple):
    """What a pass written out from the papers gives."""

    loss: Tensor
    weights: list[Tensor]  # (H, T, T) for each layer
    scores: list[Tensor]  # (H, T, T) what the softmax reads


def normalised(x: Tensor, p: dict[str, Tensor], name: str) -> Tensor:
    """Layer normalisation (Ba et al. 2016)."""
    centred = x - x.mean(dim=-1, keepdim=True)
    deviation = (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
    return centred / deviation * p[name + ".weight"] + p[name + ".bias"]


def activated(x: Tensor, kind: str) -> Tensor:
    """ReLU; GELU by the error function; GELU by tanh."""
    if kind == "relu":
        return x * (x > 0)
    if kind == "gelu":
        return x * (1 + torch.erf(x / math.sqrt(2))) / 2
    return x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


def attended(x: Tensor, p: dict[str, Tensor], name: str, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Attention head by head: what is added, the weights (H, T, T), the scores that the softmax reads."""
    t, c = x.shape
    d = c // heads
    rows = x @ p[name + ".qkv.weight"].T + p[name + ".qkv.bias"]
    weights, scores, out = [], [], []
    for h in range(heads):
        q, k, v = (rows[:, part * c + h * d : part * c + (h + 1) * d] for part in range(3))
        score = (q @ k.T / math.sqrt(d)).clone()
        scores.append(score)
        raised = torch.exp(score - score.max().detach()) * torch.tril(torch.ones(t, t, dtype=x.dtype))
        weights.append(raised / raised.sum(dim=-1, keepdim=True))
        out.append(weights[-1] @ v)
    return torch.cat(out, dim=1) @ p[name + ".out.weight"].T + p[name + ".out.bias"], weights, scores


def answer(gpt: GPT, p: dict[str, Tensor], ids: list[int]) -> Answer:
    """The loss of `ids` under parameters `p`, by nothing of gptviz but names and shape."""
    c, post = gpt.config, gpt.config.norm_order == "post"
    x = p["token_embedding.weight"][ids] + p["position_embedding.weight"][: len(ids)]
    weights, scores = [], []
    for layer in range(c.n_layers):
        name = f"blocks.{layer}."
        read = x if post else normalised(x, p, name + "attention_norm")
        added, *seen = attended(read, p, name + "attention", c.n_heads)
        weights += seen[0]
        scores += seen[1]
        x = normalised(x + added, p, name + "attention_norm") if post else x + added
        read = x if post else normalised(x, p, name + "ff_norm")
        hidden = activated(read @ p[name + "ff.expand.weight"].T + p[name + "ff.expand.bias"], c.activation)
        x = x + hidden @ p[name + "ff.contract.weight"].T + p[name + "ff.contract.bias"]
        x = normalised(x, p, name + "ff_norm") if post else x
    final = x if post else normalised(x, p, "final_norm")
    logits = final @ p["token_embedding.weight" if c.tied else "unembedding.weight"].T
    own = logits[torch.arange(len(ids) - 1), ids[1:]]
    return Answer((torch.logsumexp(logits[:-1], dim=-1) - own).mean(), weights, scores)


def leaves(gpt: GPT) -> dict[str, Tensor]:
    """Parameters to differentiate by."""
    return {name: value.detach().clone().requires_grad_() for name, value in gpt.named_parameters()}


def test_loss_and_every_gradient_are_those_of_an_independent_forward(exact: GPT) -> None:
    found, p = gradients.backward(exact, IDS), leaves(exact)
    expected = answer(exact, p, IDS)
    assert found.loss == pytest.approx(expected.loss.item(), rel=1e-12)
    by_hand = torch.autograd.grad(expected.loss, list(p.values()))
    assert list(found.parameters) == list(p)
    assert ("unembedding.weight" in p) is not exact.config.tied
    for name, gradient in zip(p, by_hand, strict=True):
        np.testing.assert_allclose(found.parameters[name], gradient, rtol=1e-9, atol=1e-12, err_msg=name)


def test_gradients_on_attention_weights_and_scores_are_those_of_an_independent_forward(exact: GPT) -> None:
    found = gradients.backward(exact, IDS)
    expected = answer(exact, leaves(exact), IDS)
    h, t = exact.config.n_heads, len(IDS)
    weights, scores = (
        torch.stack(torch.autograd.grad(expected.loss, of, retain_graph=True)).reshape(-1, h, t, t)
        for of in (expected.weights, expected.scores)
    )
    assert found.layers == (0, 1)
    np.testing.assert_allclose(found.weights, torch.stack(expected.weights).detach().reshape(-1, h, t, t), atol=1e-12)
    np.testing.assert_allclose(found.attention, weights, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(gradients.score_gradient(found.attention, found.weights), scores, rtol=1e-9, atol=1e-12)
    assert not found.attention[:, :, -1].any()  # nothing is asked of the last position


def test_finite_differences_agree(exact: GPT) -> None:
    found, p = gradients.backward(exact, IDS), {name: value.detach() for name, value in exact.named_parameters()}
    rng = np.random.default_rng(0)
    for name, value in p.items():
        place = tuple(int(rng.integers(0, size)) for size in value.shape)
        if name == "token_embedding.weight":
            place = (IDS[2], place[1])
        if name == "position_embedding.weight":
            place = (3, place[1])
        ends = []
        for change in (1e-5, -1e-5):
            moved = value.clone()
            moved[place] += change
            ends.append(answer(exact, p | {name: moved}, IDS).loss.item())
        assert found.parameters[name][place].item() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5, abs=1e-8)


def test_moving_attention_to_a_cell_changes_the_loss_as_the_page_says(exact: GPT) -> None:
    found, share = gradients.backward(exact, IDS), 1e-6
    kept = gradients.row_kept(found.attention, found.weights)
    np.testing.assert_allclose((kept * found.weights).sum(axis=-1), 0, atol=1e-12)
    for layer, head, query, key in ((0, 1, 4, 2), (1, 3, 5, 5), (0, 0, 3, 0), (1, 2, 1, 1)):
        weight = float(found.weights[layer, head, query, key])
        losses = []
        for moved in (share, -share):
            edit = CellEdit(layer, head, query, key, weight + moved * (1 - weight))
            logits = exact.trace(IDS, WhatIf(edits=(edit,))).tensor("logits")
            losses.append(torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(IDS[1:])).item())
        change = (losses[0] - losses[1]) / (2 * share)
        assert kept[layer, head, query, key] == pytest.approx(change, rel=1e-4, abs=1e-7)


def test_the_loss_and_weights_are_those_that_readers_see(tiny_model: LanguageModel) -> None:
    gpt, batch = tiny_model.gpt, torch.tensor([IDS])
    found = gradients.backward(gpt, IDS)
    assert found.loss == pytest.approx(gpt.loss(batch[:, :-1], batch[:, 1:]).item(), rel=1e-6)
    np.testing.assert_allclose(found.weights, gpt.trace(IDS).weights, atol=1e-6)


def test_some_layers_alone_give_the_same(tiny_model: LanguageModel) -> None:
    whole, one = (gradients.backward(tiny_model.gpt, IDS, layers) for layers in (None, [1]))
    assert one.layers == (1,)
    np.testing.assert_allclose(one.attention[0], whole.attention[1], atol=1e-6)
    for name, gradient in whole.parameters.items():
        np.testing.assert_allclose(one.parameters[name], gradient, atol=2e-5, err_msg=name)
    assert gradients.backward(tiny_model.gpt, IDS, []).attention.shape == (0, 4, len(IDS), len(IDS))


def test_norms_add_up_to_the_whole(exact: GPT) -> None:
    found = gradients.backward(exact, IDS).parameters
    norms = gradients.norms(found, exact.config)
    flat = torch.cat([gradient.flatten() for gradient in found.values()])
    assert norms.total == pytest.approx(flat.norm().item(), rel=1e-12)
    assert norms.layers.shape == (len(gradients.groups_of(exact.config)), 2)
    np.testing.assert_allclose(np.sqrt((norms.heads**2).sum(axis=-1)), norms.layers[:3], rtol=1e-12)
    d, c = exact.config.d_head, exact.config.d_model
    weight, bias = (found[f"blocks.1.attention.qkv.{part}"].numpy() for part in ("weight", "bias"))
    rows = slice(c + 2 * d, c + 3 * d)  # the key of head 1.2
    assert norms.heads[1, 1, 2] == pytest.approx(math.hypot(np.linalg.norm(weight[rows]), np.linalg.norm(bias[rows])))
    contract = [found[f"blocks.0.ff.contract.{part}"].norm().item() for part in ("weight", "bias")]
    group = gradients.groups_of(exact.config).index("feed-forward out")
    assert norms.layers[group, 0] == pytest.approx(math.hypot(*contract))
    names = {"token embedding = unembedding"} if exact.config.tied else {"token embedding", "unembedding"}
    names |= {"position embedding"} | ({"final norm"} if exact.config.norm_order == "pre" else set())
    assert set(norms.outside) == names


def test_one_token_and_layers_that_are_not_there_are_refused(tiny_model: LanguageModel) -> None:
    with pytest.raises(ValueError, match="single token has no target"):
        gradients.backward(tiny_model.gpt, [3])
    with pytest.raises(ValueError, match="layers from 0 to 2"):
        gradients.backward(tiny_model.gpt, IDS, [3])
    with pytest.raises(ValueError, match="expected ids"):
        gradients.backward(tiny_model.gpt, [3, 10**6])


def test_two_tokens_and_a_full_context_have_gradients(tiny_model: LanguageModel) -> None:
    for t in (2, tiny_model.gpt.config.context):
        found = gradients.backward(tiny_model.gpt, [i % 300 for i in range(t)])
        assert found.attention.shape == (3, 4, t, t)
        assert all(torch.isfinite(gradient).all() for gradient in found.parameters.values())


def test_gradients_come_although_the_caller_wants_none(tiny_model: LanguageModel) -> None:
    with torch.no_grad():
        assert gradients.norms(gradients.backward(tiny_model.gpt, IDS).parameters, tiny_model.gpt.config).total > 0


def test_half_precision_models_have_gradients(tiny_model: LanguageModel) -> None:
    coarse = copy.deepcopy(tiny_model.gpt).bfloat16()
    fine = gradients.backward(tiny_model.gpt, IDS)
    found = gradients.backward(coarse, IDS)
    assert found.loss == pytest.approx(fine.loss, rel=0.05)
    assert one_step.losses_after(coarse, found.parameters, 1e-3, IDS).mean < found.loss


def state_of(gpt: GPT) -> dict[str, object]:
    """Everything about a model that a reader could notice."""
    return {
        name: (value.data_ptr(), value.stride(), value.requires_grad, value.grad, value.detach().clone())
        for name, value in gpt.named_parameters()
    }


def same(before: dict[str, tuple], after: dict[str, tuple]) -> bool:
    """Bit for bit."""
    return before.keys() == after.keys() and all(
        before[name][:4] == after[name][:4] and torch.equal(before[name][4], after[name][4]) for name in before
    )


def disturbed(gpt: GPT, learn, rounds: int = 6) -> list[str]:
    """What eight readers and eight learners of one model at the same time see that differs from being alone."""
    sentences = [[(7 * i + j) % 300 for j in range(3 + 2 * i)] for i in range(8)]
    before, start = state_of(gpt), threading.Barrier(16)
    alone = [(gpt.trace(ids).logits, learn(gpt, ids)) for ids in sentences]
    wrong: list[str] = []

    def read(i: int) -> None:
        for _ in range(rounds):
            start.wait(timeout=60)
            if not np.array_equal(gpt.trace(sentences[i]).logits, alone[i][0]):
                wrong.append(f"trace {i}")

    def step(i: int) -> None:
        for _ in range(rounds):
            start.wait(timeout=60)
            try:
                if not np.array_equal(learn(gpt, sentences[i]), alone[i][1]):
                    wrong.append(f"step {i}")
            except RuntimeError as error:  # autograd notices some of what others change under its hands
                wrong.append(str(error))

    with ThreadPoolExecutor(16) as pool:
        jobs = [pool.submit(job, i) for i in range(8) for job in (read, step)]
    for job in jobs:
        job.result()
    return wrong if same(before, state_of(gpt)) else [*wrong, "the parameters"]


def one_learner(gpt: GPT, ids: list[int]) -> np.ndarray:
    """A whole lesson: backward pass, step, loss."""
    found = gradients.backward(gpt, ids)
    step = one_step.direction(gpt, found.parameters, "adamw")
    return np.append(one_step.losses_after(gpt, step, 1e-2, ids).nats, found.attention.ravel())


def greedy_learner(gpt: GPT, ids: list[int]) -> np.ndarray:
    """What must be caught: a step on the shared model itself, taken back afterwards."""
    found = gradients.backward(gpt, ids)
    kept = {name: value.detach().clone() for name, value in gpt.named_parameters()}
    with torch.no_grad():
        for name, value in gpt.named_parameters():
            value.sub_(1e-2 * found.parameters[name])
        logits = gpt(torch.tensor([ids])).numpy()
        for name, value in gpt.named_parameters():
            value.copy_(kept[name])
    return logits


@pytest.mark.parametrize("name", ["tiny_model", "tiny_pre_norm"])
def test_learning_in_threads_touches_nobodys_reading(name: str, request: pytest.FixtureRequest) -> None:
    assert disturbed(request.getfixturevalue(name).gpt, one_learner) == []


def test_a_learner_that_borrows_the_shared_model_would_be_caught() -> None:
    assert disturbed(random_gpt(), greedy_learner, rounds=3) != []
