"""minGPT's model.pt with its config.json: logits of its forward pass, and settings that are missing or contradict."""

from __future__ import annotations

import json
import math
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

import gptviz
from gptviz import checkpoint
from gptviz.folder import CheckpointError
from gptviz.formats import format_of, mingpt
from tests.test_formats_hugging_face import Runs

CHARACTERS = "\n !abcdefghij"
V, CONTEXT = len(CHARACTERS), 16
NANO = {"model_type": "gpt-nano", "n_layer": None, "n_head": None, "n_embd": None, "vocab_size": None,
        "block_size": None, "embd_pdrop": 0.1, "resid_pdrop": 0.1, "attn_pdrop": 0.1}  # fmt: skip
SMALL = NANO | {"model_type": None, "n_layer": 2, "n_head": 3, "n_embd": 12, "vocab_size": V, "block_size": CONTEXT}


def state_of(layers: int, c: int) -> dict[str, torch.Tensor]:
    """Random weights by minGPT's names; matrices are (out, in), and each layer keeps its mask."""
    torch.manual_seed(0)
    shapes = {"transformer.wte.weight": (V, c), "transformer.wpe.weight": (CONTEXT, c), "lm_head.weight": (V, c)}
    shapes |= {"transformer.ln_f.weight": (c,), "transformer.ln_f.bias": (c,)}
    layer = {"ln_1": (c,), "ln_2": (c,), "attn.c_attn": (3 * c, c), "attn.c_proj": (c, c), "mlp.c_fc": (4 * c, c),
             "mlp.c_proj": (c, 4 * c)}  # fmt: skip
    for i in range(layers):
        for name, shape in layer.items():
            shapes |= {f"transformer.h.{i}.{name}.weight": shape, f"transformer.h.{i}.{name}.bias": shape[:1]}
    state = {name: 0.5 * torch.randn(shape) for name, shape in shapes.items()}
    mask = torch.tril(torch.ones(CONTEXT, CONTEXT)).view(1, 1, CONTEXT, CONTEXT)
    return state | {f"transformer.h.{i}.attn.bias": mask for i in range(layers)}


def write(folder: Path, model: dict, state: dict | None = None, meta: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    layers, c = (3, 48) if model.get("model_type") == "gpt-nano" else (2, 12)
    torch.save(state_of(layers, c) if state is None else state, folder / "model.pt")
    others = {"system": {"seed": 3407, "work_dir": "./out/chargpt"}, "data": {"block_size": CONTEXT}, "trainer": {}}
    (folder / "config.json").write_text(json.dumps(others | {"model": model}))
    if meta:
        (folder / "meta.pkl").write_bytes(pickle.dumps({"itos": dict(enumerate(CHARACTERS))}))
    return folder


def expected(ids: list[int], layers: int, heads: int, c: int) -> np.ndarray:
    """minGPT's forward pass in float64 NumPy, written from its definition: (T, V)."""
    s = {name: value.double().numpy() for name, value in state_of(layers, c).items()}

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * s[f"{name}.weight"] + s[f"{name}.bias"]

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ s[f"{name}.weight"].T + s[f"{name}.bias"]

    n, d = len(ids), c // heads
    x = s["transformer.wte.weight"][ids] + s["transformer.wpe.weight"][:n]
    for i in range(layers):
        block = f"transformer.h.{i}"
        joint = linear(norm(x, f"{block}.ln_1"), f"{block}.attn.c_attn")
        q, k, v = (part.reshape(n, heads, d).transpose(1, 0, 2) for part in np.split(joint, 3, axis=1))
        scores = np.where(np.tri(n, dtype=bool), q @ k.transpose(0, 2, 1) / math.sqrt(d), -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        x = x + linear((weights @ v).transpose(1, 0, 2).reshape(n, c), f"{block}.attn.c_proj")
        h = linear(norm(x, f"{block}.ln_2"), f"{block}.mlp.c_fc")
        h = 0.5 * h * (1 + np.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)))
        x = x + linear(h, f"{block}.mlp.c_proj")
    return norm(x, "transformer.ln_f") @ s["lm_head.weight"].T


@pytest.mark.parametrize(("model", "shape"), [(NANO, (3, 3, 48)), (SMALL, (2, 3, 12))])
def test_logits_are_those_of_its_forward_pass(model: dict, shape: tuple, tmp_path: Path) -> None:
    folder = write(tmp_path / "chargpt", model)
    assert format_of(folder) == format_of(folder / "model.pt") == "mingpt"
    found = checkpoint.load(folder, dtype="float32")
    trace = gptviz.trace(found, "a bad hi!")
    assert trace.tokens == tuple("a bad hi!")
    np.testing.assert_allclose(trace.logits, expected(list(trace.ids), *shape), rtol=1e-4, atol=1e-4)
    assert (found.gpt.config.context, found.gpt.config.n_heads) == (CONTEXT, 3)
    alone = gptviz.trace(checkpoint.load(folder / "model.pt", dtype="float32"), "a bad hi!")
    np.testing.assert_array_equal(alone.logits, trace.logits)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (SMALL | {"n_head": None}, "config.json, model, n_head: expected a number, or a preset"),
        (SMALL | {"n_head": 5}, "n_heads"),
        (SMALL | {"n_head": "3"}, "model, n_head"),
        (SMALL | {"model_type": "gpt-huge"}, "model, model_type: expected null or one of openai-gpt.*'gpt-huge'"),
        (SMALL | {"model_type": ["gpt-nano"]}, "model, model_type"),
        (NANO | {"n_head": 4}, "model, n_head: expected 3, as gpt-nano has, found 4"),
        (SMALL | {"vocab_size": 99}, "model, vocab_size: expected 13, as wte.weight"),
        (SMALL | {"block_size": 8}, "model, block_size: expected 16, as wpe.weight"),
        (SMALL | {"n_layer": 3}, r"model.pt, h\.2\.ln_1"),
        (SMALL | {"n_layer": 1}, r"model.pt, 'h\.1\..*expected no such tensor"),
        (SMALL | {"n_embd": 6}, "shape"),
        (SMALL | {"rotary": True}, "model, 'rotary': expected nothing but model_type"),
    ],
)
def test_settings_that_are_missing_or_contradict_are_named(model: dict, said: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=said):
        checkpoint.load(write(tmp_path / "model", model))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"model": 3}', "{" * 10_000, "\x80"])
def test_a_config_that_is_damaged_is_named(content: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "model", SMALL)
    (folder / "config.json").write_text(content, encoding="latin-1")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        checkpoint.load(folder)


def test_without_characters_it_says_how_to_give_them(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model\.pt: expected meta\.pkl beside it, for 13 ids"):
        checkpoint.load(write(tmp_path / "model", SMALL, meta=False))


def test_nothing_is_run_and_strange_tensors_are_refused(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    folder = write(tmp_path / "model", SMALL, {"transformer.wte.weight": Runs(os.mkdir, str(touched))})
    with pytest.raises(CheckpointError, match=r"model\.pt.*nothing of it was run"):
        checkpoint.load(folder)
    assert not touched.exists()
    for strange in ({"lm_head.weight": None}, {"lm_head.weight": torch.zeros(1).expand(2**22, 2**22)}, {"more": 3}):
        mingpt.opened.cache_clear()
        with pytest.raises(CheckpointError, match=r"model\.pt, '?(lm_head\.weight|more)"):
            checkpoint.load(write(tmp_path / "model", SMALL, state_of(2, 12) | strange))
