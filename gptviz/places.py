"""The places of the app, its pages, and what a link to each of them can name besides a model and a sentence."""

from __future__ import annotations

FIRST_MODELS = ("gpt-stories", "transformer-deu-eng")  # each the first of its kind: what the app begins with
PAGES = {  # URL path of a page -> the names that it shows; those of "" are shared by pages
    "": ("layer", "head", "recording", "chat"),
    "tokens": ("emb_token", "emb_stage", "emb_dims", "emb_unit"),
    "positions": ("pos_query", "pos_key"),
    "attention": ("view", "summed", "att_show", "att_over", "att_words", "att_first", "att_levels", "att_at"),
    "masked": ("mask_view", "mask_at"),
    "inside-head": ("head_stage", "head_query", "head_key", "head_unscaled", "head_unmasked"),
    "inside-block": ("block_token",),
    "next-token": (
        "next_ids", "next_temperature", "next_top_k", "next_top_p", "next_seed", "next_amount", "next_n", "next_over",
        "next_row", "next_at",
    ),
    "loss-gradient": ("loss_at", "loss_norms", "loss_on", "loss_optimizer", "loss_rate", "loss_curve", "loss_run"),
    "translate": ("step", "translate_view"),
    "teacher-forcing": ("reference", "forced_at"),
    "beam-search": ("beam", "beam_node"),
    "encoder-decoder": ("encoder_view", "decoder_view", "cross_view"),
    "transformer-tokens": ("side", "emb_token", "emb_stage", "emb_dims", "emb_unit"),
    "transformer-positions": ("side",),
    "transformer-inside-head": ("side", "head_stage", "head_query", "head_key", "head_unscaled", "head_unmasked"),
    "train": ("run", "train_log", "train_all"),
    "time-lapse": ("lapse_step",),
    "compare": ("other", "other_layer", "other_head", "first_view", "second_view"),
    "why-mask": ("pair", "pair_step", "pair_temperature", "pair_seed"),
}  # fmt: skip
CHAT_PAGES = (  # where a sentence may be a message in the model's chat template
    "tokens", "positions", "attention", "masked", "inside-head", "inside-block", "next-token", "loss-gradient",
)  # fmt: skip
TRANSFORMER_PAGES = (
    "translate", "teacher-forcing", "beam-search", "encoder-decoder", "transformer-tokens", "transformer-positions",
    "transformer-inside-head",
)  # fmt: skip
