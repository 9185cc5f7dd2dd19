"""The lesson on one head, its way through the stages: a button each, back and on, and the arrow keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from gptviz.ui import address
from gptviz.ui.component import component

if TYPE_CHECKING:
    from gptviz.config import ModelConfig

STAGES = {  # name in the address: what its button says
    "x": "x",
    "weights": "W",
    "qkv": "q, k, v",
    "scores": "q kᵀ",
    "scale": "÷ √D",
    "mask": "mask",
    "softmax": "softmax",
    "values": "× v",
    "join": "join",
    "project": "project",
}
TURN = {"turn": "turn"}  # where positions are rotary, between "qkv" and "scores"
hear_keys = component("gptviz_steps", ["busy", "give_back", "steps"])


def stages_of(config: ModelConfig) -> dict[str, str]:
    """The stages of a model, in order."""
    if config.positions != "rotary":
        return STAGES
    at = list(STAGES).index("scores")
    return dict([*list(STAGES.items())[:at], *TURN.items(), *list(STAGES.items())[at:]])


def pick_stage(config: ModelConfig) -> str:
    """The stage to show: a button each, and back and on, with the arrow keys, too."""
    labels = stages_of(config)
    names = list(labels)
    stage = address.kept().get("head_stage") or names[0]
    if stage not in names:
        address.put_right("head_stage")
    at, end = names.index(stage), len(names) - 1
    step_by_keys(at, names)
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        for way, word, key, icon, last in (-1, "Back", "head_back", "back", 0), (1, "Next", "head_on", "forward", end):
            st.button(
                word, on_click=walk, args=(way, names), icon=f":material/arrow_{icon}:", key=key, disabled=at == last,
                help=f"Or press the {'left' if way < 0 else 'right'} arrow key",
            )  # fmt: skip
        for i, name in enumerate(names):
            kind = "primary" if i == at else "secondary"
            st.button(f"{i + 1} {labels[name]}", on_click=go_to, args=(name,), type=kind, key=f"head_to_{name}")
    return stage


def step_by_keys(at: int, names: list[str]) -> None:
    """Let the arrow keys step from stage number `at`; a script says where to, so that no press is lost."""

    def go() -> None:
        stage = st.session_state["head_keys"].stage
        if stage in names:
            go_to(stage)

    hear_keys(key="head_keys", data={"at": at, "stages": names}, on_stage_change=go, height=1)


def go_to(stage: str) -> None:
    """Show a stage; the first one is what an address without a word shows."""
    address.kept()["head_stage"] = "" if stage == next(iter(STAGES)) else stage


def walk(steps: int, names: list[str]) -> None:
    """On or back from the stage of this moment: two quick presses are two steps."""
    at = names.index(address.kept().get("head_stage") or names[0])
    go_to(names[min(max(at + steps, 0), len(names) - 1)])
