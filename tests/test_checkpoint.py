"""Checkpoints: what is written is read back, and every kind of damage is named before it does harm."""

from __future__ import annotations

import json
import pickle
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from gptviz import checkpoint, folder
from gptviz.checkpoint import CheckpointError, LanguageModel, load, load_shipped, save
from gptviz.config import GPTConfig
from gptviz.gpt import GPT
from gptviz.tokenizer import Tokenizer
from tests.tiny import random_gpt, tiny_ranks

SENTENCE = "My dog has fleas"


@pytest.fixture
def damaged(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy of a good checkpoint, alone in its folder, to be damaged."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "models" / "tiny"))


@pytest.fixture
def shipped(damaged: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that `tiny` is shipped in, in place of checkpoints/."""
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(damaged.parent))
    return damaged.parent


def refused(path: Path, *said: str) -> None:
    """Loading fails, and the message has every one of these in it and is of bearable length."""
    with pytest.raises(CheckpointError) as caught:
        load(path)
    for part in said:
        assert part in str(caught.value)
    assert len(str(caught.value)) < 500


def change_config(path: Path, **changes: object) -> None:
    """Change fields of the model in config.json."""
    file = path / "config.json"
    values = json.loads(file.read_text())
    values["model"] |= changes
    file.write_text(json.dumps(values))


def change_weights(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Read the weights, change the dictionary, write it again."""
    weights = {name: value.clone() for name, value in load_file(path / "model.safetensors").items()}
    change(weights)
    save_file(weights, path / "model.safetensors")


def change_header(path: Path, change: Callable[[dict], object], data: bytes | None = None) -> None:
    """Change the JSON of the header and nothing behind it, as no library would write it."""
    file = path / "model.safetensors"
    raw = file.read_bytes()
    end = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:end])
    change(header)
    new = json.dumps(header).encode()
    file.write_bytes(len(new).to_bytes(8, "little") + new + (raw[end:] if data is None else data))


# --- what is written is read back


@pytest.mark.parametrize("fixture", ["tiny_model", "tiny_pre_norm"])
def test_a_saved_model_is_the_same_model(fixture: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    model: LanguageModel = request.getfixturevalue(fixture)
    save(tmp_path / "copy", model.gpt, model.tokenizer)
    copy = load(tmp_path / "copy")
    ids, _ = copy.encode(SENTENCE)
    assert ids == model.encode(SENTENCE)[0]
    assert np.array_equal(copy.gpt.trace(ids).logits, model.gpt.trace(ids).logits)
    assert copy.gpt.config == model.gpt.config
    assert copy.gpt.count_parameters() == model.gpt.count_parameters()
    assert (copy.gpt.unembedding.weight is copy.gpt.token_embedding.weight) == model.gpt.config.tied
    assert copy.name == "copy"
    assert copy.folder == tmp_path / "copy"


def test_weights_are_half_in_the_file_and_float32_in_memory(damaged: Path) -> None:
    assert {value.dtype for value in load_file(damaged / "model.safetensors").values()} == {torch.float16}
    gpt = load(damaged).gpt
    assert {value.dtype for value in gpt.parameters()} == {torch.float32}
    assert not any(value.requires_grad for value in gpt.parameters())
    assert not gpt.training


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_precisions_are_read(damaged: Path, dtype: torch.dtype) -> None:
    before = load(damaged).gpt.token_embedding.weight
    change_weights(damaged, lambda weights: weights.update({n: v.to(dtype) for n, v in weights.items()}))
    after = load(damaged).gpt.token_embedding.weight
    assert after.dtype == torch.float32
    assert torch.equal(after, before.to(dtype).float())


def test_a_file_that_changes_later_does_not_change_the_model(damaged: Path) -> None:
    change_weights(damaged, lambda weights: weights.update({n: v.float() for n, v in weights.items()}))
    gpt = load(damaged).gpt
    before = gpt.token_embedding.weight.clone()
    with (damaged / "model.safetensors").open("r+b") as file:
        file.seek(-100_000, 2)
        file.write(bytes(100_000))
    assert torch.equal(gpt.token_embedding.weight, before)
    assert all(value.isfinite().all() for value in gpt.parameters())


def test_the_fingerprint_is_of_the_content(damaged: Path, tiny_folder: Path) -> None:
    before = load(damaged).fingerprint
    assert before == load(tiny_folder).fingerprint
    assert len(before) == 16
    change_weights(damaged, lambda weights: weights["token_embedding.weight"][0, 0].add_(1))
    assert load(damaged).fingerprint != before


def test_saving_keeps_the_card_and_refuses_what_could_not_be_loaded(tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    (tmp_path / "README.md").write_text("my notes")
    save(tmp_path, random_gpt(), tiny_tokenizer)
    assert (tmp_path / "README.md").read_text() == "my notes"
    huge = random_gpt()
    with torch.no_grad():
        huge.blocks[1].ff.expand.bias[3] = 1e6  # half precision ends at 65504
    with pytest.raises(CheckpointError, match=r"finite weights, found 1 of 128 in blocks.1.ff.expand.bias"):
        save(tmp_path / "huge", huge, tiny_tokenizer)
    with pytest.raises(CheckpointError, match="expected 300 ids"):
        save(tmp_path / "huge", random_gpt(vocab_size=300), tiny_tokenizer)
    assert not (tmp_path / "huge").exists()


CONFIGS = st.builds(
    lambda heads, width, **rest: GPTConfig(n_heads=heads, d_model=heads * width, **rest),
    heads=st.integers(1, 4), width=st.integers(1, 8), vocab_size=st.integers(1, 50), context=st.integers(1, 50),
    n_layers=st.integers(1, 3), d_ff=st.integers(0, 40), norm_order=st.sampled_from(["pre", "post"]),
    tied=st.booleans(),
)  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(CONFIGS)
def test_sizes_by_arithmetic_are_those_of_the_model(config: GPTConfig) -> None:
    with torch.device("meta"):
        gpt = GPT(config)
    assert folder.expected_sizes(config) == (len(list(gpt.parameters())), gpt.count_parameters())


# --- names and paths


def test_names_and_paths(shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folder.available() == ["tiny"]
    assert load("tiny").name == load_shipped("tiny").name == "tiny"
    assert load(shipped / "tiny").fingerprint == load("tiny").fingerprint
    assert load(str(shipped / "tiny")).folder == shipped / "tiny"
    monkeypatch.chdir(shipped / "tiny")
    assert load(".").name == "tiny"
    shutil.copytree(shipped / "tiny", tmp_path / "elsewhere")
    assert load("../../elsewhere").name == "elsewhere"  # a path, given by a person


def test_without_the_variable_models_are_beside_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPTVIZ_CHECKPOINTS", raising=False)
    assert folder.root() == Path(checkpoint.__file__).resolve().parent.parent / "checkpoints"


def test_only_folders_with_a_config_are_models(shipped: Path) -> None:
    (shipped / "empty").mkdir()
    (shipped / "file").write_text("")
    shutil.copytree(shipped / "tiny", shipped / ".hidden")
    shutil.copytree(shipped / "tiny", shipped / "another")
    assert folder.available() == ["another", "tiny"]
    with pytest.raises(CheckpointError, match=r"no config.json"):
        load_shipped("empty")


NOT_SHIPPED = [
    "", ".", "..", "../models/tiny", "tiny/", "tiny/.", "./tiny", "tiny/../tiny", "TINY", "tiny\0", "/etc",
    "..\\models", "~", "*", "ti*", "%2e%2e", "<img src=x onerror=alert(1)>", "x" * 100_000, "\ud800", ".hidden",
    "outside",
]  # fmt: skip


@pytest.mark.parametrize("name", NOT_SHIPPED, ids=lambda name: repr(name[:20]))
def test_a_name_out_of_a_url_leads_nowhere_else(shipped: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(shipped / "tiny", tmp_path / "outside")
    shutil.copytree(shipped / "tiny", shipped / ".hidden")
    with pytest.raises(CheckpointError, match=r"expected the name of a shipped model, found .*: tiny") as caught:
        load_shipped(name)
    assert len(str(caught.value)) < 300


def test_the_path_of_a_shipped_model_is_no_name(shipped: Path) -> None:
    with pytest.raises(CheckpointError, match="name of a shipped model"):
        load_shipped(str(shipped / "tiny"))


def test_links_are_not_followed_for_a_name_out_of_a_url(shipped: Path, tmp_path: Path) -> None:
    outside = Path(shutil.copytree(shipped / "tiny", tmp_path / "outside"))
    (shipped / "link").symlink_to(outside)
    assert folder.available() == ["tiny"]
    with pytest.raises(CheckpointError, match="name of a shipped model"):
        load_shipped("link")
    assert load("link").name == "outside"  # a person's own link is that person's business
    (shipped / "tiny" / "model.safetensors").unlink()
    (shipped / "tiny" / "model.safetensors").symlink_to(outside / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"tiny/model.safetensors: expected a file, found a link"):
        load_shipped("tiny")


@pytest.mark.parametrize("name", ["nope", "", "../nope", "a\0b", "x" * 5000])
def test_a_folder_that_is_not_there(shipped: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match=r"expected the name of a model or the path of .*: tiny"):
        load(name)


def test_where_there_are_no_models_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tmp_path / "none"))
    assert folder.available() == []
    with pytest.raises(CheckpointError, match=r"there is no model in .*train one with"):
        load("gpt-stories")


# --- damaged files


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.tiktoken"])
def test_a_missing_file_is_named(damaged: Path, file: str) -> None:
    (damaged / file).unlink()
    refused(damaged, f"found no {file}", "copy the whole folder again")


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.tiktoken"])
def test_a_folder_in_place_of_a_file(damaged: Path, file: str) -> None:
    (damaged / file).unlink()
    (damaged / file).mkdir()
    refused(damaged, f"{file}: expected a file, found something else")


@pytest.mark.parametrize("length", [0, 5, 8, 60, 1000, -1, -1000])
def test_truncated_weights(damaged: Path, length: int) -> None:
    file = damaged / "model.safetensors"
    file.write_bytes(file.read_bytes()[:length])
    refused(damaged, "tiny/model.safetensors: expected", "copy it again")


@pytest.mark.parametrize("extra", [1, 4096])
def test_weights_with_something_behind_them(damaged: Path, extra: int) -> None:
    file = damaged / "model.safetensors"
    size = file.stat().st_size
    file.write_bytes(file.read_bytes() + bytes(extra))
    refused(damaged, f"expected {size} bytes, found {size + extra}: too long")


def test_a_file_beyond_the_limit(damaged: Path) -> None:
    with (damaged / "model.safetensors").open("r+b") as file:
        file.truncate(folder.MAX_WEIGHTS + 1)  # sparse: takes no room
    refused(damaged, f"expected at most {folder.MAX_WEIGHTS} bytes, found {folder.MAX_WEIGHTS + 1}")


class Trap:
    """Pickled, it would create a file when it is read."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("kind", ["pickle", "torch", "old torch"])
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "model.pt", "weights.PKL"])
def test_pickled_weights_are_never_opened(damaged: Path, tmp_path: Path, kind: str, name: str) -> None:
    trap = Trap(tmp_path / "sprung")
    (damaged / "model.safetensors").unlink()
    if kind == "pickle":
        (damaged / name).write_bytes(pickle.dumps({"weights": trap}))
    else:
        torch.save({"weights": trap}, damaged / name, _use_new_zipfile_serialization=kind == "torch")
    refused(damaged, "model.safetensors", "pickled file", "never opened")
    assert not trap.target.exists()


def test_a_pickle_in_place_of_the_other_files(damaged: Path, tmp_path: Path) -> None:
    trap = Trap(tmp_path / "sprung")
    ranks = (damaged / "tokenizer.tiktoken").read_bytes()
    (damaged / "tokenizer.tiktoken").write_bytes(pickle.dumps(trap))
    refused(damaged, "tokenizer.tiktoken", "expected base64 and a rank")
    (damaged / "tokenizer.tiktoken").write_bytes(ranks)
    (damaged / "config.json").write_bytes(pickle.dumps(trap))
    refused(damaged, "config.json: expected JSON")
    assert not trap.target.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"<!DOCTYPE html><title>404 Not Found</title>", "expected a safetensors file with a header of at most"),
        (b"\xff" * 100, "expected a safetensors file with a header of at most"),
        ((2**62).to_bytes(8, "little") + b"{}" + bytes(100), "header of at most 1048576 bytes"),
        ((2**19).to_bytes(8, "little") + b"{}" + bytes(100), "expected a header of 524288 bytes"),
        ((40).to_bytes(8, "little") + b"{" + b"x" * 99, "header: expected JSON"),
        ((9).to_bytes(8, "little") + b"{        " + bytes(99), "header: expected JSON"),
        ((100_000).to_bytes(8, "little") + b'{"a":' + b"[" * 99_995, "header: expected JSON"),
        ((2).to_bytes(8, "little") + b"{}" + bytes(100), "found 0 with 0"),
    ],
)  # fmt: skip
def test_files_that_are_no_weights(damaged: Path, content: bytes, said: str) -> None:
    (damaged / "model.safetensors").write_bytes(content)
    refused(damaged, "model.safetensors", said)


def test_a_header_of_128_bytes_is_not_taken_for_a_pickle() -> None:
    start = (128).to_bytes(8, "little") + b'{"a":'
    assert start.startswith(b"\x80")
    folder.check_start(start, 128, 10_000, "weights")


FIRST = "token_embedding.weight"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda header: header[FIRST].update(shape=[10**30, 32]), "expected a shape of one or two sides"),
        (lambda header: header[FIRST].update(shape=[-1, 32]), "expected a shape"),
        (lambda header: header[FIRST].update(shape=[True, 32]), "expected a shape"),
        (lambda header: header[FIRST].update(shape=[1] * 50_000), "expected a shape"),
        (lambda header: header[FIRST].update(shape="all"), "expected a shape"),
        (lambda header: header[FIRST].update(shape=[2**31 - 1, 2**31 - 1]), "the two files are of different models"),
        (lambda header: header[FIRST].update(dtype="F64"), "expected numbers of type F16, BF16, F32, found 'F64'"),
        (lambda header: header[FIRST].update(dtype="F32"), "truncated"),
        (lambda header: header[FIRST].update(dtype=["F32"]), "expected numbers of type"),
        (lambda header: header.update({FIRST: 7}), "expected numbers of type"),
        (lambda header: header.pop(FIRST), "the two files are of different models"),
        (lambda header: header.update(extra=header[FIRST]), "the two files are of different models"),
        (lambda header: header.update(other=header.pop(FIRST)), f"expected {FIRST} of shape"),
        (lambda header: header[FIRST].update(data_offsets=[0, 2]), f"{FIRST!r}, data_offsets: expected 28608 bytes"),
        (lambda header: header[FIRST].update(data_offsets=[-5, 10**30]), f"{FIRST!r}, data_offsets: expected two"),
    ],
)  # fmt: skip
def test_headers_that_lie(damaged: Path, change: Callable[[dict], object], said: str) -> None:
    change_header(damaged, change)
    refused(damaged, said)


def test_notes_in_the_header_are_no_tensor(damaged: Path) -> None:
    change_header(damaged, lambda header: header.update(__metadata__={"by": "someone"}))
    assert load(damaged).encode(SENTENCE)[1] == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers(damaged: Path, value: float) -> None:
    change_weights(damaged, lambda weights: weights["blocks.0.ff.expand.bias"][:3].fill_(value))
    refused(damaged, "expected finite weights, found 3 of 128 in blocks.0.ff.expand.bias", "training diverged")


@pytest.mark.parametrize(
    "changes",
    [
        {"n_layers": 2}, {"n_layers": 4}, {"d_model": 64}, {"d_ff": 100}, {"context": 65}, {"vocab_size": 400},
        {"tied": True}, {"norm_order": "pre"}, {"d_ff": 64, "n_layers": 3},
    ],
)  # fmt: skip
def test_a_config_that_does_not_fit_its_weights(damaged: Path, changes: dict) -> None:
    change_config(damaged, **changes)
    refused(damaged, "model.safetensors: expected", "the two files are of different models")


def test_a_config_with_as_many_weights_of_other_shapes(damaged: Path) -> None:
    config = json.loads((damaged / "config.json").read_text())["model"]
    # A token less and a position more: every sum stays the same.
    change_config(damaged, vocab_size=config["vocab_size"] - 1, context=config["context"] + 2)
    change_weights(damaged, lambda w: w.update({"unembedding.weight": w["unembedding.weight"][:-1].contiguous()}))
    change_weights(damaged, lambda w: w.update({"position_embedding.weight": torch.zeros(65, 32).half()}))
    refused(damaged, "expected token_embedding.weight of shape")


HUGE = 2**31 - 1


@pytest.mark.parametrize(
    "changes",
    [
        {"n_layers": HUGE}, {"vocab_size": HUGE}, {"context": HUGE}, {"d_ff": HUGE}, {"d_model": HUGE // 4 * 4},
        {"n_layers": HUGE, "vocab_size": HUGE, "context": HUGE, "d_model": HUGE // 4 * 4, "d_ff": HUGE},
    ],
)  # fmt: skip
def test_huge_configs_take_no_memory(damaged: Path, changes: dict) -> None:
    change_config(damaged, **changes)
    tracemalloc.start()
    try:
        refused(damaged, "the two files are of different models")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "expected JSON"),
        (b"{", "expected JSON"),
        (b"\xff\xfe\x00", "expected JSON"),
        (b"[" * 60_000, "expected JSON"),
        (b"[]", "expected a JSON object, found list"),
        (b"null", "expected a JSON object, found NoneType"),
        (b" " * 70_000, "expected at most 65536 bytes, found 70000"),
        (b"{}", 'expected "format": "gptviz-1", found None'),
        (b'{"format": "gptviz-9"}', "found 'gptviz-9'"),
        (b'{"format": "gptviz-1", "model": {}}', 'expected "tokenizer"'),
        (b'{"format": "gptviz-1", "tokenizer": {"pattern": 3}}', 'expected "tokenizer"'),
        (b'{"format": "gptviz-1", "tokenizer": {"pattern": "gpt2"}}', '"model": expected a JSON object'),
        (b'{"format": "gptviz-1", "tokenizer": {"pattern": "gpt2"}, "model": {"x": 1}}', "unknown: x"),
    ],
)  # fmt: skip
def test_configs_that_are_none(damaged: Path, content: bytes, said: str) -> None:
    (damaged / "config.json").write_bytes(content)
    refused(damaged, "tiny/config.json", said)


@pytest.mark.parametrize("value", [0, -1, 1.5, "many", None, True, [], 10**400])
def test_configs_with_a_number_that_is_none(damaged: Path, value: object) -> None:
    change_config(damaged, n_layers=value)
    refused(damaged, 'tiny/config.json, "model": n_layers must be a whole number')


def test_a_vocabulary_of_another_size(damaged: Path) -> None:
    ranks = tiny_ranks()
    Tokenizer(dict(list(ranks.items())[:-1])).save(damaged / "tokenizer.tiktoken")
    size = len(ranks) + 1
    refused(damaged, f"tokenizer.tiktoken: expected {size} ids, end of text included", f"found {size - 1}")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "256 single bytes"),
        (b"QQ== 0\n", "256 single bytes"),
        (b"not a rank file", "expected base64 and a rank"),
        (b"\x00" * 1000, "expected base64 and a rank"),
    ],
)
def test_vocabularies_that_are_none(damaged: Path, content: bytes, said: str) -> None:
    (damaged / "tokenizer.tiktoken").write_bytes(content)
    refused(damaged, "tiny", said)


def test_a_pattern_that_nobody_knows(damaged: Path) -> None:
    text = (damaged / "config.json").read_text()
    (damaged / "config.json").write_text(text.replace('"gpt2"', '"gpt9"'))
    refused(damaged, "expected a pattern from gpt2, found 'gpt9'")


def test_a_device_that_is_not_there_is_no_damage(damaged: Path) -> None:
    with pytest.raises(ValueError, match="expected a device"):
        load(damaged, device="tpu")
