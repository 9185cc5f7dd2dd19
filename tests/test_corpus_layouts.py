"""Any list of documents comes back from every layout of a corpus, and nothing that a file holds ends a run."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import shutil
import tarfile
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gptviz.corpus import documents as documents_module
from gptviz.corpus import layouts, sources, streams, tar
from gptviz.corpus.documents import Damage, clean
from gptviz.corpus.shards import fingerprint
from gptviz.corpus.sources import START, Event, Files, Place, Texts
from gptviz.data import DataError
from tests import corpora
from tests.corpora import LAYOUTS, archive, inner, lines, write_files, xz, zstd

GPT2 = corpora.gpt2_sized()
TALES = [
    "My dog has fleas.",
    "Der Hund\n\nhat Flöhe.",
    "",
    "好的 \N{SNOWMAN}",
    '{"text": "not a record"}',
    "a\0b",
    "x" * 3000,
]


@pytest.fixture(autouse=True)
def _gpt2(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vocabulary of these tests is taken for GPT-2's."""
    monkeypatch.setattr(sources, "GPT2", fingerprint(GPT2))


def read(path: Path) -> tuple[list[str], list[Damage]]:
    """Documents and damage of a source."""
    items = [event.item for event in Files(path, GPT2).events()]
    return [i for i in items if not isinstance(i, Damage)], [i for i in items if isinstance(i, Damage)]


def intact(path: Path) -> list[str]:
    """Documents of a source without damage."""
    found, damage = read(path)
    assert not damage
    return found


# Round trips


@pytest.mark.parametrize("layout", LAYOUTS)
def test_documents_come_back_from_every_layout(layout: str, tmp_path: Path) -> None:
    assert intact(LAYOUTS[layout](tmp_path, TALES)) == TALES


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_documents_come_back_from_every_layout(layout: str) -> None:
    @settings(deadline=None, max_examples=25)
    @given(st.lists(st.text(max_size=40), min_size=layout == "folders of texts", max_size=9))
    def round_trip(documents: list[str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            found = intact(LAYOUTS[layout](Path(folder), documents))
        assert [clean(text) for text in found] == [clean(text) for text in documents]

    round_trip()


def test_a_file_that_the_original_holds_is_a_tar_although_it_is_called_xz(tmp_path: Path) -> None:
    # The trap: unpacked once, the "text" would begin with a tar header.
    data = lzma.decompress(inner(TALES))
    assert data[257:262] == b"ustar"
    path = tmp_path / "urlsf_subset00-1_data.xz"
    path.write_bytes(xz(data))
    found = intact(path)
    assert found == TALES
    assert not any("ustar" in text for text in found)


@pytest.mark.parametrize("name", ["tales", "tales.txt", "tales.jsonl", "tales.dat", "tales.parquet", "tales.tar.xz"])
def test_what_a_file_is_is_told_by_its_content_where_it_can(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(zstd(archive({"a.txt": b"one", "b.txt": b"two"})))
    assert intact(tmp_path / name) == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("notes", lines(["one", "two"]), ["one", "two"]),  # a record on the first line
        ("notes.txt", lines(["one"]), [lines(["one"]).decode()]),
        ("notes", b'"one"\nsaid she', ['"one"\nsaid she']),
        ("notes.md", b"{text} is a field", ["{text} is a field"]),
        ("notes.txt.gz", gzip.compress(b"one", mtime=0), ["one"]),
        ("notes.jsonl", b'\xef\xbb\xbf{"text": "one"}\r\n\r\n"two"', ["one", "two"]),
    ],
)
def test_a_name_decides_only_where_the_content_cannot(
    name: str, data: bytes, expected: list[str], tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(data)
    assert intact(tmp_path / name) == expected


def test_locks_hidden_files_and_links_are_passed_over(tmp_path: Path) -> None:
    folder = write_files(
        tmp_path / "in", {"a.txt": b"one", "a.txt.lock": b"no", ".hidden.txt": b"no", "b/c.txt": b"two"}
    )
    outside = write_files(tmp_path / "out", {"d.txt": b"no"})
    (folder / "link.txt").symlink_to(outside / "d.txt")
    (folder / "linked").symlink_to(outside)
    assert intact(folder) == ["one", "two"]


def test_ids_of_a_long_document_are_joined_across_reads(tmp_path: Path) -> None:
    long = "Flöhe und 好 " * 50_000  # 850,000 ids, some of which end a read within a character
    assert intact(corpora.ids_file(tmp_path, [long, "short"])) == [long, "short"]
    path = tmp_path / "open.bin"  # as nanoGPT writes Shakespeare: nothing behind the last document
    np.array(list(b"my dog"), dtype="<u2").tofile(path)
    assert intact(path) == ["my dog"]


def test_ids_are_read_with_gpt2s_vocabulary_whatever_the_runs_own_is(
    tmp_path: Path, tiny_tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources.Tokenizer, "gpt2", lambda: GPT2)
    source = Files(corpora.ids_file(tmp_path, TALES), tiny_tokenizer)
    assert [event.item for event in source.events()] == TALES


# Damage


def test_a_damaged_inner_archive_is_skipped_and_named(tmp_path: Path) -> None:
    good, bad = inner(["one", "two"]), bytearray(inner([f"lost {i}" for i in range(50)]))
    bad[len(bad) // 2] ^= 0xFF
    outer = archive({"owt/a.xz": good, "owt/b.xz": bytes(bad), "owt/c.xz": good[: len(good) // 2], "owt/d.xz": good})
    path = tmp_path / "openwebtext.tar.xz"
    path.write_bytes(xz(outer))
    found, damage = read(path)
    assert found == ["one", "two"] * 2
    assert [d.name for d in damage] == ["openwebtext.tar.xz/owt/b.xz", "openwebtext.tar.xz/owt/c.xz"]
    assert "cut short" in damage[1].reason


def test_nothing_of_a_damaged_inner_archive_is_used_not_even_what_unpacks(tmp_path: Path) -> None:
    bad = bytearray(inner([np.random.default_rng(i).bytes(2000).hex() for i in range(200)]))  # 800 kB of text
    bad[-60_000] ^= 0xFF
    (tmp_path / "a.tar").write_bytes(archive({"a.xz": bytes(bad), "b.xz": inner(["one"])}))
    found, damage = read(tmp_path / "a.tar")
    assert found == ["one"]
    assert [d.name for d in damage] == ["a.tar/a.xz"]


def test_a_member_that_is_no_text_is_skipped_and_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(archive({"one.txt": b"one", "latin.txt": "Flöhe".encode("latin-1"), "two.txt": b"two"}))
    found, damage = read(path)
    assert found == ["one", "two"]
    assert damage == [Damage("a.tar/latin.txt", "expected UTF-8 text, found the byte 0xf6")]


@pytest.mark.parametrize("left", [0.3, 0.5, 0.7])
def test_an_archive_that_is_cut_short_gives_what_is_whole(left: float, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    whole = archive({f"{i}.txt": f"document {i} ".encode() * 90 for i in range(20)})
    path.write_bytes(whole[: int(len(whole) * left)])
    found, damage = read(path)
    assert found == [f"document {i} " * 90 for i in range(len(found))]
    assert 3 < len(found) <= 20
    assert damage[-1].name == "a.tar"
    assert "found the end of the" in damage[-1].reason


def test_an_archive_with_a_damaged_header_gives_what_is_before_it(tmp_path: Path) -> None:
    data = bytearray(archive({"a.txt": b"one", "b.txt": b"two", "c.txt": b"three"}))
    data[1024 + 3] ^= 1  # in the name of the second member
    (tmp_path / "a.tar").write_bytes(data)
    found, damage = read(tmp_path / "a.tar")
    assert found == ["one"]
    assert damage == [
        Damage("a.tar", "expected the header of a tar member, found other bytes; the archive is damaged there")
    ]


@pytest.mark.parametrize(
    "line", [b"{", b"[]", b'["a"]', b"{}", b'{"story": "x"}', b"null", b"7", b"\xff", b'{"text": 7}', b"[" * 9999]
)
def test_a_damaged_line_is_named_and_the_next_one_is_read(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tales.jsonl"
    path.write_bytes(lines(["one"]) + line + b"\n" + lines(["two"]))
    found, damage = read(path)
    assert found == ["one", "two"]
    assert [d.name for d in damage] == ["tales.jsonl, line 2"]


@pytest.mark.parametrize("suffix", [".xz", ".zst", ".gz"])
def test_a_packed_file_that_is_cut_short_is_named(suffix: str, tmp_path: Path) -> None:
    path = corpora.packed_lines(suffix)(tmp_path, TALES)
    path.write_bytes(path.read_bytes()[:-9])
    found, damage = read(path)
    assert found == []  # a small file is checked to its end before it is used
    assert [d.name for d in damage] == [path.name]


@pytest.mark.parametrize("suffix", [".xz", ".zst", ".gz"])
def test_of_a_large_packed_file_what_comes_before_the_damage_is_kept(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "WHOLE", 10_000)
    documents = [f"{i} " + np.random.default_rng(i).bytes(500).hex() for i in range(3000)]
    path = corpora.packed_lines(suffix)(tmp_path, documents)
    assert intact(path) == documents
    path.write_bytes(path.read_bytes()[:-9])
    found, damage = read(path)
    assert found == documents[: len(found)]
    assert len(found) > 1500
    assert len(damage) == 1


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.bin", b"\0\0\1", "odd number"),
        ("a.bin", np.array([1, 50257], dtype="<u2").tobytes(), "GPT-2's ids, 0 to 50256"),
        ("a.parquet", b"PAR1" + b"nonsense" * 9 + b"PAR1", ""),
        ("a.png", b"\x89PNG\r\n", "expected UTF-8 text, found the byte 0x89"),
        ("a.xz", b"\xfd7zXZ\0nonsense" * 9, ""),
        ("a.zst", b"\x28\xb5\x2f\xfdnonsense" * 9, ""),
        ("a.gz", b"\x1f\x8bnonsense" * 9, ""),
    ],
)
def test_a_file_that_cannot_be_read_is_named(name: str, data: bytes, said: str, tmp_path: Path) -> None:
    write_files(tmp_path / "in", {name: data, "z.txt": b"the rest"})
    found, damage = read(tmp_path / "in")
    assert found == ["the rest"]
    assert [d.name for d in damage] == [name]
    assert said in damage[0].reason


def test_a_parquet_file_without_texts_says_what_it_has(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": [1, 2], "b": ["x", "y"]}), tmp_path / "a.parquet")
    _, damage = read(tmp_path / "a.parquet")
    assert damage == [Damage("a.parquet", "expected a column text of strings, found text (int64), b (string)")]
    pyarrow.parquet.write_table(pyarrow.table({"text": ["one", None, "two"]}), tmp_path / "b.parquet")
    assert intact(tmp_path / "b.parquet") == ["one", "", "two"]


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(list(LAYOUTS)), st.integers(0, 2**32), st.sampled_from(["flip", "cut", "zeros"]))
def test_no_damage_ends_a_run(layout: str, seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = LAYOUTS[layout](Path(folder), TALES)
        file = min(p for p in path.rglob("*") if p.is_file() and p.stat().st_size) if path.is_dir() else path
        data = bytearray(file.read_bytes())
        at = int(rng.integers(len(data)))
        if kind == "cut":
            del data[at:]
        else:
            data[at : at + 40] = bytes(40) if kind == "zeros" else bytes([data[at] ^ (1 << int(rng.integers(8)))])
        file.write_bytes(data)
        read(path)


# What strangers may send


def test_names_of_members_are_never_paths(tmp_path: Path) -> None:
    names = ["../../escaped.txt", "/etc/escaped.txt", "a/../../escaped.txt", "C:\\escaped.txt", "n\nl.txt"]
    write_files(tmp_path / "in", {"a.tar": archive({name: name.encode() for name in names})})
    before = sorted(tmp_path.rglob("*"))
    assert intact(tmp_path / "in") == names
    assert sorted(tmp_path.rglob("*")) == before


def test_links_and_devices_in_an_archive_are_passed_over(tmp_path: Path) -> None:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as file:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo(f"link{kind.decode()}")
            info.type, info.linkname = kind, "/etc/passwd"
            file.addfile(info)
        info = tarfile.TarInfo("a.txt")
        info.size = 3
        file.addfile(info, io.BytesIO(b"one"))
    (tmp_path / "a.tar").write_bytes(target.getvalue())
    assert intact(tmp_path / "a.tar") == ["one"]


@pytest.mark.parametrize("claim", [10**10, 2**60])
def test_a_size_that_is_only_claimed_takes_no_memory(claim: int, tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.txt")
    info.size = claim
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"short")
    found, damage = read(tmp_path / "a.tar")
    assert found == []
    assert f"expected {claim - 5} more bytes" in damage[0].reason


@pytest.mark.parametrize("kind", [b"L", b"x"])
def test_a_long_name_that_is_too_long_is_refused_before_it_is_read(kind: bytes) -> None:
    class Endless(io.RawIOBase):
        asked = 0

        def read(self, size: int = -1) -> bytes:
            Endless.asked = max(Endless.asked, size)
            return block if size == 512 else bytes(size)

    info = tarfile.TarInfo("a")
    info.type, info.size = kind, 10**9
    block = info.tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(tar.TarError, match="a name of at most"):
        list(tar.members(Endless()))
    assert Endless.asked == 512


def test_a_bomb_is_cut_into_documents_and_not_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.txt.xz"
    with lzma.open(path, "wb", preset=0) as file:
        for _ in range(48):
            file.write(b"la la la " * (2**20 // 9))
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    longest = total = 0
    for event in Files(path).events():
        longest, total = max(longest, len(event.item)), total + len(event.item)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 48 * (2**20 // 9) * 9
    assert longest <= 2**20
    assert peak < 25e6  # of 50 MB of text: what is checked first, and a document


def test_a_line_that_is_too_long_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "MAX_LINE", 1000)
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines(["one", "x" * 5000, "two"]))
    found, damage = read(path)
    assert found == ["one", "two"]
    assert damage == [Damage("a.jsonl, line 2", "expected a line of at most 1000 bytes, found a longer one")]


def test_a_decoder_that_asks_for_too_much_memory_is_refused(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 2**30}]
    packer = lzma.LZMACompressor(filters=filters)
    try:
        data = packer.compress(b"one") + packer.flush()
    except MemoryError:
        pytest.skip("this machine cannot pack it")
    (tmp_path / "a.txt.xz").write_bytes(data)
    found, damage = read(tmp_path / "a.txt.xz")
    assert found == []
    assert "emory" in damage[0].reason


def test_layers_and_archives_in_each_other_end_somewhere(tmp_path: Path) -> None:
    packed = b"one"
    for _ in range(streams.LAYERS + 1):
        packed = gzip.compress(packed)
    nested = archive({"a.txt": b"one"})
    for _ in range(layouts.NESTED + 1):
        nested = archive({"a.tar": nested})
    write_files(tmp_path / "in", {"a.gz": packed, "b.tar": nested, "c.txt": b"two"})
    found, damage = read(tmp_path / "in")
    assert found == ["two"]
    assert [d.reason.partition(",")[0] for d in damage] == [
        "expected at most 3 layers of compression",
        "expected at most 3 archives in each other",
    ]


# Tar archives against the standard library


NAMES = st.text(st.characters(exclude_characters="\0/.", exclude_categories=["Cs"]), min_size=1, max_size=120)


@settings(deadline=None, max_examples=80)
@given(st.sampled_from(["pax", "gnu"]), st.dictionaries(NAMES, st.binary(max_size=1100), max_size=6))
@example("pax", {"\x80\n": b""})  # a record ends with one newline, not with all of them
def test_members_are_those_of_tarfile(kind: str, files: dict[str, bytes]) -> None:
    data = archive(files, kind)
    found = {name: member.readall() for name, member in tar.members(io.BytesIO(data))}
    assert found == files


def test_a_name_in_two_parts_is_joined() -> None:
    name = "/".join(["folder" * 5] * 5) + "/a.txt"
    assert len(name) > 100
    assert [n for n, _ in tar.members(io.BytesIO(archive({name: b""}, "ustar")))] == [name]


def test_members_nobody_reads_are_passed() -> None:
    data = archive({f"{i}": bytes([i]) * (700 * i) for i in range(5)})
    seen = [member.readall() for i, (_, member) in enumerate(tar.members(io.BytesIO(data))) if i % 2]
    assert seen == [bytes([i]) * (700 * i) for i in (1, 3)]


# Documents and places


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  a\n\n\n\nb \n", "a\n\nb"),
        ("a\r\n\r\n\r\nb", "a\n\nb"),
        ("\ufeff a\n\nb", "a\n\nb"),
        ("a\rb", "a\rb"),
        ("a\ud800b", "a\ufffdb"),
        (" \n\ufeff\n ", ""),
    ],
)
def test_clean_up(text: str, expected: str) -> None:
    assert clean(text) == expected


@settings(deadline=None)
@given(st.text(st.characters(codec=None), max_size=200))
def test_clean_text_is_clean(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert "\n\n\n" not in once
    once.encode("utf-8")


@settings(deadline=None)
@given(st.text("ab \n", max_size=300), st.integers(1, 40), st.integers(1, 50))
def test_a_long_text_is_cut_at_the_same_places_however_it_comes(text: str, longest: int, chunk: int) -> None:
    pieces = list(documents_module.split_text(text, longest))
    assert "".join(pieces) == text
    assert all(len(piece) <= longest for piece in pieces)
    splitter = documents_module.Splitter(longest)
    chunks = [text[i : i + chunk] for i in range(0, len(text), chunk)]
    assert [p for c in chunks for p in splitter.feed(c)] + list(splitter.finish()) == pieces


def test_a_long_text_is_cut_at_paragraphs_then_lines_then_words() -> None:
    assert list(documents_module.split_text("one two.\n\nthree\nfour", 16)) == ["one two.\n\n", "three\nfour"]
    assert list(documents_module.split_text("one two\nthree four", 12)) == ["one two\n", "three four"]
    assert list(documents_module.split_text("one two three", 9)) == ["one two ", "three"]


def test_a_text_pasted_is_cut_at_paragraphs() -> None:
    text = "\n\n".join(f"Paragraph {i}. " + "My dog has fleas. " * 20 for i in range(40))
    source = Texts.pasted(text)
    found = [event.item for event in source.events()]
    assert len(found) > 5
    assert "".join(found) == text
    assert all(document.startswith("Paragraph") for document in found)


def test_the_share_held_out_is_the_one_asked_for_and_depends_on_the_text_alone() -> None:
    texts = [f"document {i}" for i in range(10_000)]
    held_out = [text for text in texts if documents_module.is_held_out(text, 0.05)]
    assert len(held_out) / len(texts) == pytest.approx(0.05, abs=0.008)
    assert held_out == [t for t in texts if t in set(held_out) and documents_module.is_held_out(t, 0.1)]  # nested
    exact = int(hashlib.sha256(b"document 0").hexdigest()[:16], 16) / 2**64
    assert documents_module.is_held_out("document 0", exact + 1e-9)
    assert not documents_module.is_held_out("document 0", exact - 1e-9)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reading_goes_on_behind_any_place(layout: str, tmp_path: Path) -> None:
    source = Files(LAYOUTS[layout](tmp_path, TALES), GPT2)
    events = list(source.events())
    assert [event.place for event in events] == sorted({event.place for event in events})
    assert all(event.place > START for event in events)
    for number, event in enumerate(events):
        assert list(source.events(event.place)) == events[number + 1 :]


def test_damage_has_a_place_too(tmp_path: Path) -> None:
    write_files(
        tmp_path / "in", {"a.tar": archive({"a": b"one", "b": b"\xff", "c": b"two"})[:-9000], "b.txt": b"three"}
    )
    source = Files(tmp_path / "in")
    events = list(source.events())
    assert [type(event.item) for event in events][-2:] == [Damage, str]
    for number, event in enumerate(events):
        assert list(source.events(event.place)) == events[number + 1 :]


def test_files_that_are_done_are_not_opened_again(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "in", {"a.txt": b"one", "b.txt": b"two"})
    source = Files(folder)
    (folder / "a.txt").write_bytes(b"\xff")
    assert list(source.events(Place(0, 0, 0))) == [Event(Place(1, 0, 0), "two")]


def test_the_position_goes_up_to_the_size(tmp_path: Path) -> None:
    source = Files(corpora.text_folder(tmp_path, TALES * 3))
    positions = [source.position for _ in source.events()]
    assert positions == sorted(positions)
    assert source.position == source.size == sum(len(text.encode()) for text in TALES) * 3


@pytest.mark.parametrize("there", [False, True])
def test_a_source_without_files_is_refused(there: bool, tmp_path: Path) -> None:
    if there:
        (tmp_path / "in").mkdir()
    with pytest.raises(
        DataError, match="empty folder" if there else "expected a file or folder, or the name openwebtext"
    ):
        Files(tmp_path / "in")


def test_a_source_that_changed_has_another_fingerprint(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "in", {"a.txt": b"one", "b.txt": b"two"})
    before = Files(folder).fingerprint
    shutil.copytree(folder, tmp_path / "copy")
    assert Files(tmp_path / "copy").fingerprint == before
    (folder / "b.txt").write_bytes(b"longer")
    assert Files(folder).fingerprint != before
    assert Texts(["a", "b"]).fingerprint != Texts(["ab"]).fingerprint


def test_records_with_lone_surrogates_are_text(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "a\ud800b"}) + "\n")
    assert [clean(text) for text in intact(tmp_path / "a.jsonl")] == ["a\ufffdb"]
