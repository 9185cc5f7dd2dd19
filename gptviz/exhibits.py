"""What a page has to show: the pictures, tables and strips that a scene can put first, by names that a lecture says.

Each is a group of elements of the page, named as their keys in gptviz/ui; a test in a browser holds them against the
pages. The first of a page is what its scenes show when they name none.
"""

from __future__ import annotations

from types import MappingProxyType

VECTORS = {
    "tokens": ("emb_token_strip", "emb_table"),
    "vectors": ("emb_strips",),
    "cosines": ("emb_cosines_before", "emb_cosines_after"),
    "near": ("emb_near_before", "emb_near_after"),
    "map": ("emb_map",),
}
POSITIONS = {
    "vectors": ("pos_vectors_learned", "pos_vectors_fixed"),
    "cosines": ("pos_cosines_learned", "pos_cosines_fixed"),
    "distance": ("pos_distance",),
}
HEAD = {"stage": ("head_now",)}
EXHIBITS = MappingProxyType({
    "": {"heads": ("wall",)},
    "tokens": VECTORS,
    "positions": POSITIONS,
    "attention": {"heads": ("attention",)},
    "inside-head": HEAD,
    "inside-block": {
        "stream": ("block_flow",),
        "lengths": ("block_lengths",),
        "cosines": ("block_cosines",),
        "heads": ("block_heads",),
        "units": ("block_share", "block_times"),
        "norms": ("block_gains",),
    },
    "masked": {
        "heads": ("mask_masked", "mask_unmasked"),
        "difference": ("mask_difference",),
        "moved": ("mask_heads",),
        "next": ("mask_changes",),
        "loss": ("mask_surprise",),
    },
    "next-token": {
        "distribution": ("next_bars",),
        "funnel": ("next_funnel",),
        "both": ("next_bars", "next_funnel"),
        "drawn": ("next_attention",),
        "sentence": ("next_sentence",),
    },
    "loss-gradient": {
        "targets": ("loss_row",),
        "losses": ("loss_bars",),
        "logits": ("loss_logits",),
        "norms": ("loss_groups",),
        "attention": ("loss_weights", "loss_gradient"),
        "step": ("loss_after",),
    },
    "translate": {"translation": ("translation",)},
    "teacher-forcing": {
        "tokens": ("forced_bars",),
        "candidates": ("forced_top",),
        "attention": ("forced_cross_0", "forced_cross_1"),
    },
    "beam-search": {"tree": ("beam_tree",), "candidates": ("beam_candidates",)},
    "encoder-decoder": {
        "heads": ("side_encoder", "side_decoder"),
        "directions": ("side_shares_encoder", "side_shares_decoder"),
        "cross": ("side_cross",),
    },
    "transformer-tokens": VECTORS,
    "transformer-positions": POSITIONS,
    "transformer-inside-head": HEAD,
    "train": {},
    "time-lapse": {"lapse": ("lapse",)},
    "compare": {"heads": ("both_first", "both_second"), "difference": ("both_difference",), "next": ("both_next",)},
    "why-mask": {
        "losses": ("twins_loss",),
        "heads": ("twins_wall_on", "twins_wall_off"),
        "head": ("twins_head_on", "twins_head_off"),
        "next": ("twins_next",),
        "last": ("twins_last_on", "twins_last_off"),
        "writing": ("twins_text_on_strip", "twins_text_off_strip"),
    },
})  # fmt: skip


def keys_of(page: str, name: str = "") -> tuple[str, ...]:
    """The elements that a scene of this page puts first: those of `name`, or the page's first where it has no such."""
    here = EXHIBITS.get(page, {})
    return here.get(name) or next(iter(here.values()), ())
