"""GGUF files, written by the `gguf` package: the numbers of every type, names, the order of rotary pairs, bad files."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from gguf.quants import dequantize
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gptviz.config import GPTConfig
from gptviz.folder import CheckpointError
from gptviz.formats import format_of
from gptviz.formats import gguf as reader
from gptviz.formats.gguf_blocks import TO_FLOAT
from gptviz.formats.gguf_file import TYPES, read_container
from gptviz.gpt import GPT

CONFIG = GPTConfig(
    vocab_size=40, context=64, n_layers=2, n_heads=4, d_model=32, d_ff=64, norm_order="pre", activation="silu",
    norm="rms", norm_epsilon=1e-5, bias="none", positions="rotary", rotary_base=500.0, n_kv_heads=2, gated=True,
)  # fmt: skip
NAMES = {"attention_norm": "attn_norm", "attention.out": "attn_output", "ff_norm": "ffn_norm", "ff.gate": "ffn_gate",
         "ff.expand": "ffn_up", "ff.contract": "ffn_down"}  # fmt: skip


def side_by_side(rows: np.ndarray, d: int) -> np.ndarray:
    """Rows of q or k as files of Llama have them: what is half a head apart here stands side by side there."""
    heads = rows.reshape(-1, 2, d // 2, *rows.shape[1:])
    return np.stack([heads[:, 0], heads[:, 1]], axis=2).reshape(rows.shape)


def random_weights(config: GPTConfig = CONFIG, seed: int = 0) -> dict[str, np.ndarray]:
    torch.manual_seed(seed)
    state = GPT(config).state_dict()
    return {name: torch.randn_like(value).numpy() for name, value in state.items()}


def write(
    path: Path,
    weights: dict[str, np.ndarray],
    config: GPTConfig = CONFIG,
    arch: str = "llama",
    prepare: Callable[[gguf.GGUFWriter], None] = lambda writer: None,
    **more,
) -> Path:
    """A file of one model; `prepare` adds a vocabulary, `more` changes metadata, None leaves a key out."""
    writer = gguf.GGUFWriter(path, arch)
    prepare(writer)
    d = config.d_head
    keys = {
        "context_length": config.context, "embedding_length": config.d_model, "block_count": config.n_layers,
        "feed_forward_length": config.d_ff, "attention.head_count": config.n_heads,
        "attention.head_count_kv": config.n_groups,
    } | more  # fmt: skip
    for key, value in keys.items():
        if isinstance(value, str):
            writer.add_string(f"{arch}.{key}", value)
        elif value is not None:
            writer.add_uint32(f"{arch}.{key}", value)
    writer.add_float32(f"{arch}.attention.layer_norm_rms_epsilon", config.norm_epsilon)
    writer.add_float32(f"{arch}.rope.freq_base", config.rotary_base)
    writer.add_tensor("token_embd.weight", weights["token_embedding.weight"])
    writer.add_tensor("output_norm.weight", weights["final_norm.weight"])
    if not config.tied:
        writer.add_tensor("output.weight", weights["unembedding.weight"])
    for layer in range(config.n_layers):
        for ours, theirs in NAMES.items():
            writer.add_tensor(f"blk.{layer}.{theirs}.weight", weights[f"blocks.{layer}.{ours}.weight"])
        for part in ("weight", "bias") if config.bias == "qkv" else ("weight",):
            joint = weights[f"blocks.{layer}.attention.qkv.{part}"]
            cuts = [config.n_heads * d, (config.n_heads + config.n_groups) * d]
            q, k, v = np.split(joint, cuts)
            if arch == "llama":
                q, k = side_by_side(q, d), side_by_side(k, d)
            for name, rows in (("attn_q", q), ("attn_k", k), ("attn_v", v)):
                writer.add_tensor(f"blk.{layer}.{name}.{part}", np.ascontiguousarray(rows))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("gguf") / "model.gguf", random_weights())


@pytest.mark.parametrize("kind", TYPES.values(), ids=lambda kind: kind[0])
def test_the_numbers_of_every_type_are_those_of_the_reference(kind: tuple[str, int, int]) -> None:
    name, _, size = kind
    raw = np.random.default_rng(0).integers(0, 256, (50, size), dtype=np.uint8)
    with np.errstate(all="ignore"):
        theirs = np.asarray(dequantize(raw, gguf.GGMLQuantizationType[name])).reshape(50, -1)
        np.testing.assert_array_equal(TO_FLOAT[name](raw), theirs)


@pytest.mark.parametrize("arch", ["llama", "qwen2"])
@pytest.mark.parametrize("tied", [False, True])
def test_config_and_weights_come_back(tmp_path: Path, arch: str, tied: bool) -> None:
    values = CONFIG.to_dict() | {"tied": tied, "bias": "qkv" if arch == "qwen2" else "none"}
    config = GPTConfig.from_dict(values)
    weights = random_weights(config)
    path = write(tmp_path / "a.gguf", weights, config, arch)
    assert format_of(path) == format_of(tmp_path) == "gguf"
    found = reader.read_config(tmp_path)
    assert dataclasses.replace(found, norm_epsilon=1e-5) == config
    assert found.norm_epsilon == pytest.approx(1e-5)
    read = reader.read_weights(path, found)
    if tied:
        weights.pop("unembedding.weight")
    assert set(read) == set(weights)
    for name, value in read.items():
        np.testing.assert_array_equal(value.numpy(), weights[name], err_msg=name)


def test_quantised_tensors_are_read_where_they_lie(tmp_path: Path) -> None:
    path, rows = tmp_path / "q.gguf", np.random.default_rng(1).standard_normal((3, 64)).astype(np.float32)
    writer = gguf.GGUFWriter(path, "llama")
    kinds = [gguf.GGMLQuantizationType[name] for name in ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "F16", "BF16")]
    for kind in kinds:
        writer.add_tensor(kind.name, gguf.quants.quantize(rows, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    container = read_container(path)
    for kind in kinds:
        place = container.tensors[kind.name]
        assert (place.kind, place.shape) == (kind.name, (3, 64))
        expected = dequantize(gguf.quants.quantize(rows, kind), kind).reshape(3, 64)
        np.testing.assert_array_equal(reader.Weights(path, container).read(place), expected)


def test_factors_of_rotary_angles(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gguf", random_weights(), **{"rope.scaling.type": "linear"})
    assert reader.read_config(path).rotary_factors == ()
    path = write(tmp_path / "b.gguf", random_weights(), **{"rope.scaling.type": "yarn"})
    with pytest.raises(CheckpointError, match=r"rope\.scaling\.type"):
        reader.read_config(path)


@pytest.mark.parametrize(
    ("arch", "more", "said"),
    [
        ("mamba", {}, "general.architecture.*'mamba'"),
        ("llama", {"context_length": None}, "context_length"),
        ("llama", {"embedding_length": 33}, "d_model must be a multiple"),
        ("llama", {"embedding_length": 64}, "shape"),
        ("llama", {"attention.head_count_kv": 3}, "n_kv_heads"),
        ("llama", {"attention.head_count": 0}, "n_heads"),
        ("llama", {"block_count": 3}, r"blk\.2\..* found none"),
        ("llama", {"block_count": 1}, r"blk\.1\."),
        ("llama", {"rope.dimension_count": 4}, r"rope\.dimension_count"),
        ("llama", {"context_length": "long"}, "context_length"),
    ],
)
def test_what_contradicts_is_named(tmp_path: Path, arch: str, more: dict, said: str) -> None:
    path = write(tmp_path / "a.gguf", random_weights(), arch=arch, **more)
    with pytest.raises(CheckpointError, match=said) as error:
        reader.read_config(path)
    assert str(error.value).startswith("a.gguf")


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    weights = random_weights()
    weights["blocks.1.ff.gate.weight"][3, 3] = np.nan
    path = write(tmp_path / "a.gguf", weights)
    with pytest.raises(CheckpointError, match=r"blk\.1\.ffn_gate\.weight: expected finite"):
        reader.read_weights(path, reader.read_config(path))


def test_two_files_in_a_folder_are_asked_about(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    with pytest.raises(CheckpointError, match=r"one GGUF file, found a\.gguf, b\.gguf"):
        reader.read_config(tmp_path)


# Files that are damaged, or made to harm ------------------------------------------------------------------------------


def refused(path: Path, content: bytes) -> str:
    """What is said of a file; it must be refused."""
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        reader.parsed.cache_clear()
        reader.read_config(path)
    return str(error.value)


def test_every_beginning_of_a_file_is_refused(small: Path, tmp_path: Path) -> None:
    whole = small.read_bytes()
    for length in [*range(0, 1500, 7), *range(1500, len(whole), 997), len(whole) - 33]:
        assert refused(tmp_path / "cut.gguf", whole[:length]).startswith("cut.gguf")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 2500), st.integers(0, 255)), min_size=1, max_size=4))
def test_flipped_bytes_are_refused_or_make_a_model(small: Path, tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    content = bytearray(small.read_bytes())
    for at, value in changes:
        content[at] = value
    path = tmp_path / "flipped.gguf"
    path.write_bytes(content)
    reader.parsed.cache_clear()
    try:
        reader.read_weights(path, reader.read_config(path))
    except CheckpointError as error:
        assert str(error).startswith("flipped.gguf")


def header(*parts: bytes, tensors: int = 0, pairs: int = 0) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, pairs) + b"".join(parts)


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


NESTED = text("key") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 1000 + struct.pack("<IQB", 0, 1, 7)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (header(tensors=2**63), "tensor count"),
        (header(pairs=2**62), "metadata count"),
        (header(struct.pack("<Q", 2**60), b"x" * 40, pairs=1), "metadata key"),
        (header(text("k"), struct.pack("<IIQ", 9, 4, 2**61), b"x" * 40, pairs=1), "'k'"),
        (header(text("k"), struct.pack("<IIQ", 9, 8, 3), text("a"), b"x" * 30, pairs=1), "'k'"),
        (header(text("k"), struct.pack("<I", 99), b"x" * 40, pairs=1), "type of value"),
        (header(NESTED, pairs=1), "deep"),
        (header(text("k"), struct.pack("<IB", 0, 1), text("k"), struct.pack("<IB", 0, 1), pairs=2), "each key once"),
        (header(struct.pack("<Q", 2), b"\xff\xfe", b"x" * 40, pairs=1), "UTF-8"),
        (header(text("general.alignment"), struct.pack("<II", 4, 0), b"x" * 40, pairs=1), "alignment"),
        (header(text("t"), struct.pack("<IQIQ", 1, 2**40, 0, 0), b"x" * 40, tensors=1), "sides from 1"),
        (header(text("t"), struct.pack("<IQIQ", 1, 4, 0, 2**63), b"x" * 40, tensors=1), "cut short"),
        (header(text("t"), struct.pack("<IQIQ", 1, 4, 99, 0), b"x" * 40, tensors=1), "type 99"),
        (header(text("t"), struct.pack("<IQIQ", 1, 256, 10, 0), b"x" * 400, tensors=1), "Q2_K"),
        (header(text("t"), struct.pack("<IQIQ", 1, 33, 8, 0), b"x" * 400, tensors=1), "multiple of 32"),
        (header(text("t"), struct.pack("<II", 7, 0), b"x" * 400, tensors=1), "1 to 4 sides"),
        (header(*[text("t") + struct.pack("<IQIQ", 1, 4, 0, 0)] * 2, b"x" * 400, tensors=2), "each tensor once"),
        (header(*[text(n) + struct.pack("<IQIQ", 1, 4, 0, 0) for n in "ab"], b"x" * 400, tensors=2), "overlap"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0) + b"x" * 40, "little-endian"),
        (b"PK\x03\x04" + b"x" * 40, "no GGUF file"),
    ],
)  # fmt: skip
def test_what_is_made_to_harm_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    assert said in refused(tmp_path / "bad.gguf", content)
