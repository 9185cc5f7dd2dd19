"""What a scene may say for the controls of its page: numbers with their ends, choices, on and off.

The controls themselves are in gptviz/ui; a test holds these ends and choices against theirs.
"""

from __future__ import annotations

import math

RANGES: dict[str, tuple[float, float]] = {  # name in a link -> the ends of its control
    "next_temperature": (0.0, 2.0),
    "next_top_p": (0.05, 1.0),
    "next_seed": (0, 2**31 - 1),
    "next_amount": (1, 200),
    "next_n": (3, 40),
    "pair_temperature": (0.0, 1.5),
    "pair_seed": (0, 9999),
    "beam": (1, 8),
}
WITH_A_POINT = ("next_temperature", "next_top_p", "pair_temperature")
WHOLE = (  # from 0; where they end depends on model and sentence
    "layer", "head", "other_layer", "other_head", "lapse_step", "pair_step", "step", "emb_token", "emb_stage",
    "head_query", "head_key", "mask_at", "loss_at", "forced_at", "pos_query", "pos_key", "next_at",
)  # fmt: skip
SWITCHES = (
    "chat", "head_unmasked", "head_unscaled", "att_words", "att_first", "att_levels", "emb_unit", "loss_curve",
    "train_log", "train_all",
)  # fmt: skip
ON_AT_FIRST = ("emb_unit",)  # of the switches: "false" has to be said
CHOICES: dict[str, tuple[str, ...]] = {  # name in a link -> what its control offers, in order
    "att_show": ("Heads", "Mean", "Max", "Rollout"),
    "att_over": ("this layer", "all layers"),
    "emb_dims": ("2", "3"),
    "head_stage": ("x", "weights", "qkv", "turn", "scores", "scale", "mask", "softmax", "values", "join", "project"),
    "loss_norms": ("Gradient", "Gradient / weights"),
    "loss_on": ("dL/dA", "Row sum kept at 1", "dL/dscores"),
    "loss_optimizer": ("SGD", "AdamW"),
    "loss_rate": (
        "0.00001", "0.00003", "0.0001", "0.0003", "0.001", "0.003", "0.01", "0.03", "0.1", "0.3", "1", "3", "10",
    ),
    "next_over": ("Mean of all heads", "Mean of a layer", "One head"),
    "next_row": ("While it was chosen", "Once it stood there"),
    "next_top_k": (
        *map(str, range(1, 11)), "15", "20", "30", "40", "50", "75", "100", "200", "500", "1000", "all",
    ),
    "side": ("Encoder", "Decoder", "Cross-attention"),
    "translate_view": ("Mean of all heads", "One head"),
}  # fmt: skip
LONGEST_NUMBER = 9  # digits


def expected(name: str, text: str) -> str:
    """What a setting should be, in words, if it cannot be `text`; "" if it can, as far as can be told here."""
    if name in SWITCHES:
        return "" if text in ("", "true", "false") else "true or false"
    if name in CHOICES:
        return "" if text in CHOICES[name] else f"one of {', '.join(CHOICES[name])}"
    if name in RANGES:
        low, high = RANGES[name]
        point = name in WITH_A_POINT
        if is_number(text, point) and low <= float(text) <= high:
            return ""
        return f"a number from {low:g} to {high:g}" if point else f"a whole number from {low} to {high:,}"
    if name in WHOLE:
        return "" if is_number(text, False) else "a whole number from 0"
    return ""


def is_number(text: str, with_a_point: bool) -> bool:
    """Whether a text is a number from 0, in digits."""
    if not text.isascii() or len(text) > LONGEST_NUMBER + with_a_point * 11:
        return False
    if text.isdecimal():
        return len(text) <= LONGEST_NUMBER + 1
    try:
        return with_a_point and math.isfinite(float(text)) and text[0] in "0123456789."
    except ValueError:
        return False
