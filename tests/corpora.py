"""Small corpora in every layout that people have, built from a list of documents. Knows nothing about pytest.

Written with the standard library's `tarfile` and with pyarrow: our readers share no code with them but the decoders.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet

from gptviz.tokenizer import Tokenizer

Documents = Sequence[str]
FORMATS = {"pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT, "ustar": tarfile.USTAR_FORMAT}


def gpt2_sized() -> Tokenizer:
    """A vocabulary with as many tokens as GPT-2's, of which only the single bytes are ever used."""
    ranks = {bytes([byte]): byte for byte in range(256)}
    unused = (bytes([a, b, 255]) for a in range(256) for b in range(256))
    return Tokenizer(ranks | {token: rank for rank, token in zip(range(256, 50256), unused, strict=False)})


def xz(data: bytes) -> bytes:
    """Packed with xz, quickly."""
    return lzma.compress(data, preset=0)


def zstd(data: bytes) -> bytes:
    """Packed with Zstandard."""
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


PACK: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".xz": xz, ".zst": zstd, ".gz": gzip.compress}


def archive(members: dict[str, bytes], kind: str = "pax") -> bytes:
    """A tar archive of files."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=FORMATS[kind]) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return target.getvalue()


def text_name(number: int, document: str) -> str:
    """As OpenWebText calls its members."""
    digits = hashlib.md5(document.encode()).hexdigest()
    return f"{number:07d}-{digits}.txt"


def inner(documents: Documents) -> bytes:
    """OpenWebText's inner archive: a tar under xz, although its name ends in .xz."""
    return xz(archive({text_name(i, document): document.encode() for i, document in enumerate(documents)}))


def inner_archives(documents: Documents) -> dict[str, bytes]:
    """The documents in two inner archives, each with the lock file that lies beside it."""
    half = len(documents) // 2
    files = {}
    for number, part in enumerate((documents[:half], documents[half:]), start=1):
        files[f"urlsf_subset00-{number}_data.xz"] = inner(part)
        files[f"urlsf_subset00-{number}_data.xz.lock"] = b""
    return files


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    """Files with their folders."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def original(folder: Path, documents: Documents) -> Path:
    """The release of 2019: openwebtext.tar.xz."""
    members = {f"openwebtext/{name}": data for name, data in inner_archives(documents).items()}
    path = folder / "openwebtext.tar.xz"
    path.write_bytes(xz(archive(members)))
    return path


def inner_folder(folder: Path, documents: Documents) -> Path:
    """What the release unpacks to."""
    return write_files(folder / "openwebtext", inner_archives(documents))


def text_folder(folder: Path, documents: Documents) -> Path:
    """Unpacked once more: a folder for each inner archive."""
    half = len(documents) // 2
    numbered = [(f"urlsf_subset00-{1 + (i >= half)}_data/{i:07d}.txt", d) for i, d in enumerate(documents)]
    return write_files(folder / "texts", {name: document.encode() for name, document in numbered})


def hub_tars(folder: Path, documents: Documents) -> Path:
    """Hugging Face's older files: plain tars of inner archives."""
    half = len(documents) // 2
    files = {
        f"subsets/urlsf_subset{number:02d}.tar": archive(inner_archives(part), "gnu")
        for number, part in enumerate((documents[:half], documents[half:]))
    }
    return write_files(folder, files) / "subsets"


def parquet(folder: Path, documents: Documents) -> Path:
    """Hugging Face's files of today, with a column that nobody asked for."""
    path = folder / "train-00000-of-00001.parquet"
    table = pyarrow.table({"id": list(range(len(documents))), "text": pyarrow.array(documents, pyarrow.string())})
    pyarrow.parquet.write_table(table, path, row_group_size=3)
    return path


def lines(documents: Documents) -> bytes:
    """JSON lines."""
    return b"".join(json.dumps({"text": document, "meta": {}}).encode() + b"\n" for document in documents)


def mixed_lines(documents: Documents) -> bytes:
    """JSON lines as in OpenWebText2: a string, a list of strings, or a bare string."""
    records = []
    for number, document in enumerate(documents):
        record = [document, {"text": document.split("\n\n")}, {"text": document, "meta": {"url": "x"}}][number % 3]
        records.append(json.dumps(record, ensure_ascii=False).encode() + b"\n")
    return b"".join(records)


def openwebtext2(folder: Path, documents: Documents) -> Path:
    """A tar of *.jsonl.zst, one a month."""
    half = len(documents) // 2
    months = {"2005-12.jsonl.zst": documents[:half], "2006-01.jsonl.zst": documents[half:]}
    path = folder / "openwebtext2.tar"
    path.write_bytes(archive({name: zstd(mixed_lines(part)) for name, part in months.items()}))
    return path


def ids_file(folder: Path, documents: Documents) -> Path:
    """nanoGPT's: ids of `gpt2_sized`, 50256 behind each document."""
    ids = [token for document in documents for token in (*document.encode(), 50256)]
    path = folder / "train.bin"
    np.array(ids, dtype="<u2").tofile(path)
    return path


def packed_lines(suffix: str) -> Callable[[Path, Documents], Path]:
    """JSON lines in a packed file; in two packed pieces behind each other, as parallel packers write them."""

    def write(folder: Path, documents: Documents) -> Path:
        path = folder / f"tales.jsonl{suffix}"
        half = len(documents) // 2
        path.write_bytes(b"".join(PACK[suffix](lines(part)) for part in (documents[:half], documents[half:])))
        return path

    return write


LAYOUTS: dict[str, Callable[[Path, Documents], Path]] = {
    "original": original,
    "folder of inner archives": inner_folder,
    "folders of texts": text_folder,
    "tars of inner archives": hub_tars,
    "parquet": parquet,
    "openwebtext2": openwebtext2,
    "ids": ids_file,
} | {f"jsonl{suffix}": packed_lines(suffix) for suffix in PACK}
