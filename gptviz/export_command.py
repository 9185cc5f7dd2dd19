"""The command `export`: the picture of a page, as a file. Imports torch and what draws only when it is run."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from gptviz.console import add_dtype_argument, notice_of_half
from gptviz.files import replaced
from gptviz.places import TRANSFORMER_PAGES

if TYPE_CHECKING:
    from gptviz.provenance import Provenance

KINDS = ("png", "svg", "pdf", "csv", "npz", "html")
DRAWN_KINDS = KINDS[:3]  # by matplotlib
WIDTHS = (100, 10_000)  # pixels
# What Windows takes for devices, and signs that it does not take: a file that is made here opens everywhere.
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


def add_export_parser(
    commands: argparse._SubParsersAction, model: str, translator: str
) -> None:
    """Describe `export` to `python -m gptviz`, and the models that are its default."""
    parser = commands.add_parser(
        "export",
        help="save the picture of a page: PNG, SVG, PDF, its numbers as CSV or NPZ, or one HTML file",
        description="Makes the picture that a page of the app shows, without the app and without a browser. The file "
        "says inside where it is from: model, hash, sentence, settings, versions.",
    )
    parser.add_argument("page", metavar="PAGE", help="as in the address of the app, such as attention or next-token")
    parser.add_argument("text", help="the sentence; of pages about translation, the one to translate")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=f"ends in .{', .'.join(KINDS)}")
    parser.add_argument("--model", help=f"name of a model, or path of its folder ({model}, or {translator})")
    parser.add_argument("--device", help="cuda, cuda:1, mps, cpu or auto; by default $GPTVIZ_DEVICE, else auto")
    add_dtype_argument(parser)
    parser.add_argument("--head", metavar="L.H", help="the head to show, such as 1.3: layer first")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="anything else that a link of the page can "
        "name, such as next_temperature=0.5; more than once for more",
    )  # fmt: skip
    parser.add_argument("--width", type=int, default=1600, metavar="PIXELS", help="of PNG, SVG and PDF (1600)")
    parser.add_argument("--theme", choices=("light", "dark"), default="light", help="of PNG, SVG and PDF (light)")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    parser.set_defaults(action=export_command, defaults=(model, translator))


def export_command(args: argparse.Namespace) -> None:
    """Draw, and write the file as a whole or not at all."""
    kind = check_out(args.out, args.force)
    settings = settings_of(args)
    if not WIDTHS[0] <= args.width <= WIDTHS[1]:
        raise ValueError(f"expected a width from {WIDTHS[0]} to {WIDTHS[1]:,} pixels, found {args.width}")
    import gptviz
    from gptviz import pictures
    from gptviz.provenance import provenance

    if args.page not in pictures.DRAWN:
        raise ValueError(f"expected a page with a picture, {', '.join(pictures.DRAWN)}; found {args.page!r}")
    model = gptviz.load(args.model or args.defaults[args.page in TRANSFORMER_PAGES], args.device, args.dtype)
    notice_of_half(model)
    picture = pictures.draw(args.page, model, args.text, settings)
    link = link_to(args.page, model.name, args.text, settings)
    data = file_of(picture, kind, provenance(model, args.text, settings, link), args)
    with replaced(args.out) as part:
        part.write_bytes(data)
    print(f"saved {args.page} of {model.name} to {args.out}, {len(data):,} bytes", file=sys.stderr)


def check_out(path: Path, force: bool) -> str:
    """The kind of file that `path` ends in, or a `ValueError` where none can be written, before anything is drawn."""
    kind = path.suffix.removeprefix(".").lower()
    if kind not in KINDS:
        raise ValueError(f"expected a file that ends in .{', .'.join(KINDS)}, found {str(path)!r}")
    if DEVICES.fullmatch(path.name) or UNSAFE.search(path.name):
        raise ValueError(f"expected a name that every system takes, found {path.name!r}; choose letters and digits")
    if not path.parent.is_dir():
        raise ValueError(f"expected a folder that is there, found {str(path.parent)!r}; make it first")
    if path.is_dir():
        raise ValueError(f"expected a file, found the folder {str(path)!r}; choose another name")
    if path.exists() and not force:
        raise ValueError(f"expected a new file, found {str(path)!r} already there; --force replaces it")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"expected a folder that can be written to, found {str(path.parent)!r}; choose another one")
    return kind


def settings_of(args: argparse.Namespace) -> dict[str, str]:
    """What was chosen, by its names in a link."""
    settings = {}
    if args.head is not None:
        if not re.fullmatch(r"\d{1,4}\.\d{1,4}", args.head):
            raise ValueError(f"expected a head such as 1.3, layer first, found {args.head!r}")
        settings["layer"], settings["head"] = args.head.split(".")
    for given in args.set:
        name, equals, value = given.partition("=")
        if not (name and equals):
            raise ValueError(f"expected --set NAME=VALUE, found {given!r}")
        settings[name] = value
    return settings


def link_to(page: str, model: str, text: str, settings: dict[str, str]) -> str:
    """The part of the app's address behind the host that shows the same."""
    names = ("translator", "source") if page in TRANSFORMER_PAGES else ("model", "text")
    return f"{page}?{urlencode(dict(zip(names, (model, text), strict=True)) | settings, errors='replace')}"


def file_of(picture: Any, kind: str, about: Provenance, args: argparse.Namespace) -> bytes:
    """The bytes of the file."""
    from gptviz import export

    if kind in {"csv", "npz"}:
        return (export.csv if kind == "csv" else export.npz)(picture, about)
    try:
        if kind == "html":
            return export.html(picture, about).encode("utf-8", "replace")
        return export.render(picture, kind, about, width=args.width, theme=args.theme)
    except TypeError as error:  # a picture that has no page of its own
        raise ValueError(str(error)) from error
    except ImportError as error:
        others = ", ".join(k for k in KINDS if k not in DRAWN_KINDS)
        raise ValueError(
            f"expected matplotlib for .{kind}, found {error}; pip install -r requirements.txt, or save as {others}"
        ) from error
