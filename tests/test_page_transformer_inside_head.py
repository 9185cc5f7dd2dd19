"""One head of the encoder-decoder as a visitor meets it: each side's own numbers at every stage, and its own words."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from streamlit.testing.v1 import AppTest

import gptviz
from gptviz.figures.style import visible
from gptviz.ui.head_steps import STAGES
from tests.matrices import matrices
from tests.page_helpers import figure, fire, mounted, numbers, open_page, payload, texts
from tests.reference import forward_pair
from tests.tiny import translator

SENTENCE = "My dog has fleas and a cat"
HOSTILE = "<img src=x> $x$ **b** :smile: [a](b)"
SIDES = {"encoder": "Encoder", "decoder": "Decoder", "cross": "Cross-attention"}
LAYER, HEAD, D = 1, 2, 8
pytestmark = pytest.mark.usefixtures("only_tiny_pair")


@cache
def trace() -> gptviz.TranslationTrace:
    """Which tokens both sides read, without the app."""
    return gptviz.translate(translator(), SENTENCE).trace


@cache
def expected(side: str, unscaled: bool = False, unmasked: bool = False) -> dict[str, np.ndarray]:
    """All stages of a side in float64 NumPy, with its switches; and "memory", what keys and values are made of."""
    rules = {name: {"causal": name == "decoder", "scaled": True} for name in SIDES}
    rules[side] = {"causal": side == "decoder" and not unmasked, "scaled": not unscaled}
    sides = forward_pair(translator().transformer, list(trace().encoder.ids), list(trace().decoder.ids), rules)
    x = sides[side]["attention_in"][LAYER]
    return sides[side] | {"memory": sides["encoder"]["final_vectors"] if side == "cross" else x}


def visit(side: str, text: str = SENTENCE, **query: object) -> AppTest:
    """The page, by a link."""
    place = {"layer": LAYER, "head": HEAD} | query
    at = open_page("transformer-inside-head", side=SIDES[side], source=text, **place)
    assert not at.exception, at.exception
    assert not at.error, at.error
    return at


def table(at: AppTest, column: str) -> pd.DataFrame:
    """The table that has a column of that name."""
    return next(frame.value for frame in at.dataframe if column in frame.value.columns)


def on(switches: tuple[str, ...]) -> dict[str, str]:
    """Switches that are on, in a link."""
    return dict.fromkeys((f"head_{name}" for name in switches), "true")


def assert_drawn(at: AppTest, parts: dict[str, np.ndarray], about: str) -> None:
    """These matrices, and no other ones."""
    found = matrices(at)
    assert set(found) == {f"head_{name}" for name in parts}, about
    for name, values in parts.items():
        shown = found[f"head_{name}"]["values"]
        assert shown.shape == values.shape, (about, name)
        np.testing.assert_array_equal(np.isneginf(shown), np.isneginf(values), err_msg=f"{about} {name}")
        finite = np.isfinite(values)
        np.testing.assert_allclose(shown[finite], values[finite], rtol=1e-4, atol=1e-4, err_msg=f"{about} {name}")


@pytest.mark.parametrize(
    ("side", "switches"),
    [(side, ()) for side in SIDES] + [("encoder", ("unscaled",)), ("cross", ("unscaled",)),
     ("decoder", ("unscaled", "unmasked"))],
)  # fmt: skip
def test_every_stage_shows_the_numbers_of_its_side(side: str, switches: tuple[str, ...]) -> None:
    found = expected(side, **dict.fromkeys(switches, True))
    q, k, v, scores, scaled, masked, weights, heads = (
        found[name][LAYER, HEAD] for name in ("q", "k", "v", "scores", "scaled", "masked", "weights", "heads")
    )
    x, joined = found["attention_in"][LAYER], found["heads"][LAYER].transpose(1, 0, 2).reshape(len(q), -1)
    state, name = translator().transformer.state_dict(), {"cross": "decoder.1.cross"}.get(side, f"{side}.1.attention")
    weight, bias = (state[f"{name}.qkv.{part}"].double().numpy() for part in ("weight", "bias"))
    own = [slice(part * 32 + HEAD * D, part * 32 + (HEAD + 1) * D) for part in range(3)]
    w_o = state[f"{name}.out.weight"].double().numpy()[:, HEAD * D : (HEAD + 1) * D].T
    stages = {
        "x": {"x": x, "m": found["memory"]} if side == "cross" else {"x": x},
        "weights": {f"W_{n}": weight[rows].T for n, rows in zip("qkv", own, strict=True)}
        | {f"b_{n}": bias[None, rows] for n, rows in zip("qkv", own, strict=True)},
        "qkv": {"q": q, "k": k, "v": v},
        "scores": {"scores": scores},
        "scale": {"scores": scores, "scaled": scaled},
        "mask": {"scaled": scaled, "masked": masked} if side == "decoder" else {"masked": scaled},
        "softmax": {"masked": masked, "weights": weights},
        "values": {"weights": weights, "v": v, "o": heads},
        "join": {"joined": joined},
        "project": {"joined": joined, "W_O": w_o, "out": found["attention_out"][LAYER]},
    }
    assert list(stages) == list(STAGES)
    for stage, parts in stages.items():
        assert_drawn(visit(side, head_stage=stage, **on(switches)), parts, f"{side} {stage}")


@pytest.mark.parametrize("side", SIDES)
def test_rows_are_the_queries_and_columns_the_keys(side: str) -> None:
    source, inputs = ([visible(t) for t in getattr(trace(), name).tokens] for name in ("encoder", "decoder"))
    rows, columns = {"encoder": (source, source), "decoder": (inputs, inputs), "cross": (inputs, source)}[side]
    found = matrices(visit(side, head_stage="values", head_query=2, head_key=1))
    assert [label(token) for token in rows] == found["head_weights"]["rows"] == found["head_o"]["rows"]
    assert [label(token) for token in columns] == found["head_weights"]["columns"] == found["head_v"]["rows"]
    assert found["head_weights"]["frames"] == [[2, 3, 1, 2]]
    assert found["head_o"]["frames"] == [[2, 3, 0, D]]
    assert found["head_v"]["frames"] == [[1, 2, 0, D] if side == "cross" else [2, 3, 0, D]]
    strips = [payload(strip)["tokens"] for strip in mounted(visit(side), "gptviz_token_strip")]
    assert strips == ([rows, columns] if side == "cross" else [rows])


def label(token: str) -> str:
    """A name at a side of a matrix: cut if very long."""
    return token if len(token) <= 16 else token[:15] + "…"


@pytest.mark.parametrize("side", SIDES)
def test_one_cell_adds_up_and_is_the_models_weight(side: str) -> None:
    at, found = visit(side, head_query=3, head_key=2), expected(side)
    q, k, seen = found["q"][LAYER, HEAD][3], found["k"][LAYER, HEAD], 4 if side == "decoder" else None
    bars, line = figure(at, "head_products")["data"]
    np.testing.assert_allclose(numbers(bars["y"]), q * k[2], atol=1e-5)
    np.testing.assert_allclose(numbers(line["y"]), np.cumsum(q * k[2]), atol=1e-5)
    scores = k @ q / D**0.5
    largest = scores[:seen].max()
    row = np.exp(scores - largest)
    steps = [scores[2] * D**0.5, scores[2], scores[2], largest, row[2], row[:seen].sum(), row[2] / row[:seen].sum()]
    np.testing.assert_allclose(table(at, "step")["value"], steps, atol=1e-4)
    assert steps[-1] == pytest.approx(found["weights"][LAYER, HEAD, 3, 2])
    rows = table(at, "key")
    np.testing.assert_allclose(rows["weight"], found["weights"][LAYER, HEAD, 3], atol=1e-5)
    keys = trace().decoder.tokens if side == "decoder" else trace().encoder.tokens
    assert rows["key"].tolist() == [visible(token) for token in keys]


@pytest.mark.parametrize("side", SIDES)
def test_saturation_is_measured_by_autograd_too(side: str) -> None:
    from gptviz.analysis.saturation import directions

    found, causal = expected(side), side == "decoder"
    shown = table(visit(side), "scaling off")
    names = ["scaled, masked", "scaling off", "mask off", "both off"] if causal else ["scaled", "scaling off"]
    assert shown.columns.tolist()[-len(names) :] == names
    for name in names:
        mask, scale = causal and name in names[:2], None if name in ("scaled", "scaled, masked", "mask off") else 1.0
        q, k, v = (torch.tensor(found[part][LAYER, HEAD], requires_grad=True) for part in "qkv")
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=mask, scale=scale)
        (torch.from_numpy(directions(tuple(q.shape))) * out).sum().backward()
        scores = q @ k.T / (D**0.5 if scale is None else 1)
        p = scores.masked_fill(torch.ones_like(scores).triu(1).bool() & mask, -torch.inf).softmax(-1)[int(mask) :]
        medians = [
            np.median((torch.special.entr(p).sum(-1) / np.log(2)).detach()),
            np.median(p.max(-1).values.detach()),
            np.median([(row.diag() - row.outer(row)).norm().item() for row in p]),
            np.median(q.grad.norm(dim=-1)[int(mask) :]),
            np.median(k.grad.norm(dim=-1)),
        ]
        np.testing.assert_allclose(shown[name].to_numpy(), medians, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("side", ["encoder", "cross"])
def test_where_there_is_no_mask_none_can_be_taken_off(side: str) -> None:
    at = visit(side, head_stage="mask", head_unmasked="true")
    switch = next(toggle for toggle in at.toggle if toggle.label == "Mask off")
    assert switch.disabled and not switch.value
    assert "There is no mask to take off" in switch.help
    assert next(header.value for header in at.subheader) == "6 of 10: nothing is masked"
    said = texts(at)
    assert "There is no mask here" in said
    assert "The mask is off" not in said and "Grey is" not in said
    assert r"\infty" not in at.latex[0].value


def test_the_decoders_mask_can_be_taken_off() -> None:
    at = visit("decoder", head_stage="mask")
    assert next(header.value for header in at.subheader) == "6 of 10: the future is masked"
    switch = next(toggle for toggle in at.toggle if toggle.label == "Mask off")
    assert not switch.disabled
    at = switch.set_value(True).run()
    assert "in the decoder's own attention, in every layer. The other two attentions are as trained." in texts(at)
    np.testing.assert_allclose(
        matrices(at)["head_masked"]["values"], expected("decoder", unmasked=True)["scaled"][LAYER, HEAD], atol=1e-4
    )


def test_each_side_says_where_its_numbers_come_from() -> None:
    said = {(side, layer): texts(visit(side, layer=layer)) for side in SIDES for layer in (0, 2)}
    for side in ("encoder", "decoder"):
        assert "the sum of token and position vectors" in said[side, 0]
        assert f"the {side}'s stream after block 1" in said[side, 2]
    assert "its stream in block 2 after the masked self-attention, added and normalised" in said["cross", 2]
    assert "the encoder's output, the same for all layers and heads" in said["cross", 0]
    reads = {"encoder": "the feed-forward reads", "decoder": "cross-attention asks with", "cross": "feed-forward reads"}
    for side, words in reads.items():
        assert words in texts(visit(side, head_stage="project"))
    formulas = {side: visit(side, head_stage="scores").latex[0].value for side in SIDES}
    for side, sizes in {"encoder": r"S \times S", "decoder": r"T \times T", "cross": r"T \times S"}.items():
        assert sizes in formulas[side]
    assert r"k &= m\, W_k" in visit("cross", head_stage="qkv").latex[0].value


def test_a_cell_that_another_side_does_not_have_falls_back() -> None:
    count = len(trace().encoder.ids), len(trace().decoder.ids)
    assert count[0] != count[1]
    longer, shorter = ("encoder", "decoder") if count[0] > count[1] else ("decoder", "encoder")
    at = visit(longer, head_query=max(count) - 1, head_key=max(count) - 1, head_stage="softmax")
    assert matrices(at)["head_weights"]["frames"] == [[max(count) - 1, max(count), max(count) - 1, max(count)]]
    at = next(c for c in at.segmented_control if c.label == "Side").set_value(shorter).run()
    assert not at.exception
    assert matrices(at)["head_weights"]["frames"] == [[min(count) - 1, min(count), 0, 1]]


def test_a_clicked_cell_of_a_rectangle_is_chosen() -> None:
    at = visit("cross", head_stage="softmax")
    t, s = matrices(at)["head_weights"]["values"].shape
    for query, key in ((t - 1, s - 1), (0, s - 2)):
        places = list(matrices(at))
        at = fire(at, mounted(at, "gptviz_matrix")[places.index("head_weights")], "cell", [query, key])
        assert matrices(at)["head_weights"]["frames"] == [[query, query + 1, key, key + 1]]
        assert f"How much does token {query} of the decoder," in texts(at)
        assert f"attend to token {key} of the source," in texts(at)


def test_buttons_step_through_all_stages_and_a_side_keeps_the_stage() -> None:
    at = visit("encoder")
    for stage in list(STAGES)[1:4]:
        at = at.button(key="head_on").click().run()
        assert at.session_state["kept"].get("head_stage") == stage
    at = next(c for c in at.segmented_control if c.label == "Side").set_value("cross").run()
    assert next(header.value for header in at.subheader).startswith("4 of 10")
    assert at.session_state["kept"].get("side") == "Cross-attention"


# Bad input


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("text", ["a", "?!…", "Привет, 世界 🙂", HOSTILE])
def test_other_texts_are_shown_literally(side: str, text: str) -> None:
    read = gptviz.translate(translator(), text).trace
    for stage in ("x", "mask", "values"):
        at = visit(side, text, head_stage=stage)
        said = texts(at) + json.dumps(figure(at, "head_products"))
        for bad in ("<img", "$x$", "**b**", ":smile:", "](b)"):
            assert bad not in said
        keys = read.decoder.tokens if side == "decoder" else read.encoder.tokens
        assert table(at, "key")["key"].tolist() == [visible(token) for token in keys]


@pytest.mark.parametrize("value", ["99", "-3", "x", "<b>", "1e9", "", "0.5"])
def test_nonsense_in_a_link_falls_back(value: str) -> None:
    names = ("side", "layer", "head", "head_stage", "head_query", "head_key", "head_unscaled", "head_unmasked")
    at = open_page("transformer-inside-head", source=SENTENCE, **dict.fromkeys(names, value))
    assert not at.exception and not at.error
    assert next(header.value for header in at.subheader) == "1 of 10: what attention read"
    assert matrices(at)["head_x"]["values"].shape[0] == len(trace().encoder.ids)


@pytest.mark.parametrize("text", ["", "   "])
def test_without_text_the_page_asks_for_some(text: str) -> None:
    at = visit("cross").text_input(key="source").set_value(text).run()
    assert not at.exception
    assert not mounted(at, "gptviz_matrix")
    assert any("Type a sentence" in info.value for info in at.info)


def test_too_long_a_sentence_is_refused_and_the_longest_is_shown() -> None:
    at = visit("cross", "the" + " the" * 60)
    assert not mounted(at, "gptviz_matrix") and at.warning
    at = visit("cross", "the" + " the" * 46, head_stage="softmax")
    found = matrices(at)["head_weights"]
    assert found["values"].shape[1] == 48 and found["size"] >= 12
