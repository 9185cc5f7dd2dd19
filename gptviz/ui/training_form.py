"""The form that begins a run: which text, how large a model, how long. What was typed stays when something is refused.

What is chosen is kept for the session, not in the address: a text is too long for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from gptviz.analysis.progress import in_words
from gptviz.config import GPTConfig
from gptviz.folder import expected_sizes
from gptviz.runs.begin import SIZES, Choice, Size, begin, corpora
from gptviz.runs.run import RunError, new_folder
from gptviz.ui.address import kept
from gptviz.ui.show import literal

if TYPE_CHECKING:
    from gptviz.runs.run import Run

SOURCES = {"sample": "Sample tales", "pasted": "Your own text", "file": "A text file", "corpus": "A prepared corpus"}
LARGEST_FILE = 5  # MB
SPEEDS = {"Tiny": 31_000, "Small": 30_000, "Medium": 21_000, "Large": 9_000}  # tokens a second, measured on two cores
STEPS, ROWS = 2000, 16  # that the form begins with
PREPARE = "python -m gptviz prepare SOURCE corpora/NAME"
KEPT = {"persist_state": "session"}


def new_run(active: Run | None) -> None:
    """The form; begins the run that is asked for, and shows it.

    Args:
        active: the run that trains now; none can begin before it ends.
    """
    source = st.segmented_control(
        "Text to train on", list(SOURCES), default="sample", key="train_source", format_func=SOURCES.get,
        required=True, **KEPT,
    )  # fmt: skip
    suggest_name()
    with st.form("train_new", border=False, enter_to_submit=False):
        text, corpus, problem = text_of(source)
        choice = chosen(text, corpus)
        pressed = st.form_submit_button(
            "Start training", type="primary", icon=":material/play_arrow:", disabled=active is not None
        )
    if active is not None:
        say_who_trains(active)
    elif pressed and problem:
        st.error(problem, icon=":material/edit:")
    elif pressed:
        start(choice)


def suggest_name() -> None:
    """A name that is free, at first and when the last one was used; nothing that is being typed is replaced."""
    if st.session_state.get("train_name", "") in ("", st.session_state.get("train_used")):
        st.session_state["train_name"] = st.session_state["train_named"] = free_name()


def free_name() -> str:
    """The first of "run 1", "run 2" and so on that no run has."""
    number = 1
    while True:
        try:
            new_folder(f"run {number}")
            return f"run {number}"
        except RunError:
            number += 1


def text_of(source: str) -> tuple[str | None, str | None, str]:
    """The text, the name of the corpus, and in words what is missing; neither text nor corpus is the sample."""
    if source == "pasted":
        text = st.text_area(
            "Your own text", key="train_text", height=180, placeholder="Paste a few pages or more, in any language",
            help="The model learns from the first nine tenths; the last tenth is held out, to see what it learned.",
            **KEPT,
        )  # fmt: skip
        return text, None, ""
    if source == "file":
        file = st.file_uploader(
            f"A text file in UTF-8, up to {LARGEST_FILE} MB", type="txt", key="train_file", max_upload_size=LARGEST_FILE
        )
        return read_text(file.getvalue() if file else None)
    if source == "corpus":
        return None, *pick_corpus()
    st.caption("4,000 short tales, put together at random from sentences written for this app: no download, 1.7 MB.")
    return None, None, ""


def read_text(content: bytes | None) -> tuple[str | None, str | None, str]:
    """As `text_of`, for what is in a file."""
    if content is None:
        return None, None, "Expected a text file, found none: choose one above, or train on the sample tales."
    try:
        return content.decode("utf-8-sig"), None, ""
    except UnicodeDecodeError as error:
        return None, None, (
            f"Expected a text in UTF-8, found something else at byte {error.start:,}: save the file as UTF-8."
        )  # fmt: skip


def pick_corpus() -> tuple[str | None, str]:
    """A prepared corpus by its name, and what is missing."""
    found = corpora()
    if found:
        name = st.selectbox("Prepared corpus", found, key="train_corpus", format_func=str, **KEPT)
        st.caption("It brings its own vocabulary. To prepare another one:")
        st.code(PREPARE, language="bash")
        return name, ""
    st.info("There is no prepared corpus here yet. This makes one of text files, archives or a data set:")
    st.code(PREPARE, language="bash")
    return None, "Expected a prepared corpus, found none: prepare one as said above, or train on the sample tales."


def chosen(text: str | None, corpus: str | None) -> Choice:
    """The rest of the form."""
    size = st.radio(
        "Size", list(SIZES), key="train_size", horizontal=True, captions=[describe(name) for name in SIZES], **KEPT
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        steps = st.number_input("Steps", 10, 200_000, STEPS, 100, key="train_steps", **KEPT)
        name = st.text_input("Name", key="train_name", **KEPT)
    causal = st.toggle(
        "With the mask", True, key="train_mask", help="Without it, every token sees the answer that it is asked for: "
        "worth seeing once.", **KEPT,
    )  # fmt: skip
    with st.expander("More"):
        rows = st.number_input(
            "Rows of a batch", 1, 64, ROWS, key="train_rows", help="Each is as long as the model's context.", **KEPT
        )
        rate = st.number_input(
            "Learning rate", 1e-6, 1e7, 4e-3, 1e-3, format="%g", key="train_rate",
            help="The largest; it rises from nothing and falls again. Far too large, and the run diverges.", **KEPT,
        )  # fmt: skip
        repeats = st.number_input(
            "Share of repeats", 0.0, 0.5, 0.0, 0.05, key="train_repeats",
            help="Rows that are one random sequence over and over: they bring out induction heads.", **KEPT,
        )  # fmt: skip
        seed = st.number_input("Seed", 0, 2**31 - 1, 0, key="train_seed", help="Of weights and data.", **KEPT)
    if name == st.session_state.get("train_named"):  # as it was proposed: somebody else may have taken it since
        name = free_name()
    return Choice(name, SIZES[size], text, corpus, steps, rows, rate, causal, repeats, seed)


def describe(name: str) -> str:
    """A size in one line: shape, parameters, and how long the default run takes."""
    size = SIZES[name]
    seconds = STEPS * ROWS * size.context / SPEEDS[name]
    heads = f"{size.n_layers} layer{'s'[: size.n_layers > 1]} × {size.n_heads} heads"
    return (
        f"{heads}, {parameters(size):,} parameters, context {size.context}; "
        f"{in_words(seconds)} for {STEPS:,} steps on two cores"
    )


def parameters(size: Size) -> int:
    """How many numbers such a model has."""
    return expected_sizes(GPTConfig(**size._asdict(), tied=True))[1]


def say_who_trains(active: Run) -> None:
    """Why the form has to wait, and what there is to see meanwhile."""
    st.info(
        f"**{literal(active.name)}** trains now, and one run trains at a time on this machine. "
        "Stop it, or start when it has ended: what you have chosen here stays.",
        icon=":material/hourglass_top:",
    )
    if st.session_state.get("train_shown") != active.name:
        st.button("Watch it", key="train_watch", icon=":material/visibility:", on_click=watch, args=(active.name,))


def watch(name: str) -> None:
    """Show a run, from the next time the page is drawn."""
    kept()["run"] = name


def start(choice: Choice) -> None:
    """Begin the run and show it; or say in a sentence why not."""
    try:
        with st.spinner("Reading the text and learning its vocabulary …"):
            run = begin(choice)
    except RunError as error:
        st.error(literal(f"{str(error)[0].upper()}{str(error)[1:]}."), icon=":material/edit:")
    except OSError as error:
        st.error(literal(f"The disk refused: {error.strerror or type(error).__name__}. Make room, and start again."))
    else:
        watch(run.name)
        st.session_state["train_used"] = st.session_state["train_name"]
        st.session_state["train_begun"] = st.session_state.get("train_begun", 0) + 1
        st.rerun()
