"""The shape of a model, as frozen data that checks itself and is saved beside the weights."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, get_args

Activation = Literal["relu", "gelu", "gelu_tanh"]
NormOrder = Literal["post", "pre"]


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
        if self.d_model % self.n_heads:
            raise ConfigError(
                f"d_model must be a multiple of n_heads, found d_model {self.d_model} and n_heads "
                f"{self.n_heads}; choose a width such as {self.n_heads * (self.d_model // self.n_heads + 1)}"
            )

    @property
    def d_head(self) -> int:
        """D, the width of one head."""
        return self.d_model // self.n_heads

    def to_dict(self) -> dict[str, Any]:
        """The config as plain JSON values."""
        return dataclasses.asdict(self)

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
    """A decoder-only transformer.

    Args:
        vocab_size: V, number of token ids.
        context: longest sequence the learned positions cover, in tokens.
        n_layers: L, decoder blocks.
        n_heads: H, attention heads in a block; must divide ``d_model``.
        d_model: C, width of the residual stream.
        d_ff: width of the feed-forward hidden layer; 4 C if left at 0.
        norm_order: "post" adds, then normalises (Vaswani et al. 2017, section 3.1);
            "pre" normalises first and once more before the output (GPT-2).
        activation: between the two feed-forward projections.
        tied: the output projection is the token embedding, transposed.

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


KINDS: dict[str, type[ModelConfig]] = {"gpt": GPTConfig, "transformer": TransformerConfig}
"""The kinds of models, by the names that checkpoints and recipes give them; one without a name is a GPT."""


CHOICES: dict[str, tuple[str, ...]] = {"NormOrder": get_args(NormOrder), "Activation": get_args(Activation)}
LARGEST = 2**31 - 1


def check_field(name: str, kind: Any, value: Any) -> None:
    """Raise `ConfigError` unless `value` is of the annotated `kind` and in range."""
    kind = kind if isinstance(kind, str) else kind.__name__
    if kind in CHOICES:
        if value not in CHOICES[kind]:
            raise ConfigError(f"{name} must be one of {', '.join(CHOICES[kind])}, found {value!r}")
    elif kind == "bool":
        if not isinstance(value, bool):
            raise ConfigError(f"{name} must be true or false, found {value!r}")
    elif isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= LARGEST:
        raise ConfigError(f"{name} must be a whole number from 1 to {LARGEST}, found {value!r}")
