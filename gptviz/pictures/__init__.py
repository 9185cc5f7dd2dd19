"""The main picture of a page, without the app: for notebooks, for files, for slides.

>>> import gptviz
>>> from gptviz import pictures
>>> model = gptviz.load("gpt-stories")
>>> pictures.draw("masked", model, "My dog has fleas", {"layer": "1", "head": "3"}).data[-1].z.shape
(6, 6)

Made by the analysis and the figures that the page itself uses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import gptviz
from gptviz.places import CHAT_PAGES, PAGES, TRANSFORMER_PAGES

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from gptviz.checkpoint import AnyModel
    from gptviz.view import AttentionView

    Picture = go.Figure | AttentionView

__all__ = ["DRAWN", "code", "draw"]

BARS = 12  # of the next token, as the page begins with
OF_A_DRAW = {"next_temperature": "0.8", "next_top_k": "40", "next_top_p": "0.95", "next_seed": "0"}  # as it begins with
OTHERS = {  # page -> names that make its page show another picture, and the one value that does not
    "tokens": {"emb_stage": ""},
    "attention": {"att_show": "Heads"}
    | dict.fromkeys(("summed", "att_over", "att_words", "att_first", "att_levels"), ""),
    "inside-head": {"head_stage": "softmax", "head_unscaled": "", "head_unmasked": ""},
    "inside-block": {"block_token": ""},
    "next-token": {"next_ids": "", "next_at": ""},
    "translate": {"step": "", "translate_view": ""},
}


class Asked:
    """What a picture is of: model, sentence, and the settings of a link as numbers."""

    def __init__(self, model: Any, text: str, settings: Mapping[str, str]) -> None:
        self.model, self.text, self.settings = model, text, settings

    def whole(self, name: str, first: int = 0, most: int | None = None) -> int:
        """A number from 0, `first` where none is named.

        Raises:
            ValueError: for what is no number, or is `most` or more.
        """
        text = self.settings.get(name, "")
        if not text:
            return first
        if not (text.isascii() and text.isdecimal()) or (most is not None and int(text) >= most):
            upto = "" if most is None else f" to {most - 1}"
            raise ValueError(f"expected {name} from 0{upto}, found {text!r}")
        return int(text)

    def head(self, config: Any) -> tuple[int, int]:
        """The chosen layer and head of a model of this shape."""
        return self.whole("layer", most=config.n_layers), self.whole("head", most=config.n_heads)

    def trace(self, causal: bool = True) -> gptviz.Trace:
        """The pass of a GPT."""
        return gptviz.trace(self.model, self.text, causal=causal)


def tokens(asked: Asked) -> Picture:
    """Cosines of the token vectors of a sentence."""
    from gptviz.analysis.vectors import cosine_matrix
    from gptviz.figures.vectors import similarity

    trace = asked.trace()
    return similarity(cosine_matrix(trace.token_embeddings), trace.tokens, "Token vectors")


def positions(asked: Asked) -> Picture:
    """Cosines of the model's position vectors."""
    from gptviz.analysis.positions import own_positions
    from gptviz.figures.positions import cosines_picture
    from gptviz.stack import gpt_stack

    if asked.model.gpt.config.positions != "learned":
        raise ValueError(
            f"expected a model with position vectors, found {asked.model.name}, whose positions are rotary"
        )
    return cosines_picture(own_positions(gpt_stack(asked.model.gpt)).cosines, "Learned by this model")


def attention(asked: Asked) -> Picture:
    """Every head, or the chosen one, as the link says."""
    from gptviz.view import TraceSource

    trace = asked.trace()
    return view_of(TraceSource(trace), trace.tokens, None, asked, "view", asked.model.gpt.config)


def view_of(source: Any, queries: Any, keys: Any, asked: Asked, name: str, config: Any) -> AttentionView:
    """An attention view in the state that the setting `name` has."""
    from gptviz.view import ViewState

    view = gptviz.attention_view(source, queries, keys=keys)
    view.state = ViewState.parse(asked.settings.get(name, ""), *asked.head(config))
    return view


def masked(asked: Asked) -> Picture:
    """Unmasked minus masked attention of one head."""
    from gptviz.analysis.masking import difference
    from gptviz.figures.masking import difference_map

    layer, head = asked.head(asked.model.gpt.config)
    before, after = asked.trace(), asked.trace(causal=False)
    return difference_map(
        difference(before.layer_weights(layer)[head], after.layer_weights(layer)[head]), before.tokens
    )


def inside_head(asked: Asked) -> Picture:
    """The attention weights of one head, with their numbers."""
    from gptviz.figures.heatmap import heatmap

    layer, head = asked.head(asked.model.gpt.config)
    trace = asked.trace()
    hidden = trace.masked[layer, head] == -float("inf")
    return heatmap(trace.weights[layer, head], trace.tokens, trace.tokens, masked=hidden, title=f"head {layer}.{head}")


def inside_block(asked: Asked) -> Picture:
    """The residual stream through all layers, mean lengths over the tokens."""
    from gptviz.analysis.block import flow
    from gptviz.figures import block

    config = asked.model.gpt.config
    return block.flow(flow(asked.trace()).mean(axis=-1), config.norm_order, asked.head(config)[0])


def next_token(asked: Asked) -> Picture:
    """The likeliest next tokens of the whole vocabulary; the way to the draw where settings of it are named."""
    from gptviz.analysis.predictions import top
    from gptviz.figures.predictions import top_bars
    from gptviz.sampling import softmax

    logits = asked.trace().logits[-1]
    if any(asked.settings.get(name) for name in OF_A_DRAW):
        return way_to_the_draw(asked, logits)
    best = top(softmax(logits), asked.whole("next_n", BARS))
    names = asked.model.tokenizer.token_texts(best.ids.tolist())
    return top_bars(names, best.probabilities, best.rest, best.others)


def way_to_the_draw(asked: Asked, logits: Any) -> Picture:
    """From the model's softmax over temperature, top-k and top-p to the token that is drawn."""
    import numpy as np

    from gptviz import sampling
    from gptviz.analysis.predictions import stack
    from gptviz.figures.predictions import funnel_bars, funnel_names

    temperature, top_k, top_p, seed = (asked.settings.get(name) or first for name, first in OF_A_DRAW.items())
    how = float(temperature), None if top_k == "all" else int(top_k), None if float(top_p) == 1 else float(top_p)
    stages = sampling.funnel(logits, *how)
    u = float(np.random.default_rng(int(seed)).random())
    drawn = sampling.draw(stages.final, u)
    cut = stack([stages.raw, stages.tempered, stages.top_k, stages.top_p, stages.final], 10, drawn)
    tokens = [asked.model.tokenizer.token_text(int(i)) if i >= 0 else None for i in cut.ids]
    removed = [0.0, 0.0, stages.removed_top_k, stages.removed_top_p, 0.0]
    at = cut.ids.tolist().index(drawn)
    return funnel_bars(tokens, cut.counts, cut.widths, removed, funnel_names(*how), draw=u, drawn=at)


def loss_gradient(asked: Asked) -> Picture:
    """What each token cost."""
    from gptviz.analysis.losses import target_losses
    from gptviz.figures.gradients import loss_bars

    trace = asked.trace()
    if len(trace.ids) < 2:
        raise ValueError("expected a sentence of two tokens or more, found one: nothing was predicted")
    return loss_bars(target_losses(trace.logits, trace.ids).nats, trace.tokens[:-1], trace.tokens[1:])


def side_of(name: str, state: str) -> Callable[[Asked], Picture]:
    """A picture of one attention of a translation."""

    def translated(asked: Asked) -> Picture:
        from gptviz.view import TraceSource

        pair = gptviz.translate(asked.model, asked.text).trace
        trace = getattr(pair, name)
        keys = pair.encoder.tokens if name == "cross" else None
        return view_of(TraceSource(trace), trace.tokens, keys, asked, state, asked.model.transformer.config)

    return translated


DRAW: dict[str, Callable[[Asked], Picture]] = {
    "tokens": tokens,
    "positions": positions,
    "attention": attention,
    "inside-head": inside_head,
    "inside-block": inside_block,
    "masked": masked,
    "next-token": next_token,
    "loss-gradient": loss_gradient,
    "translate": side_of("cross", "cross_view"),
    "encoder-decoder": side_of("encoder", "encoder_view"),
}
DRAWN: tuple[str, ...] = tuple(DRAW)


def draw(page: str, model: AnyModel, text: str, settings: Mapping[str, str] | None = None) -> Picture:
    """The main picture of a page.

    Args:
        page: one of `DRAWN`, as in the address of the app.
        model: from `gptviz.load`, of the kind that the page is about; text: the sentence.
        settings: what else a link to the page says, by its names in `gptviz.places.PAGES`: {"layer": "1"}.

    Returns:
        A figure of Plotly or an `AttentionView`; a notebook shows both, `gptviz.export` makes files of both.

    Raises:
        ValueError: for another page, a name that its links do not have, a layer or head that is not there, and for
            settings with which the page shows a picture that only the page can draw.
        TypeError: for a model of the other kind.
    """
    if page not in DRAW:
        raise ValueError(f"expected a page with a picture, {', '.join(DRAWN)}; found {page!r}")
    settings = settings or {}
    if unknown := [name for name in settings if name not in (*PAGES[""], *PAGES[page])]:
        raise ValueError(f"expected names that a link to {page} has, found {', '.join(unknown)}")
    if others := other_picture(page, settings):
        raise ValueError(f"expected the main picture of {page}, found {others}: save that one from Share on the page")
    kind = "transformer" if page in TRANSFORMER_PAGES else "gpt"
    if not hasattr(model, kind):
        raise TypeError(f"expected a model with a {kind} for {page}, found {type(model).__name__}")
    if settings.get("chat") and page in CHAT_PAGES and not model.chat:
        model = model.with_chat()
    return DRAW[page](Asked(model, text, settings))


def other_picture(page: str, settings: Mapping[str, str]) -> str:
    """The settings with which a page shows another picture than `draw` makes, "" for none."""
    named = {name: settings.get(name, "") for name in OTHERS.get(page, ())}
    return ", ".join(f"{name}={text}" for name, text in named.items() if text not in ("", OTHERS[page][name]))


def code(page: str, model: str, text: str, settings: Mapping[str, str], dtype: str = "") -> str:
    """Lines of Python that make the picture of a page, or, where there is none, the numbers that it is about.

    Args:
        model: a name that `gptviz.load` knows; text and settings are written as literals, whatever stands in them.
        dtype: what its weights are kept in, where that is half precision.
    """
    kept = f", dtype={dtype!r}" if dtype else ""
    chat = ", chat=True" * (page in CHAT_PAGES and settings.get("chat") == "true")
    begin = ["import gptviz", f"model = gptviz.load({model!r}{kept}{chat})"]
    if page in DRAW and not other_picture(page, settings):
        chosen = {name: value for name, value in settings.items() if name in (*PAGES[""], *PAGES[page])}
        begin.insert(1, "from gptviz import pictures")
        return "\n".join([*begin, f"pictures.draw({page!r}, model, {text!r}, {chosen!r})"]) + "\n"
    if page in TRANSFORMER_PAGES:
        return "\n".join([*begin, f"result = gptviz.translate(model, {text!r})", "(result.text, result.score)"]) + "\n"
    return "\n".join([*begin, f"trace = gptviz.trace(model, {text!r})", 'trace.to_frame("weights")']) + "\n"
