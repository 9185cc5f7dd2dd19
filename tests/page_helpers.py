"""Pages as a test opens them: through app.py, as a visitor who follows a link."""

from __future__ import annotations

from pathlib import Path

from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "home": "pages/gpt/home.py",
    "tokens": "pages/gpt/tokens.py",
    "attention": "pages/gpt/attention.py",
    "masked": "pages/gpt/masked.py",
    "next-token": "pages/gpt/next_token.py",
}
PATIENCE = 60  # seconds; the first run in a process also imports torch


def open_page(page: str = "home", **query: object) -> AppTest:
    """A page as by a deep link: `query` is what stands in the URL; a list stands there several times.

    A key of `query` that is a widget of app.py (text, model) and one of the page both arrive.
    """
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=PATIENCE)
    for key, value in query.items():
        at.query_params[key] = [str(v) for v in value] if isinstance(value, list | tuple) else str(value)
    if page != "home":
        at._page_hash = calc_hash(page)  # before a first run, switch_page() would silently stay at home
    return at.run()


def texts(at: AppTest) -> str:
    """All that the page says in Markdown, messages, titles and tables' captions, as one string."""
    groups = (at.title, at.header, at.subheader, at.markdown, at.caption, at.info, at.warning, at.error)
    return "\n".join(str(element.value) for group in groups for element in group)
