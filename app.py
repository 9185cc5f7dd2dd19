"""`streamlit run app.py`: a server for `pages/router.py`, which opens the default model before anybody asks for it."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import AsyncIterator

import streamlit as st


@contextlib.asynccontextmanager
async def begin(_: st.App) -> AsyncIterator[None]:
    """With the server, start what takes seconds once; nobody waits for it."""
    threading.Thread(target=warm_up, name="warm-up", daemon=True).start()
    yield
    from gptviz.fetch import jobs
    from gptviz.runs.begin import stop_all

    jobs.stop_all()  # the next download goes on from what is there
    stop_all()  # what trains is saved, and goes on when somebody says so


def warm_up() -> None:
    """Import in the thread, too: the server answers meanwhile."""
    from gptviz.ui import models

    models.warm_up()
    # Streamlit collects garbage after every run, and what is still to be sent waits for it: 0.15 s with all that torch
    # brings. None of that is garbage.
    gc.freeze()


app = st.App("pages/router.py", lifespan=begin)
