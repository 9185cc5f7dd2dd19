"""The shape of a model, as frozen data that checks itself and is saved beside the weights."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, get_args

Activation = Literal["relu", "gelu", "gelu_tanh", "silu"]
NormOrder = Literal["post", "pre"]
Norm = Literal["layer", "rms"]
Positions = Literal["learned", "rotary"]
Bias = Literal["all", "qkv", "none"]


class ConfigError(ValueError):
    """A configuration that cannot be a model: says what was expected, what was found, and the remedy."""


class ModelConfig:
    """What the configs of all models share: `d_model` divided among `n_heads` heads, checks, and JSON values.

    Raises:
        ConfigError: on values that cannot be a model.
    """

    vocab_size: int
    context: int
    n_layers: int
    n_heads: int
    d_model: int
    d_ff: int

    def __post_init__(self) -> None:
        if self.d_ff == 0 and isinstance(self.d_model, int):
            object.__setattr__(self, "d_ff", 4 * self.d_model)
        for field in dataclasses.fields(self):
            check_field(field.name, field.type, getattr(self, field.name))
        self.check_heads()

    def check_heads(self) -> None:
        """Raise `ConfigError` unless the heads divide the model's width."""
        if self.d_model % self.n_heads:
            raise ConfigError(
                f"d_model must be a multiple of n_heads, found d_model {self.d_model} and n_heads "
                f"{self.n_heads}; choose a width such as {self.n_heads * (self.d_model // self.n_heads + 1)}"
            )

    @property
    def d_head(self) -> int:
        """D, the width of one head."""
        return self.d_model // self.n_heads

    @property
    def n_groups(self) -> int:
        """How many key/value heads there are: as many as heads, unless some share theirs."""
        return self.n_heads

    def to_dict(self) -> dict[str, Any]:
        """The config as plain JSON values; what came to the format later only where it is not at its default."""
        values = dataclasses.asdict(self)
        later = {field.name: field.default for field in dataclasses.fields(self) if field.name in LATER}
        return {name: value for name, value in values.items() if name not in later or value != later[name]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read a config back; unknown or missing names raise `ConfigError`."""
        if not isinstance(values, dict):
            raise ConfigError(f"expected a JSON object describing the model, found {type(values).__name__}")
        fields = dataclasses.fields(cls)
        unknown = sorted(str(name) for name in set(values) - {f.name for f in fields})
        missing = [f.name for f in fields if f.default is dataclasses.MISSING and f.name not in values]
        if unknown or missing:
            raise ConfigError(
                f"expected the fields {', '.join(f.name for f in fields)}; "
                f"unknown: {', '.join(unknown) or 'none'}; missing: {', '.join(missing) or 'none'}"
            )
        return cls(**values)


@dataclass(frozen=True)
class GPTConfig(ModelConfig):
    """A decoder-only transformer: the GPT of the lesson, GPT-2, and Llama-like models.

    Args:
        vocab_size: V, number of token ids.
        context: longest sequence the model was made for, in tokens; that of the learned positions, where it has them.
        n_layers: L, decoder blocks.
        n_heads: H, attention heads in a block; must divide ``d_model``, unless ``head_width`` is given.
        d_model: C, width of the residual stream.
        d_ff: width of the feed-forward hidden layer; 4 C if left at 0.
        norm_order: "post" adds, then normalises (Vaswani et al. 2017, section 3.1);
            "pre" normalises first and once more before the output (GPT-2).
        activation: between the two feed-forward projections.
        tied: the output projection is the token embedding, transposed.
        norm: "layer" subtracts the mean and divides by the deviation (Ba et al. 2016); "rms" only divides, by the
            root of the mean square (Zhang and Sennrich 2019).
        norm_epsilon: added to what the norms take the root of.
        bias: which projections add a bias: "all" of them, and layer norms too; "qkv" alone (Qwen2); or "none" (Llama).
        positions: "learned" vectors, added to the tokens'; or "rotary": queries and keys are turned by angles that
            grow with their position (Su et al. 2021, section 3.2).
        rotary_base: of the angles: pair i of a head's D dimensions turns by base^(-2 i / D) a token.
        rotary_factors: D / 2 numbers that these angles are divided by, for contexts longer than those of the first
            training; none if empty.
        n_kv_heads: how many heads have keys and values of their own, shared by equal groups of query heads (Ainslie
            et al. 2023); all if left at 0.
        head_width: D; d_model / n_heads if left at 0.
        gated: the hidden layer is multiplied by a second projection: activation(gate x) * (expand x) (Shazeer 2020).

    Raises:
        ConfigError: on values that cannot be a model.
    """

    vocab_size: int
    context: int
    n_layers: int
    n_heads: int
    d_model: int
    d_ff: int = 0
    norm_order: NormOrder = "post"
    activation: Activation = "relu"
    tied: bool = False
    norm: Norm = "layer"
    norm_epsilon: float = 1e-5
    bias: Bias = "all"
    positions: Positions = "learned"
    rotary_base: float = 10_000.0
    rotary_factors: tuple[float, ...] = ()
    n_kv_heads: int = 0
    head_width: int = 0
    gated: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.rotary_factors, list):  # as JSON has it
            object.__setattr__(self, "rotary_factors", tuple(self.rotary_factors))
        super().__post_init__()

    def check_heads(self) -> None:
        """Raise `ConfigError` unless heads divide the width, groups divide the heads, and rotary pairs fit a head."""
        if not self.head_width:
            super().check_heads()
        if self.n_heads % self.n_groups:
            raise ConfigError(f"n_kv_heads must divide n_heads, found {self.n_kv_heads} and {self.n_heads}")
        if self.positions == "rotary" and self.d_head % 2:
            raise ConfigError(
                f"rotary positions turn pairs of dimensions, found heads of width {self.d_head}; choose learned ones"
            )
        if len(self.rotary_factors) not in (0, self.d_head // 2):
            raise ConfigError(
                f"rotary_factors must be {self.d_head // 2} numbers or none, found {len(self.rotary_factors)}"
            )

    @property
    def d_head(self) -> int:
        """D, the width of one head."""
        return self.head_width or self.d_model // self.n_heads

    @property
    def n_groups(self) -> int:
        """How many key/value heads there are."""
        return self.n_kv_heads or self.n_heads


@dataclass(frozen=True)
class TransformerConfig(ModelConfig):
    """An encoder and a decoder of equal depth, as in Vaswani et al. 2017: add, then normalise; one tied table.

    Args:
        vocab_size: V, number of token ids; source and target share them, and one table.
        context: longest source and longest target, in tokens, the end-of-text token included.
        n_layers: L, encoder blocks, and as many decoder blocks.
        n_heads: H, attention heads of every attention; must divide ``d_model``.
        d_model: C, width of the residual streams.
        d_ff: width of the feed-forward hidden layer; 4 C if left at 0.
        activation: between the two feed-forward projections.

    Raises:
        ConfigError: on values that cannot be a model.
    """

    vocab_size: int
    context: int
    n_layers: int
    n_heads: int
    d_model: int
    d_ff: int = 0
    activation: Activation = "relu"

    norm_order: ClassVar[NormOrder] = "post"
    tied: ClassVar[bool] = True
    norm: ClassVar[Norm] = "layer"
    norm_epsilon: ClassVar[float] = 1e-5
    bias: ClassVar[Bias] = "all"
    positions: ClassVar[str] = "sinusoidal"
    gated: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.context > LONGEST_FIXED:
            raise ConfigError(
                f"context must be at most {LONGEST_FIXED:,} where positions are not learned, found {self.context:,}: "
                "no weight bounds it, but memory does"
            )


KINDS: dict[str, type[ModelConfig]] = {"gpt": GPTConfig, "transformer": TransformerConfig}
"""The kinds of models, by the names that checkpoints and recipes give them; one without a name is a GPT."""


CHOICES: dict[str, tuple[str, ...]] = {
    "NormOrder": get_args(NormOrder),
    "Activation": get_args(Activation),
    "Norm": get_args(Norm),
    "Positions": get_args(Positions),
    "Bias": get_args(Bias),
}
LATER = (
    "norm", "norm_epsilon", "bias", "positions", "rotary_base", "rotary_factors", "n_kv_heads", "head_width", "gated"
)  # fmt: skip
MAY_BE_0 = ("n_kv_heads", "head_width")  # which stands for the usual
LARGEST = 2**31 - 1
LONGEST_FIXED = 4096  # tokens: a number for every pair of positions still fits any machine


def check_field(name: str, kind: Any, value: Any) -> None:
    """Raise `ConfigError` unless `value` is of the annotated `kind` and in range."""
    kind = kind if isinstance(kind, str) else kind.__name__
    if kind in CHOICES:
        if value not in CHOICES[kind]:
            raise ConfigError(f"{name} must be one of {', '.join(CHOICES[kind])}, found {value!r}")
    elif kind == "bool":
        if not isinstance(value, bool):
            raise ConfigError(f"{name} must be true or false, found {value!r}")
    elif kind == "float":
        check_positive(name, value)
    elif kind.startswith("tuple"):
        if not isinstance(value, tuple):
            raise ConfigError(f"{name} must be a list of numbers, found {value!r}")
        for each in value:
            check_positive(name, each)
    elif name in MAY_BE_0 and value == 0 and not isinstance(value, bool):
        return
    elif isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= LARGEST:
        raise ConfigError(f"{name} must be a whole number from 1 to {LARGEST}, found {value!r}")


def check_positive(name: str, value: Any) -> None:
    """Raise `ConfigError` unless `value` is a number above 0 that a float can be: JSON's may be of any length."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= sys.float_info.max:
        raise ConfigError(f"{name} must be a number above 0, found {value!r}")
