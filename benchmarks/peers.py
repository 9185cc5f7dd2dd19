"""Hugging Face's GPT-2 and Llama, and ours with the very same weights: both sides compute the same thing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch

from benchmarks.common import Skip
from gptviz.config import GPTConfig
from gptviz.gpt import GPT

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel, LlamaForCausalLM

# ours -> theirs, inside a block; their projections are stored transposed
LINEARS = {
    "attention.qkv": "attn.c_attn",
    "attention.out": "attn.c_proj",
    "ff.expand": "mlp.c_fc",
    "ff.contract": "mlp.c_proj",
}
NORMS = {"attention_norm": "ln_1", "ff_norm": "ln_2"}


def gpt2_shape(n_layers: int, n_heads: int, d_model: int, vocab_size: int, context: int) -> GPTConfig:
    """Our config for GPT-2's architecture in a size."""
    return GPTConfig(
        vocab_size, context, n_layers, n_heads, d_model, norm_order="pre", activation="gelu_tanh", tied=True
    )


def hugging_face(config: GPTConfig, **options: object) -> GPT2LMHeadModel:
    """Their GPT-2 with random weights, in a shape of ours; raises `Skip` where transformers is not installed."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is fetched: all weights here are random
    try:
        from transformers import GPT2Config, GPT2LMHeadModel
    except ImportError as error:
        raise Skip(f"{error}; pip install -r benchmarks/requirements.txt") from error
    torch.manual_seed(0)
    shape = GPT2Config(
        vocab_size=config.vocab_size,
        n_positions=config.context,
        n_embd=config.d_model,
        n_layer=config.n_layers,
        n_head=config.n_heads,
        bos_token_id=None,
        eos_token_id=None,
        **options,
    )
    return GPT2LMHeadModel(shape)


def ours_with_weights_of(theirs: GPT2LMHeadModel, config: GPTConfig) -> GPT:
    """Our model with their weights."""
    source = theirs.transformer.state_dict()
    weights = {
        "token_embedding.weight": source["wte.weight"],
        "position_embedding.weight": source["wpe.weight"],
        "unembedding.weight": source["wte.weight"],
        "final_norm.weight": source["ln_f.weight"],
        "final_norm.bias": source["ln_f.bias"],
    }
    for layer in range(config.n_layers):
        for mine, yours in (LINEARS | NORMS).items():
            weight = source[f"h.{layer}.{yours}.weight"]
            weights[f"blocks.{layer}.{mine}.weight"] = weight.T if mine in LINEARS else weight
            weights[f"blocks.{layer}.{mine}.bias"] = source[f"h.{layer}.{yours}.bias"]
    model = GPT(config)
    model.load_state_dict({name: value.clone().contiguous() for name, value in weights.items()})
    return model


def smollm2_shape() -> GPTConfig:
    """Our config in the shape of SmolLM2 135M."""
    return GPTConfig(
        vocab_size=49152, context=2048, n_layers=30, n_heads=9, d_model=576, d_ff=1536, norm_order="pre",
        activation="silu", tied=True, norm="rms", bias="none", positions="rotary", n_kv_heads=3, gated=True,
    )  # fmt: skip


def llama(config: GPTConfig, **options: object) -> LlamaForCausalLM:
    """Their Llama with random weights, in a shape of ours; raises `Skip` where transformers is not installed."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        from transformers import LlamaConfig, LlamaForCausalLM
    except ImportError as error:
        raise Skip(f"{error}; pip install -r benchmarks/requirements.txt") from error
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=config.vocab_size,
        max_position_embeddings=config.context,
        num_hidden_layers=config.n_layers,
        num_attention_heads=config.n_heads,
        num_key_value_heads=config.n_groups,
        hidden_size=config.d_model,
        intermediate_size=config.d_ff,
        rms_norm_eps=config.norm_epsilon,
        tie_word_embeddings=config.tied,
        **options,
    )
    return LlamaForCausalLM(shape)


def ours_with_weights_of_llama(theirs: LlamaForCausalLM, config: GPTConfig) -> GPT:
    """Our model with their weights."""
    source = theirs.model.state_dict()
    table = source["embed_tokens.weight"]
    weights = {
        "token_embedding.weight": table, "unembedding.weight": table, "final_norm.weight": source["norm.weight"],
    }  # fmt: skip
    for layer in range(config.n_layers):
        own = {name.removeprefix(f"layers.{layer}."): value for name, value in source.items()}
        attention = {part: own[f"self_attn.{part}_proj.weight"] for part in "qkvo"}
        block = {
            "attention.qkv": torch.cat([attention[part] for part in "qkv"]),
            "attention.out": attention["o"],
            "ff.gate": own["mlp.gate_proj.weight"],
            "ff.expand": own["mlp.up_proj.weight"],
            "ff.contract": own["mlp.down_proj.weight"],
            "attention_norm": own["input_layernorm.weight"],
            "ff_norm": own["post_attention_layernorm.weight"],
        }
        weights |= {f"blocks.{layer}.{name}.weight": value for name, value in block.items()}
    model = GPT(config)
    model.load_state_dict({name: value.clone().contiguous() for name, value in weights.items()})
    return model
