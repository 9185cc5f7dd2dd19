"""Server time from a new sentence of 64 tokens to everything that the attention page sends for it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from streamlit.testing.v1 import AppTest

from benchmarks.common import Row
from benchmarks.sentences import new_sentence
from gptviz.view import unpack

ROOT = Path(__file__).resolve().parent.parent
TOKENS = 64


def run(quick: bool) -> Iterator[Row]:
    """Median over sentences that no cache has seen; AppTest runs the app as the server does, in this process."""
    import gptviz

    tokenizer = gptviz.load("gpt-stories").tokenizer
    app = AppTest.from_file(str(ROOT / "pages" / "router.py"), default_timeout=120).run()
    app.switch_page(str(ROOT / "pages" / "gpt" / "attention.py")).run()
    times = []
    warmups, rounds = (1, 3) if quick else (5, 60)
    for seed in range(warmups + rounds):
        app.text_input(key="text").set_value(new_sentence(tokenizer, TOKENS, seed))
        start = time.perf_counter()
        app.run()
        times.append(time.perf_counter() - start)
        check(app, TOKENS)
    times = times[warmups:]
    largest = max(times) * 1000
    yield Row(
        f"server time of the attention page for a new sentence of {TOKENS} tokens, median",
        statistics.median(times) * 1000,
        ("<=", 80),
        unit="ms",
        detail=f"{rounds} sentences, slowest {largest:.0f} ms",
    )


def check(app: AppTest, tokens: int) -> None:
    """The view really was given this sentence."""
    headers = [unpack(element.proto.bytes)[0] for element in app.get("bidi_component") if element.proto.bytes]
    drawn = [len(header["queries"]) for header in headers if header["kind"] == "overview"]
    if app.exception or app.error or drawn != [tokens]:
        complaints = [element.value for element in (*app.exception, *app.error)]
        raise AssertionError(f"expected one view of {tokens} tokens and no error, found {drawn} and {complaints}")
