"""The JavaScript of the attention view: its own tests, run by Node, and its answers against those of Python."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptviz.view import ViewState, attention_view, from_codes, script
from gptviz.view.pool import max_pool
from gptviz.view.state import MODES, SCALES, SORTS, WAYS

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests" / "js"
FILES = sorted(FOLDER.glob("*.test.mjs"))


def find_node() -> str | None:
    """The Node that Playwright, a development dependency, brings along; else one on the path."""
    try:
        import playwright
    except ImportError:
        return shutil.which("node")
    driver = Path(playwright.__file__).parent / "driver"
    found = [path for name in ("node", "node.exe") if (path := driver / name).is_file()]
    return str(found[0]) if found else shutil.which("node")


@pytest.fixture(scope="module")
def node() -> str:
    """A Node to run; without one the test is skipped, or fails where GPTVIZ_REQUIRE_BROWSER is 1."""
    path = find_node()
    if path is None:
        reason = "expected Node, in Playwright's wheel or on the path, found none; pip install -r requirements-dev.txt"
        if os.environ.get("GPTVIZ_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def run(node: str, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Node with arguments, from the repository's root."""
    return subprocess.run(
        [node, *words], cwd=ROOT, input=stdin, capture_output=True, encoding="utf-8", timeout=300, check=False
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_of_the_javascript_itself(node: str, path: Path) -> None:
    done = run(node, "--test", "--test-reporter=spec", str(path.relative_to(ROOT)))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pass 0" not in done.stdout, "no test ran"


def test_every_pure_module_has_tests() -> None:
    tested = {path.name.removesuffix(".test.mjs") for path in FILES}
    assert {"payload", "colour", "pool", "layout", "lines", "state", "keys", "words", "modules"} <= tested


def test_a_failing_javascript_test_is_a_failure(node: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.test.mjs"
    path.write_text('import { test } from "node:test";\ntest("bad", () => { throw Error(); });\n', encoding="utf-8")
    assert run(node, "--test", str(path)).returncode != 0


def test_joined_into_one_module_it_loads_without_a_page(node: str, tmp_path: Path) -> None:
    assert sorted(f"{name}.js" for name in script.ORDER) == sorted(path.name for path in script.FOLDER.glob("*.js"))
    path = tmp_path / "joined.mjs"
    say = "\nconsole.log(typeof mount, typeof putBlob, '__gptvizViews' in globalThis);\n"
    path.write_text(script.joined() + say, encoding="utf-8")
    done = run(node, str(path))
    assert done.stdout.split() == ["function", "function", "false"], done.stderr  # loading it does nothing yet


# Against Python ------------------------------------------------------------------------------------------------------


def ask(node: str, *questions: list[Any]) -> list[Any]:
    """What tests/js/answer.mjs says to each [name, *arguments]."""
    lines = "\n".join(json.dumps(question) for question in questions)
    done = run(node, str(FOLDER / "answer.mjs"), stdin=lines)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def text_of(blob: bytes | np.ndarray) -> str:
    """Bytes as base64."""
    return base64.b64encode(bytes(blob)).decode()


def test_codes_mean_the_same_weights(node: str) -> None:
    [decoded] = ask(node, ["decode"])
    np.testing.assert_allclose(decoded, from_codes(np.arange(255, dtype=np.uint8)), rtol=1e-12)


def test_pictures_are_pooled_alike(node: str) -> None:
    rng = np.random.default_rng(0)
    questions, expected = [], []
    for _ in range(60):
        factor, h, w = rng.integers(1, 6, 3).tolist()
        codes = rng.integers(0, 256, (h * factor, w * factor), dtype=np.uint8)
        codes[rng.random(codes.shape) < 0.7] = 0
        questions.append(["pool", text_of(codes.tobytes()), h * factor, w * factor, h, w])
        expected.append(max_pool(codes, factor).ravel().tolist())
    assert ask(node, *questions) == expected


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 2, 2, 2), (2, 3, 5, 5), (2, 1, 4, 7)])
def test_blobs_from_python_are_read_as_they_were_meant(node: str, shape: tuple[int, int, int, int]) -> None:
    rng = np.random.default_rng(1)
    t, s = shape[2:]
    scores = rng.normal(size=shape) * 3
    masked = np.triu(np.ones((t, s), dtype=bool), 1)
    if t != s:
        masked[:] = False
    scores[..., masked] = -np.inf
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)
    tokens = ["<b>é\n", "\u202e漢", "😀", *(f"t{i}" for i in range(s))]
    keys = None if t == s else tokens[:s]
    view = attention_view(weights, tokens[:t], keys=keys, masked=masked)
    blobs = [view.overview(), view.exact(0, 0, t, 0, s)]
    [answer] = ask(node, ["readings", [text_of(blob) for blob in blobs]])
    assert (answer["queries"], answer["keys"]) == (view.queries, view.keys)
    readings = np.array([one["w"] for one in answer["readings"]]).reshape(-1, t, s)
    exact = np.array([one["exact"] for one in answer["readings"]]).reshape(-1, t, s)
    hidden = np.array([one["masked"] for one in answer["readings"]]).reshape(-1, t, s)
    np.testing.assert_array_equal(readings[0].astype(np.float32), weights[0, 0])
    np.testing.assert_allclose(readings[1:], weights.reshape(-1, t, s)[1:], atol=1 / 253)
    assert exact[0].all()
    assert not exact[1:].any()
    assert (hidden == masked).all()


def test_an_error_and_a_leak_arrive_as_such(node: str) -> None:
    weights = np.array([[[1, 0.25, 0], [0.5, 0.5, 0], [np.nan, 0.5, 0.5]]], dtype=np.float32)
    view = attention_view(weights, ["a", "b", "c"], masked=np.triu(np.ones((3, 3), dtype=bool), 1))
    [answer] = ask(node, ["readings", [text_of(view.overview())]])
    error = np.array([one["error"] for one in answer["readings"]]).reshape(3, 3)
    masked = np.array([one["masked"] for one in answer["readings"]]).reshape(3, 3)
    assert error.tolist() == [[True, True, False], [False] * 3, [True] * 3]  # row 0 sums to 1.25: something leaked
    assert masked.tolist() == [[False, False, True], [False, False, True], [False] * 3]


def test_both_languages_fit_a_state_to_the_data_alike(node: str) -> None:
    rng = np.random.default_rng(2)
    questions, expected = [], []
    for _ in range(300):
        dims = rng.integers(1, 9, 4).tolist()
        given = {
            "layer": int(rng.integers(-2, 10)), "head": int(rng.integers(-2, 10)),
            "mode": str(rng.choice([*MODES, "egg"])), "scale": str(rng.choice(SCALES)),
            "sort": str(rng.choice(SORTS)), "way": str(rng.choice(WAYS)),
            "mass": float(rng.choice([0.123456, 0.9, 1, 0])),
            "queries": rng.integers(0, 12, 4).tolist(), "keys": rng.integers(0, 12, 4).tolist(),
            "pins": rng.integers(0, 80, 6).tolist(),
            "window": None if rng.random() < 0.3 else rng.integers(0, 12, 4).tolist(),
        }  # fmt: skip
        state = ViewState.from_json(given)
        questions.append(["fit", dict(zip("LHTS", dims, strict=True)), state.to_json()])
        expected.append(state.fit(tuple(dims)).to_json())
    assert ask(node, *questions) == expected
