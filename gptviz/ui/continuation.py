"""How the model goes on from the sentence: settings of the draw, the tokens drawn so far, the buttons that add some.

The drawn tokens are part of the address, so that a link and a reload keep them. They never touch the sentence box
until the visitor asks for it. Every sentence keeps its own continuation while the session lasts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from gptviz.ui.address import kept, linked, shown_as
from gptviz.ui.controls import BOXES, number, slide, slide_among, use_sentence
from gptviz.ui.lesson import Reading
from gptviz.ui.show import escape

if TYPE_CHECKING:
    from gptviz import LanguageModel, Trace
    from gptviz.sampling import Funnel

IDS = "next_ids"  # in the address; the keys below are plain session state
TODO, DRAWS = "next_todo", "next_draws"
TOP_K = [*range(1, 11), 15, 20, 30, 40, 50, 75, 100, 200, 500, 1000]
ALL = "all"
MOST_DRAWS = 4000  # that a session remembers
AT_ONCE = 10  # tokens that are drawn before they are put into the address: a reload loses no more

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
        return owner_of(self.reading)

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

    @property
    def stuck(self) -> bool:
        """Whether nothing more can be drawn."""
        return self.ended or self.room <= 0

    def how(self, place: int) -> Draw | None:
        """How the drawn token number `place` was drawn; None if it came with a link."""
        return st.session_state.get(DRAWS, {}).get((self.owner, self.drawn[: place + 1]))


def owner_of(reading: Reading) -> Owner:
    """What tokens that are drawn after a sentence belong to."""
    return reading.model.fingerprint, reading.trace.ids


def settings() -> Settings:
    """Temperature, top-k, top-p and seed, each in the link."""
    columns = st.columns([3, 3, 3, 2], gap="medium")
    with columns[0]:
        temperature = slide(
            "Temperature", 0.0, 2.0, 0.8, 0.05, "next_temperature", help="Divides the logits. 0 is greedy."
        )
    with columns[1]:
        options = [*map(str, TOP_K), ALL]
        top_k = slide_among("Top-k", options, "40", "next_top_k", help="Keeps the k most probable tokens.")
    with columns[2]:
        help_text = "Keeps the fewest tokens that hold this share. 1 keeps all."
        top_p = slide("Top-p", 0.05, 1.0, 0.95, 0.01, "next_top_p", help=help_text)
    with columns[3]:
        seed = number("Seed", 0, 2**31 - 1, 0, "next_seed", help="Equal seeds draw equal tokens.")
    return settings_of(temperature, top_k, top_p, seed)


def settings_of(temperature: float, top_k: str, top_p: float, seed: int) -> Settings:
    """What the controls show, as the sampler takes it."""
    return Settings(temperature, None if top_k == ALL else int(top_k), None if top_p == 1 else top_p, int(seed))


def settings_now() -> Settings:
    """In a callback: what the controls show in the browser."""
    names = ("next_temperature", "next_top_k", "next_top_p", "next_seed")
    return settings_of(*(st.session_state[shown_as(name)] for name in names))


def continuation(reading: Reading) -> Continuation:
    """The panel of the draw: the whole text so far, its settings and buttons; goes on drawing if that was asked for."""
    with st.container(border=True):
        text, message = st.container(), st.container()
        chosen = settings()
        buttons = st.container()
        with st.expander("The drawn tokens as ids", icon=":material/link:"):
            drawn = show_ids(reading)
    done, todo = st.session_state.pop(TODO, (0, 0))
    if done < todo:
        go_on(message, reading, drawn, chosen, done, todo)
    story = look_ahead(reading, drawn, chosen)
    with text:
        show_text(story)
    with message:
        say_limits(story)
    with buttons:
        show_buttons(story)
    return story


def show_ids(reading: Reading) -> tuple[int, ...]:
    """The drawn tokens, as ids that can be edited; what is no token of this model is left out, and said so."""
    text = linked(
        st.text_input, "Part of the link to this page; edit them to see what another token would have changed",
        key=IDS, default="", read=str, placeholder="Nothing drawn yet", max_chars=8000,
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
    return ids[:room]


def drawn_now(reading: Reading) -> tuple[int, ...]:
    """The drawn tokens as they are in the address, which may be ahead of what the browser shows."""
    config = reading.model.gpt.config
    return parse(kept().get(IDS, ""), config.vocab_size)[0][: config.context - len(reading.tokens)]


def parse(text: str, vocab_size: int) -> tuple[tuple[int, ...], str]:
    """Ids out of "262.17", and the first piece that is none."""
    ids = []
    for piece in text.split(".") if text.strip() else ():
        token = int(piece) if piece.strip().isascii() and piece.strip().isdigit() and len(piece) < 12 else -1
        if not 0 <= token < vocab_size:
            return tuple(ids), piece or "nothing"
        ids.append(token)
    return tuple(ids), ""


def put(owner: Owner, ids: tuple[int, ...], draw: Draw | None = None) -> None:
    """Make `ids` the drawn tokens, from the next run on; `draw` says how the last one was drawn."""
    kept()[IDS] = ".".join(map(str, ids))
    kept()["next_at"] = ""  # look at the last token again
    if draw:
        draws = st.session_state.setdefault(DRAWS, {})
        draws[owner, ids] = draw
        while len(draws) > MOST_DRAWS:
            del draws[next(iter(draws))]


def draw_one(reading: Reading) -> None:
    """Draw the next token, with what has been drawn and chosen by now: quick presses draw one token each."""
    story = look_ahead(reading, drawn_now(reading), settings_now())
    if not story.stuck:
        probability = float(story.funnel.final[story.chosen])
        put(story.owner, (*story.drawn, story.chosen), Draw(story.settings, story.u, probability))


def undo(reading: Reading) -> None:
    """Take the last token back."""
    put(owner_of(reading), drawn_now(reading)[:-1])


def ask_for_more() -> None:
    """Draw the chosen number of tokens in the next run."""
    st.session_state[TODO] = 0, int(st.session_state[shown_as("next_amount")])


def generator(seed: int, used: int) -> np.random.Generator:
    """The seeded generator after `used` draws: a draw depends on the seed and its place, not on the way there."""
    rng = np.random.default_rng(seed)
    rng.random(used)
    return rng


def look_ahead(reading: Reading, drawn: tuple[int, ...], chosen: Settings) -> Continuation:
    """What comes after the sentence and the drawn tokens."""
    from gptviz import sampling

    trace = traced(reading.model, reading.model.fingerprint, reading.trace.ids + drawn) if drawn else reading.trace
    reading.show(trace)
    stages = sampling.funnel(trace.logits[-1], **chosen.limits)
    u = float(generator(chosen.seed, len(drawn)).random())
    return Continuation(reading, drawn, chosen, trace, stages, u, sampling.draw(stages.final, u))


@st.cache_resource(max_entries=8, show_spinner=False)
def traced(_model: LanguageModel, fingerprint: str, ids: tuple[int, ...]) -> Trace:
    """One pass over ids that fit the context. Shared by all visitors: never change it."""
    return _model.gpt.trace(ids)


def go_on(
    place: DeltaGenerator, reading: Reading, drawn: tuple[int, ...], chosen: Settings, done: int, todo: int
) -> None:
    """Draw some of `todo` tokens, of which `done` are there, and run again, which puts them into the address.

    Each is kept at once, so that a click on anything stops here and loses nothing.
    """
    from gptviz import sampling

    model, ids = reading.model, reading.trace.ids + drawn
    todo = min(todo, done + model.gpt.config.context - len(ids))
    with place, st.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(done / max(todo, 1), f"Drawing {todo} tokens …")
        st.button("Stop here", key="next_stop", icon=":material/stop:")
    wanted = min(AT_ONCE, todo - done)
    steps = sampling.stream(model, ids, wanted, **chosen.limits, seed=generator(chosen.seed, len(drawn)))
    for count, step in enumerate(steps, start=1):
        drawn = (*drawn, step.id)
        put(owner_of(reading), drawn, Draw(chosen, step.u, step.probability))
        bar.progress((done + count) / todo, f"{done + count} of {todo} tokens: {escape(step.token)}")
    if drawn[-1:] != (model.tokenizer.end_of_text,):
        st.session_state[TODO] = done + wanted, todo
    st.rerun()


def show_text(story: Continuation) -> None:
    """The sentence and, tinted, what was drawn after it."""
    from gptviz.ui.strip import token_strip

    notes = ["typed"] * story.start
    for place in range(len(story.drawn)):
        how = story.how(place)
        notes.append(f"drawn, u = {how.u:.4f}, probability {how.probability:.4g}" if how else "drawn, by the link")
    tints = [0.0] * story.start + [0.35] * len(story.drawn)
    given = story.reading.template
    for place, own in enumerate(given or ()):
        notes[place] = "from the chat template" if own else "typed"
    token_strip(story.tokens, "next_text", tints, labels=notes, given=given and [*given, *[False] * len(story.drawn)])


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
    """Draw one, draw several, take back, start over, use as the sentence."""
    reading = story.reading
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.button(
            "Draw one token", key="next_one", icon=":material/casino:", disabled=story.stuck, shortcut="N",
            on_click=draw_one, args=(reading,),
        )  # fmt: skip
        st.button("Go on", key="next_more", icon=":material/fast_forward:", disabled=story.stuck, on_click=ask_for_more)
        number("How many", 1, 200, 20, "next_amount", width=110)
        st.button(
            "Undo", key="next_undo", icon=":material/undo:", disabled=not story.drawn,
            on_click=undo, args=(reading,),
        )  # fmt: skip
        st.button(
            "Start over", key="next_reset", icon=":material/restart_alt:", disabled=not story.drawn,
            on_click=put, args=(story.owner, ()),
        )  # fmt: skip
        written = story.drawn[:-1] if story.ended else story.drawn
        chat = reading.model.chat
        st.button(
            "Use as the sentence", key="next_adopt", icon=":material/input:", disabled=chat or not written,
            help="The answer is no part of what the user says in a conversation." if chat else
            "Puts the whole text into the sentence box. It is then cut into tokens anew.",
            on_click=use_sentence, args=(BOXES["gpt"], reading.text + reading.model.tokenizer.decode(written)),
        )  # fmt: skip
