"""A run of the app, from what a visitor chose: its text, its vocabulary, its recipe, its process."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gptviz import folder as folders
from gptviz.files import replaced
from gptviz.runs import sample
from gptviz.runs.run import (
    ACTIVE,
    INTERRUPTED,
    RECIPE,
    STOP,
    Run,
    RunError,
    State,
    Status,
    active_run,
    all_runs,
    new_folder,
)

CORPORA, CORPORA_ENVIRONMENT = folders.ROOT.parent / "corpora", "GPTVIZ_CORPORA"
SHORTEST_TEXT = 1000  # characters
LONGEST_TEXT = 5_000_000
HELD_OUT = 0.1  # of a text: its end
UNBROKEN = re.compile(r"[^\W\d]{1000}|\d{1000}|[^\s\w]{1000}|\s{1000}")  # merging pairs in it takes its length squared
SHORTEST_CONTEXT = 16
SNAPSHOTS = 18
TEXT = "text.jsonl"
BEGINNING = threading.Lock()  # of two visitors who click at once, one begins
PROCESSES: list[subprocess.Popen] = []  # begun here; asked now and then, so that the system can forget those that ended


class Size(NamedTuple):
    """The shape of a GPT."""

    n_layers: int
    n_heads: int
    d_model: int
    context: int
    vocab_size: int


SIZES = {
    "Tiny": Size(1, 2, 32, 32, 384),
    "Small": Size(2, 4, 64, 64, 512),
    "Medium": Size(3, 4, 128, 128, 1024),
    "Large": Size(4, 4, 256, 256, 2048),
}


@dataclass(frozen=True)
class Choice:
    """What a visitor chose.

    Args:
        name: of the run.
        size: of the model; the context shrinks to what the text has, the vocabulary to what it needs.
        text: to train on; None for a corpus by name.
        corpus: a folder made by `python -m gptviz prepare` under `corpora_root()`; None with a text, or for the sample.
        steps: in all.
        rows: of a batch, each of the context's length.
        learning_rate: the largest.
        causal: with the mask.
        repeats: share of rows that are a random sequence over and over, which brings out induction heads.
        seed: weights and order of the data.
    """

    name: str
    size: Size
    text: str | None = None
    corpus: str | None = None
    steps: int = 2000
    rows: int = 16
    learning_rate: float = 4e-3
    causal: bool = True
    repeats: float = 0.0
    seed: int = 0


def corpora_root() -> Path:
    """The folder of the corpora that the app offers: $GPTVIZ_CORPORA, else corpora/ beside the package."""
    return Path(os.environ.get(CORPORA_ENVIRONMENT) or CORPORA)


def corpora() -> list[str]:
    """Names of the prepared corpora, for `Choice.corpus`."""
    from gptviz.corpus.shards import is_prepared

    return [name for name in folders.folders(under=corpora_root()) if is_prepared(corpora_root() / name)]


def begin(choice: Choice) -> Run:
    """Write a run's folder and start its process.

    Raises:
        RunError: while another run trains, and for a choice that cannot be trained on.
        OSError: where the disk refuses.
    """
    with BEGINNING:
        refuse_second()
        folder = new_folder(choice.name.strip())
        try:
            recipe = corpus_recipe(choice, folder) if choice.corpus else text_recipe(choice, folder)
            with replaced(folder / RECIPE) as part:
                part.write_text(recipe, encoding="utf-8")
        except BaseException:  # nothing half-written is left
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return start(Run(folder))


def go_on(run: Run) -> Run:
    """Start the process of a run that was stopped, interrupted or diverged, from its last saved state."""
    with BEGINNING:
        refuse_second()
        if run.status().state is State.FINISHED:
            raise RunError(f"expected a run with steps left, found {run.name} finished; begin one with more steps")
        return start(run)


def refuse_second() -> None:
    """Raise `RunError` while a run trains."""
    if (other := active_run()) is not None:
        raise RunError(
            f"expected an idle machine, found {other.name} training; one run trains at a time: watch it, or stop it"
        )


def start(run: Run) -> Run:
    """The process: a child of this one, so that Ctrl-C in the terminal reaches both."""
    PROCESSES[:] = [process for process in PROCESSES if process.poll() is None]
    for other in all_runs():  # none trains by now: without this, the lock of this one would speak for that one, too
        if (said := other.said()).state in ACTIVE:
            other.write_status(Status(State.INTERRUPTED, INTERRUPTED, said.process))
    (run.folder / STOP).unlink(missing_ok=True)
    run.write_status(Status(State.STARTING))
    package = str(folders.ROOT.parent)
    paths = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    with (run.folder / "process.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gptviz.runs.worker", str(run.folder), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": paths},
        )
    PROCESSES.append(process)
    return run


def stop_all(seconds: float = 30.0) -> None:
    """Ask what was begun here to save and end, and wait for it: for an app that ends."""
    for process in PROCESSES:
        if process.poll() is None:
            process.terminate()
    for process in PROCESSES:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()


# Recipes --------------------------------------------------------------------------------------------------------------


def text_recipe(choice: Choice, folder: Path) -> str:
    """Write the text and its vocabulary into the run's folder; returns the recipe."""
    from gptviz.tokenizer import Tokenizer, train_ranks

    train, valid = documents(choice.text)
    tokenizer = Tokenizer(train_ranks(train, choice.size.vocab_size))
    context = choice.size.context
    shortest = min(sum(len(tokenizer.encode(text)) for text in side) for side in (train, valid))
    while context > SHORTEST_CONTEXT and context + 1 >= shortest:
        context //= 2
    if context + 1 >= shortest:
        raise RunError(
            f"expected a text whose last tenth has more than {SHORTEST_CONTEXT + 1} tokens, found {shortest}; "
            "add more text"
        )
    (folder / "data").mkdir(parents=True)
    with (folder / "data" / TEXT).open("w", encoding="utf-8") as file:
        for split, texts in (("train", train), ("valid", valid)):
            file.writelines(json.dumps({"text": text, "split": split}) + "\n" for text in texts)
    tokenizer.save(folder / folders.VOCABULARY)
    size = choice.size._replace(context=context, vocab_size=tokenizer.vocab_size)
    return recipe_text(choice, size, TEXT, "a text of your own" if choice.text is not None else "sample tales")


def documents(text: str | None) -> tuple[list[str], list[str]]:
    """The texts to train on and those held out: of one text its end, of the sample its last tales."""
    if text is None:
        tales = list(sample.tales())
        cut = round(len(tales) * (1 - HELD_OUT))
        return tales[:cut], tales[cut:]
    text = text.strip()
    if not SHORTEST_TEXT <= len(text) <= LONGEST_TEXT:
        raise RunError(
            f"expected a text of {SHORTEST_TEXT:,} to {LONGEST_TEXT:,} characters, found {len(text):,}; "
            + ("add more text, or choose the sample" if len(text) < SHORTEST_TEXT else "prepare it: see below")
        )
    if UNBROKEN.search(text):
        raise RunError(
            "expected words, found more than 1,000 characters in a row without a space or another kind of sign between "
            "them; choose a text that people read"
        )
    cut = round(len(text) * (1 - HELD_OUT))
    space = text.rfind(" ", 0, cut)  # whole words on both sides, where there are words
    cut = space if space > cut // 2 else cut
    return [text[:cut]], [text[cut:]]


def corpus_recipe(choice: Choice, folder: Path) -> str:
    """The recipe for a prepared corpus, which has a vocabulary of its own."""
    from gptviz.corpus.shards import Shards
    from gptviz.tokenizer import Tokenizer

    if choice.corpus not in corpora():
        raise RunError(
            f"expected a prepared corpus, found {folders.shortened(choice.corpus)}; "
            f"there are: {', '.join(corpora()) or 'none'}"
        )
    source = corpora_root() / choice.corpus
    sides = [Shards(source, side) for side in ("train", "valid")]
    if min(map(len, sides)) <= choice.size.context + 1:
        raise RunError(
            f"expected more than {choice.size.context + 1} tokens on both sides of {choice.corpus}, found "
            f"{len(sides[0]):,} to train on and {len(sides[1]):,} held out; prepare a larger text"
        )
    folder.mkdir(parents=True)
    size = choice.size._replace(vocab_size=Tokenizer.load(source / folders.VOCABULARY).vocab_size)
    return recipe_text(choice, size, choice.corpus, choice.corpus, data=corpora_root().resolve())


def recipe_text(choice: Choice, size: Size, file: str, corpus: str, data: Path | None = None) -> str:
    """The whole recipe: `python -m gptviz train` reads it as well."""
    about = {"corpus": corpus, **({"data": str(data)} if data else {})}
    model = {**size._asdict(), "norm_order": "post", "activation": "relu", "tied": True}
    training = {
        "steps": choice.steps, "learning_rate": choice.learning_rate, "embedding_rate": 3.0,
        "warmup": max(1, min(100, choice.steps // 10)), "decay": 0.85, "optimizer": "muon", "seed": choice.seed,
        "causal": choice.causal, "eval_every": max(1, min(100, choice.steps // 20)), "save_every": 50,
        "snapshots": SNAPSHOTS,
    }  # fmt: skip
    batch = {"rows": choice.rows, **({"repeats": [[0, choice.repeats]]} if choice.repeats else {})}
    source = {"file": file, "split": "train", "share": 1.0 - choice.repeats}
    valid = {"file": file, "split": "valid"}
    tables = {"about": about, "model": model, "training": training, "batch": batch, "[source]": source, "valid": valid}
    return "\n".join(lines(tables))


def lines(tables: dict[str, dict]) -> Iterable[str]:
    """TOML of flat tables: JSON writes strings, numbers, booleans and lists as TOML does."""
    for name, values in tables.items():
        yield f"[{name}]"
        yield from (f"{key} = {json.dumps(value)}" for key, value in values.items())
        yield ""
