"""How the command line speaks: help with examples, complaints in one line, text that a console can show."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gptviz.checkpoint import AnyModel

EXIT_CODES = "exit codes: 0 it went well; 2 an error, said in one line on stderr; 130 interrupted by Ctrl-C"
EXAMPLES = {
    "lecture": ("lecture attention-in-ten-minutes --html talk.html",),
    "models": ["models", "models --json"],
    "get": ["get smollm2-135m"],
    "remove": ["remove smollm2-135m"],
    "trace": ['trace "My dog has fleas" --head 1.3', 'trace "My dog has fleas" --json'],
    "generate": ['generate "Once upon a time" --max-new-tokens 40 --seed 1'],
    "translate": ['translate "Ich habe Hunger." --beam 4'],
    "export": ['export attention "My dog has fleas" --head 1.3 --out fleas.svg'],
    "prepare": ["prepare my-texts --out corpora/mine"],
    "train": ["train checkpoints/gpt-stories/recipe.toml --data corpora --run runs/mine"],
    "evaluate": ["evaluate gpt-stories --data corpora --json"],
}
"""Of each command, without `python -m gptviz`; a command may bring an epilog of its own instead."""


class Help(argparse.HelpFormatter):
    """Wraps paragraphs one by one, and leaves indented lines, the examples, as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text
        return "\n".join(x if x.startswith("  ") else fill(x, width, indent) for x in text.splitlines())


def complaint(error: ValueError | OSError) -> str:
    """What was wrong, in words; of a file that the system refuses, which one and why."""
    if isinstance(error, OSError) and error.filename is not None:
        found = f"{os.fsdecode(error.filename)!r}: {error.strerror}"
        return f"expected a file or folder that can be used, found {found}; check the path"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "expected room on the disk, found none; make room and run the same command again"
    return str(error)


def printable(text: str) -> str:
    """`text` with control characters escaped, but for newlines and tabs: they could command a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def add_dtype_argument(command: argparse.ArgumentParser) -> None:
    """`--dtype`, for commands that open a model which can be kept in half precision."""
    command.add_argument(
        "--dtype", choices=("auto", "float32", "float16", "bfloat16", "half"), help="what weights are kept in; "
        "half: as the file has them, else float16; by default $GPTVIZ_DTYPE, else auto: float32 where it fits",
    )  # fmt: skip


def notice_of_half(model: AnyModel) -> None:
    """Say on stderr that the numbers are those of weights in half precision, where they are."""
    from gptviz.half import half_dtype, name_of

    network = getattr(model, "gpt", None)
    if network is not None and (kept := half_dtype(network)) is not None:
        print(f"notice: the weights are held in half precision, {name_of(kept)}", file=sys.stderr)
