"""Runs the tutorial and writes its outputs into it: `python -m docs.make_tutorial`, after its cells were changed.

The cells themselves are edited in Jupyter, VS Code or whatever opens notebooks. What differs from one machine or one
run to the next stays out of the file. `tests/test_tutorial.py` runs it in the same way.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from traitlets.config import Config

ROOT = Path(__file__).resolve().parent.parent
TUTORIAL = ROOT / "docs" / "tutorial.ipynb"
SECONDS = 120  # for a cell, on a machine that is busy
METADATA = {  # of every run: the version of Python is not among it
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
LEFT_OUT = ("GPTVIZ_CHECKPOINTS", "IPYTHON", "JUPYTER")  # beginnings of variables: settings of somebody's own


def read(path: Path = TUTORIAL) -> NotebookNode:
    """A notebook from its file."""
    return nbformat.read(path, as_version=4)


def run(notebook: NotebookNode) -> NotebookNode:
    """Run all cells in a kernel of its own, in an empty folder; the notebook is changed in place, and returned.

    Raises:
        nbclient.exceptions.CellExecutionError: where a cell raises, with the cell and what it raised.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(LEFT_OUT)}
    with tempfile.TemporaryDirectory() as folder:
        own = {"IPYTHONDIR": folder, "GPTVIZ_DEVICE": "cpu", "GPTVIZ_RUNS": "no-runs"}
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        client = NotebookClient(
            notebook,
            timeout=SECONDS,
            kernel_name="python3",
            record_timing=False,
            coalesce_streams=True,  # what a cell printed arrives in pieces, which differ from run to run
            resources={"metadata": {"path": folder}},
            config=Config({"KernelManager": {"transport_encryption": "auto"}}),  # others may share the machine
        )
        client.execute(env=kept | own | {"PYTHONPATH": path})
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = NotebookNode()
    return notebook


def main() -> None:
    """The command."""
    notebook = run(read())
    nbformat.validate(notebook)
    nbformat.write(notebook, TUTORIAL)
    print(f"{TUTORIAL.stat().st_size:,} bytes in {TUTORIAL.relative_to(ROOT)}", file=sys.stderr)


if __name__ == "__main__":
    main()
