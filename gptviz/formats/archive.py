"""A model that somebody sends: a zip of its folder, or a GGUF file. Only files that are read here are written, and
every weight is read before the folder counts as a model.

Nothing in an archive decides where something goes: a member is written under a plain name, one of a list, into one
folder. Declared sizes are compared with limits before anything is unpacked, and what comes out with what was declared.
"""

from __future__ import annotations

import re
import shutil
import stat
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from gptviz import installed
from gptviz.folder import shortened
from gptviz.installed import InstallError, in_words, incoming, sha256_of, write_source

MAX_MEMBERS = 200
MAX_BYTES = 8 * 10**9  # unpacked, all together
MAX_RATIO = 100  # unpacked to packed: weights hardly shrink, and JSON by ten
SMALL = 10**6  # bytes that may shrink as they like
READ = re.compile(
    r"config\.json|generation_config\.json|tokenizer(_config)?\.json|special_tokens_map\.json|added_tokens\.json|"
    r"tokenizer\.(tiktoken|model)|chat_template\.jinja|vocab\.json|merges\.txt|"
    r"(model|model-\d{5}-of-\d{5}|pytorch_model|pytorch_model-\d{5}-of-\d{5})\.(safetensors|bin)|"
    r"(model\.safetensors|pytorch_model\.bin)\.index\.json|ckpt\.pt|model\.pt|meta\.pkl|[\w.+-]{1,120}\.gguf|"
    r"ATTRIBUTION\.md|LICEN[CS]E(\.txt|\.md)?|recipe\.toml|training\.csv|log\.csv",
    re.ASCII,
)
SNAPSHOT = re.compile(r"\d{6}\.safetensors|config\.json|tokenizer\.tiktoken", re.ASCII)  # in snapshots/
LEFT_OUT = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")
SIGNATURES = {b"PK\x03\x04": ".zip", b"GGUF": ".gguf"}
UPLOADED, LICENCE = "uploaded", "as its owner says"


def plain_name(file_name: str) -> str:
    """A name for the model in an uploaded file, from the file's."""
    stem = re.sub(r"\.(zip|gguf)$", "", PurePosixPath(file_name.replace("\\", "/")).name, flags=re.IGNORECASE)
    return re.sub(r"[^A-Za-z0-9._ -]+", "-", stem).strip(" .-_")[:96].rstrip(" .-") or "uploaded"


def install(file: BinaryIO, name: str) -> None:
    """Take in an uploaded file, a zip or a GGUF one, as a model called `name`.

    Raises:
        InstallError: for a name that cannot be, an archive that is no model's folder, and a full disk.
        CheckpointError: for a model that is not understood. Nothing is kept then.
    """
    installed.check_free(name)
    file.seek(0)
    start = file.read(4)
    file.seek(0)
    if start not in SIGNATURES:
        raise InstallError(
            f"expected a .zip of a model's folder, or a .gguf file, found one that begins with {shortened(start)}; "
            "choose another file"
        )
    with incoming(name) as part:
        if SIGNATURES[start] == ".zip":
            unpack(file, part)
        else:
            installed.check_room(file.seek(0, 2))
            file.seek(0)
            with (part / "model.gguf").open("wb") as target:
                shutil.copyfileobj(file, target, 2**20)
        weights = [path for path in part.iterdir() if path.suffix in (".safetensors", ".gguf", ".bin", ".pt")]
        write_source(part, UPLOADED, LICENCE, {path.name: sha256_of(path) for path in sorted(weights)})
        check_weights(part)


def check_weights(part: Path) -> None:
    """Raise `CheckpointError` unless the model, and every snapshot of it, opens: names, shapes, finite weights, ids."""
    from gptviz import checkpoint, folder  # torch: only here

    installed.check_understood(part)  # cheaper, and first
    checkpoint.expect_room(folder.shape_of(part), part.name, checkpoint.pick_device("cpu"))
    checkpoint.load_folder(part, "cpu")
    snapshots = part / folder.SNAPSHOTS
    for step in folder.snapshot_steps(snapshots):
        checkpoint.load_folder(snapshots, "cpu", folder.snapshot_file(step), f"{part.name}@{step}")


def unpack(file: BinaryIO, into: Path) -> None:
    """Write the files of a model's folder in a zip to `into`, after all of its members were found harmless."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = checked(archive.infolist())
            wanted = sum(member.file_size for member in members.values())
            installed.check_room(wanted)
            for path, member in members.items():
                (into / path).parent.mkdir(exist_ok=True)
                with archive.open(member) as source, (into / path).open("wb") as target:
                    copy(source, target, member)
    except InstallError:
        raise
    except Exception as error:  # a damaged zip, and each of its ways to pack, may fail in any way
        if isinstance(error, OSError) and error.errno is not None:  # of the disk
            raise
        raise InstallError(f"expected a sound zip file, found: {error}; pack it again, without a password") from error


def copy(source: BinaryIO, target: BinaryIO, member: zipfile.ZipInfo) -> None:
    """At most as many bytes as were declared."""
    left = member.file_size
    while block := source.read(2**20):
        left -= len(block)
        if left < 0:
            raise InstallError(
                f"{shortened(member.filename)}: expected {member.file_size:,} bytes, as the archive says, found more; "
                "pack it again"
            )
        target.write(block)


def checked(members: Iterable[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """Where each member that is read here goes; raises `InstallError` for an archive that is no model's folder."""
    found: dict[PurePosixPath, zipfile.ZipInfo] = {}
    declared = 0
    for count, member in enumerate(members, start=1):
        if count > MAX_MEMBERS:
            raise InstallError(f"expected at most {MAX_MEMBERS} files in the zip, found more; pack one model's folder")
        check_member(member)
        declared += member.file_size
        path = PurePosixPath(member.filename)
        if not member.is_dir() and not any(name in path.parts for name in LEFT_OUT):
            found[path] = member
    if declared > MAX_BYTES:
        raise InstallError(f"expected at most {in_words(MAX_BYTES)} in the zip, found {in_words(declared)} declared")
    return placed(found)


def check_member(member: zipfile.ZipInfo) -> None:
    """Raise `InstallError` for a member that points somewhere else, is no file, or would grow beyond measure."""
    label, name = shortened(member.filename), member.filename
    parts = name.split("/")
    if not name or name.startswith("/") or ".." in parts or "\\" in name or ":" in name or "\0" in name:
        raise InstallError(f"{label}: expected a path inside of the zip, found one that leads out; pack it again")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "a link" if kind == stat.S_IFLNK else "something else"
        raise InstallError(f"{label}: expected a file, found {what}; put the file itself into the zip")
    if member.file_size > SMALL and member.file_size > MAX_RATIO * member.compress_size:
        raise InstallError(
            f"{label}: expected weights, which hardly shrink, found {in_words(member.file_size)} out of "
            f"{in_words(member.compress_size)}; that is no model"
        )


def placed(found: dict[PurePosixPath, zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """Members by where they go: at the top of the zip, or all in one folder there, with `snapshots` at most below."""
    tops = {path.parts[0] for path in found if len(path.parts) > 1} - {"snapshots"}
    base = tops.pop() if len(tops) == 1 and all(len(path.parts) > 1 for path in found) else ""
    files: dict[str, zipfile.ZipInfo] = {}
    for path, member in found.items():
        inner = path.relative_to(base) if base else path
        snapshot = len(inner.parts) == 2 and inner.parts[0] == "snapshots" and SNAPSHOT.fullmatch(inner.name)
        if len(inner.parts) > 1 and not snapshot:
            raise InstallError(
                f"{shortened(member.filename)}: expected the files of one folder, found folders in it; "
                "pack the folder that has config.json, a .gguf file or ckpt.pt"
            )
        if snapshot or READ.fullmatch(inner.name):
            if str(inner) in files:
                raise InstallError(f"{shortened(member.filename)}: expected it once, found it twice; pack it again")
            files[str(inner)] = member
    if not files:
        raise InstallError("expected the files of a model in the zip, found none; pack the folder that has config.json")
    return files
