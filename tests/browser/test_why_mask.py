"""Clicks on the page on why the mask exists, in a real browser, with a pair of runs of the app."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app_runs import finished_run
from tests.browser.conftest import serving, visiting
from tests.browser.visitor import Visitor

PAIR = "run:one and run:two"


@pytest.fixture
def pair_of_runs(browser: object, tmp_path: Path) -> Iterator[Visitor]:
    """A visitor of an app that has two runs which differ in the mask alone."""
    finished_run(tmp_path / "runs", name="one")
    finished_run(tmp_path / "runs", name="two", causal=False)
    runs = str(tmp_path / "runs")
    with serving(tmp_path / "log.txt", GPTVIZ_RUNS=runs) as address, visiting(browser, address) as person:
        yield person


def test_a_head_picked_in_one_wall_is_chosen_in_both_and_a_link_brings_all_back(pair_of_runs: Visitor) -> None:
    visitor = pair_of_runs
    visitor.open("why-mask", pair=PAIR, text="One morning Mina went", pair_step=2)
    heads = visitor.page.get_by_role("button", name="Attention of head 0.1: show it large")
    assert heads.count() == 2
    heads.nth(1).click()
    visitor.settle()
    assert visitor.until(lambda: visitor.query.get("head") == ["1"])
    assert visitor.page.locator(".wall button.chosen").count() == 2
    assert visitor.page.get_by_text("head 0.1:").count() == 2
    assert visitor.page.get_by_text("after step 2", exact=False).first.is_visible()
    visitor.page.reload()
    visitor.settle()
    kept = {"pair": [PAIR], "text": ["One morning Mina went"], "pair_step": ["2"], "layer": ["0"], "head": ["1"]}
    assert visitor.query == kept
    assert visitor.until(lambda: visitor.page.locator(".wall button.chosen").count() == 2)
