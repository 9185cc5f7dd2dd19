"""The state of a run in a file: weights, optimisers, step. The same file whether one process wrote it or many."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from gptviz.files import replaced
from gptviz.training.optimizers import Optimizers
from gptviz.training.ranks import ALONE, Model, Ranks, placed_as

STATE = "state.pt"  # in the folder of a run


class Progress(NamedTuple):
    """How far a run is, and what it found out about the machine it began on."""

    step: int = 0
    tokens: int = 0
    bf16: bool | None = None  # whether it computes with autocast; None where nobody has said so yet


def save(path: Path, model: Model, optimizers: Optimizers, progress: Progress, ranks: Ranks = ALONE) -> None:
    """Write the whole state, or nothing: a half-written file never takes the place of a good one.

    Every process has to call it, for shards are brought together; the first one writes.

    Raises:
        OSError: where the disk refuses.
    """
    state = {
        "config": model.config.to_dict(),
        "model": ranks.whole(model.state_dict()),
        "optimizers": [ranks.whole(optimizer.state_dict()) for optimizer in optimizers.all],
        **progress._asdict(),
    }
    if ranks.main:
        with replaced(path) as part, part.open("wb") as file:
            try:
                torch.save(state, file)
            except RuntimeError as error:  # "unexpected pos", says PyTorch of a full disk
                raise error.__context__ if isinstance(error.__context__, OSError) else error from None


def resume(path: Path, model: Model, optimizers: Optimizers) -> Progress:
    """Read a state that `save` wrote into the model and the optimisers; returns how far it is."""
    state: dict[str, Any] = torch.load(path, map_location=model.device, weights_only=True)
    if state["config"] != model.config.to_dict():
        raise ValueError(
            f"{path.name} holds a model of shape {state['config']}, expected {model.config.to_dict()}; "
            "choose another run folder, or the recipe that this run began with"
        )
    if len(state["optimizers"]) != len(optimizers.all):
        raise ValueError(f"{path.name} was saved by another optimizer; resume with the one that this run began with")
    now = model.state_dict()
    model.load_state_dict({name: placed_as(value, now[name]) for name, value in state["model"].items()})
    for optimizer, saved in zip(optimizers.all, state["optimizers"], strict=True):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for i, moments in saved["state"].items():
            saved["state"][i] = {name: placed_as(value, parameters[i]) for name, value in moments.items()}
        for group, mine in zip(saved["param_groups"], optimizer.param_groups, strict=True):
            if "fused" in mine:  # hangs on the device and on shards, not on the run
                group["fused"] = mine["fused"]
        optimizer.load_state_dict(saved)
    return Progress(state["step"], state["tokens"], state.get("bf16"))  # earlier versions did not say
