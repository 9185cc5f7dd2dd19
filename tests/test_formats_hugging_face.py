"""Folders of Hugging Face: every shape of model against `transformers` on random weights, and folders that are bad."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gptviz.checkpoint import LanguageModel, empty_model
from gptviz.folder import CheckpointError
from gptviz.formats import format_of
from gptviz.formats import hugging_face as reader
from gptviz.gpt import GPT
from gptviz.sampling import stream
from gptviz.tokenizer import Tokenizer
from tests.tiny import tiny_ranks

V = len(tiny_ranks()) + 1
IDS = [3, 250, 17, 250, 3, 80, 81, 5, 5, 199]
LLAMA = {
    "vocab_size": V, "hidden_size": 36, "intermediate_size": 50, "num_hidden_layers": 2, "num_attention_heads": 6,
    "max_position_embeddings": 128,
}  # fmt: skip
GPT2 = {"vocab_size": V, "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4}
ROPE3 = {
    "rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_theta": 50.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
SHAPES = {
    "gpt2 tied": ("GPT2", GPT2),
    "gpt2 untied": ("GPT2", GPT2 | {"tie_word_embeddings": False, "n_inner": 40, "layer_norm_epsilon": 1e-3}),
    "gpt2 relu": ("GPT2", GPT2 | {"activation_function": "relu"}),
    "llama all heads": ("Llama", LLAMA),
    "llama 1 key head": ("Llama", LLAMA | {"num_key_value_heads": 1, "tie_word_embeddings": True}),
    "llama 3 key heads": ("Llama", LLAMA | {"num_key_value_heads": 3, "rms_norm_eps": 1e-3}),
    "llama biases": ("Llama", LLAMA | {"attention_bias": True}),
    "llama all biases": ("Llama", LLAMA | {"attention_bias": True, "mlp_bias": True}),
    "llama odd heads": ("Llama", LLAMA | {"head_dim": 10, "num_key_value_heads": 2}),
    "llama 3.1": ("Llama", LLAMA | {"rope_parameters": ROPE3, "head_dim": 16}),
    "linear": ("Llama", LLAMA | {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}),
    "qwen2": ("Qwen2", LLAMA | {"num_key_value_heads": 2, "tie_word_embeddings": True}),
}


def random_reference(kind: str, values: dict, seed: int = 0) -> torch.nn.Module:
    """A model of `transformers`, every number random."""
    import transformers

    torch.manual_seed(seed)
    config = getattr(transformers, f"{kind}Config")(**values, attn_implementation="eager")
    name = f"{kind}LMHeadModel" if kind == "GPT2" else f"{kind}ForCausalLM"
    model = getattr(transformers, name)(config).eval()
    with torch.no_grad():
        for parameter, value in model.named_parameters():
            middle = 1.0 if "norm" in parameter or "ln_" in parameter else 0.0
            value.copy_(middle + 0.3 * torch.randn_like(value))
    return model


def ours(path: Path) -> GPT:
    config = reader.read_config(path)
    weights = reader.read_weights(path, config)
    gpt = empty_model(config, {name: tuple(value.shape) for name, value in weights.items()}, "test")
    gpt.load_state_dict(weights, strict=False, assign=True)
    if config.tied:
        gpt.unembedding.weight = gpt.token_embedding.weight
    return gpt.for_reading()


@pytest.mark.parametrize("name", SHAPES)
def test_logits_attention_and_generation_are_those_of_the_reference(name: str, tmp_path: Path) -> None:
    reference = random_reference(*SHAPES[name])
    reference.save_pretrained(tmp_path)
    assert format_of(tmp_path) == "hugging_face"
    gpt = ours(tmp_path)
    trace = gpt.trace(IDS)
    with torch.no_grad():
        theirs = reference(torch.tensor([IDS]), output_attentions=True)
    np.testing.assert_allclose(trace.logits, theirs.logits[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(trace.weights, torch.cat(theirs.attentions), rtol=1e-4, atol=1e-4)
    written = reference.generate(
        torch.tensor([IDS[:4]]), max_new_tokens=50, do_sample=False, eos_token_id=None, pad_token_id=0
    )
    model = LanguageModel(name, gpt, Tokenizer(tiny_ranks()), "f" * 16)
    drawn = [step.id for step in stream(model, IDS[:4], 50, temperature=0)]
    assert drawn == written[0, 4 : 4 + len(drawn)].tolist()
    assert len(drawn) == 50 or drawn[-1] == model.tokenizer.end_of_text


@pytest.mark.parametrize("name", ["gpt2 tied", "qwen2"])
def test_shards_and_bin_files_are_the_same_model(name: str, tmp_path: Path) -> None:
    reference = random_reference(*SHAPES[name])
    for folder, options in (("whole", {}), ("shards", {"max_shard_size": "20KB"})):
        reference.save_pretrained(tmp_path / folder, **options)
    assert len([*(tmp_path / "shards").glob("*.safetensors")]) > 2
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_bytes((tmp_path / "whole" / "config.json").read_bytes())
    torch.save(reference.state_dict(), pickled / "pytorch_model.bin")
    config = reader.read_config(tmp_path / "whole")
    expected = reader.read_weights(tmp_path / "whole", config)
    for folder in ("shards", "pickled"):
        found = reader.read_weights(tmp_path / folder, config)
        assert all(torch.equal(found[name], value) for name, value in expected.items())
        assert set(found) == set(expected)


# Folders that are bad -------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random_reference(*SHAPES["llama 3 key heads"]).save_pretrained(tmp_path / "model", max_shard_size="20KB")
    return tmp_path / "model"


def with_config(folder: Path, **changes: object) -> None:
    """Change fields of the config; None takes one out."""
    path = folder / "config.json"
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in values.items() if value is not None}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "mamba"}, "model_type: expected one of gpt2"),
        ({"model_type": None, "architectures": ["BertModel"]}, "BertModel"),
        ({"hidden_size": None}, "hidden_size"),
        ({"hidden_size": "36"}, "hidden_size"),
        ({"num_attention_heads": 0}, "n_heads"),
        ({"num_key_value_heads": 4}, "n_kv_heads must divide"),
        ({"hidden_act": "mish"}, "hidden_act"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_type"),
        ({"rope_parameters": [1]}, "rope_scaling"),
        ({"head_dim": 7}, "pairs of dimensions"),
        ({"rms_norm_eps": -1}, "norm_epsilon"),
    ],
)
def test_a_config_that_cannot_be_shown_says_which_field(folder: Path, changes: dict, said: str) -> None:
    with_config(folder, **changes)
    with pytest.raises(CheckpointError, match=said):
        reader.read_config(folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_hidden_layers": 3}, "layers.2"),
        ({"num_hidden_layers": 1}, "layers.1.*expected no such tensor"),
        ({"tie_word_embeddings": False, "attention_bias": True, "mlp_bias": True}, "bias|zeros|_proj"),
    ],
)
def test_weights_of_another_model_are_named(folder: Path, changes: dict, said: str) -> None:
    with_config(folder, **changes)
    config = reader.read_config(folder)
    if "mlp_bias" in changes:
        found = reader.read_weights(folder, config)
        assert not found["blocks.0.ff.gate.bias"].any()
        return
    with pytest.raises(CheckpointError, match=said):
        reader.read_weights(folder, config)


def test_a_shard_that_is_missing_or_elsewhere_is_named(folder: Path) -> None:
    config = reader.read_config(folder)
    index = folder / "model.safetensors.index.json"
    values = json.loads(index.read_text())
    missing = sorted(set(values["weight_map"].values()))[1]
    (folder / missing).unlink()
    with pytest.raises(CheckpointError, match=missing):
        reader.read_weights(folder, config)
    for elsewhere in ("../secret.safetensors", "/etc/passwd", "a/b.safetensors"):
        index.write_text(json.dumps({"weight_map": {"lm_head.weight": elsewhere}}))
        with pytest.raises(CheckpointError, match="files beside it"):
            reader.read_weights(folder, config)


@pytest.mark.parametrize("length", [0, 7, 100, 5000])
def test_a_file_that_is_cut_short_is_refused(folder: Path, length: int) -> None:
    config = reader.read_config(folder)
    file = sorted(folder.glob("*.safetensors"))[0]
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=file.name):
        reader.read_weights(folder, config)


class Runs:
    """What a hostile pickle is made of: unpickling it calls a function."""

    def __init__(self, call: Callable, *args: object) -> None:
        self.call = call, args

    def __reduce__(self) -> tuple:
        return self.call


@pytest.mark.parametrize("legacy", [True, False])
def test_a_pickle_that_runs_code_does_not_run(tmp_path: Path, legacy: bool) -> None:
    folder, touched = tmp_path / "model", tmp_path / "touched"
    folder.mkdir()
    random_reference(*SHAPES["gpt2 tied"]).config.save_pretrained(folder)
    hostile = {"wte.weight": Runs(os.mkdir, str(touched))}
    if legacy:
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(hostile))
    else:
        torch.save(hostile, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="nothing of it was run"):
        reader.read_weights(folder, reader.read_config(folder))
    assert not touched.exists()
