"""What is made out of a pass, worked out again: every function of `derived` against an answer by other means."""

from __future__ import annotations

import ast
import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from gptviz.analysis import block, gradients, heads, masking, one_step, positions, saturation, scores, vectors
from gptviz.analysis import head_stages as stages
from gptviz.analysis.derived import Bounds
from gptviz.analysis.derived import block as derived_block
from gptviz.analysis.derived import gradients as derived_gradients
from gptviz.analysis.derived import head as derived_head
from gptviz.analysis.derived import heads as derived_heads
from gptviz.analysis.derived import predictions as derived
from gptviz.analysis.derived import vectors as derived_vectors
from gptviz.analysis.passes import Pass
from gptviz.gpt import GPT
from gptviz.sampling import draw, funnel
from gptviz.stack import gpt_stack
from gptviz.trace import WhatIf
from tests import reference
from tests.tiny import random_gpt

IDS = (3, 1, 4, 1, 5, 9, 2, 6, 3, 1)
UNMASKED = WhatIf(causal=False)
SHAPES = {
    "post": {"n_layers": 2, "norm_order": "post", "activation": "relu"},
    "pre": {"n_layers": 2, "norm_order": "pre", "activation": "gelu"},
    "tied": {"n_layers": 2, "norm_order": "pre", "activation": "gelu_tanh", "tied": True},
}


@pytest.fixture(scope="module", params=SHAPES)
def gpt(request: pytest.FixtureRequest) -> GPT:
    """A small model of each order, activation and tying."""
    return random_gpt(n_heads=2, d_model=16, d_ff=24, **SHAPES[request.param])


@pytest.fixture(scope="module")
def fine(gpt: GPT) -> GPT:
    """The same in float64, so that what is drawn has no rounding to speak of."""
    return copy.deepcopy(gpt).double()


def of(gpt: GPT, what_if: WhatIf | None = None, ids: tuple[int, ...] = IDS) -> Pass:
    """A pass in float64."""
    return Pass(gpt, ids, what_if or WhatIf())


def same(found: dict, expected: dict, tolerance: float = 1e-8) -> None:
    """Every expected quantity is there and right; a rank is among the places that rounding leaves open."""
    for name, value in expected.items():
        here = found[name]
        if isinstance(here, Bounds):
            assert (np.asarray(here.low) <= np.asarray(value)).all(), name
            assert (np.asarray(value) <= np.asarray(here.high)).all(), name
        else:
            np.testing.assert_allclose(here, value, rtol=tolerance, atol=tolerance, err_msg=name)


def logits_of(gpt: GPT, **rule: bool) -> torch.Tensor:
    """(T, V) by the other reference."""
    return torch.from_numpy(reference.forward(gpt, list(IDS), **rule)["logits"])


def test_what_was_given_to_each_token(gpt: GPT) -> None:
    logits = logits_of(gpt)
    logs, came = logits.log_softmax(-1)[:-1], torch.tensor(IDS[1:])
    nats = F.cross_entropy(logits[:-1], came, reduction="none")
    places = [int((row.argsort(descending=True) == token).nonzero()) + 1 for row, token in zip(logs, came, strict=True)]
    found = derived.sentence(of(gpt))
    same(found, {
        "probability [position]": logs.gather(1, came[:, None])[:, 0].exp(),
        "rank [position]": places,
        "surprise, bits [position]": nats / np.log(2),
        "entropy, bits [position]": torch.distributions.Categorical(logits=logits).entropy() / np.log(2),
        "loss, nats": nats.mean(),
        "perplexity": nats.mean().exp(),
    })  # fmt: skip
    assert max(found["rank [position]"].high - found["rank [position]"].low) <= 1
    drawn = derived.drawn(of(gpt), 7, ((1.0, None, None), None, (0.5, 3, 0.9)))
    same(drawn, {"probability [token]": (-nats[6:]).exp(), "rank [token]": places[6:]})
    expected = [float(logs[6, IDS[7]].exp()), np.nan, funnel(logits[8].numpy(), 0.5, 3, 0.9).final[IDS[9]]]
    same(drawn, {"probability when drawn [token]": expected})


@pytest.mark.parametrize("how", [(0.8, 5, 0.9), (0.0, None, None), (1.5, None, 0.5), (1.0, 1, 1.0)])
def test_the_draw_and_the_distribution(gpt: GPT, how: tuple) -> None:
    logits = logits_of(gpt)[-1].numpy()
    expected, u = funnel(logits, *how), 0.4
    chosen = draw(expected.final, u)
    found = derived.draw(of(gpt), *how, expected.kept, u, chosen)
    same(found, {
        "with temperature [token id]": expected.tempered, "after top-k [token id]": expected.top_k,
        "after top-p [token id]": expected.top_p, "drawn from [token id]": expected.final,
        "removed by top-k": expected.removed_top_k, "removed by top-p": expected.removed_top_p,
        "tokens kept": expected.kept, "u, the draw": u,
    })  # fmt: skip
    assert found["and ends at"] - found["the token begins at"] == pytest.approx(expected.final[chosen])
    ids = tuple(np.argsort(-logits)[:4].tolist())
    whole = derived.next_token(of(gpt), ids)
    p = expected.raw
    same(
        whole,
        {"probability [token id]": p, "largest probabilities [rank]": p[list(ids)], "the rest": 1 - p[list(ids)].sum()},
    )
    other = derived.draw(of(gpt), *how, expected.kept, u, int(expected.final.argmin()))
    assert how == (1.5, None, 0.5) or np.isnan(other["u, the draw"])  # it falls on no token that was removed


def test_masked_and_not(gpt: GPT) -> None:
    p, q = (logits_of(gpt, causal=causal).log_softmax(-1) for causal in (True, False))
    both = of(gpt), of(gpt, UNMASKED)
    came = torch.tensor(IDS[1:])
    same(derived.masked_or_not(*both), {
        "D(masked ‖ unmasked), bits [position]": F.kl_div(q, p, reduction="none", log_target=True).sum(-1) / np.log(2),
        "surprise, unmasked, bits [position]": -q[:-1].gather(1, came[:, None])[:, 0] / np.log(2),
    })  # fmt: skip
    changes = masking.largest_changes(p[4].numpy(), q[4].numpy(), 5)
    found = derived.changed_tokens(*both, 4, tuple(changes["id"]))
    same(found, {
        "change [row]": changes["change"], "largest changes [row]": changes["change"].abs(),
        "rank, masked [row]": changes["rank_masked"], "rank, unmasked [row]": changes["rank_unmasked"],
        "probability that changed hands": torch.relu(q[4].exp() - p[4].exp()).sum(),
    })  # fmt: skip
    a, b = (torch.from_numpy(reference.forward(gpt, list(IDS), causal)["weights"]) for causal in (True, False))
    share = b.triu(1).sum(-1)
    past = b.tril() / b.tril().sum(-1, keepdim=True)
    same(derived_heads.unmasked(*both), {
        "share on the future [layer, head, query]": share,
        "moved to the future [layer, head]": share[..., :-1].mean(-1),
        "rearranged past [layer, head]": (past - a).abs().sum(-1).mean(-1) / 2,
    })  # fmt: skip
    same(derived_heads.difference(*both, 1, 0), {"unmasked − masked [query, key]": (b - a)[1, 0]})


def test_the_gradient_by_hand_is_that_of_autograd(gpt: GPT, fine: GPT) -> None:
    expected = gradients.backward(fine, IDS)
    found = of(gpt).gradient
    assert set(found.parameters) == set(expected.parameters)
    for name, values in expected.parameters.items():
        np.testing.assert_allclose(found.parameters[name], values.numpy(), rtol=1e-7, atol=1e-10, err_msg=name)
    np.testing.assert_allclose(found.attention, expected.attention, rtol=1e-7, atol=1e-9)


def test_norms_of_gradients_and_one_step(gpt: GPT, fine: GPT) -> None:
    backward, seen, own = gradients.backward(fine, IDS), of(gpt), dict(fine.named_parameters())
    norms = {"gradient": gradients.norms(backward.parameters, fine.config), "weight": gradients.norms(own, fine.config)}
    for what, each in norms.items():
        same(derived_gradients.norms(seen, what), {
            "norm [group, layer]": each.layers, "norm by head [query key value, layer, head]": each.heads,
            "norm outside [table]": [*each.outside.values()], "norm of all": each.total,
        }, 1e-6)  # fmt: skip
    ratio = derived_gradients.norms(seen, "relative")["norm [group, layer]"]
    np.testing.assert_allclose(ratio, norms["gradient"].layers / norms["weight"].layers, rtol=1e-6)
    on_weights, weights = backward.attention[1, 1], backward.weights[1, 1]
    kept = gradients.row_kept(on_weights, weights)
    same(derived_gradients.attention(seen, 1, 1), {
        "dL/dA [query, key]": on_weights, "dL/dA, row sum kept [query, key]": kept,
        "dL/dscores [query, key]": gradients.score_gradient(on_weights, weights),
    })  # fmt: skip
    for optimizer in ("sgd", "adamw"):
        step = one_step.direction(fine, backward.parameters, optimizer)
        after = one_step.losses_after(fine, step, 0.01, IDS)
        found = derived_gradients.step(seen, optimizer, 0.01)
        same(found, {"slope": one_step.slope(backward.parameters, step), "nats after [position]": after.nats}, 1e-5)
    row = derived.logit_gradient(seen, 2, (7, 1))
    logits = logits_of(gpt)[2].requires_grad_()
    (expected,) = torch.autograd.grad(F.cross_entropy(logits, torch.tensor(IDS[3])), logits)
    same(row, {"gradient [token id]": expected, "largest gradients [row]": expected.abs().sort(descending=True)[0][:2]})


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("words", [(), ((0, 2), (2, 3), (3, 10))])
@pytest.mark.parametrize("what", ["head", "mean", "max", "rollout"])
def test_attention_summed_up(fine: GPT, gpt: GPT, what: str, words: tuple, first: bool, whole: bool) -> None:
    weights = reference.forward(gpt, list(IDS))["weights"]
    matrices = heads.summarise(weights, what, 1, 0, whole), weights[1]
    groups = [range(*word) for word in words] or None
    expected = [heads.change(each, groups or [], bool(words), first) for each in matrices]
    found = derived_heads.look(of(gpt), what, 1, 0, whole, words, first)
    same(found, {"weight [query, key]": expected[0], "weight by head [head, query, key]": expected[1]})
    levels = derived_heads.levels(of(gpt), 0.2, 0.5, what, 1, 0, whole, words, first)
    same(levels, {"level [query, key]": heads.read_levels(expected[0], 0.2, 0.5)})


def test_what_heads_are_like(gpt: GPT) -> None:
    weights = reference.forward(gpt, list(IDS))["weights"]
    table = heads.head_table(weights[1], 1)
    same(derived_heads.habits(of(gpt), 1), {f"{name} [head]": table[name] for name in derived_heads.HABITS})
    same(
        derived_heads.after_repeats(of(gpt)),
        {"weight on what followed [layer, head]": scores.repeat_score(weights, IDS)},
    )
    rows = derived_heads.drawn_rows(of(gpt), 8, 1, None, own=True)
    same(rows, {"weight [drawn token, token]": weights[1].mean(axis=0)[8:]})
    same(
        derived_heads.drawn_rows(of(gpt), 8, None, None, own=False),
        {"weight [drawn token, token]": weights.mean((0, 1))[7:9]},
    )


@pytest.mark.parametrize("what_if", [WhatIf(), WhatIf(causal=False), WhatIf(scaled=False)])
def test_one_head(gpt: GPT, fine: GPT, what_if: WhatIf) -> None:
    seen = of(gpt, what_if)
    expected = reference.forward(gpt, list(IDS), what_if.causal, what_if.scaled)
    found = derived_head.stages(seen, 1, 1)
    for name in ("scores", "scaled", "masked", "weights"):
        same(found, {f"{name} [query, key]": expected[name][1, 1]})
    same(
        found,
        {"output [token, dimension]": expected["heads"][1, 1], "out [token, dimension]": expected["attention_out"][1]},
    )
    own = stages.projections(gpt.blocks[1].attention, 1)
    same(
        derived_head.projections(seen, 1, 1),
        {"W_k [in, out]": own.key, "b_v [out]": own.value_bias, "W_O [in, out]": own.output},
    )
    cell = derived_head.cell(seen, 1, 1, 4, 2)
    weights = torch.from_numpy(expected["masked"][1, 1]).softmax(-1).numpy()
    same(
        cell, {"weight": weights[4, 2], "weight of the row [key]": weights[4], "score": expected["scores"][1, 1, 4, 2]}
    )
    q, k, v = (expected[name][1, 1] for name in "qkv")
    found = derived_head.saturation(seen, 1, 1)
    for rule, (causal, scaled) in derived_head.RULES.items():
        medians = saturation.medians(saturation.saturation(q, k, v, causal=causal, scaled=scaled), first=int(causal))
        same(found, {f"{name}, {rule}": value for name, value in zip(saturation.MEASURES, medians, strict=True)})


def test_the_gradient_of_one_row_is_that_of_autograd() -> None:
    rng = np.random.default_rng(1)
    q, k, v, g = (torch.from_numpy(rng.standard_normal((5, 8))).requires_grad_() for _ in range(4))
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    to_q, to_k = torch.autograd.grad((g * out).sum(), (q, k))
    found = derived_head.softness(*(each.detach().numpy() for each in (q, k, v, g)), causal=True, scaled=True)
    same(found, {"to_q": to_q.norm(dim=1), "to_k": to_k.norm(dim=1)})


def test_random_vectors_of_growing_width(gpt: GPT) -> None:
    found = derived_head.widths(of(gpt))
    for rule, scaled in (("scaled", True), ("not scaled", False)):
        expected = saturation.over_widths(scaled)
        same(found, {f"{name}, {rule} [width, quartile]": values for name, values in expected.items()}, 1e-6)


def test_the_inside_of_a_block(gpt: GPT, fine: GPT) -> None:
    trace, seen = fine.trace(IDS), of(gpt)
    inside = block.vectors(trace, 1)
    same(derived_block.flow(seen), {"length [layer, vector, token]": block.flow(trace)}, 1e-5)
    attention, ff = (
        block.directions(inside.stream, inside.attention_out),
        block.directions(inside.middle, inside.ff_out),
    )
    found = derived_block.tokens(seen, 1, ("middle", "ff_sum"))
    same(found, {
        "length [row, token]": [np.linalg.norm(inside.middle, axis=1), np.linalg.norm(inside.ff_sum, axis=1)],
        "cosine [row, token]": [attention.with_stream, attention.with_sum, ff.with_stream, ff.with_sum],
        "share, attention [token]": attention.share, "share, feed-forward [token]": ff.share,
    }, 1e-5)  # fmt: skip
    added, bias = block.head_contributions(fine, trace, 1)
    lengths = np.linalg.norm(added, axis=-1)
    found = derived_block.heads(seen, 1)["length [head, token]"]
    np.testing.assert_allclose(found, [*lengths, np.full(len(IDS), np.linalg.norm(bias))], rtol=1e-5)
    active = block.firing(trace.ff_hidden[1])
    same(derived_block.firing(seen, 1), {
        "share of active units [token]": active.share, "times active [unit]": active.times,
        "active at no token": active.never,
    })  # fmt: skip
    found = derived_block.layer_norms(seen, 1)
    for name, norm in block.layer_norms(fine, inside, 1).items():
        for field, values in norm._asdict().items():
            axis = "dimension" if field in ("gain", "bias") else "token"
            same(found, {f"{field}, {name} [{axis}]": values}, 1e-5)


def test_tables_of_positions_and_the_four_terms(gpt: GPT) -> None:
    found, stack = derived_vectors.tables(of(gpt)), gpt_stack(gpt)
    for name, each in zip(("learned", "fixed"), positions.compare_positions(stack), strict=True):
        same(
            found,
            {
                f"{name} vectors [position, dimension]": each.vectors,
                f"{name} cosines [position, position]": each.cosines,
            },
        )
        same(found, {f"{name}, lowest cosine [distance]": each.distance.lowest})
    split = positions.split_scores(stack, gpt.trace(IDS), 1)
    found = derived_vectors.terms(of(gpt), 1)
    spread = [positions.spread_in_row(each) for each in (*split.terms, split.total)]
    same(found, {"term [term, query, key]": split.terms, "spread [term]": spread}, 1e-5)
    expected = reference.forward(gpt, list(IDS))["scaled"][0, 1]
    same(found, {"sum of the four [query, key]": expected})


@pytest.mark.parametrize("stage", [0, 2])
def test_tokens_and_the_vocabulary(gpt: GPT, stage: int) -> None:
    trace, seen, table = gpt.trace(IDS), of(gpt), gpt.token_embedding.weight.numpy()
    parts, unit = vectors.strips(trace, stage).vectors, vectors.unit_rows(table)
    cosines = [
        F.cosine_similarity(torch.from_numpy(part[:, None]), torch.from_numpy(part[None]), dim=-1) for part in parts
    ]
    same(derived_vectors.strips(seen, stage, 0, len(IDS)), {
        "vector [part, token, dimension]": parts, "cosine before [token, token]": cosines[0],
        "cosine after [token, token]": cosines[-1],
    }, 1e-5)  # fmt: skip
    near = vectors.nearest(parts[-1][3], unit, 5)
    found = derived_vectors.neighbours(seen, stage, 3, -1, tuple(near.ids), None)
    same(found, {"cosine of the tokens named [rank]": near.cosines, "largest cosines [rank]": near.cosines}, 1e-5)
    without = derived_vectors.neighbours(seen, stage, 3, -1, (int(near.ids[1]),), int(near.ids[0]))
    same(without, {"largest cosines [rank]": near.cosines[1:2]}, 1e-5)
    close = vectors.closest(parts[-1], unit, IDS)
    same(derived_vectors.closest(seen, stage, 0, tuple(close.ids)), {
        "cosine of the nearest [token]": close.cosines, "cosine with itself [token]": close.own_cosines,
        "rank of itself [token]": close.own_ranks,
    }, 1e-5)  # fmt: skip
    for same_length in (True, False):
        scale = vectors.unit_rows if same_length else np.asarray
        axes = vectors.principal_axes(scale(table), 3)
        found = derived_vectors.map_of(seen, stage, same_length, 3)
        same(
            found, {"share of the variance [axis]": axes.explained, "after [token, axis]": axes(scale(parts[-1]))}, 1e-4
        )


def test_it_imports_nothing_that_makes_what_is_shown() -> None:
    folder = Path(derived.__file__).parent
    for file in (*sorted(folder.glob("*.py")), folder.parent / "float64_backward.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        hidden = [node for part in ast.walk(tree) if isinstance(part, ast.If) for node in ast.walk(part)]
        imports = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom) and n not in hidden]
        names = {getattr(n, "module", None) or n.names[0].name for n in imports}
        own = {name for name in names if name.startswith("gptviz")}
        assert {name for name in own if not name.startswith("gptviz.analysis.derived")} <= {"gptviz.analysis.float64"}
        assert names - own <= {"__future__", "collections.abc", "functools", "math", "typing", "numpy", "torch"}, file
