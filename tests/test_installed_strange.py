"""Archives and repositories that are damaged or not whole: a sentence, nothing half-installed."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch

from gptviz import fetch, installed
from gptviz.folder import CheckpointError
from gptviz.formats import archive
from gptviz.installed import InstallError
from tests.test_formats_mingpt import SMALL
from tests.test_formats_mingpt import write as write_mingpt
from tests.test_formats_nanogpt import write
from tests.test_installed import Hub, nothing_is_left, remote, shelf  # noqa: F401  fixtures


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_with_flipped_bytes_is_installed_or_refused_in_words(method: int, shelf: Path, tmp_path: Path) -> None:  # noqa: F811
    """Each way to pack fails in ways of its own."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as file:
        for path in write(tmp_path / "model").iterdir():
            file.write(path, f"model/{path.name}")
    whole, dice, refused = made.getvalue(), np.random.default_rng(method), 0
    for number in range(60):
        content = bytearray(whole)
        for at in dice.integers(len(whole) - 200 if number % 2 else 0, len(whole), 3):
            content[at] = dice.integers(0, 256)
        try:
            archive.install(io.BytesIO(bytes(content)), "model")
        except (InstallError, CheckpointError) as error:
            refused += 1
            assert nothing_is_left(shelf) and "expected" in str(error)
        else:
            installed.remove("model")
    assert refused > 10


def refused(name: str, said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        list(fetch.get(name))


def test_a_repository_that_is_not_whole_is_not_installed(remote: Hub, shelf: Path) -> None:  # noqa: F811
    whole = remote.files["model.safetensors"]
    remote.files["model.safetensors"] = whole[:-100]
    refused("someone/small", r"model\.safetensors, size: expected .*truncated")
    assert nothing_is_left(shelf)
    tensors = safetensors.torch.load(whole)
    gone = tensors.pop("transformer.h.1.ln_2.weight")
    remote.files["model.safetensors"] = safetensors.torch.save(tensors)
    refused("someone/small", r"h\.1\.ln_2\.weight: expected such a tensor, found none")
    more = {"transformer.h.1.ln_2.weight": gone[:-1]}
    remote.files["model.safetensors"] = safetensors.torch.save(tensors | more)
    refused("someone/small", r"blocks\.1\.ff_norm\.weight of shape \(16,\)")
    assert nothing_is_left(shelf)
    remote.files["model.safetensors"] = whole
    assert list(fetch.get("someone/small"))[-1].doing == "installed"


def test_an_index_that_names_a_shard_which_is_not_there_is_refused(remote: Hub, shelf: Path) -> None:  # noqa: F811
    whole = remote.files.pop("model.safetensors")
    names = list(safetensors.torch.load(whole))
    files = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    index = {"weight_map": {name: files[i % 2] for i, name in enumerate(names)}}
    remote.files |= {files[0]: whole, "model.safetensors.index.json": json.dumps(index).encode()}
    refused("someone/small", "model-00002-of-00002|alone")
    assert nothing_is_left(shelf)


def test_a_vocabulary_that_is_not_read_is_refused_before_the_weights_come(remote: Hub, shelf: Path) -> None:  # noqa: F811
    del remote.files["vocab.json"]
    remote.files["tokenizer.model"] = b"pieces"
    refused("someone/small", "a tokenizer.model alone is not read")
    assert "model.safetensors" not in remote.asked
    remote.files["vocab.json"] = json.dumps({f"t{i}": i for i in range(300)} | {"<|endoftext|>": 300}).encode()
    refused("someone/small", "vocabulary of at most 300 ids, as the config says, found 301")
    assert "model.safetensors" not in remote.asked
    assert nothing_is_left(shelf)


def test_a_zip_of_mingpts_folder_is_installed(shelf: Path, tmp_path: Path) -> None:  # noqa: F811
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for path in write_mingpt(tmp_path / "chargpt", SMALL).iterdir():
            file.write(path, f"chargpt/{path.name}")
        file.writestr("chargpt/args.txt", "python chargpt.py")
    archive.install(made, "chargpt")
    (found,) = installed.installed()
    assert (found.name, found.problem, found.config.activation) == ("chargpt", "", "gelu_tanh")
    assert not (shelf / "chargpt" / "args.txt").exists()


def test_every_damaged_folder_is_listed_with_what_is_wrong(shelf: Path, tmp_path: Path) -> None:  # noqa: F811
    write_mingpt(shelf / "a", SMALL | {"n_head": None})
    write_mingpt(shelf / "b", SMALL)
    (shelf / "b" / "model.pt").write_bytes(b"\x80\x02")
    write(shelf / "c")
    (shelf / "c" / "ckpt.pt").write_bytes(b"PK\x03\x04")
    for name, kind in {"d": "mamba", "e": "bert", "f": "llama"}.items():
        (shelf / name).mkdir()
        (shelf / name / "config.json").write_text(json.dumps({"model_type": kind}))
    (shelf / "g").mkdir()
    (shelf / "g" / "x.gguf").write_bytes(b"GGUF" + bytes(30))
    found = {model.name: model.problem for model in installed.installed()}
    said = {"a": "model, n_head", "b": "model.pt", "c": "ckpt.pt", "d": "'mamba'", "e": "'bert'", "f": "config.json, "}
    said |= {"g": "x.gguf, version"}
    assert set(found) == set("abcdefg")
    assert all(words in found[name] for name, words in said.items())
    assert "max_position_embeddings" in found["f"]
