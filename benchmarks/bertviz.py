"""BertViz's pages on given tensors, opened in a browser without a network: the peer of the attention view.

Its pages load three libraries from a content network; npm gets them once, and the browser is given them from disk.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.common import Skip

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

FOLDER = Path(__file__).parent / ".peers"
LIBRARIES = {  # what the page asks for: npm package, file in it
    "require.min.js": ("requirejs@2.3.6", "package/require.js"),
    "d3.min.js": ("d3@5.7.0", "package/dist/d3.min.js"),
    "jquery.min.js": ("jquery@2.1.0", "package/dist/jquery.min.js"),  # the page wants 2.0.0, which npm does not have
}


def pages(weights: np.ndarray, tokens: list[str]) -> dict[str, str]:
    """The HTML of `model_view` and `head_view` for weights (L, H, T, T), every layer and head in it."""
    try:
        import torch
        from bertviz import head_view, model_view
    except ImportError as error:
        raise Skip(f"{error}; pip install -r benchmarks/requirements.txt") from error
    layers = [torch.from_numpy(layer.copy())[None] for layer in weights]
    made = {"model_view": model_view, "head_view": head_view}
    return {name: make(layers, tokens, html_action="return").data for name, make in made.items()}


def libraries() -> dict[str, str]:
    """Name of a file that the pages load -> its text; fetched by npm the first time."""
    return {name: fetch(package, member) for name, (package, member) in LIBRARIES.items()}


def fetch(package: str, member: str) -> str:
    """A file of an npm package."""
    FOLDER.mkdir(exist_ok=True)
    archive = FOLDER / (package.replace("@", "-") + ".tgz")
    if not archive.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise Skip("expected npm, which fetches the libraries of BertViz's pages, found none")
        done = subprocess.run([npm, "pack", package], cwd=FOLDER, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Skip(f"npm could not fetch {package}: {done.stderr.strip()[-200:]}")
    with tarfile.open(archive) as packed:
        return packed.extractfile(member).read().decode()


def give_libraries(page: Page, texts: dict[str, str]) -> None:
    """Answer the page's requests to the content network from memory."""

    def answer(route: Route) -> None:
        text = texts.get(route.request.url.rsplit("/", 1)[-1])
        route.fulfill(body=text, content_type="text/javascript") if text else route.abort()

    page.route(re.compile("^https://"), answer)


def ready(name: str, shape: tuple[int, ...]) -> str:
    """JavaScript that is true when a page has drawn all its lines: one a weight, of all layers or of the first."""
    n_layers, n_heads, t, s = shape
    lines = (n_layers if name == "model_view" else 1) * n_heads * t * s
    return f"document.querySelectorAll('svg line').length >= {lines}"
