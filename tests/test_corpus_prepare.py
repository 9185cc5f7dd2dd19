"""Token shards: the same bytes from any layout, with any number of threads, and after any interruption."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptviz.corpus import prepare as prepare_module
from gptviz.corpus.documents import Damage, clean, is_held_out
from gptviz.corpus.prepare import Progress, Settings, prepare
from gptviz.corpus.shards import Manifest, Shards, fingerprint
from gptviz.corpus.sources import Files, Hub, Texts, open_source
from gptviz.data import DataError, Mixture, Source, read_documents, tokenize
from gptviz.tokenizer import Tokenizer
from tests.corpora import LAYOUTS, archive, inner, write_files
from tests.tiny import tiny_ranks

ROOT = Path(__file__).resolve().parent.parent
TOKENIZER = Tokenizer(tiny_ranks())
TALES = [f"Tom and Lily went to house {i}.\n\n\nThe dog was {'very ' * (i % 7)}happy. 好" for i in range(60)]
SMALL = Settings(valid=0.3, shard=300)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So little text fills several batches."""
    monkeypatch.setattr(prepare_module, "BATCH", 200)


def finish(source: object, folder: Path, chosen: Settings = SMALL, workers: int = 2) -> Progress:
    """Prepare to the end."""
    *_, last = prepare(source, folder, TOKENIZER, chosen, workers)
    assert last.finished
    return last


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def expected(documents: list[str], share: float) -> dict[str, np.ndarray]:
    """Tokens of both sides, by the function that a trainer uses on texts in memory."""
    cleaned = [text for text in map(clean, documents) if text]
    sides = {"train": [], "valid": []}
    for text in cleaned:
        sides["valid" if is_held_out(text, share) else "train"].append(text)
    return {split: tokenize(texts, TOKENIZER) for split, texts in sides.items()}


# What is written


@pytest.mark.usefixtures("small_batches")
def test_shards_laid_end_to_end_are_the_tokens_of_the_documents(tmp_path: Path) -> None:
    last = finish(Texts([*TALES, "", " \n "]), tmp_path / "out")
    manifest = Manifest.load(tmp_path / "out")
    assert sum(shard.split == "train" for shard in manifest.shards) > 2
    for split, tokens in expected(TALES, 0.3).items():
        shards = Shards(tmp_path / "out", split)
        assert np.array_equal(shards[:], tokens)
        assert len(shards) == manifest.tokens[split] == sum(s.tokens for s in manifest.shards if s.split == split)
        assert shards.documents == (tokens == TOKENIZER.end_of_text).sum() - 1
        shards.verify()
        assert list(shards.texts()) == [t for t in map(clean, TALES) if is_held_out(t, 0.3) == (split == "valid")]
    assert manifest.documents["empty"] == 2
    assert (last.documents, last.tokens, last.fraction) == (62, sum(manifest.tokens.values()), 1.0)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.text(max_size=60), min_size=1, max_size=12).filter(lambda texts: any(map(clean, texts))),
    st.integers(1, 80), st.integers(1, 3), st.sampled_from([0.0, 0.4]),
)  # fmt: skip
def test_any_documents_give_the_tokens_that_they_should(
    documents: list[str], shard: int, workers: int, share: float
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare_module, "BATCH", 50)
        out = Path(folder) / "out"
        finish(Texts(documents), out, Settings(valid=share, shard=shard), workers)
        for split, tokens in expected(documents, share).items():
            if len(tokens) > 1:
                assert np.array_equal(Shards(out, split)[:], tokens)
                Shards(out, split).verify()


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "ids"])
def test_every_layout_gives_the_same_shards(layout: str, tmp_path: Path) -> None:
    finish(Texts(TALES), tmp_path / "right", workers=1)
    finish(Files(LAYOUTS[layout](tmp_path, TALES)), tmp_path / "out", workers=3)
    shards = {name: data for name, data in contents(tmp_path / "out").items() if name.endswith(".bin")}
    assert shards == {name: data for name, data in contents(tmp_path / "right").items() if name.endswith(".bin")}


def test_the_order_of_the_documents_does_not_move_them_across_the_split(tmp_path: Path) -> None:
    finish(Texts(TALES), tmp_path / "a")
    finish(Texts(TALES[::-1]), tmp_path / "b")
    for split in ("train", "valid"):
        assert sorted(Shards(tmp_path / "a", split).texts()) == sorted(Shards(tmp_path / "b", split).texts())


def test_ids_are_as_wide_as_the_vocabulary_needs(tmp_path: Path) -> None:
    ranks = {bytes([byte]): byte for byte in range(256)}
    unused = (bytes([a, b, 255]) for a in range(256) for b in range(256))
    large = Tokenizer(ranks | {token: rank for rank, token in enumerate(unused, start=256)})
    assert large.vocab_size > 2**16
    *_, last = prepare(Texts(["My dog"]), tmp_path, large, Settings(valid=0.0))
    shards = Shards(tmp_path)
    assert shards.dtype == np.dtype("<u4")
    assert shards[:].tolist() == [large.end_of_text, *b"My dog", large.end_of_text]
    assert last.tokens == 8


def test_what_is_skipped_stands_in_the_manifest(tmp_path: Path) -> None:
    good, bad = inner(TALES[:5]), inner(TALES[5:])[:-20]
    (tmp_path / "owt.tar").write_bytes(archive({"a.xz": good, "b.xz": bad}))
    last = finish(Files(tmp_path / "owt.tar"), tmp_path / "out")
    manifest = Manifest.load(tmp_path / "out")
    assert (last.skipped, manifest.skipped, sum(manifest.documents.values())) == (1, 1, 5)
    assert [d.name for d in manifest.skipped_names] == ["owt.tar/b.xz"]


def test_names_in_the_manifest_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gptviz.corpus.shards.NAMED", 3)
    manifest = Manifest({}, "uint16")
    for number in range(10):
        manifest.skip(Damage(str(number), "damaged"))
    assert manifest.skipped == 10
    assert [d.name for d in manifest.skipped_names] == ["0", "1", "2"]


@pytest.mark.parametrize("limit", [1, 7, 60, 1000])
def test_a_limit_takes_the_first_documents(limit: int, tmp_path: Path) -> None:
    last = finish(Texts(TALES), tmp_path, Settings(valid=0.0, limit=limit))
    assert last.documents == min(limit, 60)
    assert list(Shards(tmp_path).texts()) == [clean(text) for text in TALES[:limit]]


# Interruptions


DRIVER = """
import os, signal, sys
from pathlib import Path
from gptviz.corpus import prepare as module
from gptviz.corpus.prepare import Settings, prepare
from gptviz.corpus.sources import Files
from gptviz.tokenizer import Tokenizer
module.BATCH = 200
source, out, after, limit = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]) or None
tokenizer = Tokenizer.load(Path(sys.argv[5]))
for number, record in enumerate(prepare(Files(source), out, tokenizer, Settings(0.3, limit, 300), 2)):
    if number == after:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def drive(source: Path, out: Path, after: int, limit: int = 0) -> int:
    """Prepare in a process of its own, killed after so many records; its exit status."""
    ranks = source.parent / "tiny.tiktoken"
    TOKENIZER.save(ranks)
    command = [sys.executable, "-c", DRIVER, source, out, str(after), str(limit), ranks]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.parametrize(("layout", "limit"), [("original", 0), ("parquet", 0), ("folders of texts", 200)])
def test_a_killed_run_goes_on_to_the_same_bytes(layout: str, limit: int, tmp_path: Path) -> None:
    source = LAYOUTS[layout](tmp_path, [f"{i}: {tale}" for i, tale in enumerate(TALES * 4)])
    assert drive(source, tmp_path / "whole", 10**6, limit) == 0
    for after in (0, 9, 14, 5):  # each run goes on where the one before it was killed
        assert drive(source, tmp_path / "parts", after, limit) == -signal.SIGKILL
        for shard in Manifest.load(tmp_path / "parts").shards:  # what the manifest names is whole
            data = (tmp_path / "parts" / shard.file).read_bytes()
            assert len(data) == 2 * shard.tokens
    assert Manifest.load(tmp_path / "parts").shards
    assert any(path.suffix == ".part" for path in (tmp_path / "parts").iterdir())  # it was killed at work
    assert drive(source, tmp_path / "parts", 10**6, limit) == 0
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


@pytest.mark.usefixtures("small_batches")
def test_a_run_that_is_stopped_leaves_nothing_half_written(tmp_path: Path) -> None:
    finish(Texts(TALES), tmp_path / "whole")
    for stop in range(1, 20, 3):
        run = prepare(Texts(TALES), tmp_path / "parts", TOKENIZER, SMALL, 2)
        list(itertools.islice(run, stop))
        run.close()
        names = {shard.file for shard in Manifest.load(tmp_path / "parts").shards}
        assert set(contents(tmp_path / "parts")) == names | {"manifest.json", "tokenizer.tiktoken"}
    finish(Texts(TALES), tmp_path / "parts")
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


@pytest.mark.usefixtures("small_batches")
def test_a_shard_that_never_reached_the_manifest_is_written_again(tmp_path: Path) -> None:
    finish(Texts(TALES), tmp_path / "whole")
    run = prepare(Texts(TALES), tmp_path / "parts", TOKENIZER, SMALL, 2)
    while not Manifest.load(tmp_path / "parts").shards if (tmp_path / "parts").exists() else True:
        next(run)
    run.close()
    (tmp_path / "parts" / "train-00009.bin").write_bytes(b"renamed, and then the power failed")
    finish(Texts(TALES), tmp_path / "parts")
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


FULL = """
import resource, sys
from gptviz.__main__ import main
resource.setrlimit(resource.RLIMIT_FSIZE, (2500, resource.RLIM_INFINITY))
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of a file there")
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    TOKENIZER.save(tmp_path / "tiny.tiktoken")
    source, out = LAYOUTS["jsonl"](tmp_path, TALES * 5), tmp_path / "out"
    command = ["prepare", source, "--out", out, "--tokenizer", tmp_path / "tiny.tiktoken"]
    finish(Texts(["x"]), out, Settings(valid=0.0005, shard=2**25))  # the vocabulary is larger than the limit
    (out / "manifest.json").unlink()
    kept = (out / "tokenizer.tiktoken").read_bytes()
    assert len(kept) > 2500
    begin = next(
        prepare(Files(source), out, TOKENIZER, Settings())
    )  # leaves a manifest, so that it is not written again
    assert begin.documents == 0
    done = subprocess.run(
        [sys.executable, "-c", FULL, *command], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert "File too large" in done.stderr and "run the same command again" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert set(contents(out)) == {"manifest.json", "tokenizer.tiktoken"}
    assert finish(Files(source), out, Settings()).documents == 300


# What does not fit


def test_another_source_or_setting_is_refused(tmp_path: Path) -> None:
    next(prepare(Texts(TALES), tmp_path / "out", TOKENIZER, SMALL))
    for source, tokenizer, changed, said in (
        (Texts(TALES[1:]), TOKENIZER, SMALL, "source_fingerprint"),
        (Texts(TALES), Tokenizer({bytes([b]): b for b in range(256)}), SMALL, "tokenizer_fingerprint"),
        (Texts(TALES), TOKENIZER, Settings(valid=0.3, shard=301), "shard 300, found 301"),
        (Texts(TALES), TOKENIZER, Settings(valid=0.2, shard=300), "valid 0.3, found 0.2"),
    ):
        with pytest.raises(DataError, match=f"expected to go on with {said}"):
            next(prepare(source, tmp_path / "out", tokenizer, changed))


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    write_files(tmp_path / "out", {"thesis.txt": b"ten years of work"})
    with pytest.raises(DataError, match="expected an empty folder"):
        next(prepare(Texts(TALES), tmp_path / "out", TOKENIZER))
    assert contents(tmp_path / "out") == {"thesis.txt": b"ten years of work"}
    with pytest.raises(DataError, match="expected an empty folder"):
        next(prepare(Texts(TALES), tmp_path / "out" / "thesis.txt", TOKENIZER))


def test_shards_among_the_texts_are_refused(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "in", {"a.txt": b"one"})
    with pytest.raises(DataError, match="expected a folder outside of"):
        next(prepare(Files(folder), folder / "out", TOKENIZER))


def test_a_prepared_folder_is_no_source(tmp_path: Path) -> None:
    finish(Texts(TALES), tmp_path)
    with pytest.raises(DataError, match="prepared already"):
        Files(tmp_path)


@pytest.mark.parametrize("data", [b"", b"\xff\xff"])
def test_a_source_without_documents_is_an_error_and_leaves_no_manifest(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(DataError, match="expected documents, found none") as error:
        finish(Files(tmp_path / "a.txt"), tmp_path / "out")
    assert ("0xff" in str(error.value)) == bool(data)
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize("values", [{"valid": 1.0}, {"valid": -0.1}, {"limit": 0}, {"shard": 0}])
def test_settings_that_do_not_fit_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(DataError, match="found"):
        Settings(**values)


# Reading


@pytest.fixture
def prepared(tmp_path: Path, small_batches: None) -> Path:
    """A folder with several shards."""
    finish(Texts(TALES), tmp_path / "prepared")
    return tmp_path / "prepared"


def test_any_slice_is_that_of_one_long_array(prepared: Path) -> None:
    shards = Shards(prepared)
    whole = np.concatenate([np.fromfile(path, "<u2") for path in sorted(prepared.glob("train-*.bin"))])
    assert len(shards.maps) > 3
    rng = np.random.default_rng(0)
    for begin, end in rng.integers(-len(whole) - 9, len(whole) + 9, size=(300, 2)).tolist():
        assert np.array_equal(shards[begin:end], whole[begin:end])
    assert np.array_equal(shards[:], whole)
    assert [shards[0], shards[-1], shards[1000]] == [whole[0], whole[-1], whole[1000]]
    for index in (len(whole), -len(whole) - 1):
        with pytest.raises(IndexError):
            shards[index]
    with pytest.raises(IndexError, match="found a step of 2"):
        shards[::2]


def test_a_mixture_of_shards_is_that_of_arrays(prepared: Path) -> None:
    shards = Shards(prepared)
    rules = {"repeats": [(0, 0.2)], "context": 24, "batch": 8, "seed": 1, "end_of_text": TOKENIZER.end_of_text}
    on_disk, in_memory = (Mixture([Source("a", tokens, 1.0)], **rules) for tokens in (shards, shards[:]))
    for step in range(20):
        for ours, right in zip(on_disk.batch(step), in_memory.batch(step), strict=True):
            assert np.array_equal(ours, right)
            assert ours.dtype == np.int64


def test_documents_of_a_prepared_folder_are_texts_again(prepared: Path) -> None:
    train, valid = list(read_documents(prepared)), list(read_documents(prepared, "valid"))
    assert sorted(train + valid) == sorted(map(clean, TALES))
    assert all(is_held_out(text, 0.3) for text in valid)


def test_a_shard_of_another_size_or_content_is_found(prepared: Path) -> None:
    path = prepared / "train-00001.bin"
    data = bytearray(path.read_bytes())
    data[10] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"train-00001\.bin: expected the SHA-256"):
        Shards(prepared).verify()
    path.write_bytes(data[:-2])
    with pytest.raises(DataError, match=rf"train-00001\.bin: expected {len(data)} bytes, found {len(data) - 2}"):
        Shards(prepared)
    path.unlink()
    with pytest.raises(DataError, match="found 0"):
        Shards(prepared)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": "other"}', '{"format": "gptviz-shards-1", "x": 1}'])
def test_a_manifest_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(DataError, match="expected the manifest of a folder made by"):
        Shards(tmp_path)


def test_a_part_of_a_corpus_and_a_side_without_documents_are_refused(tmp_path: Path) -> None:
    run = prepare(Texts(TALES), tmp_path / "part", TOKENIZER, SMALL)
    next(run)
    with pytest.raises(DataError, match="expected a finished folder"):
        Shards(tmp_path / "part")
    run.close()
    finish(Texts(TALES), tmp_path / "all", Settings(valid=0.0))
    with pytest.raises(DataError, match="expected documents for valid, found none"):
        Shards(tmp_path / "all", "valid")
    with pytest.raises(DataError, match="expected the split train or valid, found 'test'"):
        Shards(tmp_path / "all", "test")


def test_a_manifest_cannot_name_a_file_elsewhere(prepared: Path) -> None:
    manifest = json.loads((prepared / "manifest.json").read_text())
    secret = prepared.parent / "secret.bin"
    secret.write_bytes((prepared / manifest["shards"][0]["file"]).read_bytes())
    manifest["shards"][0]["file"] = "../secret.bin"
    (prepared / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="found 0"):
        Shards(prepared)


def test_a_fingerprint_tells_vocabularies_apart() -> None:
    ranks = tiny_ranks()
    first, second = list(ranks)[-2:]
    swapped = Tokenizer(ranks | {first: ranks[second], second: ranks[first]})
    assert len({fingerprint(TOKENIZER), fingerprint(swapped)}) == 2
    assert fingerprint(Tokenizer(tiny_ranks())) == fingerprint(TOKENIZER)


# By name


class Rows:
    """Stands for a streamed data set of `datasets`: rows, of which the first can be skipped."""

    def __init__(self, texts: list[str], breaks: int | None = None) -> None:
        self.texts, self.breaks = texts, breaks

    def skip(self, number: int) -> Iterator[dict[str, str]]:
        for i, text in enumerate(self.texts):
            if i == self.breaks:
                raise ConnectionError("the line is dead")
            if i >= number:
                yield {"text": text, "id": i}


def stub(monkeypatch: pytest.MonkeyPatch, rows: Rows | Exception) -> list[tuple[object, ...]]:
    """Put a package `datasets` in place; the calls that it gets."""
    calls = []

    def load_dataset(*args: object, **named: object) -> Rows:
        calls.append((*args, named))
        if isinstance(rows, Exception):
            raise rows
        return rows

    package = type(sys)("datasets")
    package.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", package)
    return calls


@pytest.mark.usefixtures("small_batches")
def test_openwebtext_is_streamed_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = stub(monkeypatch, Rows(TALES))
    monkeypatch.chdir(tmp_path)
    source = open_source("openwebtext")
    assert isinstance(source, Hub)
    assert calls == [("Skylion007/openwebtext", {"split": "train", "streaming": True})]
    finish(source, tmp_path / "hub")
    finish(Texts(TALES), tmp_path / "texts")
    for split in ("train", "valid"):
        assert np.array_equal(Shards(tmp_path / "hub", split)[:], Shards(tmp_path / "texts", split)[:])
    events = list(source.events())
    for number, event in enumerate(events):
        assert list(source.events(event.place)) == events[number + 1 :]


@pytest.mark.usefixtures("small_batches")
def test_a_network_that_breaks_off_costs_one_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch, Rows(TALES, breaks=50))
    with pytest.raises(DataError, match="the line is dead; run the same command again"):
        finish(Hub("openwebtext"), tmp_path / "parts")
    assert Manifest.load(tmp_path / "parts").shards
    stub(monkeypatch, Rows(TALES))
    finish(Hub("openwebtext"), tmp_path / "parts")
    finish(Hub("openwebtext"), tmp_path / "whole")
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_without_package_or_network_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", None)  # as if it was not installed
    with pytest.raises(DataError, match=r"expected the package datasets.*pip install datasets, or pass the path"):
        open_source("openwebtext")
    stub(monkeypatch, ConnectionError("no route to host"))
    with pytest.raises(DataError, match="on the Hugging Face hub, found ConnectionError: no route to host"):
        open_source("openwebtext")
    (tmp_path / "openwebtext").mkdir()
    (tmp_path / "openwebtext" / "a.txt").write_text("a path of this name goes first")
    assert isinstance(open_source("openwebtext"), Files)


# Memory


PEAK = """
import sys
from pathlib import Path
from gptviz.corpus.prepare import Settings, prepare
from gptviz.corpus.sources import Files
from gptviz.tokenizer import Tokenizer
for _ in prepare(Files(Path(sys.argv[1])), Path(sys.argv[2]), Tokenizer.load(Path(sys.argv[3])), Settings(), 2): pass
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024)
print("torch" in sys.modules)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
@pytest.mark.parametrize("name", ["tales.txt", "owt.tar"])
def test_memory_does_not_grow_with_the_corpus(name: str, tmp_path: Path) -> None:
    TOKENIZER.save(tmp_path / "tiny.tiktoken")
    document = "Tom and Lily went to the little tree house. The dog was happy. " * 300  # 19 kB
    peaks = {}
    for megabytes in (9, 24):
        documents = [f"{i} {document}" for i in range(megabytes * 1_000_000 // len(document))]
        data = {
            "tales.txt": lambda texts: "\n\n".join(texts).encode(),
            "owt.tar": lambda texts: archive({f"{i}.xz": inner(texts[i : i + 90]) for i in range(0, len(texts), 90)}),
        }[name](documents)
        folder = write_files(tmp_path / str(megabytes), {name: data})
        command = [sys.executable, "-c", PEAK, folder / name, folder / "out", tmp_path / "tiny.tiktoken"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        peak, torch = done.stdout.split()
        assert torch == "False"
        peaks[megabytes] = float(peak)
    assert peaks[24] < 150  # MB in all, of the 500 that it may take; most of it is the interpreter with its libraries
    assert peaks[24] - peaks[9] < 7, peaks  # for 15 MB more of text


def test_signals_of_the_terminal_stop_it_cleanly(tmp_path: Path) -> None:
    TOKENIZER.save(tmp_path / "tiny.tiktoken")
    source, out = write_files(tmp_path / "in", {"a.txt": ("My dog has fleas. " * 60_000).encode()}), tmp_path / "out"
    code = DRIVER.replace("signal.SIGKILL", "signal.SIGINT").replace("module.BATCH = 200", "module.BATCH = 2000")
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n" + code  # in the background, too
    command = [sys.executable, "-c", code, source, out, "3", "0", tmp_path / "tiny.tiktoken"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, env=os.environ)
    assert "KeyboardInterrupt" in done.stderr
    assert not [path for path in out.iterdir() if path.suffix == ".part"]
