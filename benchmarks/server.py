"""Server time from a new sentence of 64 tokens to everything that a page sends for it."""

from __future__ import annotations

import contextlib
import gc
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from streamlit.testing.v1 import AppTest

from benchmarks.common import Row
from benchmarks.sentences import new_sentence
from gptviz.tokenizer import Tokenizer
from gptviz.view import unpack

ROOT = Path(__file__).resolve().parent.parent
TOKENS = 64


def run(quick: bool) -> Iterator[Row]:
    """Median over sentences that no cache has seen; AppTest runs the app as the server does, in this process."""
    import gptviz

    tokenizer = gptviz.load("gpt-stories").tokenizer
    app = AppTest.from_file(str(ROOT / "pages" / "router.py"), default_timeout=120).run()
    gc.freeze()  # as app.py does: Streamlit collects garbage after every run
    warmups, rounds = (1, 3) if quick else (5, 60)
    times = new_sentences(app, "attention", tokenizer, warmups + rounds, check)[warmups:]
    yield row("the attention page", times, 80)
    for page, name, see in (
        ("inside_head", "the page inside a head", check_matrices),
        ("positions", "the page of positions", check_matrices),
        ("inside_block", "the page inside a block", check_contributions),
    ):
        yield row(name, new_sentences(app, page, tokenizer, warmups + rounds // 3, see)[warmups:], 150)
    spent: list[float] = []
    with backward_passes_timed(spent):
        whole = new_sentences(app, "loss_gradient", tokenizer, warmups + rounds // 3, check_loss)[warmups:]
    without = [time_ - passed for time_, passed in zip(whole, spent[-len(whole) :], strict=True)]
    yield row("the page of loss and gradient, its backward pass left out", without, 150, statistics.median(whole))


def row(page: str, times: list[float], most: float, whole: float | None = None) -> Row:
    """The median of `times`, in seconds, at most `most` milliseconds; `whole` is told beside it."""
    also = "" if whole is None else f", median with the pass {whole * 1000:.0f} ms"
    return Row(
        f"server time of {page} for a new sentence of {TOKENS} tokens, median",
        statistics.median(times) * 1000,
        ("<=", most),
        unit="ms",
        detail=f"{len(times)} sentences, slowest {max(times) * 1000:.0f} ms{also}",
    )


def new_sentences(
    app: AppTest, page: str, tokenizer: Tokenizer, count: int, check: Callable[[AppTest, int], None]
) -> list[float]:
    """Seconds that a page of pages/gpt takes for each of `count` new sentences; `check` looks at what it shows."""
    app.switch_page(str(ROOT / "pages" / "gpt" / f"{page}.py")).run()
    times = []
    for seed in range(count):
        app.text_input(key="text").set_value(new_sentence(tokenizer, TOKENS, seed))
        start = time.perf_counter()
        app.run()
        times.append(time.perf_counter() - start)
        check(app, TOKENS)
    return times


@contextlib.contextmanager
def backward_passes_timed(spent: list[float]) -> Iterator[None]:
    """Meanwhile the seconds of every backward pass are added to `spent`."""
    from gptviz.analysis import gradients

    backward = gradients.backward

    def timed(*args: object) -> gradients.Backward:
        start = time.perf_counter()
        found = backward(*args)
        spent.append(time.perf_counter() - start)
        return found

    gradients.backward = timed
    try:
        yield
    finally:
        gradients.backward = backward


def check(app: AppTest, tokens: int) -> None:
    """The view really was given this sentence."""
    headers = [unpack(element.proto.bytes)[0] for element in app.get("bidi_component") if element.proto.bytes]
    drawn = [len(header["queries"]) for header in headers if header["kind"] == "overview"]
    if app.exception or app.error or drawn != [tokens]:
        complaints = [element.value for element in (*app.exception, *app.error)]
        raise AssertionError(f"expected one view of {tokens} tokens and no error, found {drawn} and {complaints}")


def check_matrices(app: AppTest, tokens: int) -> None:
    """Some picture has a row for every token of this sentence."""
    blobs = [element.proto.bytes for element in app.get("bidi_component") if element.proto.bytes]
    rows = [len(json.loads(blob[4 : 4 + int.from_bytes(blob[:4], "little")])["rows"]) for blob in blobs]
    if app.exception or app.error or tokens not in rows:
        complaints = [element.value for element in (*app.exception, *app.error)]
        raise AssertionError(f"expected a matrix of {tokens} tokens and no error, found {rows} and {complaints}")


def check_contributions(app: AppTest, tokens: int) -> None:
    """Every token has its lengths through the block."""
    tables = [element.value for element in app.dataframe if "|stream|" in element.value.columns]
    if app.exception or app.error or [len(table) for table in tables] != [tokens]:
        complaints = [element.value for element in (*app.exception, *app.error)]
        raise AssertionError(f"expected lengths of {tokens} tokens and no error, found {tables} and {complaints}")


def check_loss(app: AppTest, tokens: int) -> None:
    """Every position but the last has its loss."""
    tables = [element.value for element in app.dataframe if "target id" in element.value.columns]
    if app.exception or app.error or [len(table) for table in tables] != [tokens - 1]:
        complaints = [element.value for element in (*app.exception, *app.error)]
        raise AssertionError(f"expected {tokens - 1} losses and no error, found {tables} and {complaints}")
