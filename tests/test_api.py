"""The public names: what they return, what they refuse, and that they cost nothing before they are used."""

from __future__ import annotations

import doctest
import importlib
import inspect
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import gptviz
from gptviz import LanguageModel
from gptviz.trace import STAGES, HeadGain, WhatIf

ROOT = Path(__file__).resolve().parent.parent
SENTENCE = "My dog has fleas"


def test_a_trace_has_its_tokens_and_every_stage(tiny_model: LanguageModel) -> None:
    trace = gptviz.trace(tiny_model, SENTENCE)
    config, t = tiny_model.gpt.config, len(trace.ids)
    assert trace.ids == tuple(tiny_model.tokenizer.encode(SENTENCE))
    assert "".join(trace.tokens) == SENTENCE
    assert trace.weights.shape == (config.n_layers, config.n_heads, t, t)
    assert trace.logits.shape == (t, config.vocab_size)
    assert trace.dropped == 0
    for name in STAGES:
        assert isinstance(getattr(trace, name), np.ndarray), name


def test_causal_is_an_argument(tiny_model: LanguageModel) -> None:
    masked, unmasked = (gptviz.trace(tiny_model, SENTENCE, causal=causal).weights for causal in (True, False))
    future = np.triu_indices(masked.shape[-1], k=1)
    assert (masked[..., future[0], future[1]] == 0).all()
    assert (unmasked[..., future[0], future[1]] > 0).all()
    assert np.allclose(unmasked.sum(-1), 1, atol=1e-5)


def test_what_ifs_and_causal_go_together(tiny_model: LanguageModel) -> None:
    change = WhatIf(gains=(HeadGain(1, 2, 0.0),))
    both = gptviz.trace(tiny_model, SENTENCE, causal=False, what_if=change)
    assert both.what_if == WhatIf(causal=False, gains=change.gains)
    assert (both.heads[1, 2] == 0).all()
    assert not gptviz.trace(tiny_model, SENTENCE, what_if=WhatIf(causal=False)).what_if.causal


def test_a_long_text_is_cut_at_the_left_and_says_so(tiny_model: LanguageModel) -> None:
    text = " dog cat" * 60
    ids = tiny_model.tokenizer.encode(text)
    context = tiny_model.gpt.config.context
    trace = gptviz.trace(tiny_model, text)
    assert trace.dropped == len(ids) - context > 0
    assert trace.ids == tuple(ids[-context:])
    assert gptviz.trace(tiny_model, "x" * 100_000).dropped == 100_000 - context


def test_an_empty_text_is_refused_with_a_remedy(tiny_model: LanguageModel) -> None:
    with pytest.raises(ValueError, match=r"found an empty one; try"):
        gptviz.trace(tiny_model, "")


MARKUP = ["<img src=x onerror=alert(1)>", "<|endoftext|>", "$x$ **b** :smile: [a](b)"]


@pytest.mark.parametrize("text", [" ", "\n", "\0", "👩‍👩‍👧", "שלום", "\ud800", *MARKUP])
def test_any_other_text_is_read(tiny_model: LanguageModel, text: str) -> None:
    trace = gptviz.trace(tiny_model, text)
    assert np.isfinite(trace.logits).all()
    assert tiny_model.tokenizer.end_of_text not in trace.ids
    assert gptviz.generate(tiny_model, text, 1).prompt == text


@pytest.mark.parametrize("call", [gptviz.trace, gptviz.generate])
def test_what_is_no_model_or_no_text_is_named(tiny_model: LanguageModel, call: object) -> None:
    with pytest.raises(TypeError, match=r"expected a model, found 'gpt-stories'; gptviz.load"):
        call("gpt-stories", SENTENCE)
    with pytest.raises(TypeError, match="expected a text, found list"):
        call(tiny_model, [1, 2, 3])


@pytest.mark.parametrize("wrong", [{"what_if": 5}, {"causal": "no"}, {"causal": None}])
def test_a_change_of_another_kind_is_refused(tiny_model: LanguageModel, wrong: dict) -> None:
    with pytest.raises(TypeError, match=r"expected (what_if|causal)=.* found"):
        gptviz.trace(tiny_model, SENTENCE, **wrong)


def test_generate_has_the_promised_arguments() -> None:
    defaults = {name: p.default for name, p in inspect.signature(gptviz.generate).parameters.items()}
    assert list(defaults) == ["model", "text", "max_new_tokens", "temperature", "top_k", "top_p", "seed", "causal"]
    assert list(defaults.values())[2:] == [20, 0.8, None, None, 0, True]


def test_loading_by_name_and_by_path(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tiny_folder.parent))
    assert gptviz.available() == ["tiny"]
    by_name, by_path = gptviz.load("tiny"), gptviz.load(tiny_folder)
    assert by_name.fingerprint == by_path.fingerprint
    assert gptviz.generate(by_name, SENTENCE).text == gptviz.generate(by_path, SENTENCE).text


@pytest.mark.parametrize("name", [None, 5, b"tiny"])
def test_what_is_no_name_is_refused(name: object) -> None:
    with pytest.raises(gptviz.CheckpointError, match="expected the name of a model or the path of its folder, found"):
        gptviz.load(name)


def test_opening_a_model_does_not_import_the_compiler(tiny_folder: Path) -> None:
    code = (
        f"import gptviz, sys\ngptviz.load({str(tiny_folder)!r})\nprint({{'torch._dynamo', 'sympy'}} & {{*sys.modules}})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["set()"], done.stderr  # two seconds, for nothing


def test_importing_gptviz_does_not_import_torch() -> None:
    code = """
import sys
import gptviz
gptviz.available(), gptviz.CheckpointError, gptviz.trace
print("torch" in sys.modules)
gptviz.load  # the check can fail
print("torch" in sys.modules, type(gptviz.trace).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["False", "True", "function"], done.stderr


def test_the_rooms_of_pictures_come_when_they_are_named_and_not_before() -> None:
    code = """
import sys
import gptviz
assert {"export", "figures", "pictures"} <= set(dir(gptviz))
here = lambda: [name for name in ("streamlit", "plotly", "torch", "matplotlib") if name in sys.modules]
print(here(), "gptviz.figures" in sys.modules)
gptviz.figures, gptviz.pictures
print(here())
print(gptviz.figures.heatmap.heatmap([[1.0]], ["a"], ["a"]).data[-1].z.shape, gptviz.export.render.__name__)
print(here())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["[] False", "[]", "(1, 1) render", "['plotly']"], done.stderr


def test_a_module_that_figures_has_not_is_refused_with_those_it_has() -> None:
    assert {"heatmap", "masking", "predictions"} <= set(gptviz.figures.MODULES) <= set(dir(gptviz.figures))
    with pytest.raises(AttributeError, match=r"no attribute 'nope'; it has .*heatmap"):
        getattr(gptviz.figures, "nope")  # noqa: B009  spelled out, it would be called useless


def test_trace_stays_the_function_when_its_module_is_imported() -> None:
    module = importlib.import_module("gptviz.trace")
    assert inspect.isfunction(gptviz.trace)
    setattr(gptviz, "trace", module)  # noqa: B010  what the import system does
    assert inspect.isfunction(gptviz.trace)


def test_every_public_name_is_there() -> None:
    names: dict[str, object] = {}
    exec("from gptviz import *", names)
    assert set(gptviz.__all__) == {*gptviz.HOME_OF, "trace"} <= set(names)
    for name in gptviz.__all__:
        assert getattr(gptviz, name).__doc__, name
        assert name in dir(gptviz)
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        getattr(gptviz, "nope")  # noqa: B009  spelled out, it would be called useless


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert gptviz.__version__ == project["version"]


@pytest.mark.parametrize("package", [gptviz, gptviz.figures])
def test_the_examples_of_the_package_are_true(package: ModuleType) -> None:
    result = doctest.testmod(package)
    assert result.attempted > 2
    assert result.failed == 0
