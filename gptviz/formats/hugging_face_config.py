"""What a config.json of Hugging Face says: the shape of GPT-2 and of Llama-like models. Reads no weight.

Names and defaults are those of the configs of `transformers`; none of its code is needed. A field that would make the
model another one than what is computed here is refused by its name, also where `transformers` would pass over it:
whoever wrote it meant something.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from gptviz.config import ConfigError, GPTConfig
from gptviz.folder import CheckpointError, parse_json, shortened

CONFIG = "config.json"
MAX_JSON = 16 * 2**20  # bytes; the index of a large model has some hundred thousand
LLAMA_LIKE = ("llama", "qwen2", "mistral")
CLASSES = ("lmheadmodel", "forcausallm", "model")  # behind the type of a model, in the names of its classes
ACTIVATIONS = {
    "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "relu": "relu", "silu": "silu",
    "swish": "silu",
}  # fmt: skip
WIDEST = 2**16  # of a head; known ones have 256 at most
MISTRALS_WINDOW = 4096  # what a config of Mistral or Qwen2 means that names no window
LEFT_OUT = (None, False, 0, "", [], {})  # how a field says that there is no such thing
OTHERS = {  # what is not computed here, with the value, if any, at which it would change nothing
    "attn_logit_softcapping": None, "final_logit_softcapping": None, "query_pre_attn_scalar": None, "clip_qkv": None,
    "embedding_multiplier": 1, "residual_multiplier": 1, "attention_multiplier": None, "logits_scaling": 1,
    "logit_scale": 1, "scale_emb": 1, "scale_depth": None, "dim_model_base": None, "scale_embedding": None,
    "qk_norm": None, "use_qk_norm": None, "qk_layernorm": None, "use_qk_layernorm": None, "alibi": None,
    "use_alibi": None, "parallel_attn": None, "use_parallel_residual": None, "num_experts": None,
    "num_local_experts": None, "n_routed_experts": None, "no_rope_layers": None, "no_rope_layer_interval": None,
    "use_bidirectional_attention": None, "is_encoder_decoder": None, "attention_chunk_size": None,
    "attn_temperature_tuning": None, "use_mrope": None, "partial_rotary_factor": 1, "rotary_pct": 1,
    "rope_interleaved": None, "attention_sinks": None, "quantization_config": None,
}  # fmt: skip
EPSILONS = ("layer_norm_epsilon", "rms_norm_eps", "layer_norm_eps", "norm_epsilon", "norm_eps")  # one of them counts
ALIASES = {"n_embd": "hidden_size", "n_head": "num_attention_heads", "n_layer": "num_hidden_layers",
           "n_positions": "max_position_embeddings"}  # fmt: skip
OF_SCALING = {  # what the object about rotary angles may say, by the kind of scaling
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
}
ALWAYS_OF_SCALING = (
    "rope_type", "type", "rope_theta", "partial_rotary_factor", "original_max_position_embeddings", "finetuned"
)  # fmt: skip


class Fields:
    """The values of a config.json, asked for by name and kind."""

    def __init__(self, values: dict[str, Any], label: str) -> None:
        self.values, self.label = values, label

    def get(self, name: str, kind: type, default: Any = None) -> Any:
        """A value; without a default it must be there. `null` counts as not there."""
        value = self.values.get(name)
        value = default if value is None else value
        if not isinstance(value, (int, float) if kind is float else kind) or (kind is not bool and value is True):
            raise self.wrong(name, f"a value ({kind.__name__})", "none" if value is None else shortened(value))
        if kind is float and not abs(value) < 1e300:  # JSON knows whole numbers that no float is
            raise self.wrong(name, "a finite number", shortened(value))
        return value

    def positive(self, name: str, default: Any = None) -> float:
        """A number above 0."""
        value = self.get(name, float, default)
        if value <= 0:
            raise self.wrong(name, "a number above 0", shortened(value))
        return float(value)

    def expect(self, name: str, usual: Any) -> None:
        """Raise unless a switch is off, or as most models have it."""
        if self.values.get(name) not in (None, usual):
            raise self.wrong(name, str(usual), shortened(self.values[name]))

    def named_twice(self, name: str, other: str) -> None:
        """Raise where two names of one thing have different values."""
        values = self.values.get(name), self.values.get(other)
        if None not in values and values[0] != values[1]:
            raise self.wrong(other, f"{shortened(values[0])}, as {name} says", shortened(values[1]))

    def wrong(self, name: str, expected: str, found: str) -> CheckpointError:
        """What to raise."""
        return CheckpointError(
            f"{self.label}, {name}: expected {expected}, found {found}; such a model cannot be shown"
        )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of bounded size, or a `CheckpointError`."""
    label = f"{path.parent.name}/{path.name}"
    if path.stat().st_size > MAX_JSON:
        raise CheckpointError(f"{label}: expected at most {MAX_JSON} bytes, found {path.stat().st_size}")
    return parse_json(path.read_bytes(), label)


def read_config(path: Path) -> GPTConfig:
    """The shape of the model in a folder; reads no weight.

    Raises:
        CheckpointError: for an architecture that is not known here, or fields that are missing or contradict.
    """
    fields = Fields(read_json(path / CONFIG), f"{path.name}/{CONFIG}")
    kind = fields.values.get("model_type")
    if kind != "gpt2" and kind not in LLAMA_LIKE:
        found = shortened(kind if kind is not None else fields.values.get("architectures"))
        raise fields.wrong("model_type", f"one of gpt2, {', '.join(LLAMA_LIKE)}", found)
    check_class(fields, kind)
    for name, usual in OTHERS.items():
        found = fields.values.get(name)
        if found not in LEFT_OUT and (usual is None or found != usual):
            raise fields.wrong(name, "none" if usual is None else f"{usual} or none", shortened(found))
    try:
        return gpt2_config(fields) if kind == "gpt2" else llama_config(fields, kind)
    except ConfigError as error:
        raise CheckpointError(f"{fields.label}: {error}") from error


def check_class(fields: Fields, kind: str) -> None:
    """Raise unless the classes that a config names are those of its type, and none comes with code of its own."""
    classes = fields.get("architectures", list, [])
    known = {kind + ending for ending in CLASSES}
    if classes and not known.intersection(str(name).lower() for name in classes):
        raise fields.wrong("architectures", f"a class of {kind}", shortened(classes))
    if own := [name for name in fields.get("auto_map", dict, {}) if name.startswith("AutoModel")]:
        raise fields.wrong("auto_map", "no code of its own, which is never run", shortened(own[0]))


def gpt2_config(fields: Fields) -> GPTConfig:
    """GPT-2 and its distilled ones."""
    for name, usual in (("scale_attn_weights", True), ("scale_attn_by_inverse_layer_idx", False),
                        ("add_cross_attention", False), ("sliding_window", None)):  # fmt: skip
        fields.expect(name, usual)
    for name, other in ALIASES.items():
        fields.named_twice(name, other)
    epsilon = epsilon_of(fields, "layer_norm_epsilon", 1e-5)
    sizes = {name: fields.get(name, int, fields.values.get(other)) for name, other in list(ALIASES.items())[:3]}
    return GPTConfig(
        vocab_size=fields.get("vocab_size", int),
        context=fields.get("n_positions", int, fields.values.get(ALIASES["n_positions"], fields.values.get("n_ctx"))),
        n_layers=sizes["n_layer"],
        n_heads=sizes["n_head"],
        d_model=sizes["n_embd"],
        d_ff=fields.get("n_inner", int, 4 * sizes["n_embd"]),
        norm_order="pre",
        activation=activation(fields, "activation_function", "gelu_new"),
        tied=fields.get("tie_word_embeddings", bool, True),
        norm_epsilon=epsilon,
    )


def llama_config(fields: Fields, kind: str) -> GPTConfig:
    """Llama, and what differs from it by biases alone."""
    context = fields.get("max_position_embeddings", int)
    check_window(fields, kind, context)
    qkv, rest = kind == "qwen2", [fields.get(name, bool, False) for name in ("attention_bias", "mlp_bias")]
    heads, width = fields.get("num_attention_heads", int), fields.get("hidden_size", int)
    head_width = fields.get("head_dim", int, 0)
    base, factors = rotary(fields, head_width or width // max(1, heads))
    return GPTConfig(
        vocab_size=fields.get("vocab_size", int),
        context=context,
        n_layers=fields.get("num_hidden_layers", int),
        n_heads=heads,
        d_model=width,
        d_ff=fields.get("intermediate_size", int),
        norm_order="pre",
        activation=activation(fields, "hidden_act", "silu"),
        tied=fields.get("tie_word_embeddings", bool, False),
        norm="rms",
        norm_epsilon=epsilon_of(fields, "rms_norm_eps", 1e-6),
        bias="all" if any(rest) else "qkv" if qkv else "none",
        positions="rotary",
        rotary_base=base,
        rotary_factors=factors,
        n_kv_heads=fields.get("num_key_value_heads", int, heads),
        head_width=0 if head_width * heads == width else head_width,
        gated=True,
    )


def check_window(fields: Fields, kind: str, context: int) -> None:
    """Raise where some layer sees only the tokens of a window that is shorter than the context."""
    on = kind != "qwen2" or fields.get("use_sliding_window", bool, False)
    usual = None if kind == "llama" else MISTRALS_WINDOW
    window = fields.values.get("sliding_window", usual) if on else None
    if window is not None and fields.get("sliding_window", int, usual) < context:
        missing = "" if "sliding_window" in fields.values else f", as {kind} means where none is named"
        raise fields.wrong("sliding_window", f"null, or {context} tokens as the context has", f"{window}{missing}")
    kinds = fields.get("layer_types", list, [])
    if other := [name for name in kinds if name != "full_attention"]:
        raise fields.wrong("layer_types", "full_attention in each layer", shortened(other[0]))


def epsilon_of(fields: Fields, name: str, default: float) -> float:
    """What the norms add; refused where it stands under the name that other models give it, with another value."""
    epsilon = fields.get(name, float, default)
    for other in EPSILONS:
        if fields.values.get(other, epsilon) not in (None, epsilon):
            raise fields.wrong(other, f"{name}, {epsilon:g}, as this architecture has", shortened(fields.values[other]))
    return epsilon


def activation(fields: Fields, name: str, default: str) -> str:
    """Our name of an activation."""
    found = fields.get(name, str, default)
    if found not in ACTIVATIONS:
        raise fields.wrong(name, f"one of {', '.join(ACTIVATIONS)}", shortened(found))
    return ACTIVATIONS[found]


def rotary(fields: Fields, width: int) -> tuple[float, tuple[float, ...]]:
    """The base of the angles, and what they are divided by."""
    fields.named_twice("rope_parameters", "rope_scaling")
    name = "rope_parameters" if fields.values.get("rope_parameters") else "rope_scaling"
    found = fields.values.get(name) or {}
    if not isinstance(found, dict):
        raise fields.wrong("rope_scaling", "an object", shortened(found))
    if width > WIDEST:
        raise fields.wrong("head_dim", f"at most {WIDEST}", str(width))
    scaling = Fields(found, fields.label)
    scaling.expect("partial_rotary_factor", 1.0)
    scaling.named_twice("rope_type", "type")
    kind = found.get("rope_type", found.get("type", "default"))
    if not isinstance(kind, str) or kind not in OF_SCALING:
        raise fields.wrong("rope_type", "default, linear or llama3", shortened(kind))
    known = (*ALWAYS_OF_SCALING, *OF_SCALING[kind])
    if more := [each for each in found if each not in known and found[each] not in LEFT_OUT]:
        raise fields.wrong(f"{name}, {shortened(more[0])}", f"only {', '.join(known)}", shortened(found[more[0]]))
    base = scaling.positive("rope_theta", fields.positive("rope_theta", 10_000.0))
    if kind == "linear":
        return base, (scaling.positive("factor"),) * (width // 2)
    return base, llama3_factors(scaling, base, width) if kind == "llama3" else ()


def llama3_factors(scaling: Fields, base: float, width: int) -> tuple[float, ...]:
    """Slow pairs are slowed down by the factor, quick ones not at all, and those between in part (Llama 3.1's card)."""
    factor, low, high = (scaling.positive(name) for name in ("factor", "low_freq_factor", "high_freq_factor"))
    trained = scaling.positive("original_max_position_embeddings")
    if not low < high:
        raise scaling.wrong("low_freq_factor", f"a number below high_freq_factor, {high}", str(low))
    factors = []
    for pair in range(width // 2):
        turns = trained / (2 * math.pi * base ** (2 * pair / width))  # within the context of the first training
        share = min(1.0, max(0.0, (turns - low) / (high - low)))  # of the speed that stays
        factors.append(1 / (share + (1 - share) / factor))
    return tuple(factors)
