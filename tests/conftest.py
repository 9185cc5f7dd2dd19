"""Fixtures that every test may use: tiny models with random weights and a vocabulary of our own."""

from __future__ import annotations

import os

os.environ["GPTVIZ_DEVICE"] = "cpu"  # the answers must not depend on the machine; before anything picks a device
os.environ["GPTVIZ_RUNS"] = "no-runs"  # nor on what was trained on it; a test that trains has a folder of its own
# Tiny products: a second thread costs more than it brings, and adds up in another order, which some processors show.
# Before torch: what is set later is not there in a thread that never asked torch for it.
os.environ["OMP_NUM_THREADS"] = "1"

from pathlib import Path

import hypothesis
import pytest
import torch

from gptviz import checkpoint
from gptviz.checkpoint import LanguageModel
from gptviz.tokenizer import Tokenizer
from tests.tiny import language_model, random_gpt, tiny_ranks, translator

hypothesis.settings.register_profile("patient", deadline=None)  # a machine that is busy is no fault of the code
hypothesis.settings.load_profile("patient")
torch.set_num_threads(1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One process more than cores: tests in a browser mostly wait for it."""
    return (os.cpu_count() or 1) + 1


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


@pytest.fixture(scope="session")
def pair_shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of checkpoints with one encoder-decoder in it, `translator()`, called tiny. Never change it."""
    folder, model = tmp_path_factory.mktemp("pairs"), translator()
    checkpoint.save(folder / "tiny", model.transformer, model.tokenizer)
    return folder


@pytest.fixture
def only_tiny_pair(pair_shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The only model that the app sees is that encoder-decoder."""
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(pair_shelf))


@pytest.fixture(scope="session")
def chat_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama-like model with shared keys and a chat template, alone in its parent folder. Never change it."""
    from tests.chatty import write_chatty

    folder = tmp_path_factory.mktemp("chat") / "chatty"
    folder.mkdir()
    write_chatty(folder / "model.gguf")
    return folder
