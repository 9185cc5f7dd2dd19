"""Any number of a page, looked up: as it is shown, by float64, and by the two other paths; and all differences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from gptviz.ui import address
from gptviz.ui.show import escape
from gptviz.ui.translation import SIDES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gptviz import Trace, TranslationTrace, WhatIf
    from gptviz.analysis.check import Check, Difference
    from gptviz.analysis.shown import Claim
    from gptviz.checkpoint import AnyModel
    from gptviz.config import ModelConfig
    from gptviz.gpt import GPT
    from gptviz.seq2seq import Transformer
    from gptviz.ui.lesson import Reading
    from gptviz.ui.translation import PairReading

    AnyTrace = Trace | TranslationTrace

NAMES = {"displayed": "as displayed", "plain": "plain attention", "fused": "scaled_dot_product_attention"}
A_STAGE = "a stage of the forward pass"


def is_pair(what: object) -> bool:
    """Whether this is a pass of an encoder-decoder."""
    from gptviz.translation import TranslationTrace

    return isinstance(what, TranslationTrace)


def network_of(model: AnyModel) -> GPT | Transformer:
    """What computes in a model of either kind."""
    return model.transformer if hasattr(model, "transformer") else model.gpt


def pick_reading(readings: Sequence[Reading | PairReading]) -> Reading | PairReading:
    """Of a page about two models, the one whose numbers are looked up."""
    if len(readings) == 1:
        return readings[0]
    names = [reading.name for reading in readings]
    return readings[names.index(st.selectbox("Model", names, key="check_model"))]


def explain(reading: Reading | PairReading, done: Sequence[Check | None], verdict: str) -> None:
    """What was compared, what came out, and one number of the visitor's choice.

    Args:
        done: of every trace that the page shows, then of every claim; None where the check is not made.
    """
    of_traces, of_claims = done[: len(reading.shown)], done[len(reading.shown) :]
    if verdict in ("checking", "waiting"):
        st.markdown("These numbers have not been compared yet.")
    for check in filter(None, of_traces):
        st.markdown(say(check))
    made = [check for check in of_claims if check is not None]
    if made:
        st.markdown(say_claims(reading.claims, of_claims))
    claim, quantity = pick_quantity(reading.claims)
    if claim is None:
        trace = pick_trace(reading.shown)
        place = pick_place(reading, trace)
        show_number(reading.model, trace, *place)
    else:
        trace = claim.traces[0]
        show_claimed(reading.model, claim, quantity, pick_cell(quantity, claim.shown[quantity].shape))
    explain_float64()
    found = next((check for check, shown in zip(of_traces, reading.shown, strict=True) if shown is trace), None)
    if claim is None and found is not None and found.differences:
        st.dataframe(table(found), key="check_table", width="stretch", hide_index=True)
    if made:
        st.dataframe(claims_table(made), key="check_claims", width="stretch", hide_index=True)


def explain_float64() -> None:
    """What the reference is, and what is tolerated."""
    from gptviz.analysis.check import TOLERANCE

    st.caption(
        "float64 is computed anew in NumPy from the raw weights, sharing no code with the model or this page. All are "
        f"compared with it, relative to the largest number of the stage in its layer, or of the result: {TOLERANCE:.1e}"
        ", that is 512 roundings of a float32, is allowed; more only where rounding alone moves this very pass further."
        " The fused kernel shows no scores."
    )


def say(check: Check) -> str:
    """What came out for one pass, in a sentence."""
    if check.missing:
        return "Not checked: " + "; ".join(check.missing) + "."
    worst = check.worst
    if check.verdict == "differs":
        return (
            f"**{escape(worst.stage)}**, {NAMES[worst.path]}, at {list(worst.at)}: found **{worst.found:.7g}**, "
            f"expected **{worst.expected:.7g}**. Do not trust this page; please report it."
        )
    stages = len({row.stage for row in check.differences})
    if check.verdict == "undecided":
        return (
            f"All {stages} stages agree as far as can be told: in this pass rounding alone may change "
            f"{escape(worst.stage)} by {max(row.tolerance for row in check.differences):.1%} of its largest number."
        )
    return (
        f"All {stages} stages agree, every cell of them. The largest difference: **{worst.absolute:.1e}**, in "
        f"{escape(worst.stage)} ({NAMES[worst.path]}), {worst.relative:.1e} of its largest number."
    )


def say_claims(claims: Sequence[Claim], done: Sequence[Check | None]) -> str:
    """What came out for all that the page makes of its passes, in a sentence or two."""
    pairs = [(claim, check) for claim, check in zip(claims, done, strict=True) if check is not None]
    wrong = [check for _, check in pairs if check.verdict == "differs"]
    if wrong:
        return say(wrong[0])
    missing = [reason for _, check in pairs for reason in check.missing]
    results, numbers = (sum(counts) for counts in zip(*((len(c.shown), c.count) for c, _ in pairs), strict=True))
    worst = max((row for _, check in pairs for row in check.differences), key=lambda row: row.relative, default=None)
    text = "" if worst is None else (
        f"What this page makes of it: {results} results, {numbers:,} numbers, agree. The largest difference: "
        f"**{worst.absolute:.1e}**, in {escape(worst.stage)}. "
    )  # fmt: skip
    open_ones = sum(len(claim.shown) for claim, check in zip(claims, done, strict=True) if check is None)
    if open_ones:
        text += f"{open_ones} results have not been compared yet. "
    return text + (f"Not checked: {escape('; '.join(missing))}." if missing else "")


def pick_quantity(claims: Sequence[Claim]) -> tuple[Claim | None, str]:
    """What to look up: a stage of the pass, or a result of the page."""
    names = {f"{claim.about}: {quantity}": (claim, quantity) for claim in claims for quantity in claim.shown}
    if not names:
        return None, ""
    return names.get(st.selectbox("Look up", [A_STAGE, *names], key="check_what"), (None, ""))


def pick_cell(quantity: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """One number of a result, by the axes that its name has in brackets."""
    axes = quantity.partition("[")[2].rstrip("]").split(", ") if shape else []
    columns = st.columns(max(len(shape), 1))
    places = enumerate(zip(columns, axes, shape, strict=False))
    return tuple(number(column, axis.capitalize(), n, 0, f"{i}_") for i, (column, axis, n) in places)


def show_claimed(model: AnyModel, claim: Claim, quantity: str, cell: tuple[int, ...]) -> None:
    """One number of a result: as it is shown, by float64, and from the stages of the two other paths."""
    from gptviz.analysis.claims import look_up_claim

    if claim.slow and not st.button("Work it out in float64", key="check_work"):
        return
    shown = float(claim.shown[quantity][cell])
    found = look_up_claim(network_of(model), claim, quantity)
    expected = float(found["float64"][cell])
    rows = [("float64, from the raw weights", f"{expected:.12g}", "")]
    for path, name in NAMES.items():
        value = shown if path == "displayed" else None if found[path] is None else float(found[path][cell])
        if value is None:
            rows.append((name, "not shown by it", ""))
        else:
            same = value == expected or (np.isnan(value) and np.isnan(expected))
            rows.append((name, f"{value:.9g}", f"{0.0 if same else abs(value - expected):.1e}"))
    st.dataframe(
        pd.DataFrame(rows, columns=["computed by", "value", "off by"]), key="check_number", width="stretch",
        hide_index=True,
    )  # fmt: skip


def claims_table(made: Sequence[Check]) -> pd.DataFrame:
    """A row a result: its largest difference."""
    rows = [(row.stage, written(row)) for check in made for row in check.differences]
    return pd.DataFrame(rows, columns=["result", NAMES["displayed"]])


def pick_trace(traces: Sequence[AnyTrace]) -> AnyTrace:
    """One of the passes that the page shows."""
    if len(traces) == 1:
        return traces[0]
    names = [name_of_pair(trace) if is_pair(trace) else name_of(trace.what_if) for trace in traces]
    return traces[names.index(st.selectbox("Pass", names, key="check_pass"))]


def name_of_pair(trace: TranslationTrace) -> str:
    """A pass of an encoder-decoder, by what the decoder read and what was changed."""
    from gptviz.translation import AS_TRAINED

    changes = {side: getattr(trace, side).what_if for side in SIDES}
    parts = [f"{SIDES[side].lower()} {name_of(each)}" for side, each in changes.items() if each != AS_TRAINED[side]]
    return ", ".join([f"“{''.join(trace.decoder.tokens[1:]).strip()}”", *(parts or ["as trained"])])


def name_of(changed: WhatIf) -> str:
    """A pass by what was changed in it."""
    parts = ["masked" if changed.causal else "unmasked", *([] if changed.scaled else ["not scaled"])]
    parts += [f"head {gain.layer}.{gain.head} times {gain.gain:g}" for gain in changed.gains]
    return ", ".join(parts + ["weights set by hand"] * bool(changed.edits))


def pick_place(reading: Reading | PairReading, trace: AnyTrace) -> tuple[str, int | None, tuple[int, ...]]:
    """Stage, layer and cell: those of the page at first."""
    from gptviz.analysis.check import WHOLE

    config, name, own, one = reading.config, "", "", trace
    if is_pair(trace):
        side = st.selectbox("Side", SIDES, format_func=SIDES.get, key="check_side")
        name, own, one = f"{side}.", f"_{side}", getattr(trace, side)
    stages = stages_of(one)
    stage = st.selectbox("Stage", stages, stages.index(reading.stage), key=f"check_stage{own}")
    columns = iter(st.columns(4))
    layer = None
    if stage not in (*WHOLE, "memory"):
        count = config.n_layers + (stage == "residual")
        layer = number(next(columns), "Layer", count, chosen("layer", count))
    sizes = sizes_of(stage, config, len(one.ids), len(one.ids) if one.memory is None else len(one.memory))
    cell = [number(next(columns), "Head", sizes[0], chosen("head", sizes[0]))] if len(sizes) == 3 else []
    cell.append(number(next(columns), "Row", sizes[-2], sizes[-2] - 1))
    cell.append(number(next(columns), "Column", sizes[-1], 0))
    return name + stage, layer, tuple(cell)


def stages_of(trace: Trace) -> tuple[str, ...]:
    """What one attention and its stream have numbers for; cross-attention has a memory as well."""
    from gptviz.trace import STAGES

    return STAGES if trace.memory is None else (*STAGES, "memory")


def sizes_of(stage: str, config: ModelConfig, t: int, s: int) -> tuple[int, ...]:
    """The shape of a stage in one layer, with `t` queries and `s` keys."""
    if stage in ("scores", "scaled", "masked", "weights"):
        return config.n_heads, t, s
    if stage in ("q", "k", "v", "heads"):
        return config.n_heads, s if stage in "kv" else t, config.d_head
    rows = s if stage == "memory" else t
    return rows, {"logits": config.vocab_size, "ff_hidden": config.d_ff}.get(stage, config.d_model)


def chosen(name: str, count: int) -> int:
    """The layer or head of the page, or 0."""
    text = address.kept().get(name) or "0"
    return int(text) if text.isdecimal() and int(text) < count else 0


def number(place: Any, label: str, count: int, first: int, own: str = "") -> int:
    """A number from 0 to `count` - 1, in a column; another widget for another range. `own` tells equal labels apart."""
    key = f"check_{own}{label.lower()}_{count}"
    return int(place.number_input(f"{label}, 0 to {count - 1:,}", 0, max(count - 1, 1), first, key=key)) % count


def show_number(model: AnyModel, trace: AnyTrace, stage: str, layer: int | None, cell: tuple[int, ...]) -> None:
    """One number by every path, with its differences."""
    from gptviz.analysis.check import PATHS

    values = looked_up(model.fingerprint, trace.key, stage, layer, cell[0] // 64, model, trace)
    inside = (cell[0] - values.start, *cell[1:])
    expected = float(values.expected[inside])
    rows = [{"computed by": "float64, from the raw weights", "value": f"{expected:.12g}", "off by": ""}]
    for path in PATHS:
        array = values.found[path]
        found = None if array is None else float(array[inside])
        off = "" if found is None else f"{0.0 if found == expected else abs(found - expected):.1e}"
        rows.append({"computed by": NAMES[path], "value": "not shown by it" if found is None else f"{found:.9g}"})
        rows[-1]["off by"] = off
    st.dataframe(pd.DataFrame(rows), key="check_number", width="stretch", hide_index=True)


@st.cache_resource(max_entries=8, show_spinner=False)
def looked_up(
    fingerprint: str, key: tuple, stage: str, layer: int | None, part: int, _model: AnyModel, _trace: AnyTrace
) -> Any:
    """`look_up`, once for a stage and layer; `part` tells the pieces of logits apart."""
    from gptviz.analysis import check, check_translation

    row = part * check.ROWS if stage.endswith("logits") else 0
    if is_pair(_trace):
        return check_translation.look_up(_model.transformer, _trace, stage, layer, row)
    return check.look_up(_model.gpt, _trace, stage, layer, row)


def table(check: Check) -> pd.DataFrame:
    """A row a stage: the largest difference of each path, absolute and relative."""
    rows: dict[str, dict[str, object]] = {}
    for difference in check.differences:
        row = rows.setdefault(difference.stage, {"stage": difference.stage})
        row[NAMES[difference.path]] = written(difference)
    return pd.DataFrame(list(rows.values())).replace({np.nan: "not shown by it"})


def written(difference: Difference) -> str:
    """A difference, absolute and relative, and whether it is allowed."""
    text = f"{difference.absolute:.1e} ({difference.relative:.1e})"
    return text if difference.agrees else f"{text}, wrong"
