"""The controls that pages share. Each keeps its state in the address, so that a link opens the same picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import quote

import streamlit as st

from gptviz import folder as folders
from gptviz.places import TRANSFORMER_PAGES
from gptviz.ui import address, models
from gptviz.ui.address import linked
from gptviz.ui.component import ASSETS, component
from gptviz.ui.show import escape, literal
from gptviz.ui.take import share_button

if TYPE_CHECKING:
    from gptviz.config import ModelConfig

SENTENCE = "My dog has fleas"
SENTENCES = {
    "My dog has fleas": SENTENCE,
    "Whom does “she” mean?": "Lily gave Tom the red ball because she was too tired to play with it.",
    "A name comes back": "Tom and Lily went to the park. Lily had a kite. Tom and Lily",
    "A list": "She packed a hat, a coat, a book, an apple, a",
    "Somebody speaks": "“Where is my cat?” asked Tim. “I saw it in the tree,” said Sue. “Then",
    "A long sentence": (
        "Once upon a time there was a little mouse who lived under the old tree by the river, and every morning, when "
        "the sun was warm and the birds began to sing, the mouse went out to look for a"
    ),
    "The same letters twice": "qx vb zt rk pw qx vb zt rk",
    "Nonsense": "blorf the wugs dax quickly under seven purple",
}
GERMAN = {
    "Ich habe Hunger.": "Ich habe Hunger.",
    "The verb comes last": "Ich habe gestern im Garten ein altes Buch gefunden.",
    "Words change places": "Morgen gehe ich mit meinem Bruder ins Kino.",
    "One word becomes many": "Der Krankenwagen kam zu spät.",
    "A question": "Warum hast du mir das nicht gesagt?",
    "“Sie”: she, they or you?": "Sie hat gesagt, dass sie morgen nicht kommen kann.",
    "A separable verb": "Er macht das Fenster auf, weil es hier zu warm ist.",
    "Nonsense": "Der blaue Satz trinkt leise sieben Fahrräder.",
}
REFERENCES = {  # a German sentence of ours -> a translation of ours
    "Ich habe Hunger.": "I am hungry.",
    "Ich habe gestern im Garten ein altes Buch gefunden.": "Yesterday I found an old book in the garden.",
    "Morgen gehe ich mit meinem Bruder ins Kino.": "Tomorrow I am going to the cinema with my brother.",
    "Der Krankenwagen kam zu spät.": "The ambulance came too late.",
    "Warum hast du mir das nicht gesagt?": "Why didn't you tell me that?",
    "Sie hat gesagt, dass sie morgen nicht kommen kann.": "She said that she can't come tomorrow.",
    "Er macht das Fenster auf, weil es hier zu warm ist.": "He opens the window because it is too warm here.",
    "Der blaue Satz trinkt leise sieben Fahrräder.": "The blue sentence quietly drinks seven bicycles.",
}
Option = TypeVar("Option")
Number = TypeVar("Number", int, float)
MOST_SIDE_BY_SIDE = 16  # layers or heads to choose from: more do not fit the width of a page
NEED_NO_MODEL = ("models",)  # pages that open without one
give_keys_back = component("gptviz_keys", ["give_back", "keys"])
LONGEST_LINK = 8000  # characters of the sentence in a URL; servers refuse a request of 64 KiB


class Box(NamedTuple):
    """The controls of one kind of model: the picker and the box for the sentence, by their names in the address."""

    kind: str  # of the model
    model: str
    text: str
    label: str
    labelled: bool  # the label is to be seen: not every sentence will do
    asks: str  # while it is empty
    sentences: dict[str, str]  # to try, by what they show; the first is there at first

    def now(self) -> tuple[str, str]:
        """The chosen model and the typed text."""
        return st.session_state[self.model], st.session_state[self.text]

    def recall(self) -> None:
        """Bring back what was there before pages that do not draw these; a link that names them comes first."""
        for key, value in st.session_state.get("recalled", {}).get(self.kind, {}).items():
            if key not in st.session_state and key not in st.query_params:
                st.session_state[key] = value

    def remember(self) -> None:
        """Keep both for `recall`, and what else belongs to this sentence with it."""
        values = dict(zip((self.model, self.text), self.now(), strict=True))
        st.session_state.setdefault("recalled", {})[self.kind] = values
        address.remember_sentence(self.kind, self.now())

    def changed(self) -> None:
        """Another sentence or model was chosen."""
        address.another_sentence(self.kind, self.now())


BOXES = {
    "gpt": Box("gpt", "model", "text", "Sentence", False, "Type a sentence and press Enter", SENTENCES),
    "transformer": Box(
        "transformer", "translator", "source", "German sentence", True, "Type a German sentence and press Enter", GERMAN
    ),
}


def shared_controls(page: str) -> None:
    """Model, sentence and what the address keeps, for the router, before the page at the URL path `page` runs."""
    box = BOXES["transformer" if page in TRANSFORMER_PAGES else "gpt"]
    st.html(ASSETS / "page.css")
    box.recall()
    st.session_state.pop("readings", None)  # of a run that ended before its badge
    if not models.names(box.kind):
        without_a_model(box, page)
        return
    with st.sidebar:
        pick_model(box)
        address.own(page)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        fits = len(quote(st.session_state.get(box.text, ""), errors="replace")) <= LONGEST_LINK
        st.text_input(
            box.label,
            next(iter(box.sentences.values())),
            key=box.text,
            bind="query-params" if fits else None,
            on_change=typed,
            args=(box,),
            label_visibility="visible" if box.labelled else "collapsed",
            placeholder=box.asks,
        )
        st.menu_button(
            "Try another", list(box.sentences), key=f"try_{box.kind}", on_click=use_chosen, args=(box,),
            icon=":material/lightbulb:",
        )  # fmt: skip
        share_button(page)
    address.say_ignored()
    box.remember()
    if "\n" in st.session_state[box.text]:
        st.caption("This text has line breaks: tokens show them as ⏎, the box cannot. Typing in it joins the lines.")
    if not fits:
        st.info("This text is too long for a link: the address does not carry it, and a reload forgets it.")


def typed(box: Box) -> None:
    """Set the sentence once more, as from here: after a text too long for a link, the browser would not write it."""
    use_sentence(box, st.session_state[box.text])


def use_chosen(box: Box) -> None:
    """Put the chosen sentence into the box."""
    use_sentence(box, box.sentences[st.session_state[f"try_{box.kind}"]])


def use_sentence(box: Box, text: str) -> None:
    """Put a sentence into the box, in a callback."""
    st.session_state[box.text] = text
    box.changed()


def pick_model(box: Box) -> None:
    """The model picker; says so where the URL asks for a model that is not there."""
    found = models.names(box.kind)
    wanted = st.query_params.get(box.model)
    found += [name for name in dict.fromkeys((wanted, st.session_state.get(box.model))) if is_snapshot(name, box.kind)]
    if wanted and wanted not in found:
        st.warning(f"There is no model {escape(wanted[:80])} here. Showing {escape(found[0])} instead.")
    st.selectbox("Model", found, key=box.model, bind="query-params", on_change=box.changed)


def without_a_model(box: Box, page: str) -> None:
    """Where no model of a kind is here: the page Models opens, every other one says so and leads there."""
    with st.sidebar:
        address.own(page)
    if page in NEED_NO_MODEL:
        return
    st.title("No model is here yet" if box.kind == "gpt" else "No translator is here yet", anchor=False)
    damaged = "".join(f"  \n**{escape(name)}**: {literal(why)}" for name, why in models.unreadable().items())
    st.error(
        "Expected at least one model for this page, as a folder in checkpoints/, found none. Get one on the page "
        + ("**Models**: smollm2-135m needs no hub. " if box.kind == "gpt" else "**Models**, as an upload. ")
        + f"Or get the repository again, complete, or train a model: `python -m gptviz train`.{damaged}"
    )
    st.page_link("models/models.py", label="Models", icon=":material/deployed_code:")
    st.stop()


def is_snapshot(name: str | None, kind: str) -> bool:
    """Whether NAME@STEP from the address is a recorded step of a model of this kind: compared with what is there."""
    if name is None or "@" not in name or name in models.names(kind):
        return False
    try:
        folder, _ = folders.find_weights(name)
    except folders.CheckpointError:
        return False
    return folders.kind_of(folder) == kind


def pick_layer(config: ModelConfig, first: int = 0) -> int:
    """A layer of the model, from 0; `first` is chosen at first."""
    return pick_number("Layer", config.n_layers, "layer", first)


def pick_head(config: ModelConfig, first: int = 0) -> int:
    """A head of the model, from 0; `first` is chosen at first."""
    return pick_number("Head", config.n_heads, "head", first)


def pick_number(label: str, count: int, key: str, first: int = 0) -> int:
    """One of `count` numbers from 0, side by side, or typed where they are many; `first` is chosen at first."""
    shared = {"key": key, "default": first, "read": number_in(0, count - 1, int), "spelt_out": first > 0}
    if count > MOST_SIDE_BY_SIDE:
        return linked(st.number_input, label, 0, count - 1, step=1, help=f"From 0 to {count - 1}.", **shared)
    return linked(st.segmented_control, label, range(count), required=True, **shared)


def check_layer_and_head(config: ModelConfig) -> None:
    """Forget a layer and a head that the model does not have, on pages without pickers, too."""
    for name, count in (("layer", config.n_layers), ("head", config.n_heads)):
        try:
            number_in(0, count - 1, int)(address.kept().get(name) or "0")
        except ValueError:
            address.put_right(name)


def pick_one(label: str, options: dict[Option, str], key: str, help: str | None = None) -> Option:
    """One of a few options, each with its name, side by side; the first unless chosen otherwise. Part of the link."""
    return linked(
        st.segmented_control, label, list(options), key=key, default=next(iter(options)), read=among(options),
        write=options.__getitem__, format_func=options.get, required=True, help=help,
    )  # fmt: skip


def switch(label: str, key: str, default: bool = False, help: str | None = None) -> bool:
    """On or off. Part of the link."""
    names = {True: "true", False: "false"}
    return linked(st.toggle, label, key=key, default=default, read=among(names), write=names.__getitem__, help=help)


def slide(label: str, low: Number, high: Number, default: Number, step: Number, key: str, **options: Any) -> Number:
    """A number on a slider. Part of the link."""
    read = number_in(low, high, type(default))
    return linked(st.slider, label, low, high, None, step, key=key, default=default, read=read, **options)


def slide_pair(label: str, low: float, high: float, default: tuple[float, float], step: float, key: str) -> tuple:
    """Two numbers on a slider, the smaller one first. Part of the link, as "0.2-0.5"."""
    number = number_in(low, high, float)

    def read(text: str) -> tuple[float, ...]:
        first, _, second = text.partition("-")
        return tuple(sorted((number(first), number(second))))

    def write(pair: tuple[float, float]) -> str:
        return "-".join(map(str, pair))

    return linked(st.slider, label, low, high, None, step, key=key, default=default, read=read, write=write)


def slide_among(label: str, options: Sequence[str], default: str, key: str, **more: Any) -> str:
    """One of many texts, in order, on a slider. Part of the link."""
    read = among({text: text for text in options})
    return linked(st.select_slider, label, options, key=key, default=default, read=read, **more)


def number(label: str, low: int, high: int, default: int, key: str, **options: Any) -> int:
    """A whole number to be typed. Part of the link."""
    read = number_in(low, high, int)
    return linked(st.number_input, label, low, high, key=key, default=default, read=read, step=1, **options)


def number_in(low: Number, high: Number, kind: type[Number]) -> Callable[[str], Number]:
    """A reader of numbers from `low` to `high`."""

    def read(text: str) -> Number:
        value = kind(text)
        if not (math.isfinite(value) and low <= value <= high):
            raise ValueError(f"expected a number from {low} to {high}, found {text!r}")
        return value

    return read


def among(options: dict[Option, str]) -> Callable[[str], Option]:
    """A reader of options by their names."""

    def read(text: str) -> Option:
        for option, name in options.items():
            if name == text:
                return option
        raise ValueError(f"expected one of {', '.join(options.values())}, found {text!r}")

    return read
