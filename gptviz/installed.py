"""What is installed under the folder of the models: listed, taken in as a whole or not at all, removed.

A model that was fetched or uploaded has a source.json, which says where it came from. Only such a model is removed
here. What is on its way lies in a hidden folder beside the models, and is renamed when it is whole and understood.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from gptviz import folder as folders
from gptviz import formats, memory
from gptviz.config import ModelConfig
from gptviz.files import replaced
from gptviz.folder import CheckpointError, shortened

SOURCE = "source.json"
INCOMING = ".incoming"  # in the folder of the models: what is on its way, each in a folder of its own
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._ -]{0,94}[A-Za-z0-9_-])?")
LICENCE = re.compile(r"^\| licence \| ([^|;]+)", re.MULTILINE)  # in the table of our model cards
MAX_CARD = 2**16  # bytes of a card that are looked at
UNKNOWN = "not known"


class InstallError(ValueError):
    """A model that cannot be taken in or removed: says what was expected, what was found, and the remedy."""


class InterruptedFetch(InstallError):
    """What came so far is kept: the same command goes on from there."""


@dataclass(frozen=True)
class Installed:
    """One model.

    Args:
        name: for `gptviz.load`.
        kind: of the model, a name in `gptviz.config.KINDS`.
        config: its shape; None where it cannot be read.
        bytes: on the disk.
        licence: of the weights, as its source says.
        source: where it came from.
        removable: it was fetched or uploaded.
        problem: why it cannot be opened, "" where nothing is known against it.
    """

    name: str
    kind: str
    config: ModelConfig | None
    bytes: int
    licence: str
    source: str
    removable: bool
    problem: str = ""

    @property
    def parameters(self) -> int | None:
        """How many numbers its weights are."""
        return folders.expected_sizes(self.config)[1] if self.config else None

    @property
    def needed(self) -> int | None:
        """Bytes of memory to open it."""
        return memory.needed(self.config) if self.config else None


def installed() -> list[Installed]:
    """Every model that is found by name, those that were trained in the app at the end. Reads no weights."""
    found = []
    for name in folders.available():
        with contextlib.suppress(FileNotFoundError):  # removed since it was listed
            found.append(look_at(name))
    return found


def look_at(name: str) -> Installed:
    """One model of `gptviz.folder.available()`."""
    place, config, problem = folders.place(name), None, ""
    try:
        config = folders.shape_of(folders.find_shipped(name))
        if not formats.format_of(place):
            folders.check_files(place)
            folders.read_header(place, config)
    except (ValueError, OSError) as error:
        problem = error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
    said = read_source(place)
    of_a_run = name.startswith(folders.OF_A_RUN)
    return Installed(
        name, folders.kind_of(place), config, bytes_of(place),
        licence=said.get("licence") or ("yours" if of_a_run else licence_in_card(place)),
        source=said.get("source") or ("trained in the app" if of_a_run else "comes with gptviz, or was put there"),
        removable=bool(said), problem=problem,
    )  # fmt: skip


def read_source(place: Path) -> dict[str, str]:
    """What source.json says of a model: its texts; nothing where there is none, or it cannot be read."""
    path = place / SOURCE
    try:
        if path.is_symlink() or path.stat().st_size > MAX_CARD:
            return {}
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return {key: text for key, text in values.items() if isinstance(text, str)} if isinstance(values, dict) else {}


def licence_in_card(place: Path) -> str:
    """The licence in the table of a model card of ours."""
    try:
        with (place / folders.CARD).open("rb") as file:
            card = file.read(MAX_CARD).decode("utf-8", errors="replace")
    except OSError:
        return UNKNOWN
    found = LICENCE.search(card)
    return found.group(1).strip() if found else UNKNOWN


def bytes_of(place: Path) -> int:
    """What the files of a folder take on the disk; links are not followed."""
    total = 0
    for folder, _, files in os.walk(place):
        for file in files:
            with contextlib.suppress(OSError):  # taken away, or renamed, meanwhile
                total += os.lstat(os.path.join(folder, file)).st_size  # noqa: PTH118  asked often
    return total


# Taking in ------------------------------------------------------------------------------------------------------------


def check_name(name: str) -> None:
    """Raise `InstallError` for what is no plain name of a folder."""
    if not NAME.fullmatch(name):
        raise InstallError(
            f"expected a name of 1 to 96 letters, digits, spaces, dots, _ and -, found {shortened(name)}; change it"
        )


def check_free(name: str) -> None:
    """Raise `InstallError` where a model of this name is there, or the name cannot be."""
    check_name(name)
    if (folders.root() / name).exists():
        raise InstallError(
            f"expected a new name, found {name} installed; use it, or remove it: python -m gptviz remove {name}"
        )


@contextlib.contextmanager
def incoming(name: str, keep: bool = False) -> Iterator[Path]:
    """Yields a hidden folder to write a model into; when the block is through, the model takes its place at once.

    Args:
        name: that it will have.
        keep: what came stays after `InterruptedFetch` and Ctrl-C, for the next one to go on with.

    Raises:
        InstallError: for a name that is taken, while another process fetches it, and for a full disk.
        CheckpointError: for files that are no model which is known here; then nothing is kept.
    """
    check_free(name)
    shelf = folders.root() / INCOMING
    with locked(shelf, name):
        part = shelf / name / name
        if not keep:
            shutil.rmtree(shelf / name, ignore_errors=True)
        part.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            check_understood(part)
            check_free(name)
            os.replace(part, folders.root() / name)
        except BaseException as error:
            if not (keep and isinstance(error, InterruptedFetch | KeyboardInterrupt | GeneratorExit)):
                shutil.rmtree(shelf / name, ignore_errors=True)
            if is_disk_full(error):
                raise disk_full() from error
            raise
        shutil.rmtree(shelf / name, ignore_errors=True)


@contextlib.contextmanager
def locked(shelf: Path, name: str) -> Iterator[None]:
    """One process at a time takes in a name; the system gives the lock back with the process."""
    shelf.mkdir(parents=True, exist_ok=True)
    lock = FileLock(shelf / f"{name}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise InstallError(f"expected {name} to be free, found it on its way already; wait for it") from None
    try:
        yield
    finally:
        lock.release()


def check_understood(part: Path) -> None:
    """Raise `CheckpointError` unless the files are a whole model of a known format and architecture."""
    if formats.format_of(part) is None and not (part / folders.CONFIG).is_file():
        found = ", ".join(sorted(path.name for path in part.iterdir() if path.name != SOURCE)[:8]) or "nothing"
        raise CheckpointError(
            f"{part.name}: expected config.json with weights, a .gguf file, nanoGPT's ckpt.pt, or minGPT's model.pt "
            f"with its config.json, found {found}; "
            "choose a model"
        )
    config = folders.shape_of(part)
    if formats.format_of(part) is None:
        folders.check_files(part)
        folders.read_header(part, config)
    else:
        formats.check(part, config)


def is_disk_full(error: BaseException) -> bool:
    """Whether the system had no room for what was to be written."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def disk_full(wanted: int = 0) -> InstallError:
    """What is said of a full disk."""
    room = in_words(shutil.disk_usage(existing(folders.root())).free)
    expected = f"{in_words(wanted)} free on the disk" if wanted else "room on the disk"
    return InstallError(f"expected {expected}, found {room}; make room, or set {folders.ENVIRONMENT} to another disk")


def check_room(wanted: int) -> None:
    """Raise `InstallError` unless so many bytes can be written."""
    if shutil.disk_usage(existing(folders.root())).free < wanted:
        raise disk_full(wanted)


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return path if path.exists() else existing(path.parent)


def write_source(part: Path, source: str, licence: str, sha256: dict[str, str], **more: str) -> None:
    """Write where a model came from; `sha256` has the files that are large."""
    fetched = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    values = {"source": source, "licence": licence, "sha256": sha256, "fetched": fetched, **more}
    with replaced(part / SOURCE) as file:
        file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def sha256_of(path: Path) -> str:
    """64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Removing -------------------------------------------------------------------------------------------------------------


def remove(name: str) -> int:
    """Delete a model that was fetched or uploaded, or what came of one; returns the bytes that this gives back.

    Raises:
        InstallError: for a name that is not there, for a model that was not taken in here, and while it is on its way.
    """
    check_name(name)
    shelf = folders.root() / INCOMING
    place, partial = folders.root() / name, shelf / name
    there = name in folders.folders()  # a real folder directly under the root: no link, nothing hidden
    if not there and not partial.is_dir():
        raise InstallError(f"expected an installed model, found {shortened(name)}; {folders.known_models()}")
    if there and not read_source(place):
        raise InstallError(
            f"expected a model that was fetched or uploaded, found {name}, which comes with gptviz or was put there by "
            f"hand: it has no {SOURCE}; delete its folder yourself"
        )
    with locked(shelf, name):
        freed = bytes_of(place) + bytes_of(partial)
        if there:  # out of the way first: half a folder would look like a damaged model
            partial.mkdir(parents=True, exist_ok=True)
            os.replace(place, partial / f"{name} removed")
        shutil.rmtree(partial, ignore_errors=True)
    (shelf / f"{name}.lock").unlink(missing_ok=True)
    return freed


def unfinished() -> list[tuple[str, int]]:
    """What is on its way, or was interrupted: the name, and the bytes that are there."""
    shelf = folders.root() / INCOMING
    return [(name, bytes_of(shelf / name)) for name in folders.folders(under=shelf)]


def in_words(size: float) -> str:
    """Bytes for people: 98 MB, 1.2 GB."""
    for unit in ("bytes", "kB", "MB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit in ("bytes", "kB") or size >= 99.5 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
