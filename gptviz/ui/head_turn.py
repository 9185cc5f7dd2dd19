"""The lesson on one head, its stage where positions are rotary: queries and keys before and after they are turned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from gptviz.ui import head_claims
from gptviz.ui.rotary import counted
from gptviz.ui.show import escape, table_with_csv

if TYPE_CHECKING:
    from gptviz.analysis.rotary import Unturned
    from gptviz.ui.inside_head import View

FORMULA = (
    r"\begin{gathered} \begin{pmatrix} q'_i \\ q'_{i + D/2} \end{pmatrix} = "
    r"\begin{pmatrix} \cos \theta & -\sin \theta \\ \sin \theta & \cos \theta \end{pmatrix} "
    r"\begin{pmatrix} q_i \\ q_{i + D/2} \end{pmatrix} \\[1ex] \theta = \frac{p}{b^{\,2i/D}%s} \end{gathered}"
)


def formula_of(view: View) -> str:
    """How one pair of dimensions turns at position p."""
    return FORMULA % (r"\, f_i" if view.reading.config.rotary_factors else "")


def say_turn(view: View) -> str:
    """What happens at this stage, in words and with its own numbers."""
    from gptviz.analysis.rotary import periods

    config, each = view.reading.config, periods(view.reading.config)
    text = (
        "Nothing was added for the place of a token. Instead every query and every key is turned by it: dimensions i "
        f"and i + {config.d_head // 2} are a pair, and pair i turns by θ at position p (Su et al. 2021, section "
        f"3.2.2), with b = {counted(config.rotary_base)}. A whole turn of pair 0 takes {counted(each[0])} tokens, of "
        f"pair {len(each) - 1} {counted(each[-1])}. "
    )
    if config.rotary_factors:
        text += "Each angle is divided by a factor f of its pair, for texts longer than those of the first training. "
    return text + (
        "Lengths do not change, nor does v. A product of a query and a key then depends on how far apart they stand, "
        "not on where. The four pictures are on one scale."
    )


def unturned(view: View) -> Unturned:
    """Queries and keys as the projection made them."""
    from gptviz.analysis.head_stages import projections
    from gptviz.analysis.rotary import before_the_turn

    return before_the_turn(view.stages, projections(view.reading.stack.attentions[view.layer], view.head))


def angles_table(view: View) -> pd.DataFrame:
    """What the place of the chosen query turns each pair by."""
    from gptviz.analysis.rotary import periods

    each = periods(view.reading.config)
    pairs = np.arange(len(each))
    turns = view.query / each
    frame = {
        "dimensions": [f"{i} and {i + len(pairs)}" for i in pairs],
        "tokens for a whole turn": each,
        "turns": turns,
        "angle, degrees": 360 * (turns % 1),
    }
    return pd.DataFrame(frame, index=pd.RangeIndex(len(pairs), name="pair"))


def show_angles(view: View, before: Unturned) -> None:
    """The angles of the chosen query as a table, claimed with the vectors before they are turned."""
    frame = angles_table(view)
    head_claims.claim_turn(view, before, frame["turns"].to_numpy(), frame["tokens for a whole turn"].to_numpy())
    name = escape(view.reading.tokens[view.query])
    with st.expander(f"By how much position {view.query}, {name}, turns each pair", expanded=True):
        table_with_csv(frame, "angles.csv", key="head_angles")
