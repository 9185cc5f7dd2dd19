"""nanoGPT's checkpoints: names and settings, characters of a meta.pkl, and files that want to run code."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import gptviz
from gptviz import checkpoint
from gptviz.folder import CheckpointError
from gptviz.formats.pickles import read_plain
from tests.test_formats_hugging_face import Runs

CHARACTERS = "\n !abcdefghij"
ARGS = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 32, "vocab_size": len(CHARACTERS), "dropout": 0.0}


def state_of(bias: bool, compiled: bool = False) -> dict[str, torch.Tensor]:
    """Random weights by nanoGPT's names."""
    torch.manual_seed(0)
    c, rest = ARGS["n_embd"], {"wte.weight": (ARGS["vocab_size"], 16), "wpe.weight": (32, 16), "ln_f.weight": (16,)}
    layer = {"ln_1": (c,), "ln_2": (c,), "attn.c_attn": (3 * c, c), "attn.c_proj": (c, c), "mlp.c_fc": (4 * c, c),
             "mlp.c_proj": (c, 4 * c)}  # fmt: skip
    for i in range(2):
        for name, shape in layer.items():
            rest[f"h.{i}.{name}.weight"] = shape
            if bias:
                rest[f"h.{i}.{name}.bias"] = shape[:1]
    if bias:
        rest["ln_f.bias"] = (c,)
    state = {f"transformer.{name}": 0.3 * torch.randn(shape) for name, shape in rest.items()}
    state["lm_head.weight"] = state["transformer.wte.weight"]
    return {f"_orig_mod.{name}": value for name, value in state.items()} if compiled else state


def write(folder: Path, bias: bool = True, compiled: bool = False, **args: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    model_args = {name: value for name, value in (ARGS | {"bias": bias} | args).items() if value is not None}
    torch.save({"model": state_of(bias, compiled), "model_args": model_args, "iter_num": 5}, folder / "ckpt.pt")
    meta = {"vocab_size": len(CHARACTERS), "itos": dict(enumerate(CHARACTERS)),
            "stoi": {c: i for i, c in enumerate(CHARACTERS)}}  # fmt: skip
    (folder / "meta.pkl").write_bytes(pickle.dumps(meta))
    return folder


def expected(ids: list[int], bias: bool) -> torch.Tensor:
    """nanoGPT's forward pass, from its names: (T, V)."""
    s = {name.removeprefix("transformer."): value for name, value in state_of(bias).items()}

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.layer_norm(x, (16,), s[f"{name}.weight"], s.get(f"{name}.bias"))

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, s[f"{name}.weight"], s.get(f"{name}.bias"))

    x = s["wte.weight"][ids] + s["wpe.weight"][: len(ids)]
    for i in range(2):
        joint = linear(norm(x, f"h.{i}.ln_1"), f"h.{i}.attn.c_attn").split(16, 1)
        q, k, v = (part.view(len(ids), 2, 8).transpose(0, 1) for part in joint)
        heads = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(0, 1).reshape(len(ids), 16)
        x = x + linear(heads, f"h.{i}.attn.c_proj")
        x = x + linear(F.gelu(linear(norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc")), f"h.{i}.mlp.c_proj")
    return norm(x, "ln_f") @ s["wte.weight"].T


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("compiled", [True, False])
def test_a_model_of_characters_is_read_as_it_was_trained(bias: bool, compiled: bool, tmp_path: Path) -> None:
    model = checkpoint.load(write(tmp_path / "shakespeare", bias, compiled))
    trace = gptviz.trace(model, "a bad hi!")
    assert trace.tokens == tuple("a bad hi!")
    np.testing.assert_allclose(trace.logits, expected(list(trace.ids), bias), rtol=1e-4, atol=1e-4)
    assert model.tokenizer.decode(trace.ids) == "a bad hi!"
    assert len(gptviz.generate(model, "a", 10).text) == 10
    assert gptviz.trace(checkpoint.load(tmp_path / "shakespeare" / "ckpt.pt"), "a").tokens == ("a",)


def test_a_character_that_it_never_saw_is_named(tmp_path: Path) -> None:
    model = checkpoint.load(write(tmp_path / "model"))
    with pytest.raises(ValueError, match="found 'Z', 'ü'"):
        gptviz.trace(model, "üZa")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"n_head": None}, "missing.*n_head"),
        ({"n_layer": 3}, r"h\.2\.ln_1"),
        ({"n_embd": 18}, "shape"),
        ({"n_head": 3}, "n_heads"),
        ({"vocab_size": 9}, "vocabulary of at most 9|shape"),
    ],
)
def test_settings_of_another_model_are_named(args: dict, said: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=said):
        checkpoint.load(write(tmp_path / "model", **args))


def test_a_state_dict_alone_says_what_is_missing(tmp_path: Path) -> None:
    folder = write(tmp_path / "model")
    torch.save(state_of(True), folder / "ckpt.pt")
    with pytest.raises(CheckpointError, match="how many heads"):
        checkpoint.load(folder)


@pytest.mark.parametrize("file", ["ckpt.pt", "meta.pkl"])
def test_nothing_is_run(file: str, tmp_path: Path) -> None:
    folder, touched = write(tmp_path / "model"), tmp_path / "touched"
    hostile = {"model": {}, "model_args": Runs(os.mkdir, str(touched)), "itos": Runs(os.mkdir, str(touched))}
    (folder / file).write_bytes(pickle.dumps(hostile))
    with pytest.raises(CheckpointError, match="nothing of it was run"):
        checkpoint.load(folder)
    assert not touched.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\x80", b"cos\nsystem\n(S'x'\ntR.", b"(i__main__\nx\n.", pickle.dumps([1] * 9)[:-5],
        b"\x80\x04\x95" + b"\xff" * 8,
    ],
)
def test_a_damaged_or_hostile_pickle_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "meta.pkl").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"meta\.pkl"):
        read_plain(tmp_path / "meta.pkl")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_of_every_protocol_is_read(protocol: int, tmp_path: Path) -> None:
    values = {"itos": {0: "a", 1: "ü"}, "n": [1, 2.5, None, True], "t": ("x", b"y")}
    if protocol < 3:
        del values["t"]  # bytes need a function there
    (tmp_path / "meta.pkl").write_bytes(pickle.dumps(values, protocol))
    assert read_plain(tmp_path / "meta.pkl") == values


def changed(folder: Path, state: dict, args: dict) -> Path:
    """The checkpoint of a folder with other tensors and settings; None takes a tensor out."""
    found = torch.load(folder / "ckpt.pt")
    model = {name: value for name, value in (found["model"] | state).items() if value is not None}
    torch.save(found | {"model": model, "model_args": found["model_args"] | args}, folder / "ckpt.pt")
    return folder


TABLE = "transformer.wte.weight"


@pytest.mark.parametrize(
    ("state", "args", "said"),
    [
        ({"lm_head.weight": torch.ones(13, 16)}, {}, "lm_head.weight: expected the numbers of the token table"),
        ({"transformer.h.0.attn.q_norm.weight": torch.ones(8)}, {}, "q_norm.*expected no such tensor"),
        ({f"_orig_mod.{TABLE}": torch.ones(13, 16)}, {}, "wte.*expected it once"),
        ({TABLE: torch.zeros(1).expand(2**22, 2**22)}, {}, "wte.weight: expected a smaller shape"),
        ({TABLE: torch.eye(16).to_sparse()}, {}, "wte.weight: expected a tensor of float16.*sparse"),
        ({TABLE: torch.empty(13, 16, device="meta")}, {}, "wte.weight: expected a tensor of .*on meta"),
        ({TABLE: torch.ones(13, 16, dtype=torch.int8)}, {}, "wte.weight: expected a tensor of .*int8"),
        ({}, {"rotary": True}, "model_args, 'rotary': expected nothing but"),
        ({}, {"bias": "no"}, "model_args, 'bias': expected true or false"),
    ],
)
def test_a_model_that_was_changed_is_refused_by_what_was(state: dict, args: dict, said: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=said):
        checkpoint.load(changed(write(tmp_path / "model"), state, args))


def test_masks_of_old_versions_are_no_weights(tmp_path: Path) -> None:
    mask = {"transformer.h.0.attn.bias": torch.ones(1, 1, 32, 32)}
    folder = changed(write(tmp_path / "model"), mask, {"flash": False})
    ids = list(gptviz.trace(checkpoint.load(folder), "a bad").ids)
    np.testing.assert_allclose(
        gptviz.trace(checkpoint.load(folder), "a bad").logits, expected(ids, True), rtol=1e-4, atol=1e-4
    )


def test_without_characters_a_small_vocabulary_is_not_taken_for_gpt2s(tmp_path: Path) -> None:
    folder = write(tmp_path / "model")
    (folder / "meta.pkl").unlink()
    with pytest.raises(CheckpointError, match=r"ckpt\.pt: expected meta\.pkl beside it, for 13 ids"):
        checkpoint.load(folder)


@pytest.mark.parametrize("seed", range(2))
def test_flipped_bytes_are_refused_or_make_a_model(seed: int, tmp_path: Path) -> None:
    """The machine in `torch` that reads pickles fails in many ways; each is one sentence."""
    folder = write(tmp_path / "model")
    whole, dice = (folder / "ckpt.pt").read_bytes(), np.random.default_rng(seed)
    refused = 0
    for _ in range(400):
        content = bytearray(whole)
        for at in dice.integers(0, 2500, 3):
            content[at] = dice.integers(0, 256)
        (folder / "ckpt.pt").write_bytes(content)
        try:
            checkpoint.load(folder)
        except CheckpointError:
            refused += 1
    assert refused > 100
