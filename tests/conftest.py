"""Fixtures that every test may use: tiny models with random weights and a vocabulary of our own."""

from __future__ import annotations

import os

os.environ["GPTVIZ_DEVICE"] = "cpu"  # the answers must not depend on the machine; before anything picks a device

from pathlib import Path

import pytest
import torch

from gptviz import checkpoint
from gptviz.checkpoint import LanguageModel
from gptviz.tokenizer import Tokenizer
from tests.tiny import language_model, random_gpt, tiny_ranks

torch.set_num_threads(1)  # tiny products: a second thread costs more than it brings


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Tokenizer:
    """256 bytes, about 150 merges, end of text last."""
    return Tokenizer(tiny_ranks())


@pytest.fixture(scope="session")
def tiny_model() -> LanguageModel:
    """The GPT of the lesson: normalised after the add, ReLU; 3 layers, 4 heads, d 32, context 64. Never change it."""
    return language_model("tiny", random_gpt())


@pytest.fixture(scope="session")
def tiny_pre_norm() -> LanguageModel:
    """As GPT-2: normalised first, GELU (tanh), tied output; 2 layers, 2 heads. Never change it."""
    gpt = random_gpt(seed=1, n_layers=2, n_heads=2, norm_order="pre", activation="gelu_tanh", tied=True)
    return language_model("tiny-pre-norm", gpt)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory, tiny_model: LanguageModel) -> Path:
    """`tiny_model` as a checkpoint on disk, alone in its parent folder. Copy it before you damage it."""
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    checkpoint.save(folder, tiny_model.gpt, tiny_model.tokenizer)
    return folder
