"""One model, eight threads, eight sentences: every Trace is the one computed alone."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import gptviz
from gptviz.checkpoint import LanguageModel
from gptviz.gpt import Block
from gptviz.trace import STAGES, CellEdit, HeadGain, Trace, WhatIf

SENTENCES = [
    ("My dog has fleas", WhatIf()),
    ("The cat sat on the mat, and then it was gone.", WhatIf()),
    ("Once upon a time there was a little house", WhatIf(causal=False)),
    ("Tom said: \N{SNOWMAN}!", WhatIf(scaled=False)),
    ("a", WhatIf()),
    ("Lily was happy. Lily was happy. Lily was happy.", WhatIf(gains=(HeadGain(0, 1, 0.0),))),
    ("to be or not to be", WhatIf(edits=(CellEdit(1, 1, 3, 0, 0.9),))),
    (" big" * 60, WhatIf(causal=False, scaled=False)),
]


def trace_in_threads(model: LanguageModel, rounds: int) -> list[list[Trace]]:
    """Each sentence traced `rounds` times in a thread of its own, all threads starting each round together."""
    start = threading.Barrier(len(SENTENCES))

    def visit(text: str, what_if: WhatIf) -> list[Trace]:
        traces = []
        for _ in range(rounds):
            start.wait(timeout=60)
            try:
                traces.append(gptviz.trace(model, text, what_if=what_if))
            except RuntimeError:
                start.abort()  # nobody need wait for this thread any more
                raise
        return traces

    with ThreadPoolExecutor(len(SENTENCES)) as pool:
        return list(pool.map(visit, *zip(*SENTENCES, strict=True)))


def read(trace: Trace, stage: str) -> np.ndarray:
    """A stage; nothing where its layers come from sentences of different lengths and do not stack."""
    try:
        return getattr(trace, stage)
    except RuntimeError:
        return np.empty(0)


def differences(model: LanguageModel, rounds: int) -> list[str]:
    """What a thread saw differently from the same pass alone."""
    alone = [gptviz.trace(model, text, what_if=what_if) for text, what_if in SENTENCES]
    wrong = []
    for expected, traces in zip(alone, trace_in_threads(model, rounds), strict=True):
        for trace in traces:
            if trace.tokens != expected.tokens or trace.ids != expected.ids or trace.what_if != expected.what_if:
                wrong.append(f"tokens of {expected.tokens}")
            for stage in STAGES:
                ours, right = read(trace, stage), getattr(expected, stage)
                # Other threads may split a product differently: equal to rounding, not to the bit.
                if ours.shape != right.shape or not np.allclose(ours, right, rtol=1e-5, atol=1e-5):
                    wrong.append(f"{stage} of {expected.tokens}")
    return wrong


@pytest.mark.parametrize("name", ["tiny_model", "tiny_pre_norm"])
def test_eight_threads_on_one_model_see_what_each_would_see_alone(name: str, request: pytest.FixtureRequest) -> None:
    assert differences(request.getfixturevalue(name), rounds=12) == []


def leaky(forward: Callable) -> Callable:
    """A forward that keeps its result on the module, as hooks do, before it returns it."""

    def keep(self: Block, *args: object, **kwargs: object) -> object:
        self.__dict__["seen"] = forward(self, *args, **kwargs)
        time.sleep(0.001)
        return self.__dict__["seen"]

    return keep


@pytest.mark.filterwarnings("ignore:An output with one or more elements was resized")
def test_a_model_that_keeps_state_would_be_caught(tiny_model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Block, "forward", leaky(Block.forward))
    try:
        # A block that was handed a longer sentence does not fit its mask.
        with contextlib.suppress(RuntimeError, threading.BrokenBarrierError):
            assert differences(tiny_model, rounds=3) != []
    finally:
        for block in tiny_model.gpt.blocks:
            del block.__dict__["seen"]
