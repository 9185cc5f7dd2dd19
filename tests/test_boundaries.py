"""The core is usable without the app: importing it, in a fresh interpreter, brings in neither Streamlit nor Plotly."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOT_CORE = ("gptviz/ui/", "gptviz/figures/", "gptviz/export/", "gptviz/pictures/", "gptviz/__main__.py")


def modules(folder: str, leave_out: tuple[str, ...] = ()) -> list[str]:
    """Importable names of all Python files in a folder of the repository."""
    paths = (path.relative_to(ROOT) for path in sorted((ROOT / folder).rglob("*.py")))
    kept = [path.with_suffix("") for path in paths if not path.as_posix().startswith(leave_out)]
    return [".".join(path.parts).removesuffix(".__init__") for path in kept]


def loaded_by(names: list[str], look_for: set[str]) -> set[str]:
    """Which packages of `look_for` are in sys.modules after a fresh interpreter has imported `names`."""
    code = (
        "import importlib, json, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return look_for & set(json.loads(done.stdout))


def test_the_core_imports_neither_streamlit_nor_plotly() -> None:
    core = modules("gptviz", leave_out=NOT_CORE)
    assert {"gptviz", "gptviz.attention", "gptviz.gpt", "gptviz.trace", "gptviz.train"} <= set(core)
    assert not any(name.startswith(("gptviz.ui", "gptviz.figures")) for name in core)
    assert loaded_by(core, {"streamlit", "plotly"}) == set()


def test_figures_import_neither_torch_nor_streamlit() -> None:
    figures = modules("gptviz/figures")
    assert figures
    # The package's own front door is stepped over: what it imports, now or one day, is not the figures' doing.
    stub = "import sys, types; p = types.ModuleType('gptviz'); p.__path__ = ['gptviz']; sys.modules['gptviz'] = p"
    names = ["builtins", *figures]
    code = f"{stub}\nimport importlib\nfor name in {names!r}: importlib.import_module(name)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not {"torch", "streamlit"} & set(done.stdout.split())


def test_importing_the_library_starts_nothing_else() -> None:
    assert loaded_by(["gptviz"], {"streamlit", "plotly", "tokenizers", "pandas"}) == set()


@pytest.mark.parametrize("package", ["streamlit", "plotly"])
def test_a_core_that_imports_it_would_be_caught(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "gptviz", tmp_path / "gptviz", ignore=shutil.ignore_patterns("__pycache__", "ui"))
    config = tmp_path / "gptviz" / "config.py"
    text = config.read_text(encoding="utf-8")
    spoilt = text.replace("import annotations\n", f"import annotations\nimport {package}\n", 1)
    assert spoilt != text
    config.write_text(spoilt, encoding="utf-8")
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    assert package in loaded_by(["gptviz.trace"], {"streamlit", "plotly"})
