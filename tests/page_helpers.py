"""Pages as a test opens them: through the router, as a visitor who follows a link."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "home": "gpt/home.py",
    "tokens": "gpt/tokens.py",
    "positions": "gpt/positions.py",
    "attention": "gpt/attention.py",
    "inside-head": "gpt/inside_head.py",
    "inside-block": "gpt/inside_block.py",
    "masked": "gpt/masked.py",
    "next-token": "gpt/next_token.py",
    "loss-gradient": "gpt/loss_gradient.py",
    "translate": "transformer/translate.py",
    "teacher-forcing": "transformer/teacher_forcing.py",
    "beam-search": "transformer/beam_search.py",
    "encoder-decoder": "transformer/encoder_decoder.py",
    "transformer-tokens": "transformer/tokens.py",
    "transformer-positions": "transformer/positions.py",
    "transformer-inside-head": "transformer/inside_head.py",
    "train": "training/train.py",
    "time-lapse": "training/time_lapse.py",
    "why-mask": "training/why_mask.py",
    "lectures": "lecture/lectures.py",
    "models": "models/models.py",
    "compare": "models/compare.py",
}
PATIENCE = 60  # seconds; the first run in a process also imports torch


def open_page(page: str = "home", **query: object) -> AppTest:
    """A page as by a deep link: `query` is what stands in the URL; a list stands there several times.

    A key of `query` that is a widget of the router (text, model) and one of the page both arrive.
    """
    at = AppTest.from_file(str(ROOT / "pages" / "router.py"), default_timeout=PATIENCE)
    for key, value in query.items():
        at.query_params[key] = [str(v) for v in value] if isinstance(value, list | tuple) else str(value)
    if page != "home":
        at._page_hash = calc_hash(page)  # before a first run, switch_page() would silently stay at home
    return at.run()


def open_sound_page(page: str, **query: object) -> AppTest:
    """A page as by a deep link, without an exception and without a complaint."""
    at = open_page(page, **query)
    assert not at.exception, at.exception
    assert not at.error, at.error
    return at


def figure(at: AppTest, key: str) -> dict[str, Any]:
    """A chart as the browser gets it."""
    charts = [c for c in at.get("plotly_chart") if c.proto.id.endswith(f"-{key}")]
    assert len(charts) == 1, key
    return json.loads(charts[0].proto.spec)


def numbers(values: Any) -> np.ndarray:
    """Plotly's typed arrays, or plain lists, as NumPy."""
    if not isinstance(values, dict):
        return np.asarray(values, dtype=float)
    shape = [int(n) for n in str(values.get("shape", "-1")).split(",")]
    return np.frombuffer(base64.b64decode(values["bdata"]), dtype=values["dtype"]).reshape(shape).astype(float)


def mounted(at: AppTest, name: str) -> list:
    """The custom components called `name` on the page; `.proto.json` has what they were given."""
    return [el for el in at.get("bidi_component") if el.proto.component_name == name]


def payload(element: object) -> dict:
    """What a custom component was given to draw."""
    return json.loads(element.proto.json)


def fire(at: AppTest, element: object, event: str, value: object) -> AppTest:
    """Let the JavaScript of a custom component report an event, as a click there does."""
    states = at._tree.get_widget_states()
    trigger = states.widgets.add()
    trigger.id = f"$$STREAMLIT_INTERNAL_KEY_{element.proto.id}__events"
    trigger.json_trigger_value = json.dumps([{"event": event, "value": value}])
    return at._run(states)


def texts(at: AppTest) -> str:
    """All that the page says in Markdown, messages, titles and tables' captions, as one string."""
    groups = (at.title, at.header, at.subheader, at.markdown, at.caption, at.info, at.warning, at.error)
    return "\n".join(str(element.value) for group in groups for element in group)
