"""The long-running commands, `train` and `evaluate`: print what the generators yield. Import torch only when run."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gptviz.checkpoint import LanguageModel, TranslationModel
    from gptviz.train import StepRecord

REPORT_EVERY = 20  # steps between lines where the output is not a terminal


def train_command(args: argparse.Namespace) -> None:
    """Train by a recipe; a second call with the same run folder goes on where the first one stopped."""
    from gptviz.recipe import load_recipe, run, with_steps

    recipe = with_steps(load_recipe(args.recipe), args.steps)
    started, before = time.monotonic(), None
    for record in run(recipe, args.data, args.run, args.device):
        before = record.tokens if before is None else before
        seconds = time.monotonic() - started
        report(record, recipe.training.steps, (record.tokens - before) / seconds, seconds)
    print(f"the checkpoint is in {args.run / 'model'}")


def report(record: StepRecord, steps: int, speed: float, seconds: float) -> None:
    """One line on the terminal that is written over; lines at intervals elsewhere; held-out losses always stay."""
    done = record.step / steps
    line = f"{done:6.1%}  step {record.step}/{steps}  loss {record.loss:.3f}  {speed:,.0f} tokens/s"
    if record.valid_loss is not None:
        print(f"\r{line}  held-out loss {record.valid_loss:.4f}  {seconds / 60:.0f} min", flush=True)
    elif sys.stdout.isatty():
        print(f"\r{line}   ", end="", flush=True)
    elif record.step % REPORT_EVERY == 0:
        print(line, flush=True)


def evaluate_command(args: argparse.Namespace) -> None:
    """Measure a model on the held-out text of its recipe: a GPT beside the baselines, an encoder-decoder by BLEU."""
    from gptviz.checkpoint import TranslationModel, load

    model = load(args.model, args.device)
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
    from gptviz.translation_scores import PAIRS, evaluate_translations, read_aligned

    recipe = TranslationRecipe.load(path)
    test = split_pairs(read_pairs(args.data / recipe.file, recipe.member)).test
    aligned = read_aligned(args.alignments) if args.alignments else []
    for line in evaluate_translations(model, test[: args.pairs or PAIRS], aligned).lines():
        print(line)


def evaluate_gpt(model: LanguageModel, path: Path, args: argparse.Namespace) -> None:
    """Bits per byte and head scores on the held-out documents of a recipe."""
    from gptviz.data import read_documents
    from gptviz.evaluate import evaluate
    from gptviz.recipe import Recipe

    recipe = Recipe.load(path)
    held_out = list(read_documents(args.data / recipe.valid.file, recipe.valid.split))
    same_kind = [c for c in recipe.sources if c.file == recipe.valid.file] or list(recipe.sources)
    training = [text for c in same_kind for text in read_documents(args.data / c.file, c.split)]
    for line in evaluate(model, held_out, training).lines():
        print(line)


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe both commands to `python -m gptviz`."""
    parser = commands.add_parser("train", help="train a model by a recipe, or go on with a run")
    parser.add_argument("recipe", type=Path, help="TOML file, see checkpoints/gpt-stories/recipe.toml")
    parser.add_argument("--data", type=Path, required=True, help="folder with the texts that the recipe names")
    parser.add_argument("--run", type=Path, required=True, help="folder of the run: state, log, at the end the model")
    parser.add_argument("--steps", type=int, help="other than in the recipe")
    parser.add_argument("--device", help="cuda, mps, cpu or auto")
    parser.set_defaults(action=train_command)

    parser = commands.add_parser("evaluate", help="measure a model on held-out text: bits per byte, or BLEU")
    parser.add_argument("model", help="name under checkpoints/, or the path of a folder")
    parser.add_argument("--data", type=Path, required=True, help="folder with the texts that the recipe names")
    parser.add_argument("--recipe", type=Path, help="the model's own by default")
    parser.add_argument("--pairs", type=int, metavar="N", help="sentences to translate (1,000)")
    parser.add_argument("--alignments", type=Path, metavar="FILE", help="pairs with linked words, see tests/")
    parser.add_argument("--device", help="cuda, mps, cpu or auto")
    parser.set_defaults(action=evaluate_command)
