"""What the page on beam search is made of: the tree that is clicked, what follows at a node, and what was found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from gptviz.analysis import beam as analysis
from gptviz.analysis.forcing import odds
from gptviz.analysis.predictions import likeliest_first
from gptviz.figures.beam import candidate_bars, signed
from gptviz.figures.predictions import percent
from gptviz.figures.style import visible
from gptviz.ui import pair_claims as claims
from gptviz.ui.address import kept, put_right
from gptviz.ui.component import component
from gptviz.ui.controls import slide
from gptviz.ui.forcing import counted, written
from gptviz.ui.show import escape, literal, plot, table_with_csv
from gptviz.ui.translation import PairReading, translated

if TYPE_CHECKING:
    from gptviz import Translation
    from gptviz.translation import BeamSearch

WIDEST = 8  # beams that a picture has room for
FIRST = 4  # beams, before anybody chooses
ROOT = "start"  # in the address, for the node before the first token
SHOWN = 10  # candidates
draw = component("gptviz_beam_tree", ["tree"], ["picture", "tree"])


@dataclass(frozen=True)
class Found:
    """A beam search of a sentence beside the greedy one."""

    reading: PairReading
    beam: int
    best: Translation = field(repr=False)
    tree: analysis.Tree = field(repr=False)

    @property
    def greedy(self) -> Translation:
        """The translation with a beam of 1."""
        return self.reading.result

    @property
    def same(self) -> bool:
        """Whether the beam found what greedy decoding finds."""
        return self.tree.winner == self.tree.greedy

    def token(self, place: int) -> str:
        """The token at a place of the tree."""
        return self.reading.model.tokenizer.token_text(self.tree.places[place].node.token)

    def text(self, place: int) -> str:
        """The beginning down to a place, as text."""
        return text_of(self.reading, self.tree.tokens(place))


def text_of(reading: PairReading, tokens: list[int]) -> str:
    """Tokens as text, without the end of text."""
    tokenizer = reading.model.tokenizer
    return tokenizer.decode(token for token in tokens if token != tokenizer.end_of_text)


def search(reading: PairReading) -> Found:
    """The width, chosen, and what a search of that width finds."""
    beam = slide("Beam width: how many beginnings are followed", 1, WIDEST, FIRST, 1, "beam", width=420)
    best = translated(reading.model.fingerprint, reading.text, beam, reading.model)
    reading.show(best.trace)
    found = Found(reading, beam, best, analysis.draw_tree(best.search, reading.result.search))
    claims.claim_tree(found)
    return found


def say_found(found: Found) -> str:
    """What the beam found, and whether it is more probable than what greedy decoding finds, in words."""
    best, greedy = (one.search for one in (found.best, found.greedy))
    text = (
        f"**Beam {found.beam}:** {quoted(found.best.text)}, {numbers(best, best.results[0])}.  \n"
        f"**Greedy:** {quoted(found.greedy.text)}, {numbers(greedy, greedy.results[0])}.  \n"
    )
    if found.beam == 1:
        return text + "A beam of 1 is greedy decoding: one beginning, and the likeliest token at each step."
    if found.same:
        return text + f"Both are the same: of all that {found.beam} beams found, greedy has the best beam score."
    one, other = (run.nodes[run.results[0]].total for run in (best, greedy))
    times = odds(max(one, other), min(one, other))
    claims.claim_ended(found, (found.tree.winner[-1], found.tree.greedy[-1]), {"times as probable": times})
    factor = written(times)
    if one >= other:
        how = "greedy took the likeliest token at each step and could not go back."
        text += f"The beam found a translation that is **{factor} times as probable**: {how} "
    else:
        text += f"Here the **greedy translation is {factor} times as probable**. "
    return text + say_score(best, greedy)


def say_score(best: BeamSearch, greedy: BeamSearch) -> str:
    """Which of both has the better score, and why that may be the other one."""
    ours, theirs = (run.score(run.results[0]) for run in (best, greedy))
    more_probable = best.nodes[best.results[0]].total >= greedy.nodes[greedy.results[0]].total
    if ours < theirs and more_probable:
        return (
            "But the greedy one is longer, and the length penalty makes up for it: its **beam score** is better. The "
            "beam dropped its beginning at a step where others had larger totals."
        )
    if ours < theirs:
        return (
            "Its beam score is better, too: the beam **dropped the greedy beginning** at a step where others had "
            "larger totals, and did not find its like again. A search keeps no promise."
        )
    if not more_probable:
        return "The beam's is longer, and the length penalty makes up for it: its **beam score** is better."
    return "Its beam score is better, too."


def numbers(run: BeamSearch, node: int) -> str:
    """Score, total and length of a translation, in words."""
    total = run.nodes[node].total
    return (
        f"beam score **{signed(run.score(node))}**, log-probability {signed(total)} "
        f"({escape(percent(float(np.exp(total))))}), {counted(len(run.path(node)), 'token')}"
    )


def quoted(text: str) -> str:
    """A translation in quotation marks, for Markdown."""
    return f"“{literal(text)}”" if text.strip() else "an empty text"


def say_limits(found: Found) -> None:
    """Where a translation was stopped by the length limit, says so."""
    runs = {f"beam {found.beam}": found.best, "greedy": found.greedy}
    stopped = [name for name, run in runs.items() if run.stopped == "length"]
    if stopped:
        tokens = len(found.reading.source)
        st.warning(
            f"Stopped at the length limit, without an end of text: {' and '.join(stopped)}. A translation of "
            f"{tokens} tokens may have 2 · {tokens} + 10, or as many as the context has.",
            icon=":material/straighten:",
        )


def pick_node(found: Found) -> int:
    """The tree; a place in it, chosen by a click: where the winner and greedy part unless another is."""
    tree, text = found.tree, kept().get("beam_node")
    at = read_place(tree, text) if text else tree.fork
    if at is None:
        put_right("beam_node")

    def clicked() -> None:
        place = st.session_state["beam_tree"].pick
        if type(place) is int and 0 <= place < len(tree.places):  # it comes from the browser
            kept()["beam_node"] = "" if place == tree.fork else write_place(tree, place)

    draw(key="beam_tree", data=encode(found, at), on_pick_change=clicked)
    return at


def write_place(tree: analysis.Tree, place: int) -> str:
    """A place as text for the address: the ids of its tokens, which mean the same in the tree of any width."""
    return ".".join(map(str, tree.tokens(place))) or ROOT


def read_place(tree: analysis.Tree, text: str) -> int | None:
    """The place that a text of the address means; None for one that the tree does not have."""
    if text == ROOT:
        return 0
    ids = text.split(".")
    return tree.find([int(i) for i in ids]) if all(i.isascii() and i.isdigit() and len(i) < 9 for i in ids) else None


def encode(found: Found, selected: int) -> dict[str, object]:
    """The tree as the browser draws it."""
    tree = found.tree
    winner, greedy = set(tree.winner), set(tree.greedy)
    places = [
        {
            "parent": place.node.parent,
            "step": place.step,
            "rank": place.rank,
            "token": "■" if place.node.ended or not place.step else visible(found.token(i)),
            "total": signed(place.node.total) if place.step else "",
            "probability": round(float(np.exp(place.node.log_probability)), 4) if place.step else 0,
            "label": hover(found, i),
            "winner": i in winner,
            "greedy": i in greedy,
        }
        for i, place in enumerate(tree.places)
    ]
    alone = any(place.dropped for place in tree.places)
    return {"places": places, "ranks": tree.ranks, "alone": alone, "selected": selected, "name": "beam_search"}


def hover(found: Found, i: int) -> str:
    """What is said of a place, literally: its token, its own log-probability, and the total down to it."""
    place = found.tree.places[i]
    if not place.step:
        return f"{visible(found.token(i))}: where every translation begins"
    own = percent(float(np.exp(place.node.log_probability)))
    lines = [
        f"token {place.step}: {visible(found.token(i))}",
        f"log-probability {signed(place.node.log_probability)} ({own})",
        f"running total {signed(place.node.total)}, "
        + ("not in the beam" if place.dropped else f"#{place.rank + 1} at this step"),
    ]
    return "\n".join(lines)


def show_node(found: Found, at: int) -> None:
    """The chosen beginning as text, and what could follow."""
    place = found.tree.places[at]
    text = f"“{literal(found.text(at))}”" if found.text(at).strip() else "nothing yet"
    length = f" ({counted(place.step, 'token')}, total {signed(place.node.total)})" if place.step else ""
    st.markdown(f"**The beginning:** {text}{length}")
    if place.node.ended:
        st.info("This translation has ended: nothing follows.", icon=":material/stop_circle:")
        return
    following = found.tree.children(at)
    if not following and at in {found.tree.winner[-1], found.tree.greedy[-1]}:
        st.info("The length limit stopped it here.", icon=":material/straighten:")
    tokens = tuple(found.tree.tokens(at))
    log_p = continuations(found.reading.model.fingerprint, found.reading.text, tokens, found.reading.model)
    beam = {found.tree.places[i].node.token for i in following if not found.tree.places[i].dropped}
    ids = likeliest_first(log_p)
    ids = [int(i) for rank, i in enumerate(ids) if rank < SHOWN or int(i) in beam]
    totals = place.node.total + log_p[ids]
    claims.claim_following(found, at, ids, log_p[ids], totals, SHOWN)
    names = found.reading.model.tokenizer.token_texts(ids)
    plot(candidate_bars(names, np.exp(log_p[ids]), totals, [i in beam for i in ids]), "beam_candidates")
    st.caption(say_candidates(found, at, len(beam)))


@st.cache_resource(max_entries=256, show_spinner=False)
def continuations(fingerprint: str, text: str, tokens: tuple[int, ...], _model: object) -> np.ndarray:
    """`what_follows`, once. Shared by all visitors: never change it."""
    return analysis.what_follows(_model, text, tokens)


def say_candidates(found: Found, at: int, number: int) -> str:
    """Which continuations were kept, and what they had to beat, in words."""
    place = found.tree.places[at]
    if place.dropped:
        return "Greedy decoding came here alone: the beam had found better totals, so it looked at nothing from here."
    lowest = analysis.last_kept(found.tree, place.step + 1)
    if lowest is None:
        return "The search ended with this step."
    claims.claim_lowest(found, at, lowest)
    return (
        "The beam compares the totals of all beginnings of a step, each with every token of the vocabulary, and keeps "
        "the largest; a translation that has ended takes its beam with it. At token "
        f"{place.step + 1} the last one that it kept has {signed(lowest)}; of this beginning it kept **{number}**."
    )


def results_table(found: Found) -> pd.DataFrame:
    """Every translation that ended, best score first, and the greedy one, wherever it comes."""
    runs = [(found.best.search, node) for node in found.best.search.results]
    best, own = found.best.search.tokens(runs[0][1]), found.greedy.search.tokens(found.greedy.search.results[0])
    if all(run.tokens(node) != own for run, node in runs):
        runs.append((found.greedy.search, found.greedy.search.results[0]))
    runs.sort(key=lambda pair: -pair[0].score(pair[1]))
    rows = []
    for run, node in runs:
        tokens = run.tokens(node)
        marks = [name for name, which in (("winner", best), ("greedy", own)) if tokens == which]
        rows.append(
            {
                "translation": text_of(found.reading, tokens),
                "which": " and ".join(marks),
                "beam score": run.score(node),
                "log-probability, nats": run.nodes[node].total,
                "tokens": len(tokens),
                "length penalty": run.nodes[node].total / run.score(node) if run.score(node) else 1.0,
                "ended by": "end of text" if run.nodes[node].ended else "length limit",
            }
        )
    table = pd.DataFrame(rows, index=pd.RangeIndex(1, len(rows) + 1, name="rank"))
    ends = tuple(found.tree.find(run.tokens(node)) for run, node in runs)
    shown = {f"{name} [row]": table[name] for name in claims.OF_RESULTS}
    claims.claim_ended(found, ends, shown | {"probability [row]": np.exp(table["log-probability, nats"])})
    return table


def show_results(found: Found) -> None:
    """The translations that ended, with what their beam scores are made of."""
    table_with_csv(results_table(found), "beam-search.csv", "beam_results")
