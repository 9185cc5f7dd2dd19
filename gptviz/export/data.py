"""The numbers of a picture: as a table, as CSV, and as NumPy arrays."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from gptviz.export.canvas import plain
from gptviz.export.plotly_axes import values_of

if TYPE_CHECKING:
    import pandas as pd

    from gptviz.provenance import Provenance

MOST_ROWS = 2_000_000  # of a table


def arrays(picture: Any) -> dict[str, np.ndarray]:
    """The numbers of a picture by name, as NumPy arrays; texts as arrays of str.

    Of an `AttentionView`: weights (L, H, T, S), queries (T,), keys (S,). Of a `Matrix`: values (N, M), rows, columns.
    Of a Plotly figure: the x, y and z of each trace, named by its number and name.
    """
    from gptviz.figures.matrix import Matrix
    from gptviz.view import AttentionView

    if isinstance(picture, AttentionView):
        weights = np.stack([np.asarray(picture.source.layer(i)) for i in range(picture.shape[0])])
        keys = picture.keys or picture.queries
        return {"weights": weights, "queries": np.array(picture.queries), "keys": np.array(keys)}
    if isinstance(picture, Matrix):
        return {"values": picture.values, "rows": np.array(picture.rows), "columns": np.array(picture.columns)}
    found = {}
    for number, trace in enumerate(as_dict(picture).get("data", ())):
        name = f"{number}_{plain(trace.get('name') or trace.get('type', 'scatter'))}".replace("/", "_")
        for part in ("x", "y", "z"):
            if trace.get(part) is not None:
                found[f"{name}_{part}"] = values_of(trace[part])
    return found


def as_dict(figure: Any) -> dict:
    """A Plotly figure as a dictionary."""
    return figure if isinstance(figure, dict) else figure.to_dict()


def table(picture: Any) -> pd.DataFrame:
    """The numbers of a picture, a row for each: of attention layer, head, query, key and weight.

    Raises:
        ValueError: where there are more rows than anybody reads; `npz` has no such bound.
    """
    import pandas as pd

    from gptviz.figures.matrix import Matrix
    from gptviz.view import AttentionView

    if isinstance(picture, AttentionView):
        return attention_table(picture)
    if isinstance(picture, Matrix):
        return pd.DataFrame(picture.values, index=list(picture.rows), columns=list(picture.columns)).rename_axis("row")
    rows = [trace_table(number, trace) for number, trace in enumerate(as_dict(picture).get("data", ()))]
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()


def attention_table(view: Any) -> pd.DataFrame:
    """All heads in the overview, else the chosen and the pinned ones."""
    import pandas as pd

    state = view.state.fit(view.shape)
    n_layers, n_heads, t, s = view.shape
    chosen = range(n_layers * n_heads)
    if state.mode != "overview":
        chosen = dict.fromkeys((state.layer * n_heads + state.head, *state.pins))
    if len(chosen) * t * s > MOST_ROWS:
        raise ValueError(
            f"expected a table of at most {MOST_ROWS:,} rows, found {len(chosen) * t * s:,}; choose a head, or save NPZ"
        )
    query, key = np.divmod(np.arange(t * s), s)
    queries, keys = np.array(view.queries), np.array(view.keys or view.queries)
    frames = []
    for i in chosen:
        layer, head = divmod(i, n_heads)
        weights = np.asarray(view.source.layer(layer)[head]).reshape(-1)
        columns = {"layer": layer, "head": head, "query": query, "key": key}
        columns |= {"query_token": queries[query], "key_token": keys[key], "weight": weights}
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def trace_table(number: int, trace: dict) -> pd.DataFrame:
    """One trace of a figure: its name, and x, y and, of a heatmap, z of each point."""
    import pandas as pd

    name = plain(trace.get("name") or trace.get("type", "scatter"))
    if trace.get("z") is not None:
        z = values_of(trace["z"])
        row, column = np.divmod(np.arange(z.size), z.shape[1])
        return pd.DataFrame({"trace": number, "name": name, "x": column, "y": row, "value": z.reshape(-1)})
    frame = pd.DataFrame({"trace": number, "name": name, "x": values_of(trace["x"]), "y": values_of(trace["y"])})
    labels = trace.get("customdata") if trace.get("customdata") is not None else trace.get("text")
    if isinstance(labels, list | tuple | np.ndarray) and len(labels) == len(frame):
        firsts = [label[0] if isinstance(label, list | tuple | np.ndarray) else label for label in labels]
        frame["label"] = [plain(label) for label in firsts]
    return frame


def csv(picture: Any, provenance: Provenance | None = None) -> bytes:
    """`table` as CSV, every digit. Lines that begin with "# " come first and say where it is from.

    To read it: `pandas.read_csv(file, skiprows=n)`, where n is the number of those lines, written in the first one.
    """
    from gptviz.figures.matrix import Matrix

    lines = provenance.lines() if provenance else []
    head = (
        [f"# {len(lines) + 1} lines begin with a hash and are no data", *(f"# {line}" for line in lines)]
        if lines
        else []
    )
    body = table(picture).to_csv(index=isinstance(picture, Matrix), lineterminator="\n")
    return "".join(f"{line}\n" for line in head).encode() + body.encode()


def npz(picture: Any, provenance: Provenance | None = None) -> bytes:
    """`arrays` in NumPy's format, compressed, with the provenance as JSON under that name. Nothing in it is pickled."""
    file = io.BytesIO()
    about = {} if provenance is None else {"provenance": np.array(json.dumps(provenance.to_json()))}
    np.savez_compressed(file, **arrays(picture), **about)
    return file.getvalue()
