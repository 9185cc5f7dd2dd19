"""The attention view as a Streamlit component: chosen heads and links go both ways between it and the page's controls.

Bytes travel through small invisible components, the stores, and JSON through the view itself; the view's script comes
in a component of its own, once, because Streamlit sends a component's script along with each of its messages.
"""

from __future__ import annotations

import copy
import functools
import json
import weakref
from collections.abc import Iterator, MutableMapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from gptviz.ui.component import asset, component
from gptviz.ui.show import offer
from gptviz.view import AttentionView, TraceSource, ViewState, script
from gptviz.view import attention_view as make_view
from gptviz.view.views import EXACT_SIDE

if TYPE_CHECKING:
    from gptviz import Trace

MOST_ANSWERS = 8  # the last ones that the browser asked for: an interrupted run must not lose one
MOST_NEEDS = 16  # that one message from the browser may name


STYLE = script.style() + asset("view.css")  # the view's own, and what makes it look like Streamlit's controls
bring_engine = st.components.v2.component(
    "gptviz_view_engine",
    js="\n".join((script.joined(), f"const STYLE = {json.dumps(STYLE)};", asset("view_engine.js"))),
)
store = component("gptviz_view_store", ["view_store"])
draw = component("gptviz_view", ["busy", "view"])

ENCODED: weakref.WeakKeyDictionary[Trace, dict[str, tuple[str, bytes]]] = weakref.WeakKeyDictionary()  # by title


def view_of_trace(
    trace: Trace, title: str = "", largest: float | None = None, keys: Sequence[str] | None = None
) -> AttentionView:
    """The attention of a trace, encoded once however many visitors look at it, for as long as the trace is kept.

    Args:
        title: what it is; another `largest`, the weight at the end of the colours, has to have another title.
        keys: the tokens that are looked at, for cross-attention.
    """
    view = make_view(TraceSource(trace), trace.tokens, keys=keys, title=title)
    view.largest = largest
    encoded = ENCODED.setdefault(trace, {})
    if title not in encoded:
        encoded[title] = view.encode()
    view.encoded = encoded[title]
    return view


def attention_view(
    view: AttentionView,
    *,
    key: str,
    layer_key: str | None = "layer",
    head_key: str | None = "head",
    state_key: str = "view",
    owner: MutableMapping[str, object] | None = None,
    height: int = 640,
) -> ViewState:
    """Show a view; returns what the visitor has chosen in it.

    In any Streamlit app:

        import gptviz
        import streamlit as st
        from gptviz.ui.attention_view import attention_view

        layer = st.selectbox("Layer", range(12), key="layer", bind="query-params")
        head = st.selectbox("Head", range(12), key="head", bind="query-params")
        chosen = attention_view(gptviz.attention_view(weights, tokens), key="attention")
        st.write(f"You look at head {chosen.layer}.{chosen.head}")

    Args:
        view: from `gptviz.attention_view`, or `view_of_trace`.
        key: of the component, unique on the page.
        layer_key, head_key: of the widgets or values in the session state that own the chosen head, from 0. Widgets
            come before this call. They and the component follow each other. None where there is one head.
        state_key: of the text in the URL that keeps everything else, such as the zoom and the chosen tokens. Without
            any it is `view.state` that is seen.
        owner: of the three, in place of the session state: what is chosen is read from it and set in it as plain
            values, and it is for the app to put them into the URL.
        height: in pixels.

    Another layer or head runs the whole app; anything else that is chosen only this component, unless it has an owner.
    """
    if key in (layer_key, head_key, state_key):
        raise ValueError(f"expected a key of the component's own, found {key!r}, which is that of a control; rename it")
    place = Place(layer_key, head_key, state_key, owner)
    show(view, key, place, height, place.drawn(view))
    seen = copy.copy(view)
    seen.state = place.state(view)
    offer(key, seen)
    return seen.state


class Place(NamedTuple):
    """Where the state of a view is: the names of its parts, and who has them."""

    layer_key: str | None
    head_key: str | None
    state_key: str
    owner: MutableMapping[str, object] | None

    @property
    def values(self) -> MutableMapping[str, object]:
        """What has the three names."""
        return st.session_state if self.owner is None else self.owner

    def head(self, view: AttentionView) -> tuple[int, int]:
        """Layer and head that the page's controls have, as far as the view has them."""
        layer, head = (self.values.get(key) if key else 0 for key in (self.layer_key, self.head_key))
        state = ViewState.from_json({"layer": layer, "head": head}).fit(view.shape)
        return state.layer, state.head

    def state(self, view: AttentionView) -> ViewState:
        """What is chosen: the head in the controls, all else in the text of the link."""
        text = self.values.get(self.state_key) or view.state.to_text()
        return ViewState.parse(text, *self.head(view)).fit(view.shape)

    def drawn(self, view: AttentionView) -> object:
        """What the rest of the app shows or puts into the URL: where it changes, the rest has to run, too."""
        return self.head(view) if self.owner is None else self.state(view)

    def adopt(self, view: AttentionView, told: dict, before: object) -> None:
        """The visitor chose something in the component: the page's controls and the link follow.

        What is in `told` as it was `before` was not chosen there: a head that was chosen in the page's controls a
        moment ago, which the component did not know of yet, stays.
        """
        if isinstance(before, dict):
            chosen = {name: value for name, value in told.items() if value != before.get(name)}
            told = self.state(view).to_json() | chosen
        state = ViewState.from_json(told).fit(view.shape)
        text, first = (each.to_text() or each.mode for each in (state, view.state))
        new = {self.layer_key: state.layer, self.head_key: state.head, self.state_key: "" if text == first else text}
        for name, value in new.items():
            if name and self.values.get(name) != value:
                self.values[name] = value


@st.fragment
def show(view: AttentionView, key: str, place: Place, height: int, drawn: object) -> None:
    """The component and its stores. `drawn` is the state that the rest of the page shows."""
    if place.drawn(view) != drawn:
        st.rerun(scope="app")
    with st.container(key=f"{key}_data"):
        st.html(f"<style>.st-key-{css_name(key)}_data {{ display: none }}</style>")
        if place.owner is None:
            label = "State of the attention view"
            st.text_input(label, key=place.state_key, bind="query-params", label_visibility="collapsed")
        state = place.state(view)
        bring_engine(key=f"{key}_engine")
        store(key=f"{key}_overview", data=view.overview())
        for name, blob in (*kept_blobs(view, key, state), *answers(view, key)):
            store(key=f"{key}_{name}", data=blob)
    draw(
        key=key,
        data={"id": view.id, "state": state.to_json(), "height": height},
        on_state_change=lambda: hear(view, key, place, "state"),
        on_need_change=lambda: hear(view, key, place, "need"),
    )


def css_name(key: str) -> str:
    """A key as Streamlit writes it into a class name."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "-" for c in key.strip())


def kept_blobs(view: AttentionView, key: str, state: ViewState) -> Iterator[tuple[str, bytes]]:
    """What the chosen and the pinned heads need, each made once: the next run finds it in the session.

    That is all weights of a short text; of a long one a finer picture, and the weights of the part zoomed into.
    """
    wanted: dict[tuple[str, int], functools.partial[bytes]] = {}
    for i in dict.fromkeys((state.layer * view.shape[1] + state.head, *state.pins)):
        if view.factor == 1:
            wanted["exact", i] = functools.partial(view.exact, i)
        else:
            wanted["head", i] = functools.partial(view.head, i)
            if state.window and small(state.window):
                wanted["exact", i] = functools.partial(view.exact, i, *state.window)
    before = st.session_state.get(f"{key}_kept", {})
    kept = {}
    for (kind, i), make in wanted.items():
        exactly = (view.id, kind, i, make.args)
        kept[exactly] = before.get(exactly) or make()
        yield f"{kind}_{i}", kept[exactly]
    st.session_state[f"{key}_kept"] = kept


def small(window: tuple[int, int, int, int]) -> bool:
    """Whether a window is one that is sent exactly."""
    q0, q1, k0, k1 = window
    return max(q1 - q0, k1 - k0) <= EXACT_SIDE


def answers(view: AttentionView, key: str) -> Iterator[tuple[str, bytes]]:
    """The last things that the browser asked for, each under a name of its own, so that it is put once."""
    for number, of, blob in st.session_state.get(f"{key}_answers", ()):
        if of == view.id:
            yield f"answer_{number}", blob


def hear(view: AttentionView, key: str, place: Place, event: str) -> None:
    """A message from the browser, {"id", "state", "from"} or {"id", "needs"}; it may be anything."""
    told = getattr(st.session_state[key], event)
    if not isinstance(told, dict) or told.get("id") != view.id:
        return
    if isinstance(told.get("state"), dict):
        place.adopt(view, told["state"], told.get("from"))
    if isinstance(told.get("needs"), list):
        answer(view, key, told["needs"])


def answer(view: AttentionView, key: str, needs: list) -> None:
    """The component needs finer pictures or exact weights: make them, to be sent by the run that follows."""
    made = [blob for need in needs[:MOST_NEEDS] for blob in blobs_for(view, need)]
    before = st.session_state.get(f"{key}_answers", [])
    count = before[-1][0] + 1 if before else 0
    numbered = [(count + n, view.id, blob) for n, blob in enumerate(made)]
    st.session_state[f"{key}_answers"] = [*before, *numbered][-max(MOST_ANSWERS, len(numbered)) :]


def blobs_for(view: AttentionView, need: object) -> Iterator[bytes]:
    """What one request asks for, {"head": [i, ...]} or {"window": [i, q0, q1, k0, k1]}; nothing if it is neither."""
    if not isinstance(need, dict):
        return
    heads, window = need.get("head", []), need.get("window")
    asked = [(view.head, [i]) for i in heads[:MOST_NEEDS]] if isinstance(heads, list) else []
    if isinstance(window, list) and len(window) == 5:
        asked.append((view.exact, window))
    for make, numbers in asked:
        if all(isinstance(n, int) and not isinstance(n, bool) for n in numbers):
            try:
                yield make(*numbers)
            except ValueError:  # out of range, or of a text that was there before
                continue
