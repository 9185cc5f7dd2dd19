"""One text's attention, ready to be seen: the blobs that the browser draws, made when they are asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from gptviz.view import payload
from gptviz.view.pool import pool_factor, pooled_shape
from gptviz.view.sources import Source, as_source, layers_in_turn
from gptviz.view.state import ViewState
from gptviz.view.summary import summarise_heads
from gptviz.view.text import plain, visible_tokens

OVERVIEW_SIDE = 128  # cells of a head in the overview, at most
HEAD_SIDE = 1024  # cells of one head, at most
EXACT_SIDE = 128  # cells of an exact window, at most, unless it is a single row or column
PICTURE_WIDTH = 720  # pixels of the picture that a notebook keeps
PICTURED_CELLS = 2**21  # of all heads; a larger view has no picture in a notebook
HASHED_CELLS = 2**24  # up to so many weights all of them make the id


class AttentionView:
    """The attention of one text, in every head, to look at. Made by `attention_view`; see there.

    In a notebook it shows itself, at `state`; `save` writes a file that needs nothing else; in Streamlit,
    `gptviz.ui.attention_view` shows it.
    """

    def __init__(
        self,
        source: Source,
        queries: list[str],
        keys: list[str] | None,
        *,
        masked: np.ndarray | None,
        names: list[str],
        title: str,
        rows_sum_to_one: bool,
        unit: str,
    ) -> None:
        self.source = source
        self.shape: tuple[int, int, int, int] = tuple(source.shape)  # (L, H, T, S)
        self.queries, self.keys = queries, keys
        self.masked = masked  # broadcasts to (L, H, T, S), or None
        self.names, self.title = names, title
        self.rows_sum_to_one = rows_sum_to_one
        self.unit = unit  # what queries and keys are: "token" or "word"
        self.encoded: tuple[str, bytes] | None = None  # what `encode` returned, here or for the same content before
        self.state = ViewState()  # what is seen at first; yours to set
        self.largest: float | None = None  # weight at the end of the colours, to compare views; else the largest here

    def __repr__(self) -> str:
        return f"AttentionView({self.title!r}, shape={self.shape})"

    @property
    def id(self) -> str:
        """A name for exactly this content: other weights or tokens have another."""
        return self.encode()[0]

    @property
    def factor(self) -> int:
        """How many cells a side go into one of the overview; 1 where it shows every cell."""
        return pool_factor(*self.shape[2:], OVERVIEW_SIDE)

    def overview(self) -> bytes:
        """The blob of all heads: their pictures as codes, tokens, and the numbers of each head."""
        return self.encode()[1]

    def head(self, i: int) -> bytes:
        """The blob of one head, max-pooled to at most 1024 cells a side; `i` = layer * H + head."""
        layer, head = divmod(self._check_head(i), self.shape[1])
        factor = pool_factor(*self.shape[2:], HEAD_SIDE)
        masked = self._layer_mask(layer)
        own = None if masked is None else masked[head % len(masked)][None]
        weights = self.source.layer(layer)[head][None]
        codes, _ = payload.encode_layer(weights, own, self.rows_sum_to_one, factor)
        packed, cells = payload.pack_codes(codes)
        header = {"kind": "head", "id": self.id, "i": i, "factor": factor, "P": list(codes.shape[1:]), **packed}
        return payload.pack(header, cells)

    def exact(self, i: int, q0: int = 0, q1: int | None = None, k0: int = 0, k1: int | None = None) -> bytes:
        """The blob of a window of the model's own weights, float32: queries q0 to q1 and keys k0 to k1, ends left out.

        Raises:
            ValueError: for a window that is empty, out of range, or larger than 128 x 128 and no single row or column.
        """
        t, s = self.shape[2:]
        q1, k1 = t if q1 is None else q1, s if k1 is None else k1
        if not (0 <= q0 < q1 <= t and 0 <= k0 < k1 <= s):
            raise ValueError(f"expected a window inside 0-{t}, 0-{s}, found queries {q0}-{q1}, keys {k0}-{k1}")
        if min(q1 - q0, k1 - k0) > 1 and max(q1 - q0, k1 - k0) > EXACT_SIDE:
            raise ValueError(
                f"expected at most {EXACT_SIDE} x {EXACT_SIDE} weights, or one row or column, found {q1 - q0} x "
                f"{k1 - k0}; ask for parts"
            )
        return self.window(i, q0, q1, k0, k1)

    def window(self, i: int, q0: int, q1: int, k0: int, k1: int) -> bytes:
        """The blob of a window of any size; of those that `exact` allows, a browser may ask for any."""
        layer, head = divmod(self._check_head(i), self.shape[1])
        cells = self.source.layer(layer)[head, q0:q1, k0:k1]
        masked = self._layer_mask(layer)
        if masked is not None:
            own = masked[head % len(masked), q0:q1, k0:k1]
            cells = np.where(own & (cells == 0), np.float32(payload.MASKED_WEIGHT), cells)
        header = {"kind": "exact", "id": self.id, "i": i, "q0": q0, "q1": q1, "k0": k0, "k1": k1}
        return payload.pack(header, np.ascontiguousarray(cells, dtype="<f4").tobytes())

    def html(self, height: int = 640, selection: ViewState | None = None) -> str:
        """One HTML page that needs no other file and no network.

        Args:
            height: of the view, in pixels.
            selection: what it shows at first; `state` without.

        The page has every head as codes. It has exact weights too while they take at most 700 kB; otherwise its
        numbers are led by "≈": they are right to 0.004.
        """
        from gptviz.view.html import page

        return page(self, height, selection or self.state)

    def save(self, path: str | Path, height: int = 640, selection: ViewState | None = None) -> None:
        """Write `html` to a file."""
        Path(path).write_text(self.html(height, selection), encoding="utf-8")

    def _repr_html_(self) -> str:
        """What a notebook shows: the page in a frame of its own, so that neither can disturb the other."""
        from gptviz.view.html import frame

        return frame(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        """What a notebook keeps: the page, and a picture for where no script runs, such as GitHub.

        `include` and `exclude` are Jupyter's, which takes what it wants from what is here.
        """
        import base64

        from gptviz.view.html import frame, with_picture

        bundle = {"text/plain": repr(self), "text/html": frame(self)}
        png = self._picture()
        if png is not None:
            bundle["image/png"] = base64.b64encode(png).decode()
            bundle["text/html"] = with_picture(bundle["text/html"], png, self.title)
        return bundle

    def _picture(self) -> bytes | None:
        """The view at `state` as PNG; None where it would take long, or matplotlib is not installed."""
        if self.shape[0] * self.shape[1] * min(self.shape[2], OVERVIEW_SIDE) ** 2 > PICTURED_CELLS:
            return None
        try:
            from gptviz.export import render

            return render(self, "png", width=PICTURE_WIDTH)
        except ImportError:
            return None

    def _check_head(self, i: int) -> int:
        """`i`, if there is such a head."""
        if not 0 <= i < self.shape[0] * self.shape[1]:
            raise ValueError(f"expected a head from 0 to {self.shape[0] * self.shape[1] - 1}, found {i}")
        return int(i)

    def _layer_mask(self, layer: int) -> np.ndarray | None:
        """The mask of one layer, (1 or H, T, S) bool; one for all heads where they have the same."""
        if self.masked is None or self.masked.ndim < 3:
            return None if self.masked is None else self.masked[None]
        return self.masked if self.masked.ndim == 3 else self.masked[layer % len(self.masked)]

    def encode(self) -> tuple[str, bytes]:
        """The id, and the overview: made once."""
        if self.encoded is None:
            self.encoded = self._encode()
        return self.encoded

    def _encode(self) -> tuple[str, bytes]:
        """One pass over the layers, each of which may be costly to make; what makes the id is read in a thread."""
        content = hashlib.blake2b(digest_size=12)
        with ThreadPoolExecutor(1) as pool:  # one: in the order in which it is given
            header, cells = self._look_through(lambda values: pool.submit(content.update, values))
        content.update(payload.pack(header, b""))
        header["id"] = content.hexdigest()
        return header["id"], payload.pack(header, cells)

    def _look_through(self, read: Callable[[np.ndarray], object]) -> tuple[dict, bytes]:
        """Header, without the id, and cells of the overview. `read` is given all that tells it from another."""
        n_layers, n_heads, t, s = self.shape
        square, p = self.keys is None, pooled_shape(t, s, self.factor)
        codes = np.empty((n_layers, n_heads, *p), dtype=np.uint8)
        heads, errors, largest = [], {}, 0.0
        for layer, weights in enumerate(layers_in_turn(self.source)):
            masked = self._layer_mask(layer)
            codes[layer], wrong = payload.encode_layer(weights, masked, self.rows_sum_to_one, self.factor)
            seen = summarise_heads(weights, masked, wrong=wrong, square=square)
            rows = seen.pop("rows")
            heads.append(seen)
            for head in np.flatnonzero(wrong.any(axis=-1)):
                errors[str(layer * n_heads + head)] = payload.describe_wrong(weights[head], wrong[head])
            largest = max(largest, largest_weight(weights))
            whole = weights.size * n_layers <= HASHED_CELLS
            for values in [weights] if whole else [v for v in rows.values() if v is not None]:
                read(np.ascontiguousarray(values))
        packed, cells = payload.pack_codes(codes)
        header = {
            "kind": "overview", "v": 1, "L": n_layers, "H": n_heads, "T": t, "S": s,
            "factor": self.factor, "P": list(p), "names": self.names, "queries": self.queries, "keys": self.keys,
            **packed, "axes": ["query", "key"], "largest": round(self.largest or largest, 6),
            "rows_sum_to_one": self.rows_sum_to_one,
            "heads": join_summaries(heads), "errors": errors, "title": self.title,
            "unit": self.unit,
        }  # fmt: skip
        read(codes)
        return header, cells


def attention_view(
    weights: Any,
    tokens: Sequence[str | bytes],
    *,
    keys: Sequence[str | bytes] | None = None,
    masked: Any = None,
    names: Sequence[str] | None = None,
    title: str = "",
    rows_sum_to_one: bool = True,
    unit: str = "token",
) -> AttentionView:
    """Attention of every head at once: an overview, a matrix, lines and the sentence, to click through.

    In a notebook, with a model of gptviz or any other (Hugging Face's `output.attentions` is taken as it is):

    >>> import gptviz
    >>> trace = gptviz.trace(gptviz.load("gpt-stories"), "My dog has fleas")
    >>> view = gptviz.attention_view(trace.weights, trace.tokens)  # the last line of a cell: shown
    >>> view.save("fleas.html")  # doctest: +SKIP

    In a Streamlit app of your own:

    >>> from gptviz.ui.attention_view import attention_view as show  # doctest: +SKIP
    >>> state = show(view, key="fleas")  # what the visitor has chosen, a ViewState  # doctest: +SKIP

    Args:
        weights: L layers of H heads, T queries and S keys: an array or tensor of (L, H, T, S), (H, T, S) or (T, S), a
            list of L such layers, or a `Source`, which makes a layer when it is asked for.
        tokens: T, the queries; str or bytes. Shown literally, whatever they hold.
        keys: S, for cross-attention; without them a token is both query and key, and T = S.
        masked: True where a query may not look: (T, S), (H, T, S) or (L, H, T, S) bool. Nothing is taken as masked
            without it, unless the source has a mask; a weight in a masked place is shown as what it is.
        names: L * H names of the heads; "layer.head" without.
        title: what this is, in a few words.
        rows_sum_to_one: False for weights that need not, such as the largest of several heads. Otherwise a row that
            does not sum to 1 within 0.001 is shown as an error.
        unit: what queries and keys are, "token" or, where tokens are joined, "word"; said where distances are.

    Raises:
        ValueError: where shapes, tokens, names and mask do not belong together.
        TypeError: for what is not made of numbers, or tokens that are no text.
    """
    source = as_source(weights)
    n_layers, n_heads, t, s = source.shape
    if keys is None and t != s:
        raise ValueError(f"expected as many keys as queries, found {s} and {t}; pass keys= for cross-attention")
    queries = visible_tokens(tokens, t)
    key_names = None if keys is None else visible_tokens(keys, s, "keys")
    if masked is None and callable(getattr(source, "mask", None)):
        masked = source.mask()
    names = [f"{i // n_heads}.{i % n_heads}" for i in range(n_layers * n_heads)] if names is None else list(names)
    if len(names) != n_layers * n_heads:
        raise ValueError(f"expected {n_layers * n_heads} names, one a head, found {len(names)}")
    return AttentionView(
        source, queries, key_names, masked=as_mask(masked, source.shape), names=[plain(str(name)) for name in names],
        title=plain(title), rows_sum_to_one=rows_sum_to_one, unit=plain(unit),
    )  # fmt: skip


def as_mask(masked: Any, shape: tuple[int, int, int, int]) -> np.ndarray | None:
    """A mask as a bool array with two to four axes that fits the weights' shape."""
    if masked is None:
        return None
    if hasattr(masked, "detach"):
        masked = masked.detach().cpu().numpy()
    mask = np.asarray(masked)
    if mask.dtype != bool:
        raise TypeError(f"expected a mask of True and False, found {mask.dtype}; pass scores == -inf")
    fits = 2 <= mask.ndim <= 4 and mask.shape[-2:] == shape[-2:]
    if not fits or any(have not in {1, want} for have, want in zip(mask.shape[::-1], shape[::-1], strict=False)):
        raise ValueError(f"expected a mask (T, S), (H, T, S) or (L, H, T, S) for {shape}, found {mask.shape}")
    return mask


def largest_weight(weights: np.ndarray) -> float:
    """The largest number that is one, 0 if none is."""
    largest = float(weights.max())
    if not np.isfinite(largest):
        largest = float(weights[np.isfinite(weights)].max(initial=0))
    return max(largest, 0.0)


def join_summaries(layers: list[dict]) -> dict[str, list | None]:
    """The numbers of all layers' heads, N = L * H of each, short enough to travel; None where there is no number."""
    joined: dict[str, list | None] = {}
    for name, first in layers[0].items():
        if first is None:
            joined[name] = None
            continue
        values = [value for layer in layers for value in layer[name]]
        joined[name] = values if name == "kind" else [None if np.isnan(v) else round(float(v), 4) for v in values]
    return joined
