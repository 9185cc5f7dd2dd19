"""The attention view alone, on a model of GPT-2 small's shape with random weights: what `benchmarks.view` opens."""

from __future__ import annotations

import gc
import time

import streamlit as st
import torch

from benchmarks.peers import gpt2_shape
from gptviz.gpt import GPT
from gptviz.ui.attention_view import attention_view as show
from gptviz.view import AttentionView, TraceSource, attention_view

VOCABULARY = 50257


@st.cache_resource
def model() -> GPT:
    """12 x 12 heads, d 768."""
    torch.manual_seed(0)
    gc.freeze()  # as app.py does
    return GPT(gpt2_shape(12, 12, 768, VOCABULARY, 1024)).eval().requires_grad_(False)


@st.cache_resource(max_entries=1)
def view_of(t: int, seed: int) -> tuple[AttentionView, float]:
    """The view of `t` random tokens, and the seconds that the model took."""
    ids = torch.randint(VOCABULARY, (t,), generator=torch.Generator().manual_seed(seed))
    start = time.perf_counter()
    trace = model().trace(ids)
    seconds = time.perf_counter() - start
    return attention_view(TraceSource(trace), [f"token{i}" for i in ids.tolist()]), seconds


t = st.number_input("Tokens", 1, 1024, 128, key="t", bind="query-params")
seed = st.number_input("Sentence", 0, key="seed", bind="query-params")
view, seconds = view_of(t, seed)
st.text(f"model: {seconds:.4f} s", width="content")
show(view, key="attention")
