"""Models that mean something else than what is computed here: refused by the name of the field, never passed over."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gptviz.config import GPTConfig
from gptviz.folder import CheckpointError
from gptviz.formats import gguf
from gptviz.formats import hugging_face as reader
from gptviz.gpt import GPT
from tests import test_formats_gguf as gguf_tests
from tests.test_formats_hugging_face import IDS, LLAMA, ROPE3, SHAPES, ours, random_reference, with_config


def folder_of(shape: str, path: Path, **options: object) -> Path:
    random_reference(*SHAPES[shape]).save_pretrained(path / "model", **options)
    return path / "model"


LONG = ROPE3 | {"rope_theta": 100.0}


@pytest.mark.parametrize(
    ("shape", "changes", "field"),
    [
        ("llama 3 key heads", {"sliding_window": 4}, "sliding_window"),
        ("llama 3 key heads", {"layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 4}, "sliding_window"),
        ("qwen2", {"use_sliding_window": True, "max_position_embeddings": 8192}, "sliding_window.*4096, as qwen2"),
        ("qwen2", {"use_sliding_window": "yes"}, "use_sliding_window"),
        ("llama 3 key heads", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping"),
        ("llama 3 key heads", {"final_logit_softcapping": 30.0}, "final_logit_softcapping"),
        ("llama 3 key heads", {"query_pre_attn_scalar": 256}, "query_pre_attn_scalar"),
        ("llama 3 key heads", {"embedding_multiplier": 12}, "embedding_multiplier"),
        ("llama 3 key heads", {"qk_norm": True}, "qk_norm"),
        ("llama 3 key heads", {"num_local_experts": 8}, "num_local_experts"),
        ("llama 3 key heads", {"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ("llama 3 key heads", {"quantization_config": {"quant_method": "gptq"}}, "quantization_config"),
        ("llama 3 key heads", {"norm_eps": 0.1}, "norm_eps.*rms_norm_eps, 0.001"),
        ("gpt2 tied", {"layer_norm_eps": 0.1}, "layer_norm_eps.*layer_norm_epsilon"),
        ("gpt2 tied", {"num_attention_heads": 8}, "num_attention_heads: expected 4, as n_head"),
        ("gpt2 tied", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ("llama 3 key heads", {"architectures": ["FancyForCausalLM"]}, "architectures.*Fancy"),
        ("llama 3 key heads", {"architectures": "LlamaForCausalLM"}, "architectures"),
        ("llama 3 key heads", {"auto_map": {"AutoModelForCausalLM": "modeling.Own"}}, "auto_map"),
        ("llama 3 key heads", {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}, "rope_scaling"),
        ("linear", {"rope_parameters": {"rope_type": "linear", "factor": 2, "attention_factor": 2}}, "..*attention_f"),
        ("linear", {"rope_parameters": {"full_attention": {"rope_type": "linear"}}}, ".*, .full_attention"),
        ("linear", {"rope_parameters": {"rope_type": "linear", "type": "yarn", "factor": 2.0}}, "type: .*yarn"),
        ("llama 3.1", {"rope_parameters": LONG | {"factor": 1e400}}, "factor"),
        ("llama 3.1", {"rope_parameters": LONG | {"rope_theta": -100.0}}, "rope_theta"),
        ("llama 3.1", {"rope_parameters": LONG | {"rope_theta": 0}}, "rope_theta"),
        ("llama 3.1", {"rope_parameters": LONG | {"rope_theta": 10**400}}, "rope_theta"),
        ("llama 3.1", {"rope_parameters": LONG | {"original_max_position_embeddings": 10**400}}, "original_max"),
        ("linear", {"rope_parameters": {"rope_type": "linear", "factor": 10**400}}, "factor"),
        ("llama all heads", {"rms_norm_eps": 10**400}, "rms_norm_eps"),
    ],
)
def test_what_would_be_another_model_is_refused_by_its_name(
    shape: str, changes: dict, field: str, tmp_path: Path
) -> None:
    folder = folder_of(shape, tmp_path)
    if "max_position_embeddings" in changes:
        with_config(folder, sliding_window=None)
    with_config(folder, **changes)
    with pytest.raises(CheckpointError, match=f"model/config.json, {field}"):
        reader.read_config(folder)


def test_mistral_means_a_window_where_its_config_names_none(tmp_path: Path) -> None:
    """`transformers` takes 4096 tokens then; `null` is no window, and one as long as the context changes nothing."""
    folder = folder_of("llama 3 key heads", tmp_path)
    mistral = {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "max_position_embeddings": 8192}
    with_config(folder, **mistral)
    with pytest.raises(CheckpointError, match=r"sliding_window: .*4096, as mistral means where none is named"):
        reader.read_config(folder)
    with_config(folder, max_position_embeddings=4096)
    assert reader.read_config(folder).context == 4096
    values = json.loads((folder / "config.json").read_text()) | {"max_position_embeddings": 8192}
    (folder / "config.json").write_text(json.dumps(values | {"sliding_window": None}))
    assert reader.read_config(folder).context == 8192


def test_switches_that_are_off_change_nothing(tmp_path: Path) -> None:
    folder = folder_of("qwen2", tmp_path)
    before = reader.read_config(folder)
    with_config(folder, use_sliding_window=False, sliding_window=4, max_window_layers=1, use_mrope=False)
    with_config(folder, attn_logit_softcapping=0, embedding_multiplier=1.0, num_experts=0, quantization_config={})
    assert reader.read_config(folder) == before


def test_gpt2_by_its_other_names_is_the_model_that_the_reference_reads(tmp_path: Path) -> None:
    import transformers

    folder = folder_of("gpt2 untied", tmp_path)
    names = {"n_embd": "hidden_size", "n_head": "num_attention_heads", "n_layer": "num_hidden_layers"}
    values = json.loads((folder / "config.json").read_text())
    values = {names.get(name, name): value for name, value in values.items()}
    (folder / "config.json").write_text(json.dumps(values))
    reference = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = reference(torch.tensor([IDS])).logits[0]
    torch.testing.assert_close(torch.tensor(ours(folder).trace(IDS).logits), expected, rtol=1e-4, atol=1e-4)


def saved(folder: Path, change: dict) -> None:
    """The weights of a folder with some tensors changed, None takes one out."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors") | change
    save_file({name: value for name, value in tensors.items() if value is not None}, folder / "model.safetensors")


def test_a_projection_that_is_said_to_be_tied_and_is_not_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = folder_of("llama all heads", tmp_path)
    with_config(folder, tie_word_embeddings=True)
    config = reader.read_config(folder)
    with pytest.raises(CheckpointError, match=r"lm_head.weight: .*tie_word_embeddings"):
        reader.read_weights(folder, config)
    saved(folder, {"lm_head.weight": load_file(folder / "model.safetensors")["model.embed_tokens.weight"]})
    assert "unembedding.weight" not in reader.read_weights(folder, config)
    with_config(folder, tie_word_embeddings=False)
    saved(folder, {"lm_head.weight": None})
    with pytest.raises(CheckpointError, match=r"lm_head.weight: expected such a tensor, found none"):
        reader.read_weights(folder, reader.read_config(folder))


def test_projections_of_one_size_in_all_and_other_sizes_each_are_refused(tmp_path: Path) -> None:
    folder = folder_of("llama 3 key heads", tmp_path)  # q has 36 rows, k and v 18 each
    rows = {f"model.layers.0.self_attn.{name}_proj.weight": n for name, n in (("q", 18), ("k", 36), ("v", 18))}
    saved(folder, {name: torch.ones(n, LLAMA["hidden_size"]) for name, n in rows.items()})
    with pytest.raises(CheckpointError, match=r"layers.0.self_attn.q_proj.weight: .*36, 18, 18 rows"):
        reader.read_weights(folder, reader.read_config(folder))


def test_a_tensor_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    folder = folder_of("llama all heads", tmp_path)
    saved(folder, {"norm.weight": torch.ones(LLAMA["hidden_size"])})
    with pytest.raises(CheckpointError, match=r"norm.weight.*expected it once"):
        reader.read_weights(folder, reader.read_config(folder))


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = folder_of("llama all heads", tmp_path, max_shard_size="20KB")
    first, second = sorted(folder.glob("*.safetensors"))[:2]
    name = next(iter(load_file(first)))
    save_file(load_file(second) | {name: load_file(first)[name] + 1}, second)
    with pytest.raises(CheckpointError, match=f"{name}.*{first.name}.* alone.*{second.name}"):
        reader.read_weights(folder, reader.read_config(folder))


def test_shards_of_pickles_are_the_same_model(tmp_path: Path) -> None:
    folder = folder_of("gpt2 tied", tmp_path)
    config = reader.read_config(folder)
    expected = reader.read_weights(folder, config)
    from safetensors.torch import load_file

    tensors = list(load_file(folder / "model.safetensors").items())
    (folder / "model.safetensors").unlink()
    where = {}
    for number, part in enumerate((tensors[:7], tensors[7:]), start=1):
        file = f"pytorch_model-0000{number}-of-00002.bin"
        torch.save(dict(part), folder / file)
        where |= {name: file for name, _ in part}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": where}))
    found = reader.read_weights(folder, config)
    assert set(found) == set(expected) and all(torch.equal(found[name], value) for name, value in expected.items())


STRANGE = {
    "sparse": lambda n: torch.eye(n).to_sparse(),
    "compressed": lambda n: torch.eye(n).to_sparse_csr(),
    "meta": lambda n: torch.empty(n, n, device="meta"),
    "complex": lambda n: torch.eye(n, dtype=torch.complex64),
    "integers": lambda n: torch.eye(n, dtype=torch.int8),
    "truth": lambda n: torch.eye(n, dtype=torch.bool),
    "a number": lambda n: 3.0,
    "expanded": lambda n: torch.zeros(1).expand(2**22, 2**22),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_tensors_of_a_strange_kind_in_a_pickle_are_refused(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    reference = random_reference(*SHAPES["gpt2 tied"])
    reference.config.save_pretrained(folder)
    name = "transformer.h.0.attn.c_proj.weight"
    torch.save(reference.state_dict() | {name: STRANGE[kind](32)}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"h\.0\.attn\.c_proj\.weight.*expected"):
        reader.read_weights(folder, reader.read_config(folder))


def test_parameters_in_a_pickle_are_read_as_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    reference = random_reference(*SHAPES["gpt2 tied"])
    reference.config.save_pretrained(folder)
    torch.save(dict(reference.named_parameters()), folder / "pytorch_model.bin")
    found = reader.read_weights(folder, reader.read_config(folder))
    assert not any(value.requires_grad for value in found.values())


# GGUF files -----------------------------------------------------------------------------------------------------------


def gguf_file(path: Path, metadata: dict, arch: str = "llama", **options: object) -> Path:
    """A tiny model whose file says more of itself."""

    def prepare(writer: object) -> None:
        for key, value in metadata.items():
            kinds = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
            kinds.get(type(value), writer.add_array)(key, value)

    return gguf_tests.write(path, gguf_tests.random_weights(), arch=arch, prepare=prepare, **options)


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"llama.attention.sliding_window": 16}, "llama.attention.sliding_window: expected 0, or 64 tokens"),
        ({"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 4.0}, "llama.rope.scaling.type"),
        ({"llama.rope.scaling.attn_factor": 1.5}, "llama.'rope.scaling.attn_factor': expected 1.0"),
        ({"llama.attention.causal": False}, "llama.'attention.causal': expected True"),
        ({"llama.attn_logit_softcapping": 50.0}, "llama.'attn_logit_softcapping'"),
        ({"llama.final_logit_softcapping": 30.0}, "llama.'final_logit_softcapping'"),
        ({"llama.logit_scale": 0.1}, "llama.'logit_scale'"),
        ({"llama.attention.scale": 0.1}, "llama.'attention.scale'"),
        ({"llama.attention.clamp_kqv": 8.0}, "llama.'attention.clamp_kqv'"),
        ({"llama.expert_count": 8}, "llama.'expert_count'"),
        ({"llama.rope.dimension_sections": [4, 4, 0, 0]}, "llama.'rope.dimension_sections'"),
        ({"llama.tensor_data_layout": "of my own"}, "llama.'tensor_data_layout'"),
        ({"llama.attention.value_length": 4}, "llama.attention.value_length: expected 8"),
        ({"split.count": 2}, "split.count"),
        ({"general.type": "adapter"}, "general.type"),
    ],
)
def test_a_gguf_file_that_says_more_is_refused_by_the_key(metadata: dict, field: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"a.gguf, {field}"):
        gguf.read_config(gguf_file(tmp_path / "a.gguf", metadata))


def test_keys_of_gguf_that_change_nothing_are_passed_over(tmp_path: Path) -> None:
    plain = gguf.read_config(gguf_file(tmp_path / "a.gguf", {}))
    same = {"llama.attention.sliding_window": 64, "llama.expert_count": 0, "llama.attention.causal": True}
    same |= {"llama.attention.value_length": 8, "llama.rope.scaling.attn_factor": 1.0, "general.type": "model"}
    same |= {"llama.vocab_size": 40, "llama.tensor_data_layout": "Meta AI original pth", "split.count": 1}
    assert gguf.read_config(gguf_file(tmp_path / "b.gguf", same)) == plain


@pytest.mark.parametrize(
    ("metadata", "factor"),
    [
        ({"llama.rope.scaling.factor": 4.0}, 4.0),  # llama.cpp: a factor is linear where no type is named
        ({"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0}, 4.0),
        ({"llama.rope.scale_linear": 2.0}, 2.0),  # its name in old files
        ({"llama.rope.scale_linear": 2.0, "llama.rope.scaling.factor": 4.0}, 4.0),
        ({"llama.rope.scaling.type": "none", "llama.rope.scaling.factor": 4.0}, None),
        ({"llama.rope.scaling.factor": 0.0}, None),
    ],
)
def test_factors_of_gguf_without_a_type_are_linear(metadata: dict, factor: float | None, tmp_path: Path) -> None:
    config = gguf.read_config(gguf_file(tmp_path / "a.gguf", metadata))
    assert config.rotary_factors == (() if factor is None else (factor,) * 4)


def test_factors_of_pairs_and_a_linear_one_are_multiplied(tmp_path: Path) -> None:
    def prepare(writer: object) -> None:
        writer.add_tensor("rope_freqs.weight", np.array([1, 2, 4, 8], dtype=np.float32))
        writer.add_float32("llama.rope.scaling.factor", 3.0)

    path = gguf_tests.write(tmp_path / "a.gguf", gguf_tests.random_weights(), prepare=prepare)
    assert gguf.read_config(path).rotary_factors == (3.0, 6.0, 12.0, 24.0)


@pytest.mark.parametrize("arch", ["llama", "qwen2"])
def test_a_gguf_file_is_the_model_that_transformers_reads(arch: str, tmp_path: Path) -> None:
    import transformers
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    def vocabulary(writer: object) -> None:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list([f"t{i}" for i in range(40)])
        writer.add_token_types([1] * 40)
        writer.add_token_merges([])

    config = GPTConfig.from_dict(gguf_tests.CONFIG.to_dict() | {"bias": "qkv" if arch == "qwen2" else "none"})
    path = gguf_tests.write(tmp_path / "a.gguf", gguf_tests.random_weights(config), config, arch, prepare=vocabulary)
    name = {"llama": "Llama", "qwen2": "Qwen2"}[arch]
    values = load_gguf_checkpoint(path)["config"]
    reference = getattr(transformers, f"{name}ForCausalLM")(getattr(transformers, f"{name}Config")(**values)).eval()
    tensors = load_gguf_checkpoint(path, return_tensors=True, model_to_load=reference)["tensors"]
    reference.load_state_dict(tensors)
    ours_of_it = GPT(gguf.read_config(path))
    ours_of_it.load_state_dict(gguf.read_weights(path, ours_of_it.config))
    ids = [1, 2, 3, 4, 9, 30, 7, 7]
    with torch.no_grad():
        expected = reference(torch.tensor([ids])).logits[0]
    np.testing.assert_allclose(ours_of_it.trace(ids).logits, expected, rtol=1e-4, atol=1e-4)
