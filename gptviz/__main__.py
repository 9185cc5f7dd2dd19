"""The command line, `python -m gptviz`: each command has a function that describes it and one that runs it.

PyTorch is imported by the commands that need it, so that `--help` and mistakes in the arguments are answered at once.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import gptviz
from gptviz import folder

if TYPE_CHECKING:
    from gptviz import LanguageModel, Trace

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

DEFAULT_MODEL = "gpt-stories"
Rows = Iterable[Sequence[object]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 if it went well, 2 after an error, which is one line on stderr."""
    if hasattr(sys.stdout, "reconfigure"):  # a console that cannot show a character gets its escape
        sys.stdout.reconfigure(errors="backslashreplace")
    args = parser().parse_args(arguments)
    try:
        args.action(args)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has seen enough, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError) as error:  # every complaint of ours is a ValueError
        print(f"gptviz: {' '.join(complaint(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def complaint(error: ValueError | OSError) -> str:
    """What was wrong, in words; of a file that the system refuses, which one and why."""
    if isinstance(error, OSError) and error.filename is not None:
        found = f"{os.fsdecode(error.filename)!r}: {error.strerror}"
        return f"expected a file or folder that can be used, found {found}; check the path"
    return str(error)


def parser() -> argparse.ArgumentParser:
    """All commands with their arguments."""
    about = "See what a real transformer does with a sentence."
    variables = f"environment: GPTVIZ_DEVICE is the default of --device; {folder.ENVIRONMENT} the folder of the models"
    top = argparse.ArgumentParser(prog="python -m gptviz", description=about, epilog=variables)
    top.add_argument("--version", action="version", version=f"gptviz {gptviz.__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for describe in (describe_models, describe_trace, describe_generate, describe_training):
        describe(commands)
    return top


def describe_models(commands: Commands) -> None:
    """`models`: what can be loaded by name."""
    models = commands.add_parser("models", help="list the models that can be loaded by name")
    models.set_defaults(action=list_models)


def describe_trace(commands: Commands) -> None:
    """`trace`: one forward pass as a table or a file."""
    trace = commands.add_parser("trace", help="show what a model does with a text, as a table, CSV or arrays")
    trace.add_argument("text")
    add_model_arguments(trace)
    trace.add_argument("--head", metavar="L.H", help="attention weights of this head, such as 1.3: rows are queries")
    trace.add_argument("--unmasked", action="store_true", help="let every token see the future as well")
    trace.add_argument("--csv", action="store_true", help="print CSV with exact numbers in place of a table")
    trace.add_argument("--npz", type=Path, metavar="FILE", help="save every stage as a NumPy array")
    trace.set_defaults(action=show_trace)


def describe_generate(commands: Commands) -> None:
    """`generate`: go on from a text."""
    generate = commands.add_parser("generate", help="let a model go on from a text")
    generate.add_argument("text")
    add_model_arguments(generate)
    generate.add_argument("--max-new-tokens", type=int, default=20, metavar="N", help="stop after so many (20)")
    generate.add_argument("--temperature", type=float, default=0.8, metavar="T", help="0 is greedy (0.8)")
    generate.add_argument("--top-k", type=int, metavar="K", help="draw from the K most probable tokens only")
    generate.add_argument("--top-p", type=float, metavar="P", help="draw from the most probable ones that hold P only")
    generate.add_argument("--seed", type=int, default=0, help="equal seeds give equal texts (0)")
    generate.set_defaults(action=show_generation)


def describe_training(commands: Commands) -> None:
    """`train` and `evaluate`, which have a module of their own."""
    from gptviz.commands import add_parsers

    add_parsers(commands)


def add_model_arguments(command: argparse.ArgumentParser) -> None:
    """`--model` and `--device`."""
    command.add_argument(
        "--model", default=DEFAULT_MODEL, help=f"name of a model, or path of its folder ({DEFAULT_MODEL})"
    )
    command.add_argument("--device", help="cuda, cuda:1, mps, cpu or auto; by default $GPTVIZ_DEVICE, else auto")


def load_language_model(args: argparse.Namespace) -> LanguageModel:
    """The model of `--model`, or a `ValueError` if it is of another kind."""
    model = gptviz.load(args.model, args.device)
    if not isinstance(model, gptviz.LanguageModel):
        raise ValueError(f"expected a model that goes on from a text, found {model.name}, which translates")
    return model


def list_models(args: argparse.Namespace) -> None:
    """Print name and shape of every model; reads no weights, but compares their number with the shape."""
    names = folder.available()
    if not names:
        raise folder.CheckpointError(f"expected models, found none: {folder.known_models()}")
    rows = []
    for name in names:
        try:
            where = folder.find_shipped(name)
            config, _ = folder.read_config(where)
            folder.check_files(where)
            folder.read_header(where, config)
        except (folder.CheckpointError, OSError) as error:
            rows.append([name, f"damaged: {complaint(error)}"])
            continue
        _, weights = folder.expected_sizes(config)
        layers = config.n_layers if folder.kind_of(where) == "gpt" else f"{config.n_layers}+{config.n_layers}"
        shape = [layers, config.n_heads, config.d_model, config.vocab_size, config.context, f"{weights:,}"]
        rows.append([name, *shape])
    print_table(["name", "layers", "heads", "width", "vocabulary", "context", "parameters"], rows)


def show_trace(args: argparse.Namespace) -> None:
    """Print the tokens with their probabilities, or one head's weights; save the arrays if asked to."""
    model = load_language_model(args)
    trace = gptviz.trace(model, args.text, causal=not args.unmasked)
    notice_of_dropped(trace.dropped, model)
    if args.npz:
        save_arrays(trace, args.npz)
    header, rows = head_rows(trace, args.head) if args.head else token_rows(trace, exact=args.csv)
    if args.csv:
        csv.writer(sys.stdout, lineterminator="\n").writerows([header, *rows])
    else:
        short = [[f"{cell:.3f}" if isinstance(cell, float) else cell for cell in row] for row in rows]
        print_table(header, short)


def token_rows(trace: Trace, exact: bool) -> tuple[list[str], Rows]:
    """Position, id and text of each token, and the probability that the tokens before it gave it."""
    from gptviz.sampling import softmax

    given = softmax(trace.logits)[range(len(trace.ids) - 1), trace.ids[1:]]  # (T - 1,)
    probabilities = ["", *(float(p) if exact else f"{p:.6f}" for p in given)]  # nothing comes before the first token
    texts = trace.tokens if exact else map(quoted, trace.tokens)
    rows = list(zip(range(len(trace.ids)), trace.ids, texts, probabilities, strict=True))
    return ["position", "id", "token", "probability"], rows


def head_rows(trace: Trace, name: str) -> tuple[list[str], Rows]:
    """The weights of the head called `name`, such as 1.3: one row a query, one column a key."""
    layers, heads = trace.weights.shape[:2]
    try:
        layer, head = map(int, name.split("."))
    except ValueError:
        layer = head = -1
    if not (0 <= layer < layers and 0 <= head < heads):
        raise ValueError(f"expected a head from 0.0 to {layers - 1}.{heads - 1}, layer first, found {name!r}")
    labels = [f"{position} {quoted(token)}" for position, token in enumerate(trace.tokens)]
    weights = trace.weights[layer, head].tolist()  # (T, T)
    return [f"head {name}", *labels], [[label, *row] for label, row in zip(labels, weights, strict=True)]


def save_arrays(trace: Trace, path: Path) -> None:
    """Every stage by its name, with `ids` and `tokens`, in NumPy's .npz."""
    import numpy as np

    from gptviz.trace import STAGES

    with path.open("wb") as file:
        np.savez(file, ids=trace.ids, tokens=np.array(trace.tokens), **{name: getattr(trace, name) for name in STAGES})
    print(f"saved {len(STAGES)} stages of {len(trace.ids)} tokens to {path}", file=sys.stderr)


def show_generation(args: argparse.Namespace) -> None:
    """Print the text with its continuation; why it stopped goes to stderr."""
    model = load_language_model(args)
    settings = {"temperature": args.temperature, "top_k": args.top_k, "top_p": args.top_p, "seed": args.seed}
    result = gptviz.generate(model, args.text, args.max_new_tokens, **settings)
    print(printable(str(result)))
    notice_of_dropped(result.dropped, model)
    print(f"{len(result.ids)} tokens, stopped by {result.stopped}", file=sys.stderr)


def notice_of_dropped(dropped: int, model: LanguageModel) -> None:
    """Say on stderr that the model did not see all of it."""
    if dropped:
        context = model.gpt.config.context
        print(f"notice: {dropped} tokens at the left were cut, the context is {context} tokens", file=sys.stderr)


def printable(text: str) -> str:
    """`text` with control characters escaped, but for newlines and tabs: they could command a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def quoted(token: str) -> str:
    """A token between quotation marks, on one line, so that its spaces are seen."""
    return "'" + printable(token).replace("\n", "\\n").replace("\t", "\\t") + "'"


def print_table(header: Sequence[str], rows: Rows) -> None:
    """Columns of equal width; numbers to the right."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells if i < len(row)) for i in range(len(header))]
    for row in cells:
        print("  ".join(aligned(cell, width) for cell, width in zip(row, widths, strict=False)).rstrip())


def aligned(cell: str, width: int) -> str:
    """`cell`, filled with spaces: at the left if it is a number."""
    return cell.rjust(width) if cell.replace(",", "").replace(".", "", 1).isdigit() else cell.ljust(width)


if __name__ == "__main__":
    sys.exit(main())
