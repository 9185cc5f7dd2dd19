"""The command line, `python -m gptviz`: each command has a function that describes it and one that runs it.

PyTorch is imported by the commands that need it, so that `--help` and mistakes in the arguments are answered at once.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import gptviz
from gptviz import folder
from gptviz.console import EXAMPLES, EXIT_CODES, Help, add_dtype_argument, complaint, notice_of_half, printable
from gptviz.export_command import add_export_parser
from gptviz.lecture.command import add_lecture_parser

if TYPE_CHECKING:
    from gptviz import LanguageModel, Trace
    from gptviz.checkpoint import AnyModel
    from gptviz.installed import Installed

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

DEFAULT_MODEL, DEFAULT_TRANSLATOR = "gpt-stories", "transformer-deu-eng"
Rows = Iterable[Sequence[object]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 if it went well, 2 after an error, which is one line on stderr, 130 after Ctrl-C."""
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


def parser() -> argparse.ArgumentParser:
    """All commands with their arguments."""
    about = "See what a real transformer does with a sentence."
    defaults = "GPTVIZ_DEVICE is the default of --device, GPTVIZ_DTYPE of --dtype"
    variables = f"environment: {defaults}; {folder.ENVIRONMENT} the folder of the models"
    top = argparse.ArgumentParser(
        prog="python -m gptviz", description=about, epilog=f"{variables}\n{EXIT_CODES}", formatter_class=Help
    )
    top.add_argument("--version", action="version", version=f"gptviz {gptviz.__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for describe in (describe_models, describe_trace, describe_generate, describe_translate, describe_training):
        describe(commands)
    add_export_parser(commands, DEFAULT_MODEL, DEFAULT_TRANSLATOR)
    add_lecture_parser(commands)
    for name, command in commands.choices.items():
        command.formatter_class = Help
        if not command.epilog and name in EXAMPLES:
            lines = [f"  python -m gptviz {line}" for line in EXAMPLES[name]]
            command.epilog = "\n".join(["example:", *lines, EXIT_CODES])
    return top


def describe_models(commands: Commands) -> None:
    """`models`: what can be loaded by name; `get` and `remove`, which have a module of their own."""
    from gptviz.fetch.command import add_fetch_parsers

    models = commands.add_parser("models", help="list the models that can be loaded by name")
    models.add_argument(
        "--json", action="store_true", help="print a list of objects: name, kind, layers, heads, width, vocabulary, "
        "context, parameters, bytes, licence, source; problem is a text where one is damaged, else null",
    )  # fmt: skip
    models.set_defaults(action=list_models)
    add_fetch_parsers(commands)


def describe_trace(commands: Commands) -> None:
    """`trace`: one forward pass as a table or a file."""
    trace = commands.add_parser("trace", help="show what a model does with a text, as a table, CSV or arrays")
    trace.add_argument("text")
    add_model_arguments(trace)
    trace.add_argument("--head", metavar="L.H", help="attention weights of this head, such as 1.3: rows are queries")
    trace.add_argument("--unmasked", action="store_true", help="let every token see the future as well")
    form = trace.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print CSV with exact numbers in place of a table")
    form.add_argument(
        "--json", action="store_true", help="print an object: model, fingerprint, text, causal, dropped, tokens "
        "(position, id, token, probability); with --head also layer, head and weights (rows are queries)",
    )  # fmt: skip
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
    generate.add_argument(
        "--json", action="store_true", help="print an object: model, fingerprint, prompt, text (the continuation), "
        "ids, tokens, probabilities, dropped, stopped, and the settings",
    )  # fmt: skip
    generate.set_defaults(action=show_generation)


def describe_translate(commands: Commands) -> None:
    """`translate`: a sentence through an encoder-decoder."""
    translate = commands.add_parser("translate", help="translate a sentence by an encoder-decoder")
    translate.add_argument("text")
    add_model_arguments(translate, DEFAULT_TRANSLATOR)
    translate.add_argument("--beam", type=int, default=1, metavar="N", help="translations followed at once (1, greedy)")
    translate.add_argument(
        "--json", action="store_true", help="print an object: model, fingerprint, source, text, score (nats over the "
        "length penalty), ids, tokens, probabilities, stopped, beam",
    )  # fmt: skip
    translate.set_defaults(action=show_translation)


def describe_training(commands: Commands) -> None:
    """`train` and `evaluate`, which have a module of their own."""
    from gptviz.commands import add_parsers

    add_parsers(commands)


def add_model_arguments(command: argparse.ArgumentParser, default: str = DEFAULT_MODEL) -> None:
    """`--model`, `--device`, and `--dtype` for models that can be kept in half precision."""
    command.add_argument("--model", default=default, help=f"name of a model, or path of its folder ({default})")
    command.add_argument("--device", help="cuda, cuda:1, mps, cpu or auto; by default $GPTVIZ_DEVICE, else auto")
    if default == DEFAULT_MODEL:
        command.add_argument(
            "--chat", action="store_true", help="the text is a user's message in the model's chat template"
        )
        add_dtype_argument(command)


def load_language_model(args: argparse.Namespace) -> LanguageModel:
    """The model of `--model`, or a `ValueError` if it is of another kind."""
    model = gptviz.load(args.model, args.device, args.dtype)
    if not isinstance(model, gptviz.LanguageModel):
        raise ValueError(
            f"expected a model that goes on from a text, found {model.name}, which translates; "
            "use python -m gptviz translate, or another --model"
        )
    notice_of_half(model)
    return model.with_chat() if args.chat else model


def list_models(args: argparse.Namespace) -> None:
    """Print shape, size and licence of every model; reads no weights, but compares their number with the shape."""
    from gptviz.installed import in_words, installed

    if args.json:
        print_json([listed(model) for model in installed()])
        return
    rows = []
    for model in installed():
        if model.problem or model.config is None:
            rows.append([model.name, f"damaged: {model.problem}"])
            continue
        config = model.config
        layers = config.n_layers if model.kind == "gpt" else f"{config.n_layers}+{config.n_layers}"
        shape = [layers, config.n_heads, config.d_model, config.vocab_size, config.context, f"{model.parameters:,}"]
        rows.append([model.name, *shape, in_words(model.bytes), printable(model.licence)])
    if not rows:
        raise folder.CheckpointError(f"expected models, found none: {folder.known_models()}")
    header = ["name", "layers", "heads", "width", "vocabulary", "context", "parameters", "size", "licence"]
    print_table(header, rows)


def listed(model: Installed) -> dict[str, object]:
    """What `models --json` says of one model."""
    config = model.config
    names = {"layers": "n_layers", "heads": "n_heads", "width": "d_model", "vocabulary": "vocab_size"}
    names |= {"context": "context"}
    shape = {name: getattr(config, field) if config else None for name, field in names.items()}
    about = {"parameters": model.parameters, "bytes": model.bytes, "licence": model.licence, "source": model.source}
    return {"name": model.name, "kind": model.kind} | shape | about | {"problem": model.problem or None}


def show_trace(args: argparse.Namespace) -> None:
    """Print the tokens with their probabilities, or one head's weights; save the arrays if asked to."""
    model = load_language_model(args)
    trace = gptviz.trace(model, args.text, causal=not args.unmasked)
    notice_of_dropped(trace.dropped, model)
    if args.npz:
        save_arrays(trace, args.npz)
    if args.json:
        print_json(trace_object(model, trace, args))
        return
    header, rows = head_rows(trace, args.head) if args.head else token_rows(trace, exact=args.csv)
    if args.csv:
        csv.writer(sys.stdout, lineterminator="\n").writerows([header, *rows])
    else:
        short = [[f"{cell:.3f}" if isinstance(cell, float) else cell for cell in row] for row in rows]
        print_table(header, short)


def trace_object(model: LanguageModel, trace: Trace, args: argparse.Namespace) -> dict[str, object]:
    """What `trace --json` prints."""
    header, rows = token_rows(trace, exact=True)
    tokens = [dict(zip(header, row, strict=True)) for row in rows]
    tokens[0]["probability"] = None  # nothing comes before the first token
    read = {"text": args.text, "causal": not args.unmasked, "dropped": trace.dropped}
    found = made_by(model) | read | {"tokens": tokens}
    if args.head:
        layer, head = head_of(trace, args.head)
        found |= {"layer": layer, "head": head, "weights": trace.layer_weights(layer)[head].tolist()}  # (T, T)
    return found


def made_by(model: AnyModel) -> dict[str, object]:
    """Of every object for programs: whose numbers these are."""
    return {"model": model.name, "fingerprint": model.fingerprint}


def print_json(value: object) -> None:
    """One line on stdout, in ASCII: no console, and no character in a text, can spoil it."""
    print(json.dumps(value, allow_nan=False))


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
    layer, head = head_of(trace, name)
    labels = [f"{position} {quoted(token)}" for position, token in enumerate(trace.tokens)]
    weights = trace.layer_weights(layer)[head].tolist()  # (T, T)
    return [f"head {name}", *labels], [[label, *row] for label, row in zip(labels, weights, strict=True)]


def head_of(trace: Trace, name: str) -> tuple[int, int]:
    """Layer and head of a name such as 1.3, or a `ValueError` where there is no such head."""
    layers, heads = list(trace.axes("weights").values())[:2]
    try:
        layer, head = map(int, name.split("."))
    except ValueError:
        layer = head = -1
    if not (0 <= layer < layers and 0 <= head < heads):
        raise ValueError(f"expected a head from 0.0 to {layers - 1}.{heads - 1}, layer first, found {name!r}")
    return layer, head


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
    if args.json:
        print_json(made_by(model) | asdict(result) | settings | {"max_new_tokens": args.max_new_tokens})
        return
    print(printable(str(result)))
    notice_of_dropped(result.dropped, model)
    print(f"{len(result.ids)} tokens, stopped by {result.stopped}", file=sys.stderr)


def show_translation(args: argparse.Namespace) -> None:
    """Print the translation; how sure the model was goes to stderr."""
    model = gptviz.load(args.model, args.device)
    if isinstance(model, gptviz.LanguageModel):
        raise ValueError(
            f"expected a model that translates, found {model.name}, which goes on from a text; "
            "use python -m gptviz generate, or another --model"
        )
    result = gptviz.translate(model, args.text, args.beam)
    if args.json:
        said = {name: getattr(result, name) for name in ("text", "score", "ids", "stopped")}
        tokens = model.tokenizer.token_texts(result.ids)
        numbers = {"tokens": tokens, "probabilities": result.probabilities.tolist(), "beam": args.beam}
        print_json(made_by(model) | {"source": args.text} | said | numbers)
        return
    print(printable(result.text))
    mean = float(result.probabilities.mean())
    print(f"{len(result.ids)} tokens, {mean:.1%} of the probability on each, in the mean", file=sys.stderr)


def notice_of_dropped(dropped: int, model: LanguageModel) -> None:
    """Say on stderr that the model did not see all of it."""
    if dropped:
        context = model.gpt.config.context
        print(f"notice: {dropped} tokens at the left were cut, the context is {context} tokens", file=sys.stderr)


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
