"""The command `lecture`: list, read, check, and save as slides."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptviz.console import printable

if TYPE_CHECKING:
    from gptviz.export.deck import Slide
    from gptviz.lecture import Lecture, Scene


def add_lecture_parser(commands: argparse._SubParsersAction) -> None:
    """Describe `lecture` to `python -m gptviz`."""
    parser = commands.add_parser(
        "lecture",
        help="list lectures, check one, save it as slides",
        description="Without LECTURE lists those that come along. With one shows its scenes, or says what is wrong. "
        "To present it: streamlit run app.py -- --lecture FILE",
    )
    parser.add_argument("lecture", nargs="?", metavar="LECTURE", help="a name from the list, or a YAML file")
    parser.add_argument("--html", type=Path, metavar="FILE", help="save slides as one HTML file")
    parser.add_argument("--pptx", type=Path, metavar="FILE", help="save slides for PowerPoint")
    parser.add_argument("--json", action="store_true", help="print scenes as JSON")
    parser.set_defaults(action=lecture_command)


def lecture_command(args: argparse.Namespace) -> None:
    """List, show or save."""
    from gptviz import lecture

    if args.lecture is None:
        talks = {name: lecture.read_file(path) for name, path in lecture.shipped().items()}
        if args.json:
            print(json.dumps({name: {"title": t.title, "scenes": len(t.scenes)} for name, t in talks.items()}))
            return
        for name, talk in talks.items():
            print(f"{name:<34}{len(talk.scenes):>3} scenes  {talk.title}")
        return
    path = lecture.shipped().get(args.lecture) or Path(args.lecture)
    talk, wrong = lecture.examine(path)
    if len(wrong) > 1:  # a line each: what follows is the one line that ends every command that fails
        print("\n".join(map(printable, wrong)), file=sys.stderr)
        raise ValueError(f"{path.name}: expected a lecture that can be shown here, found what is told above")
    if wrong or talk is None:
        raise ValueError(*wrong)
    if args.html or args.pptx:
        save(talk, args)
    elif args.json:
        scenes = list(map(parts_of, talk.scenes))
        print(json.dumps({"title": talk.title, "author": talk.author, "scenes": scenes}, ensure_ascii=False))
    else:
        print(talk.title)
        for number, scene in enumerate(talk.scenes, 1):
            print(f"{number:>3}  {scene.title}\n     {scene.caption}\n     {scene.link()}")


def parts_of(scene: Scene) -> dict[str, Any]:
    """A scene as JSON has it: its parts, without where in the file each stands, and its link."""
    parts = {name: value for name, value in asdict(scene).items() if name != "lines"}
    return parts | {"settings": dict(scene.settings), "link": scene.link()}


def save(talk: Lecture, args: argparse.Namespace) -> None:
    """Write the files, each as a whole or not at all."""
    from gptviz.export import deck
    from gptviz.files import replaced

    drawn = list(told(deck.slides(talk)))
    if args.html:
        with replaced(args.html) as part:
            part.write_text(deck.to_html(talk, iter(drawn)), encoding="utf-8")
    if args.pptx:
        with replaced(args.pptx) as part:
            part.write_bytes(deck.to_pptx(talk, iter(drawn)))
    for path in filter(None, (args.html, args.pptx)):
        print(f"saved {len(drawn)} slides to {path}, {path.stat().st_size:,} bytes", file=sys.stderr)


def told(drawn: Iterator[Slide]) -> Iterator[Slide]:
    """The slides, each named on a terminal once it is drawn."""
    for slide in drawn:
        if sys.stderr.isatty():
            print(f"\r{slide.number} of {slide.of} drawn", end="\n" * (slide.number == slide.of), file=sys.stderr)
        yield slide
