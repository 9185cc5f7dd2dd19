"""What pages make of a translation, worked out again: against an answer by other means, and each side by its own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from gptviz.analysis.claims import check_claim
from gptviz.analysis.derived import head as derived_head
from gptviz.analysis.derived import translations as derived
from gptviz.analysis.derived import vectors as derived_vectors
from gptviz.analysis.float64 import parameter
from gptviz.analysis.float64_pair import float64_tree
from gptviz.analysis.passes import MissingStage, PairPass, SidePass, other_passes
from gptviz.analysis.shown import claim
from gptviz.checkpoint import TranslationModel
from gptviz.translation import AS_TRAINED, BeamSearch, beam_search, trace_pair
from tests import reference
from tests.test_analysis_derived import same
from tests.tiny import random_gpt, translator

SOURCE, INPUTS, WRITTEN = (40, 41, 42, 43, 44), (340, 50, 51, 50), (50, 51, 50, 7)
RULES = {side: {"causal": side == "decoder", "scaled": True} for side in AS_TRAINED}


@pytest.fixture(scope="module")
def model() -> TranslationModel:
    return translator()


@pytest.fixture(scope="module")
def seen(model: TranslationModel) -> PairPass:
    """A pass in float64."""
    return PairPass(model.transformer, trace_pair(model, list(SOURCE), list(INPUTS)))


@pytest.fixture(scope="module")
def expected(model: TranslationModel) -> dict:
    """The same by the other reference."""
    return reference.forward_pair(model.transformer, list(SOURCE), list(INPUTS), RULES)


def log_p_of(model: TranslationModel, inputs: list[int]) -> torch.Tensor:
    """(T, V) by the other reference."""
    found = reference.forward_pair(model.transformer, list(SOURCE), inputs, RULES)
    return torch.from_numpy(found["decoder"]["logits"]).log_softmax(-1)


def test_a_side_has_the_names_of_a_gpt(model: TranslationModel, seen: PairPass, expected: dict) -> None:
    for side, stages in expected.items():
        here = seen.of_side(side)
        assert (here.ids, here.what_if) == (SOURCE if side == "encoder" else INPUTS, AS_TRAINED[side])
        np.testing.assert_allclose([*here.layers("weights")], stages["weights"], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(here.layer("residual", 2), stages["residual"][2], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(seen.of_side("decoder").logits_at(-2), expected["decoder"]["logits"][2], atol=1e-9)
    own = dict(model.transformer.named_parameters())
    names = {"encoder": "encoder.1.attention", "decoder": "decoder.1.attention", "cross": "decoder.1.cross"}
    for side, name in names.items():
        np.testing.assert_array_equal(
            seen.of_side(side).weight("blocks.1.attention.qkv.weight"), own[f"{name}.qkv.weight"].numpy()
        )
    scaled = own["token_embedding.weight"].numpy() * math.sqrt(model.transformer.config.d_model)
    np.testing.assert_allclose(seen.of_side("cross").weight("token_embedding.weight"), scaled, rtol=1e-6)


def test_what_could_have_been_written(model: TranslationModel, seen: PairPass) -> None:
    logs, decoder, came = log_p_of(model, list(INPUTS)), seen.of_side("decoder"), torch.tensor(WRITTEN)
    top = logs.exp().topk(3)
    named = tuple(map(tuple, top.indices.tolist()))
    given = logs.gather(1, came[:, None])[:, 0]
    same(derived.steps(decoder, WRITTEN, named), {
        "probability of the tokens named [step, rank]": top.values, "largest probabilities [step, rank]": top.values,
        "all others together [step]": 1 - top.values.sum(-1), "probability of the token written [step]": given.exp(),
    })  # fmt: skip
    places = (logs > given[:, None]).sum(-1) + 1
    whole = derived.judged(decoder, WRITTEN, tuple(logs.argmax(-1).tolist()))
    same(whole, {
        "log-probability, nats [position]": given, "rank [position]": places, "first choices": (places == 1).sum(),
        "probability of the choice named [position]": logs.max(-1).values.exp(),
        "largest probability [position]": logs.max(-1).values.exp(),
        "log-probability, nats": -F.nll_loss(logs, came, reduction="sum"), "per token, nats": given.mean(),
        "perplexity": torch.exp(-given.mean()), "mean token probability": torch.exp(given.mean()),
        "beam score": given.sum() / (9 / 6) ** 0.6,
    })  # fmt: skip
    other = (7, 8, 9, 10)
    factor = torch.exp((given.sum() - sum(logs[i, token] for i, token in enumerate(other))).abs())
    same(derived.compared(decoder, decoder, WRITTEN, other), {"times as probable": factor})
    same(derived.at_step(decoder, 2, named[2]), {"all others together": 1 - top.values[2].sum()})
    assert derived.times(800.0) == math.inf


@pytest.mark.parametrize("head", [None, 2])
def test_the_three_attentions(seen: PairPass, expected: dict, head: int | None) -> None:
    weights = {side: stages["weights"][1] for side, stages in expected.items()}
    shown = {side: each.mean(0) if head is None else each[head] for side, each in weights.items()}
    same(derived.attentions(seen, 1, head), {f"{side} [query, key]": each for side, each in shown.items()})
    same(derived.attention_at(seen, 1, head, 2), {
        "cross [key]": shown["cross"][2], "cross by head [head, key]": weights["cross"][:, 2],
        "decoder [key]": shown["decoder"][2, :3], "decoder by head [head, key]": weights["decoder"][:, 2, :3],
    })  # fmt: skip


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_where_heads_look(seen: PairPass, expected: dict, side: str) -> None:
    weights, first = expected[side]["weights"], int(side == "decoder")
    t = weights.shape[-1]
    away = np.abs(np.subtract.outer(np.arange(t), np.arange(t)))
    later = np.triu(weights, 1).sum(-1)
    allowed = np.tril(np.ones((t, t))) if side == "decoder" else np.ones((t, t))
    even = allowed / allowed.sum(-1, keepdims=True)
    same(derived.directions(seen.of_side(side)), {
        "earlier tokens [layer, head]": np.tril(weights, -1).sum(-1)[..., first:].mean(-1),
        "itself [layer, head]": np.diagonal(weights, axis1=-2, axis2=-1)[..., first:].mean(-1),
        "later tokens [layer, head]": later[..., first:].mean(-1),
        "distance [layer, head]": (weights * away).sum(-1)[..., first:].mean(-1),
        "spread evenly [share]": [np.tril(even, -1).sum(-1)[first:].mean(), np.diag(even)[first:].mean(),
                                  np.triu(even, 1).sum(-1)[first:].mean(), (even * away).sum(-1)[first:].mean()],
        "later tokens, mean of all heads": later[..., first:].mean(),
        "end of text, mean of all heads": weights[..., :-1, -1].sum(-1).mean() / t,
    })  # fmt: skip
    same(derived.ahead(seen.of_side(side), 1, 3), {"later tokens [query]": later[1, 3]})


def test_one_head_and_the_stream_of_a_side(seen: PairPass, expected: dict) -> None:
    cross = expected["cross"]
    found = derived_head.stages(seen.of_side("cross"), 1, 2)
    same(found, {
        "memory [token, dimension]": expected["encoder"]["final_vectors"],
        "x [token, dimension]": cross["attention_in"][1], "scores [query, key]": cross["scores"][1, 2],
    })  # fmt: skip
    cell = derived_head.cell(seen.of_side("cross"), 1, 2, 3, 4)
    same(cell, {"weight": cross["weights"][1, 2, 3, 4], "weight of the row [key]": cross["weights"][1, 2, 3]})
    assert any(name.endswith(", scaled") for name in derived_head.saturation(seen.of_side("encoder"), 0, 0))
    assert any(name.endswith(", both off") for name in derived_head.saturation(seen.of_side("decoder"), 0, 0))
    decoder = expected["decoder"]
    parts = [decoder["residual"][1], decoder["attention_out"][1], cross["attention_out"][1], decoder["ff_out"][1],
             decoder["residual"][2]]  # fmt: skip
    same(derived_vectors.strips(seen.of_side("decoder"), 2, 0, 4), {"vector [part, token, dimension]": parts})
    encoder = expected["encoder"]["scaled"][0, 1]
    terms = derived_vectors.terms(seen.of_side("encoder"), 1)
    same(terms, {"sum of the four [query, key]": encoder, "score [query, key]": encoder})
    np.testing.assert_allclose(terms["spread [term]"][4], encoder.std(axis=1).mean())


def searched(model: TranslationModel, beam: int) -> tuple[BeamSearch, tuple[int, ...], tuple[int, ...]]:
    """A search, and its tree."""
    run = beam_search(model.transformer, list(SOURCE), model.tokenizer.end_of_text, beam, 6)
    return run, tuple(max(node.parent, 0) for node in run.nodes), tuple(node.token for node in run.nodes)


def test_a_tree_in_one_pass_is_each_of_its_beginnings_alone(model: TranslationModel, seen: PairPass) -> None:
    run, parents, tokens = searched(model, 3)
    memory = seen.of_side("cross").whole("memory")
    logits = float64_tree(model.transformer, memory, parents, tokens, AS_TRAINED)
    for node in range(len(tokens)):
        way = [tokens[0], *run.tokens(node)]
        alone = reference.forward_pair(model.transformer, list(SOURCE), way, RULES)["decoder"]["logits"][-1]
        np.testing.assert_allclose(logits[node], alone, rtol=1e-9, atol=1e-9)


def test_a_search_keeps_the_largest_totals(model: TranslationModel, seen: PairPass) -> None:
    run, parents, tokens = searched(model, 3)
    totals = [node.total for node in run.nodes]
    found = derived.tree(seen, parents, tokens, len(tokens))
    same(found, {"total, nats [node]": totals, "largest totals, nats [node]": totals[1:]}, 1e-4)
    best = run.results[0]
    table = derived.ended(seen, parents, tokens, run.results)
    same(table, {"beam score [row]": [run.score(node) for node in run.results], "probability [row]": np.exp(
        [run.nodes[node].total for node in run.results])}, 1e-4)  # fmt: skip
    way = run.path(best)
    logs = log_p_of(model, [tokens[0], *run.tokens(way[1])])[-1]
    ids = tuple(logs.topk(4).indices.tolist())
    follows = derived.following(seen, parents, tokens, len(tokens), way[1], ids, 4)
    third = [node.total for i, node in enumerate(run.nodes) if len(run.path(i)) == 3]
    same(follows, {
        "total, nats [rank]": totals[way[1]] + logs[list(ids)].numpy(), "largest probabilities [rank]":
        logs.exp().topk(4).values, "lowest total that was kept, nats": min(third),
    }, 1e-4)  # fmt: skip


def test_a_search_that_kept_the_wrong_beginning_differs(model: TranslationModel, seen: PairPass) -> None:
    *_, tokens = searched(model, 1)
    logs = log_p_of(model, [tokens[0]])[-1]
    second = int(logs.topk(2).indices[1])
    made = (0, 0), (tokens[0], second), 2
    total = float(logs[second])  # a right log-probability, of a token that a greedy search would not take
    shown = {"total, nats [node]": [0.0, total], "largest totals, nats [node]": [total]}
    done = check_claim(claim("tree", shown, derived.tree, *made, of=(seen.trace,)), [seen])
    assert [row.agrees for row in done.differences] == [True, False]
    assert tokens[1] != second


def test_other_paths_have_no_tree_but_the_rest(model: TranslationModel, seen: PairPass) -> None:
    for passes in other_passes(model.transformer, [seen.trace]).values():
        (other,) = passes
        with pytest.raises(MissingStage, match="in float64 alone"):
            other.tree((0,), (340,))
        rows = derived.judged(other.of_side("decoder"), WRITTEN)["probability [position]"]
        np.testing.assert_allclose(
            rows, derived.judged(seen.of_side("decoder"), WRITTEN)["probability [position]"], rtol=1e-4
        )


def test_a_long_pass_is_not_kept(seen: PairPass, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gptviz.analysis.passes.KEPT_BYTES", 0)
    other = PairPass(seen.transformer, seen.trace)
    np.testing.assert_array_equal(SidePass(other, "cross").layer("q", 1), seen.of_side("cross").layer("q", 1))
    assert other.kept is None and other.size == 0 and seen.bytes > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_parameters_of_any_type_are_read_as_they_are(dtype: torch.dtype) -> None:
    gpt = random_gpt(n_layers=1, d_model=16).to(dtype)
    name = "token_embedding.weight"
    read = parameter(gpt, name)
    assert read.dtype == np.float64
    np.testing.assert_array_equal(read, gpt.token_embedding.weight.detach().double().numpy())
    read += 1  # a copy
    assert not np.array_equal(parameter(gpt, name), read)
