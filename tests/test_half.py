"""Half precision: kept as the file has it, used in float32, checked as strictly, chosen by memory, and said."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import gptviz
from gptviz import checkpoint, half, memory
from gptviz.__main__ import main
from gptviz.analysis import gradients
from gptviz.analysis.check import TOLERANCE, check
from gptviz.attention import KeyValueCache
from gptviz.folder import CheckpointError, shape_of
from gptviz.gpt import GPT
from gptviz.tensor_file import TensorFile
from gptviz.tokenizer import Tokenizer
from gptviz.trace import STAGES, WhatIf
from tests.tales import write_recipe, write_texts
from tests.test_family import IDS, SHAPES, model_of
from tests.test_formats_gguf import CONFIG as GGUF_CONFIG
from tests.test_formats_gguf import random_weights, write
from tests.test_formats_hugging_face import SHAPES as REFERENCES
from tests.test_formats_hugging_face import random_reference
from tests.tiny import random_gpt, tiny_ranks, translator

HALVES = [torch.float16, torch.bfloat16]


def halved(gpt: GPT, dtype: torch.dtype) -> GPT:
    """The same model with its matrices in half precision."""
    weights = {
        name: value.to(half.kept_in(dtype, name, value.ndim), copy=True)
        for name, value in gpt.state_dict().items() if not (gpt.config.tied and name == checkpoint.PROJECTION)
    }  # fmt: skip
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    other = checkpoint.empty_model(gpt.config, shapes, "test")
    checkpoint.assign(other, weights, torch.device("cpu"), "")
    return other


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of ours, in a folder called "tiny"; its file is in float16."""
    checkpoint.save(tmp_path / "tiny", random_gpt(), Tokenizer(tiny_ranks()))
    return tmp_path / "tiny"


# Numbers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("at_once", [1, 40, 10**6])
def test_a_product_is_that_of_the_same_numbers_in_float32(
    dtype: torch.dtype, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(half, "AT_ONCE", at_once)
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 3, 12), torch.randn(7, 12).to(dtype), torch.randn(7)
    for added in (None, bias):
        found = half.product(x, weight, added)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, F.linear(x, weight.float(), added), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", SHAPES)
def test_every_stage_agrees_with_float64_as_in_float32(name: str, dtype: torch.dtype) -> None:
    gpt = halved(model_of(name), dtype)
    assert half.half_dtype(gpt) == dtype
    for what_if in (WhatIf(), WhatIf(causal=False, scaled=False)):
        trace = gpt.trace(IDS, what_if)
        assert {getattr(trace, stage).dtype for stage in STAGES} == {np.dtype(np.float32)}
        done = check(gpt, trace)
        assert done.verdict == "agrees", done.worst
        assert {row.tolerance for row in done.differences} == {TOLERANCE}


def test_the_check_knows_which_weights_were_used() -> None:
    gpt = model_of("llama")
    rounded = halved(gpt, torch.bfloat16)
    assert check(gpt, rounded.trace(IDS)).verdict == "differs"
    trace = rounded.trace(IDS)
    trace.arrays["q"] = trace.q * np.float32(1 + 2**-8)  # as a product in bfloat16 may round it
    assert check(rounded, trace).verdict == "differs"


@pytest.mark.parametrize("name", SHAPES)
def test_token_by_token_is_all_at_once(name: str) -> None:
    gpt, ids = halved(model_of(name), torch.bfloat16), torch.tensor([IDS])
    caches = [KeyValueCache(len(IDS)) for _ in gpt.blocks]
    steps = torch.cat([gpt(ids[:, i : i + 1], caches) for i in range(len(IDS))], dim=1)
    assert steps.dtype == torch.float32
    torch.testing.assert_close(steps, gpt(ids), rtol=1e-4, atol=1e-4)


def test_matrices_alone_are_in_half_precision() -> None:
    gpt = halved(model_of("gpt2"), torch.bfloat16)
    kinds = {name: value.dtype for name, value in gpt.named_parameters()}
    assert kinds["position_embedding.weight"] == torch.float32
    assert all((dtype == torch.bfloat16) == (gpt.get_parameter(name).ndim == 2) for name, dtype in kinds.items()
               if not name.startswith("position"))  # fmt: skip


def test_a_model_without_memory_has_the_size_that_was_promised() -> None:
    config = random_gpt(**SHAPES["llama"]).config
    large = type(config).from_dict(
        config.to_dict() | {"d_model": 4096, "n_heads": 32, "n_kv_heads": 8, "d_ff": 14336, "n_layers": 32,
                            "vocab_size": 128_256, "context": 4096}
    )  # fmt: skip
    with torch.device("meta"), checkpoint.Uninitialised():
        gpt = GPT(large)
    half.keep_in_half(gpt)
    for name, value in gpt.named_parameters():
        value.data = value.data.to(half.kept_in(torch.bfloat16, name, value.ndim))
    trace = gpt.trace(torch.zeros(5, dtype=torch.long, device="meta"))
    assert trace.tensor("logits").shape == (5, 128_256) and trace.tensor("logits").device.type == "meta"
    assert {trace.tensor(stage).dtype for stage in STAGES} == {torch.float32}
    sizes = sum(value.numel() * value.element_size() for value in gpt.parameters())
    largest = large.vocab_size * large.d_model
    assert memory.needed(large, 2) - memory.WORKING - 2 * largest == pytest.approx(sizes, rel=1e-3)


# Opening --------------------------------------------------------------------------------------------------------------


def test_what_the_file_has_is_kept_to_the_bit(folder: Path) -> None:
    whole, kept = gptviz.load(folder), gptviz.load(folder, dtype="half")
    assert half.half_dtype(whole.gpt) is None and half.half_dtype(kept.gpt) == torch.float16
    for name, value in whole.gpt.named_parameters():
        assert torch.equal(kept.gpt.get_parameter(name).float(), value), name
    first, second = (gptviz.trace(model, "My dog has fleas") for model in (whole, kept))
    np.testing.assert_allclose(first.logits, second.logits, rtol=1e-4, atol=1e-4)
    assert str(gptviz.generate(whole, "My dog", temperature=0)) == str(gptviz.generate(kept, "My dog", temperature=0))
    assert kept.fingerprint == f"{whole.fingerprint}-float16"  # other numbers: another key of every cache
    assert "on cpu in float16" in repr(kept) and "float16" not in repr(whole)


def test_asked_for_by_name_and_by_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert half.half_dtype(gptviz.load(folder, dtype="bfloat16").gpt) == torch.bfloat16
    monkeypatch.setenv("GPTVIZ_DTYPE", "bfloat16")
    assert half.half_dtype(gptviz.load(folder).gpt) == torch.bfloat16
    assert half.half_dtype(gptviz.load(folder, dtype="float32").gpt) is None
    with pytest.raises(ValueError, match="expected a dtype of auto, float32"):
        gptviz.load(folder, dtype="int8")


def test_a_translator_stays_in_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = translator()
    checkpoint.save(tmp_path / "pair", model.transformer, model.tokenizer)
    with pytest.raises(CheckpointError, match="expected float32 for a model that translates, found float16"):
        gptviz.load(tmp_path / "pair", dtype="float16")
    config = model.transformer.config
    monkeypatch.setattr(memory, "free", lambda device=None: memory.needed(config) - 1)
    with pytest.raises(CheckpointError, match="GB of free memory"):
        gptviz.load(tmp_path / "pair")


def test_memory_decides(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = shape_of(folder)
    whole, kept = memory.needed(config), memory.needed(config, 2)
    for free, dtype in ((whole, None), (whole - 1, torch.float16), (kept, torch.float16)):
        monkeypatch.setattr(memory, "free", lambda device=None, free=free: free)
        assert half.half_dtype(gptviz.load(folder).gpt) == dtype
    with pytest.raises(CheckpointError, match=r'tiny: expected .* found .* take dtype="half"'):
        gptviz.load(folder, dtype="float32")
    monkeypatch.setattr(memory, "free", lambda device=None: kept - 1)
    for asked in ("auto", "half", "bfloat16"):
        with pytest.raises(CheckpointError, match=r"expected 0\.2 GB of free .* in half precision, found 0\.2 GB"):
            gptviz.load(folder, dtype=asked)


def gguf_file(path: Path, dtype: torch.dtype) -> Path:
    """A GGUF file whose matrices are in half precision, and its folder."""
    import gguf

    kind = gguf.GGMLQuantizationType.F16 if dtype == torch.float16 else gguf.GGMLQuantizationType.BF16

    class Writer(gguf.GGUFWriter):
        def add_tensor(self, name: str, tensor: np.ndarray) -> None:
            if tensor.ndim == 2:
                super().add_tensor(name, gguf.quants.quantize(tensor, kind), raw_dtype=kind)
            else:
                super().add_tensor(name, tensor)

    usual, gguf.GGUFWriter = gguf.GGUFWriter, Writer
    try:
        return write(path / "model.gguf", random_weights())
    finally:
        gguf.GGUFWriter = usual


def hugging_face_folder(path: Path, dtype: torch.dtype) -> Path:
    """A folder of a Llama-like model in half precision, in shards."""
    random_reference(*REFERENCES["llama 3 key heads"]).to(dtype).save_pretrained(path, max_shard_size="20KB")
    return path


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("make", [gguf_file, hugging_face_folder])
def test_other_formats_keep_what_they_have(make: Callable, dtype: torch.dtype, tmp_path: Path) -> None:
    from gptviz import formats

    path = make(tmp_path, dtype)
    reader = formats.reader(formats.format_of(path))
    config = reader.read_config(path)
    assert reader.half_of(path) == dtype
    whole, kept = reader.read_weights(path, config), reader.read_weights(path, config, dtype)
    assert {value.dtype for value in whole.values()} == {torch.float32}
    for name, value in kept.items():
        assert value.dtype == half.kept_in(dtype, name, value.ndim)
        assert torch.equal(value.float(), whole[name]), name


def test_gpt2_keeps_its_positions_in_float32(tmp_path: Path) -> None:
    from gptviz.formats import hugging_face as reader

    random_reference(*REFERENCES["gpt2 untied"]).save_pretrained(tmp_path)
    kept = reader.read_weights(tmp_path, reader.read_config(tmp_path), torch.bfloat16)
    assert {name for name, value in kept.items() if value.ndim == 2 and value.dtype != torch.bfloat16} == {
        "position_embedding.weight"
    }


def test_what_float16_cannot_hold_is_said(tmp_path: Path) -> None:
    from gptviz.formats import gguf as reader

    weights = random_weights()
    weights["blocks.1.ff.gate.weight"][3, 3] = 1e6
    path = write(tmp_path / "a.gguf", weights)
    with pytest.raises(CheckpointError, match=r'ffn_gate\.weight: expected finite.*found 1 of.*dtype="bfloat16"'):
        reader.read_weights(path, GGUF_CONFIG, torch.float16)
    assert reader.read_weights(path, GGUF_CONFIG, torch.bfloat16)


def test_gradients_say_why_not(folder: Path) -> None:
    model = gptviz.load(folder, dtype="half")
    with pytest.raises(ValueError, match="expected weights in float32, found matrices in float16"):
        gradients.backward(model.gpt, [1, 2, 3])


def test_the_command_line_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "My dog", "--model", str(folder), "--dtype", "bfloat16", "--json"]) == 0
    out, error = capsys.readouterr()
    assert json.loads(out)["fingerprint"].endswith("-bfloat16")
    assert error == "notice: the weights are held in half precision, bfloat16\n"
    assert main(["generate", "My dog", "--model", str(folder), "--max-new-tokens", "2"]) == 0
    assert "half precision" not in capsys.readouterr().err


def test_a_picture_and_an_evaluation_are_made_in_half_precision(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "weights.csv"
    export = ["export", "attention", "My dog", "--model", str(folder), "--out", str(target)]
    assert main([*export, "--dtype", "bfloat16"]) == 0
    assert "notice: the weights are held in half precision, bfloat16\n" in capsys.readouterr().err
    assert f"{gptviz.load(folder, dtype='bfloat16').fingerprint})" in target.read_text()
    recipe = ["--data", str(write_texts(tmp_path / "texts")), "--recipe", str(write_recipe(tmp_path / "recipe.toml"))]
    assert main(["evaluate", str(folder), *recipe, "--dtype", "float16", "--json"]) == 0
    out, error = capsys.readouterr()
    assert json.loads(out)["fingerprint"].endswith("-float16")
    assert error == "notice: the weights are held in half precision, float16\n"
    assert main([*export, "--force"]) == 0 and "notice" not in capsys.readouterr().err


# Files that change ----------------------------------------------------------------------------------------------------


def test_a_file_that_becomes_shorter_is_named(folder: Path) -> None:
    path = folder / "model.safetensors"
    file = TensorFile(path)
    name, place = max(file.places.items(), key=lambda item: item[1].start)
    path.write_bytes(path.read_bytes()[: place.start + place.size // 2])
    for dtype in (torch.float16, torch.float32):
        with pytest.raises(CheckpointError, match=rf"{name}.*expected .* bytes more, found the end"):
            file.read(name, dtype)


def test_files_that_change_while_they_are_read_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = checkpoint.read_weights

    def meanwhile(path: Path, dtype: torch.dtype) -> dict:
        found = read(path, dtype)
        checkpoint.save(folder, random_gpt(seed=5), Tokenizer(tiny_ranks()))
        return found

    monkeypatch.setattr(checkpoint, "read_weights", meanwhile)
    with pytest.raises(CheckpointError, match="tiny: expected files that stay as they are"):
        gptviz.load(folder)


def test_an_open_model_does_not_change_with_its_file(folder: Path) -> None:
    model = gptviz.load(folder, dtype="half")
    before = gptviz.trace(model, "My dog").logits.copy()
    path = folder / "model.safetensors"
    content = path.read_bytes()
    with path.open("r+b") as file:  # in place: the same file
        file.write(b"\0" * len(content))
        file.truncate(100)
    np.testing.assert_array_equal(gptviz.trace(model, "My dog").logits, before)


# Memory ---------------------------------------------------------------------------------------------------------------

PEAK = """
import sys
from pathlib import Path
import torch
from gptviz import checkpoint, folder, half
from gptviz.formats import hugging_face, gguf
def resident(line):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(each.split()[1] for each in lines if each.startswith(line)))
warm, path, dtype = Path(sys.argv[1]), Path(sys.argv[2]), getattr(torch, sys.argv[3])
def opened(path):
    reader = gguf if path.suffix == ".gguf" else hugging_face
    config = reader.read_config(path)
    weights = reader.read_weights(path, config, dtype)
    model = checkpoint.empty_model(config, {key: tuple(value.shape) for key, value in weights.items()}, "peak")
    checkpoint.assign(model, weights, torch.device("cpu"), "")
    return model
with torch.no_grad():
    opened(warm).trace([1, 2, 3]).logits  # what the first call of everything takes is not the model's
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = resident("VmRSS:")
    model = opened(path)
    peaks = [resident("VmHWM:") - before]
    model.trace([1, 2, 3]).logits
print(*peaks, resident("VmHWM:") - before, sum(value.numel() * value.element_size() for value in model.parameters()))
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A Llama-like model of 60 million parameters in bfloat16, and a small one, as folders."""
    import transformers

    values = {"vocab_size": 4000, "num_attention_heads": 8, "max_position_embeddings": 64}
    sizes = {"small": (64, 96, 1), "large": (1024, 2816, 4)}
    found = {}
    for name, (width, inner, layers) in sizes.items():
        more = {"hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers}
        config = transformers.LlamaConfig(**values, **more)
        found[name] = tmp_path_factory.mktemp("peak") / name
        transformers.LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(found[name], max_shard_size="40MB")
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is counted in other ways elsewhere")
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_opening_takes_the_weights_and_little_more(large: dict[str, Path], dtype: str) -> None:
    arguments = [str(large["small"]), str(large["large"]), dtype]
    command = [sys.executable, "-c", PEAK, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    opened, read, weights = map(int, done.stdout.split())
    assert weights == pytest.approx((4 if dtype == "float32" else 2) * 59_586_560, rel=0.02)
    print(dtype, opened / weights, read / weights)
    assert 0.9 * weights < opened < 1.1 * weights + 16 * 2**20
    assert read < 1.1 * weights + 80 * 2**20  # products have buffers of their own, of no more than this
