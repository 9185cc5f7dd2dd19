"""Small recordings for tests: random models as if they were snapshots of one training. Knows nothing about pytest."""

from __future__ import annotations

from pathlib import Path

from gptviz import checkpoint
from gptviz.folder import SNAPSHOTS, snapshot_file
from gptviz.tokenizer import Tokenizer
from tests.tiny import random_gpt, tiny_ranks

STEPS = (0, 3, 10, 40)
LOSSES = "step,train_loss,valid_loss\n" + "".join(
    f"{step},{6 - step / 10:.3f},{6.5 - step / 10 if step % 10 == 0 else ''}\n" for step in range(1, 41)
)


def write_recording(
    shelf: Path, name: str = "seen", causal: bool = True, losses: str = LOSSES, n_layers: int = 2
) -> Path:
    """A checkpoint with a snapshot at each of `STEPS`, the model of seed i at the i-th; returns its folder."""
    tokenizer = Tokenizer(tiny_ranks())
    for seed, step in enumerate(STEPS):
        gpt = random_gpt(seed, n_layers=n_layers, n_heads=3, d_model=24)
        checkpoint.save(shelf / name / SNAPSHOTS, gpt, tokenizer, snapshot_file(step))
    checkpoint.save(shelf / name, gpt, tokenizer)
    (shelf / name / "recipe.toml").write_text(f"[training]\ncausal = {str(causal).lower()}\n", encoding="utf-8")
    (shelf / name / "training.csv").write_text(losses, encoding="utf-8")
    return shelf / name
