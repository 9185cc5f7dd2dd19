"""What a notebook shows of traces: small tables, with every token as literal text."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from gptviz.frames import shape_in_words
from gptviz.half import product
from gptviz.sampling import softmax
from gptviz.stack import SIDES
from gptviz.trace import STAGES
from gptviz.view.text import visible

if TYPE_CHECKING:
    from gptviz.trace import Trace
    from gptviz.translation import TranslationTrace

MOST_TOKENS = 64  # that are listed
NEXT = 5  # of the most probable next tokens
CELL = "text-align: left; padding: 1px 10px 1px 0; white-space: pre-wrap"


def trace_html(trace: Trace) -> str:
    """The tokens, the most probable next ones, and the stages with their shapes."""
    stages = [[name, shape_in_words(trace.axes(name))] for name in STAGES]
    parts = [f"<p>{tokens_html(trace)}</p>", next_html(trace), table(["stage", "shape"], stages)]
    return "".join(parts)


def pair_html(trace: TranslationTrace) -> str:
    """What an encoder-decoder read and wrote, and the shapes of its three attentions."""
    rows = [[f"{side}_weights", shape_in_words(getattr(trace, side).axes("weights"))] for side in SIDES]
    return (
        f"<p>source: {tokens_html(trace.encoder)}<br>the decoder read: {tokens_html(trace.decoder)}</p>"
        + table(["attention", "shape"], rows)
    )


def tokens_html(trace: Trace) -> str:
    """The tokens, each in a box of its own; the first `MOST_TOKENS` of a long text."""
    names = trace.tokens or [str(i) for i in trace.ids]
    shown = " ".join(token_cell(name) for name in names[:MOST_TOKENS])
    more = f" and {len(names) - MOST_TOKENS:,} more" if len(names) > MOST_TOKENS else ""
    cut = f"; {trace.dropped:,} more at the left were cut" if trace.dropped else ""
    changed = "" if trace.what_if.causal or trace.memory is not None else "; every token sees the future"
    return f"{len(names):,} token{'s' * (len(names) != 1)}{cut}{changed}: {shown}{more}"


def next_html(trace: Trace) -> str:
    """The most probable next tokens after the last one."""
    logits = product(trace.final[-1], trace.unembedding).detach().float().cpu().numpy()  # (V,)
    p = softmax(logits)  # (V,) float64
    best = p.argsort()[::-1][:NEXT].tolist()
    names = trace.texts_of(best) if trace.texts_of else [f"id {i}" for i in best]
    rows = [[token_cell(name), f"{p[i]:.4f}"] for name, i in zip(names, best, strict=True)]
    return table(["next token", "probability"], rows)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """An HTML table; its cells are HTML."""
    cells = "".join("<tr>" + "".join(f'<td style="{CELL}">{cell}</td>' for cell in row) + "</tr>" for row in rows)
    names = "".join(f'<th style="{CELL}">{name}</th>' for name in header)
    return f"<table><thead><tr>{names}</tr></thead><tbody>{cells}</tbody></table>"


def token_cell(token: str) -> str:
    """A token as it is shown everywhere, in <code>, in which notebooks typeset no mathematics."""
    return f"<code>{html.escape(visible(token))}</code>"
