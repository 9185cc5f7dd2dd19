"""`python -m benchmarks`: run all comparisons, each in a fresh interpreter, and print one table."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks.common import Row, Skip

ROOT = Path(__file__).resolve().parent.parent
MISSED = "MISSED"
BENCHMARKS = {
    "startup": "time to the first picture after the app is started",
    "server": "server time of pages for a new sentence of 64 tokens",
    "trace": "a forward pass with all its stages",
    "training": "training tokens per second",
    "prepare": "tokens per second of turning a corpus into shards, and its memory",
    "generation": "generated tokens per second",
    "translation": "translating with an encoder-decoder, and training one",
    "memory": "resident memory of the server over 200 sentences",
    "view": "the attention view in a browser, beside BertViz",
}


def main(argv: list[str] | None = None) -> int:
    """Run what was asked for; 0 when every bound was kept."""
    names = "\n".join(f"  {name:<11} {what}" for name, what in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Speed and memory as ratios to peers, measured in one run.",
        epilog=f"benchmarks:\n{names}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which to run; all of them if none is named")
    parser.add_argument("--quick", action="store_true", help="few repeats: shows that they run, not how fast")
    parser.add_argument("--json", action="store_true", help="one JSON object a line in place of the table")
    options = parser.parse_args(argv)
    if unknown := sorted(set(options.names) - set(BENCHMARKS)):
        parser.error(f"expected names from {', '.join(BENCHMARKS)}, found {', '.join(unknown)}")
    names = options.names or list(BENCHMARKS)
    if not options.json:
        return print_table(names, options.quick)
    for name in names:
        print_json(name, options.quick)
    return 0


def print_json(name: str, quick: bool) -> None:
    """Run one benchmark in this process; a JSON object a row."""
    try:
        for row in importlib.import_module(f"benchmarks.{name}").run(quick):
            print(json.dumps(asdict(row)), flush=True)
    except Skip as reason:
        print(json.dumps({"skipped": name, "reason": str(reason)}), flush=True)


def print_table(names: list[str], quick: bool) -> int:
    """Run each benchmark in a process of its own: none inherits another's threads, caches or settings."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}" + ", quick" * quick)
    print("Ratios are medians over rounds that run both sides in turn.\n")
    print(f"{'':6} {'value':>10}  {'bound':<10} what", flush=True)
    failed = missed = 0
    start = time.perf_counter()
    for name in names:
        command = [sys.executable, "-m", "benchmarks", name, "--json", *(["--quick"] * quick)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout or ():
                shown = show(line)
                missed += shown.startswith(MISSED)
                print(shown, flush=True)
        if process.returncode:
            failed += 1
            print(f"FAILED {name}: it ended with exit status {process.returncode}; what it said is above")
    print(f"\n{time.perf_counter() - start:.0f} s; bounds missed: {missed}; benchmarks that failed: {failed}")
    return 1 if missed or failed else 0


def show(line: str) -> str:
    """A JSON row as a line of the table; anything else a benchmark printed, as it is."""
    try:
        values = json.loads(line)
    except ValueError:
        return line.rstrip()
    if "skipped" in values:
        return f"{'skip':6} {'':>10}  {'':<10} {values['skipped']}: {values['reason']}"
    row = Row(**values)
    bound = f"{row.bound[0]} {row.bound[1]:g}" if row.bound else ""
    verdict = ("ok" if row.kept else MISSED) if row.bound else ""
    value = f"{row.value:.2f}" if not row.unit else f"{row.value:.0f} {row.unit}"
    return f"{verdict:6} {value:>10}  {bound:<10} {row.name}  ({row.detail})"


if __name__ == "__main__":
    sys.exit(main())
