"""The long-running commands, `prepare`, `evaluate` and, from `gptviz.training.command`, `train`.

They print what generators yield, and import torch, tiktoken and NumPy only when they are run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from gptviz.console import add_dtype_argument, notice_of_half, printable
from gptviz.progress import bar, duration
from gptviz.training.command import add_train_parser

if TYPE_CHECKING:
    from gptviz.checkpoint import AnyModel, LanguageModel, TranslationModel
    from gptviz.corpus.prepare import Progress
    from gptviz.tokenizer import Tokenizer

REPORT_SECONDS = 10.0  # between lines of `prepare` where the output is not a terminal
NAMED = 10  # skipped things in a summary
SIDES = {"train": "train on", "valid": "measure the held-out loss on"}
REMEDY = {"train": "prepare more text, or a smaller --valid", "valid": "prepare it again with a larger --valid"}


def prepare_command(args: argparse.Namespace) -> None:
    """Text to token shards; a second call with the same arguments goes on where the first one stopped."""
    from gptviz.corpus.prepare import Settings, prepare
    from gptviz.corpus.sources import open_source

    tokenizer = chosen_tokenizer(args)
    settings = Settings(args.valid, args.limit, args.shard_tokens)
    meter = Meter()
    for record in prepare(open_source(args.source, tokenizer), args.out, tokenizer, settings, args.workers):
        meter.show(record)
    summarise(args.out, meter)


def chosen_tokenizer(args: argparse.Namespace) -> Tokenizer:
    """The vocabulary of `--tokenizer`, else that of `--model`."""
    from gptviz import folder
    from gptviz.tokenizer import Tokenizer

    if args.tokenizer == "gpt2":
        return Tokenizer.gpt2()
    if args.tokenizer:
        return Tokenizer.load(Path(args.tokenizer))
    return Tokenizer.load(folder.find(args.model) / folder.VOCABULARY)


class Meter:
    """Speed and time left of `prepare`: one line on a terminal that is written over, lines at intervals elsewhere."""

    def __init__(self) -> None:
        self.started = self.shown = time.monotonic()
        self.first: Progress | None = None  # what an earlier run had done
        self.begun: float | None = None  # the fraction at which this run began
        self.open = False  # the cursor is behind a line that is written over

    def show(self, record: Progress) -> None:
        """Print one record, if it is time."""
        self.first = self.first or record
        self.begun = record.fraction if self.begun is None else self.begun
        now = time.monotonic()
        if record.finished:
            print("\n" * self.open, end="", flush=True)
        elif sys.stdout.isatty() and (now - self.shown > 0.1 or not self.open):
            print(f"\r{self.line(record, now - self.started)}\x1b[K", end="", flush=True)
            self.shown, self.open = now, True
        elif not sys.stdout.isatty() and now - self.shown > REPORT_SECONDS:
            print(self.line(record, now - self.started), flush=True)
            self.shown = now

    def line(self, record: Progress, seconds: float) -> str:
        """The bar, what is done, how fast, and how long it will take."""
        parts = []
        if record.fraction is not None:
            parts.append(bar(record.fraction))
        documents = record.documents - (self.first or record).documents
        tokens = record.tokens - (self.first or record).tokens
        seconds = max(seconds, 1e-9)
        parts += [f"{record.documents:,} documents", f"{documents / seconds:,.0f} documents/s"]
        parts.append(f"{tokens / seconds:,.0f} tokens/s")
        if record.fraction is not None and self.begun is not None and record.fraction > self.begun:
            parts.append(f"{duration(seconds * (1 - record.fraction) / (record.fraction - self.begun))} left")
        return "  ".join(parts) + (f"  {record.skipped:,} skipped" if record.skipped else "")


def summarise(out: Path, meter: Meter) -> None:
    """What a prepared folder holds, and what was skipped."""
    from gptviz.corpus.shards import MANIFEST, Manifest

    manifest = Manifest.load(out)
    for split in ("train", "valid"):
        print(f"{split:<6} {manifest.documents[split]:>13,} documents  {manifest.tokens[split]:>16,} tokens")
        if not manifest.documents[split]:
            print(f"{'':6} nothing to {SIDES[split]}: {REMEDY[split]}")
    if empty := manifest.documents["empty"]:
        print(f"empty  {empty:>13,} documents")
    if manifest.skipped:
        print(f"skipped {manifest.skipped:,}, because they are damaged or no text; the first are also in {MANIFEST}:")
        for name, reason in manifest.skipped_names[:NAMED]:
            print(f"  {printable(name)}: {printable(reason)}")
    print(f"the shards are in {out}, {duration(time.monotonic() - meter.started)}")


def evaluate_command(args: argparse.Namespace) -> None:
    """Measure a model on the held-out text of its recipe: a GPT beside the baselines, an encoder-decoder by BLEU."""
    from gptviz.checkpoint import TranslationModel, load

    model = load(args.model, args.device, args.dtype)
    notice_of_half(model)
    path = args.recipe or (model.folder / "recipe.toml" if model.folder else None)
    if path is None:
        raise ValueError("expected a recipe that names the held-out text; pass --recipe FILE")
    if isinstance(model, TranslationModel):
        evaluate_translation(model, path, args)
    else:
        evaluate_gpt(model, path, args)


def evaluate_translation(model: TranslationModel, path: Path, args: argparse.Namespace) -> None:
    """BLEU and chrF on the test pairs of a recipe, and the alignment error rate on pairs with links."""
    from gptviz.pairs import read_pairs, split_pairs
    from gptviz.recipe import TranslationRecipe
    from gptviz.translation_scores import PAIRS, evaluate_translations, read_aligned, sample

    recipe = TranslationRecipe.load(path)
    test = split_pairs(read_pairs(args.data / recipe.file, recipe.member)).test
    aligned = read_aligned(args.alignments) if args.alignments else []
    test = test[: args.pairs or PAIRS]
    report, shown = evaluate_translations(model, test, aligned), sample(model, test, args.show)
    if args.json:
        scores = {name: getattr(report, name)._asdict() for name in ("greedy", "beam")}
        drawn = [{"source": pair.source, "reference": pair.target, "greedy": greedy} for pair, greedy in shown]
        print_report(model, asdict(report) | scores | {"samples": drawn})
        return
    for line in report.lines():
        print(line)
    for pair, translation in shown:
        print(f"\n{pair.source}\n  reference  {pair.target}\n  greedy     {translation}")


def evaluate_gpt(model: LanguageModel, path: Path, args: argparse.Namespace) -> None:
    """Bits per byte and head scores on the held-out documents of a recipe."""
    from gptviz.data import read_documents
    from gptviz.evaluate import evaluate
    from gptviz.recipe import Recipe

    recipe = Recipe.load(path)
    held_out = list(read_documents(args.data / recipe.valid.file, recipe.valid.split))
    same_kind = [c for c in recipe.sources if c.file == recipe.valid.file] or list(recipe.sources)
    training = [text for c in same_kind for text in read_documents(args.data / c.file, c.split)]
    report = evaluate(model, held_out, training)
    if args.json:
        heads = {name: getattr(report, name).tolist() for name in ("previous_token", "induction")}  # (L, H)
        print_report(model, asdict(report) | heads)
        return
    for line in report.lines():
        print(line)


def print_report(model: AnyModel, figures: dict[str, object]) -> None:
    """What `evaluate --json` prints; what could not be measured is null, as JSON knows no other word for it."""
    found = {"model": model.name, "fingerprint": model.fingerprint} | figures
    print(json.dumps(json.loads(json.dumps(found), parse_constant=lambda _: None)))


def add_parsers(commands: argparse._SubParsersAction) -> None:
    """Describe the commands to `python -m gptviz`."""
    add_prepare_parser(commands)
    add_train_parser(commands)

    parser = commands.add_parser("evaluate", help="measure a model on held-out text: bits per byte, or BLEU")
    parser.add_argument("model", help="name under checkpoints/, or the path of a folder")
    parser.add_argument("--data", type=Path, required=True, help="folder with the texts that the recipe names")
    parser.add_argument("--recipe", type=Path, help="the model's own by default")
    parser.add_argument("--pairs", type=int, metavar="N", help="sentences to translate (1,000)")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="translations to print, drawn with seed 0")
    parser.add_argument("--alignments", type=Path, metavar="FILE", help="pairs with linked words, see tests/")
    parser.add_argument("--device", help="cuda, mps, cpu or auto")
    add_dtype_argument(parser)
    parser.add_argument(
        "--json", action="store_true", help="print an object: model, fingerprint, and the figures by name; of a GPT "
        "documents, text_bytes, bits_per_byte, ngram_bits_per_byte, xz_bits_per_byte, previous_token and induction (a "
        "row a layer); of a translator pairs, greedy and beam (bleu, chrf), signature, aligned, error_rates, samples",
    )  # fmt: skip
    parser.set_defaults(action=evaluate_command)


def add_prepare_parser(commands: argparse._SubParsersAction) -> None:
    """`prepare`: a corpus to token shards."""
    parser = commands.add_parser(
        "prepare",
        help="turn a corpus into token shards to train on, or go on with that",
        description="Reads text files, JSON lines, Parquet, tar archives, nanoGPT's .bin and folders of them, packed "
        "with xz, gzip or Zstandard; by name, openwebtext through Hugging Face. The same command again goes on after "
        "an interruption. What is damaged is skipped and named.",
    )
    parser.add_argument("source", metavar="SOURCE", help="file or folder with text, or openwebtext")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="for the shards")
    vocabulary = parser.add_mutually_exclusive_group()
    vocabulary.add_argument("--model", default="gpt-stories", help="take the vocabulary of this model (gpt-stories)")
    vocabulary.add_argument("--tokenizer", metavar="gpt2|FILE", help="GPT-2's vocabulary, or a tiktoken rank file")
    parser.add_argument("--workers", type=int, metavar="N", help="threads that tokenise; one a core by default")
    parser.add_argument("--valid", type=float, default=0.0005, metavar="SHARE", help="held out, by hash (0.0005)")
    parser.add_argument("--limit", type=int, metavar="DOCS", help="stop after so many documents")
    parser.add_argument(
        "--shard-tokens", type=int, default=2**25, metavar="N", help="of a file; what an interruption costs at most"
    )
    parser.set_defaults(action=prepare_command)
