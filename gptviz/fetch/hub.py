"""Models from Hugging Face by the name of their repository: only the files that are read here, each checked.

`huggingface_hub` talks to the hub: it goes on with what an interrupted download left, takes files from its own cache
where they are in it, and knows the visitor's token for models that ask for consent.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gptviz import folder as folders
from gptviz import formats
from gptviz.fetch import Progress, memory_note, while_at_work
from gptviz.folder import shortened
from gptviz.installed import (
    UNKNOWN,
    InstallError,
    InterruptedFetch,
    bytes_of,
    check_free,
    check_name,
    check_room,
    in_words,
    incoming,
    is_disk_full,
    read_source,
    sha256_of,
    write_source,
)

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

SITE = "https://huggingface.co"
KNOWN = {
    "distilgpt2": "GPT-2 with half of its layers: 353 MB",
    "gpt2": "GPT-2, the small one: 548 MB",
    "gpt2-medium": "GPT-2, 355 million parameters: 1.5 GB",
    "gpt2-large": "GPT-2, 774 million parameters: 3.2 GB",
    "gpt2-xl": "GPT-2, 1.6 billion parameters: 6.4 GB",
    "HuggingFaceTB/SmolLM2-135M": "SmolLM2, 135 million parameters: 269 MB",
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": "TinyLlama, 1.1 billion parameters: 2.2 GB",
    "Qwen/Qwen2-0.5B": "Qwen2, 494 million parameters: 988 MB",
}
OWNERS = {"gpt2": "openai-community", "distilgpt2": "distilbert"}  # of names that people use without one
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
PATIENCE = 15.0  # seconds for an answer of the hub
TEXTS = (
    "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "chat_template.jinja", "vocab.json", "merges.txt", "tokenizer.model",
)  # fmt: skip
WEIGHTS = (  # the first kind that is there is taken
    re.compile(r"model\.safetensors"),
    re.compile(r"model-\d{5}-of-\d{5}\.safetensors|model\.safetensors\.index\.json"),
    re.compile(r"pytorch_model\.bin"),
    re.compile(r"pytorch_model-\d{5}-of-\d{5}\.bin|pytorch_model\.bin\.index\.json"),
)
GGUF = re.compile(r"[A-Za-z0-9][\w.+-]{0,120}\.gguf", re.IGNORECASE | re.ASCII)
MAX_TEXT = 200 * 2**20  # bytes of a file that is no weights
SHARDED = re.compile(r"-\d{5}-of-\d{5}\.gguf", re.IGNORECASE)


class Remote(NamedTuple):
    """A file of a repository."""

    name: str
    size: int
    sha256: str  # "" where the hub does not say


def get(name: str) -> Iterator[Progress]:
    """Fetch and install a repository. See `gptviz.fetch.get`."""
    repository, wanted = parsed(name)
    folder = repository.rpartition("/")[2]
    check_name(folder)
    there = folders.root() / folder
    if there.exists() and read_source(there).get("source") != source_of(repository):
        folder = repository.replace("/", "-")  # another one's model has that name already
    check_free(folder)
    yield Progress(folder, f"asking for {repository}")
    info = ask(repository)
    files = chosen(info, repository, wanted)
    total = sum(file.size for file in files)
    with incoming(folder, keep=True) as part:
        for path in part.iterdir():  # of an interrupted download that wanted others
            if path.is_file() and path.name not in {file.name for file in files}:
                path.unlink()
        before = bytes_of(part)
        check_room(max(0, total - before))
        yield Progress(folder, "downloading", min(before, total), total)
        note = yield from texts_first(files, part, repository, info.sha, total)
        for done in while_at_work(lambda: download(files, part, repository, info.sha), part):
            yield Progress(folder, "downloading", min(done, total), total, note)
        yield Progress(folder, "checking", total, total, note)
        check_hashes(files, part)
        shutil.rmtree(part / ".cache", ignore_errors=True)  # of huggingface_hub, for going on
        sha256 = {file.name: file.sha256 for file in files if file.sha256}
        write_source(part, source_of(repository), licence_of(info), sha256, revision=info.sha or "")
    yield Progress(folder, "installed", total, total, note)


def parsed(name: str) -> tuple[str, str]:
    """OWNER/NAME and, where one was asked for, the name of a GGUF file; nothing in them is a path.

    Raises:
        InstallError: for everything else.
    """
    repository, _, file = name.removeprefix(f"{SITE}/").partition(":")
    if repository.lower() in KNOWN and "/" not in repository:
        repository = f"{OWNERS[repository.lower().partition('-')[0]]}/{repository.lower()}"
    if not REPOSITORY.fullmatch(repository) or ".." in repository or (file and not GGUF.fullmatch(file)):
        raise InstallError(
            f"expected {', '.join(list(KNOWN)[:2])}, smollm2-135m, OWNER/NAME of a repository on Hugging Face or "
            f"OWNER/NAME:FILE.gguf, found {shortened(name)}; write it as it stands on {SITE}"
        )
    return repository, file


def source_of(repository: str) -> str:
    """Where a repository can be read about."""
    return f"{SITE}/{repository}"


def ask(repository: str) -> ModelInfo:
    """What the hub says of a repository, with the sizes of its files."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # before the import, which reads it
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import huggingface_hub

    with refusals(repository):
        return huggingface_hub.HfApi().model_info(repository, files_metadata=True, timeout=PATIENCE)


@contextlib.contextmanager
def refusals(repository: str) -> Iterator[None]:
    """What the hub, the network or the disk refuses, as a sentence."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise InstallError(
            f"expected a repository that is open, found {repository} gated: its owner asks for consent; give it on "
            f"{source_of(repository)}, and set HF_TOKEN to a token of your account"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise InstallError(
            f"expected a repository on Hugging Face, found no {repository} there, or a private one; check the name on "
            f"{SITE}, or set HF_TOKEN"
        ) from error
    except (OSError, errors.HTTPError, errors.XetDownloadError, errors.EntryNotFoundError, RuntimeError) as error:
        if is_disk_full(error):
            raise
        status = getattr(getattr(error, "response", None), "status_code", None)
        found = f"the answer {status}" if status else f"none ({type(error).__name__})"
        raise InterruptedFetch(
            f"expected an answer from {SITE} about {repository}, found {found}; check the network and try again: it "
            "goes on from what is there"
        ) from error


def chosen(info: ModelInfo, repository: str, wanted: str) -> list[Remote]:
    """The files to download: config, vocabulary and one kind of weights; or one GGUF file, which has all.

    Raises:
        InstallError: where no such files are there.
    """
    there = {}
    for sibling in info.siblings or ():
        sha256 = getattr(sibling.lfs, "sha256", None) or ""
        there[sibling.rfilename] = Remote(sibling.rfilename, sibling.size or 0, sha256)
    ggufs = [name for name in there if GGUF.fullmatch(name) and not SHARDED.search(name)]
    if wanted or "config.json" not in there or not any(kind.fullmatch(name) for kind in WEIGHTS for name in there):
        return [there[one_gguf(ggufs, repository, wanted)]]
    texts = [there[name] for name in TEXTS if name in there]
    for file in texts:
        if file.size > MAX_TEXT:
            raise InstallError(
                f"{repository}/{file.name}: expected at most {in_words(MAX_TEXT)}, found {in_words(file.size)}; "
                "choose another model"
            )
    weights = next(found for kind in WEIGHTS if (found := [name for name in there if kind.fullmatch(name)]))
    return [*texts, *(there[name] for name in weights)]


def one_gguf(found: list[str], repository: str, wanted: str) -> str:
    """The GGUF file that was asked for, or the only one."""
    if wanted in found:
        return wanted
    if len(found) == 1 and not wanted:
        return found[0]
    if not found:
        raise InstallError(
            f"expected config.json with model.safetensors or pytorch_model.bin, or a .gguf file, found none of them in "
            f"{repository}; choose another repository"
        )
    names = ", ".join(found[:12]) + (" ..." if len(found) > 12 else "")
    said = shortened(wanted) if wanted else f"{len(found)} GGUF files"
    raise InstallError(f"expected one of the GGUF files, as in {repository}:{found[0]}, found {said}; of: {names}")


def texts_first(
    files: list[Remote], part: Path, repository: str, revision: str | None, total: int
) -> Iterator[Progress]:
    """Download config.json and the vocabulary, and understand them before the gigabytes.

    Returns what the model needs, "" for a GGUF file, which has both within.
    """
    texts, note = [file for file in files if file.name in TEXTS], ""
    for each in (texts[:1], texts[1:]):  # `chosen` has the config first
        for done in while_at_work(lambda each=each: download(each, part, repository, revision), part):
            yield Progress(part.name, "downloading", min(done, total), total, note)
        if each and (part / folders.CONFIG).is_file():
            config = folders.shape_of(part)
            note = memory_note(config)
    if texts and formats.format_of(part):
        formats.read_vocabulary(part, config)
    return note


def download(files: list[Remote], part: Path, repository: str, revision: str | None) -> None:
    """Files of a repository into a folder, one after the other."""
    import huggingface_hub

    for file in files:
        with refusals(repository):
            huggingface_hub.hf_hub_download(repository, file.name, revision=revision, local_dir=part)


def check_hashes(files: list[Remote], part: Path) -> None:
    """Raise `InstallError` unless every file is the one that the hub describes."""
    for file in files:
        path = part / file.name
        if path.is_symlink() or not path.is_file() or (file.size and path.stat().st_size != file.size):
            found = in_words(path.stat().st_size) if path.is_file() else "no file"
            raise InstallError(f"{file.name}: expected {in_words(file.size)}, found {found}; try again")
        if file.sha256 and (found := sha256_of(path)) != file.sha256:
            raise InstallError(f"{file.name}: expected the sha256 {file.sha256}, found {found}; try again")


def licence_of(info: ModelInfo) -> str:
    """As the card of the repository names it."""
    licence = getattr(info.card_data, "license", None)
    name = getattr(info.card_data, "license_name", None)
    said = name if licence == "other" and name else licence
    return said if isinstance(said, str) and said else UNKNOWN
