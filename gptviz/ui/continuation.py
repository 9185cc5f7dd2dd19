"""How the model goes on from the sentence: settings of the draw, the tokens drawn so far, the buttons that add some.

The drawn tokens are the value of one native widget, so that a link and a reload keep them. They never touch the
sentence box until the visitor asks for it. Every sentence keeps its own continuation while the session lasts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from gptviz.ui.lesson import Reading
from gptviz.ui.show import escape

if TYPE_CHECKING:
    from gptviz import LanguageModel, Trace
    from gptviz.sampling import Funnel

IDS = "next_ids"  # the widget that holds the drawn ids; other keys below are plain session state
KEPT, OWNER, TODO, CHANGED, DRAWS = "next_kept", "next_owner", "next_todo", "next_changed", "next_draws"
TOP_K = [*range(1, 11), 15, 20, 30, 40, 50, 75, 100, 200, 500, 1000]
ALL = "all"
MOST_SENTENCES, MOST_DRAWS = 20, 4000  # what a session remembers

Owner = tuple[str, tuple[int, ...]]  # a model's fingerprint and a sentence's ids


class Settings(NamedTuple):
    """How to draw."""

    temperature: float
    top_k: int | None
    top_p: float | None
    seed: int

    @property
    def limits(self) -> dict[str, float | None]:
        """What `sampling.funnel` takes."""
        return {"temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p}


class Draw(NamedTuple):
    """How one token was drawn."""

    settings: Settings
    u: float
    probability: float  # in the distribution that it was drawn from


@dataclass(frozen=True, eq=False)
class Continuation:
    """The sentence as typed, the tokens drawn after it, and what the model says comes next."""

    reading: Reading
    drawn: tuple[int, ...]
    settings: Settings
    trace: Trace = field(repr=False)  # one pass over the sentence and the drawn tokens
    funnel: Funnel = field(repr=False)  # of the next token
    u: float  # the next number of the seeded generator
    chosen: int  # the token that it falls on

    @property
    def owner(self) -> Owner:
        """What the drawn tokens belong to."""
        return self.reading.model.fingerprint, self.reading.trace.ids

    @property
    def start(self) -> int:
        """Position of the first drawn token."""
        return len(self.reading.tokens)

    @property
    def tokens(self) -> tuple[str, ...]:
        """All tokens, typed and drawn."""
        return self.reading.tokens + self.reading.model.tokenizer.token_texts(self.drawn)

    @property
    def room(self) -> int:
        """How many more tokens the context takes."""
        return self.reading.model.gpt.config.context - len(self.trace.ids)

    @property
    def ended(self) -> bool:
        """Whether the last drawn token ends the text."""
        return self.drawn[-1:] == (self.reading.model.tokenizer.end_of_text,)

    def how(self, place: int) -> Draw | None:
        """How the drawn token number `place` was drawn; None if it came with a link."""
        return st.session_state.get(DRAWS, {}).get((self.owner, self.drawn[: place + 1]))


def settings() -> Settings:
    """Temperature, top-k, top-p and seed, each in the URL."""
    bound = {"bind": "query-params"}
    columns = st.columns([3, 3, 3, 2], gap="medium")
    with columns[0]:
        temperature = st.slider(
            "Temperature", 0.0, 2.0, 0.8, 0.05, key="next_temperature", help="Divides the logits. 0 is greedy.", **bound
        )
    with columns[1]:
        options = [*map(str, TOP_K), ALL]
        top_k = st.select_slider(
            "Top-k", options, "40", key="next_top_k", help="Keeps the k most probable tokens.", **bound
        )
    with columns[2]:
        top_p = st.slider(
            "Top-p", 0.05, 1.0, 0.95, 0.01, key="next_top_p",
            help="Keeps the fewest tokens that hold this share. 1 keeps all.", **bound,
        )  # fmt: skip
    with columns[3]:
        seed = st.number_input(
            "Seed", 0, 2**31 - 1, 0, key="next_seed", help="Equal seeds draw equal tokens.", **bound
        )
    return Settings(temperature, None if top_k == ALL else int(top_k), None if top_p == 1 else top_p, int(seed))


def continuation(reading: Reading) -> Continuation:
    """The panel of the draw: the whole text so far, its settings and buttons; goes on drawing if that was asked for."""
    with st.container(border=True):
        text, message = st.container(), st.container()
        chosen = settings()
        buttons = st.container()
        with st.expander("The drawn tokens as ids", icon=":material/link:"):
            drawn = drawn_ids(reading)
    todo = st.session_state.pop(TODO, 0)
    if todo:
        go_on(message, reading, drawn, chosen, todo)
    story = look_ahead(reading, drawn, chosen)
    with text:
        show_text(story)
    with message:
        say_limits(story)
    with buttons:
        show_buttons(story)
    return story


def drawn_ids(reading: Reading) -> tuple[int, ...]:
    """The drawn tokens, out of the widget that holds them; what is no token of this model is left out, and said so."""
    owner = (reading.model.fingerprint, reading.trace.ids)
    kept = st.session_state.setdefault(KEPT, {})
    before = st.session_state.get(OWNER)
    if st.session_state.pop(CHANGED, False) or (before is not None and before != owner):
        st.session_state[IDS] = kept.get(owner, "")
    st.session_state[OWNER] = owner
    text = st.text_input(
        "Part of the link to this page; edit them to see what another token would have changed",
        key=IDS, bind="query-params", placeholder="Nothing drawn yet", max_chars=8000,
    )  # fmt: skip
    config = reading.model.gpt.config
    ids, wrong = parse(text, config.vocab_size)
    room = config.context - len(reading.tokens)
    if wrong:
        st.warning(
            f"Expected token ids from 0 to {config.vocab_size - 1} with a point between them, such as 262.17, found "
            f"{escape(wrong[:40])}. It and what follows is left out."
        )
    if len(ids) > room:
        st.warning(f"The context has room for {room} more tokens, the link brought {len(ids)}: the last are left out.")
    ids = ids[:room]
    remember(owner, ids)
    return ids


def parse(text: str, vocab_size: int) -> tuple[tuple[int, ...], str]:
    """Ids out of "262.17", and the first piece that is none."""
    ids = []
    for piece in text.split(".") if text.strip() else ():
        number = int(piece) if piece.strip().isascii() and piece.strip().isdigit() and len(piece) < 12 else -1
        if not 0 <= number < vocab_size:
            return tuple(ids), piece or "nothing"
        ids.append(number)
    return tuple(ids), ""


def remember(owner: Owner, ids: Sequence[int]) -> None:
    """Keep the continuation of a sentence for the session."""
    kept = st.session_state.setdefault(KEPT, {})
    kept.pop(owner, None)
    kept[owner] = ".".join(map(str, ids))
    while len(kept) > MOST_SENTENCES:
        del kept[next(iter(kept))]


def put(owner: Owner, ids: tuple[int, ...], draw: Draw | None = None) -> None:
    """Make `ids` the drawn tokens, from the next run on; `draw` says how the last one was drawn."""
    remember(owner, ids)
    st.session_state[CHANGED] = True
    if ids:
        st.session_state["next_at"] = len(owner[1]) + len(ids) - 1  # look at the last token again
    if draw:
        draws = st.session_state.setdefault(DRAWS, {})
        draws[owner, ids] = draw
        while len(draws) > MOST_DRAWS:
            del draws[next(iter(draws))]


def ask_for_more() -> None:
    """Draw the chosen number of tokens in the next run."""
    st.session_state[TODO] = int(st.session_state["next_amount"])


def adopt(text: str) -> None:
    """Put the whole text into the sentence box."""
    st.session_state["text"] = text


def generator(seed: int, used: int) -> np.random.Generator:
    """The seeded generator after `used` draws: a draw depends on the seed and its place, not on the way there."""
    rng = np.random.default_rng(seed)
    rng.random(used)
    return rng


def look_ahead(reading: Reading, drawn: tuple[int, ...], chosen: Settings) -> Continuation:
    """What comes after the sentence and the drawn tokens."""
    from gptviz import sampling

    trace = traced(reading.model, reading.model.fingerprint, reading.trace.ids + drawn) if drawn else reading.trace
    stages = sampling.funnel(trace.logits[-1], **chosen.limits)
    u = float(generator(chosen.seed, len(drawn)).random())
    return Continuation(reading, drawn, chosen, trace, stages, u, sampling.draw(stages.final, u))


@st.cache_resource(max_entries=8, show_spinner=False)
def traced(_model: LanguageModel, fingerprint: str, ids: tuple[int, ...]) -> Trace:
    """One pass over ids that fit the context. Shared by all visitors: never change it."""
    return _model.gpt.trace(ids)


def go_on(place: DeltaGenerator, reading: Reading, drawn: tuple[int, ...], chosen: Settings, todo: int) -> None:
    """Draw up to `todo` tokens; each is kept at once, so that a click on anything stops here and loses nothing."""
    from gptviz import sampling

    model, owner = reading.model, (reading.model.fingerprint, reading.trace.ids)
    ids = reading.trace.ids + drawn
    todo = min(todo, model.gpt.config.context - len(ids))
    with place, st.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(0.0, f"Drawing {todo} tokens …")
        st.button("Stop here", key="next_stop", icon=":material/stop:")
    steps = sampling.stream(model, ids, todo, **chosen.limits, seed=generator(chosen.seed, len(drawn)))
    for count, step in enumerate(steps, start=1):
        drawn = (*drawn, step.id)
        put(owner, drawn, Draw(chosen, step.u, step.probability))
        bar.progress(count / todo, f"{count} of {todo} tokens: {escape(step.token)}")
    st.rerun()


def show_text(story: Continuation) -> None:
    """The sentence and, tinted, what was drawn after it."""
    from gptviz.ui.strip import token_strip

    notes = ["typed"] * story.start
    for place in range(len(story.drawn)):
        how = story.how(place)
        notes.append(f"drawn, u = {how.u:.4f}, probability {how.probability:.4g}" if how else "drawn, by the link")
    tints = [0.0] * story.start + [0.35] * len(story.drawn)
    token_strip(story.tokens, "next_text", tints, labels=notes, selectable=False)


def say_limits(story: Continuation) -> None:
    """Why nothing more can be drawn, where that is so."""
    context = story.reading.model.gpt.config.context
    if story.ended:
        st.info("The model ended the text. Undo the last token to draw another.", icon=":material/flag:")
    elif story.room <= 0:
        st.warning(
            f"The context is full: the model has {context} positions and all are taken. It can say what comes next but "
            "not read it. Undo some tokens, or type a shorter sentence.",
            icon=":material/data_array:",
        )


def show_buttons(story: Continuation) -> None:
    """Draw one, draw several, take back, start over, adopt."""
    stuck = story.ended or story.room <= 0
    probability = float(story.funnel.final[story.chosen])
    more = (*story.drawn, story.chosen), Draw(story.settings, story.u, probability)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.button(
            "Draw one token", key="next_one", icon=":material/casino:", disabled=stuck, shortcut="N",
            on_click=put, args=(story.owner, *more),
        )  # fmt: skip
        st.button("Go on", key="next_more", icon=":material/fast_forward:", disabled=stuck, on_click=ask_for_more)
        st.number_input("How many", 1, 200, 20, key="next_amount", bind="query-params", width=110)
        st.button(
            "Undo", key="next_undo", icon=":material/undo:", disabled=not story.drawn,
            on_click=put, args=(story.owner, story.drawn[:-1]),
        )  # fmt: skip
        st.button(
            "Start over", key="next_reset", icon=":material/restart_alt:", disabled=not story.drawn,
            on_click=put, args=(story.owner, ()),
        )  # fmt: skip
        tokenizer = story.reading.model.tokenizer
        written = story.drawn[:-1] if story.ended else story.drawn
        st.button(
            "Use as the sentence", key="next_adopt", icon=":material/input:", disabled=not written,
            help="Puts the whole text into the sentence box. It is then cut into tokens anew.",
            on_click=adopt, args=(story.reading.text + tokenizer.decode(written),),
        )  # fmt: skip
