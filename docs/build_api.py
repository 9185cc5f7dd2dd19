"""Builds the reference of the library from its docstrings: `python -m docs.build_api`, then open docs/site/index.html.

The pages need no network, neither to be built nor to be read. The app's own package, `gptviz.ui`, is left out.
"""

from __future__ import annotations

import argparse
import pkgutil
import re
import sys
import types
import warnings
from collections.abc import Sequence
from pathlib import Path

import pdoc
import pdoc.doc
import pdoc.render

import gptviz

SITE = Path(__file__).parent / "site"
LEFT_OUT = ("gptviz.ui", "gptviz.__main__")  # the app, and what runs when it is imported
FOREIGN = re.compile(  # what a browser would fetch from another host; links, which wait for a click, are not among it
    r"""(?:src|srcset|poster|data|action)\s*=\s*["']?(?:https?:)?//|<link[^>]+href\s*=\s*["']?(?:https?:)?//"""
    r"""|url\(["']?(?:https?:)?//|@import|import[\s(]*["']https?:|fetch\(["']https?:"""
)


def modules() -> list[str]:
    """All modules of the library."""
    names = ["gptviz", *(module.name for module in pkgutil.walk_packages(gptviz.__path__, "gptviz."))]
    return [name for name in names if not name.startswith(LEFT_OUT)]


def build(out: Path = SITE, names: Sequence[str] | None = None, *, source: bool = True) -> list[Path]:
    """Write the pages of modules, of all without `names`, with an index and a search; returns the pages.

    Args:
        source: with the code of every name, which takes half of the time.

    Raises:
        UserWarning: of pdoc, for a docstring or an annotation that it cannot read.
        ValueError: for a page that would ask another host for something.
    """
    for name in gptviz.__all__:  # they are imported when they are first used; pdoc lists what is there
        getattr(gptviz, name)
    pdoc.render.configure(docformat="google", footer_text=f"gptviz {gptviz.__version__}", show_source=source)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=UserWarning, module="pdoc")
        found = {name: pdoc.doc.Module.from_name(name) for name in (modules() if names is None else names)}
        for module in found.values():
            own_constructors(module.obj)
        pages = {f"{name.replace('.', '/')}.html": pdoc.render.html_module(m, found) for name, m in found.items()}
        pages |= {"index.html": pdoc.render.html_index(found), "search.js": pdoc.render.search_index(found)}
    for name, text in pages.items():
        if foreign := FOREIGN.search(text):
            raise ValueError(f"expected pages that need no network, found {foreign[0]!r} in {name}")
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(text.encode())
    return [out / name for name in pages]


def own_constructors(module: types.ModuleType) -> None:
    """Named tuples get their constructor from a module that is nowhere: pdoc looks up its annotations in their own."""
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, tuple) and hasattr(value, "_fields"):
            value.__new__.__module__ = value.__module__


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m docs.build_api", description="Build the reference of the library.")
    parser.add_argument("--out", type=Path, default=SITE, metavar="FOLDER", help="for the pages (docs/site)")
    args = parser.parse_args()
    pages = build(args.out)
    print(f"{len(pages)} pages; open {args.out / 'index.html'}", file=sys.stderr)


if __name__ == "__main__":
    main()
