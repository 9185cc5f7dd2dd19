"""A beam search as a tree to be drawn, with the greedy translation in it, and what could follow at each of its nodes.

Knows nothing about pages or pictures. Logarithms are natural, softmaxes in float64. Shapes: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from gptviz.checkpoint import TranslationModel
    from gptviz.translation import BeamSearch, Node


class Place(NamedTuple):
    """Where a node of the search is drawn."""

    node: Node  # its parent is an index into `Tree.places`
    step: int  # tokens from the root to here; the root is 0
    rank: int  # among the nodes of this step by falling total, from 0; below all others where `dropped`
    dropped: bool  # greedy decoding came here, the beam did not


class Tree(NamedTuple):
    """All that a search kept, and greedy decoding beside it: parents come first, as in the search."""

    places: tuple[Place, ...]
    winner: tuple[int, ...]  # places of the best translation, the root included
    greedy: tuple[int, ...]  # places of the greedy one, the root included
    ranks: int  # rows that the picture needs

    def path(self, place: int) -> list[int]:
        """Places from the first token to this one."""
        way = []
        while place > 0:
            way.append(place)
            place = self.places[place].node.parent
        return way[::-1]

    def tokens(self, place: int) -> list[int]:
        """Token ids from the first one to this place."""
        return [self.places[i].node.token for i in self.path(place)]

    def children(self, place: int) -> list[int]:
        """Places right after this one."""
        return [i for i, other in enumerate(self.places) if other.node.parent == place]

    def find(self, tokens: Sequence[int]) -> int | None:
        """The place where these tokens end; None where the tree does not have them."""
        place = 0
        for token in tokens:
            following = [i for i in self.children(place) if self.places[i].node.token == token]
            if not following:
                return None
            place = following[0]
        return place

    @property
    def fork(self) -> int:
        """The last place that the winner and the greedy translation share; the root where they are the same."""
        shared = [one for one, other in zip(self.winner, self.greedy, strict=False) if one == other]
        return 0 if self.winner == self.greedy else shared[-1]


def draw_tree(search: BeamSearch, greedy: BeamSearch) -> Tree:
    """Give each node of a search its place, and add what greedy decoding has and the beam dropped."""
    nodes, kept = list(search.nodes), len(search.nodes)
    known = {(node.parent, node.token): i for i, node in enumerate(nodes)}
    way = [0]
    for node in (greedy.nodes[i] for i in greedy.path(greedy.results[0])):
        key = way[-1], node.token
        if key not in known:
            known[key] = len(nodes)
            nodes.append(node._replace(parent=way[-1]))
        way.append(known[key])
    steps = [0]
    for node in nodes[1:]:
        steps.append(steps[node.parent] + 1)
    ranks = rank_steps([node.total for node in nodes[:kept]], steps)
    lowest = 1 + max(ranks)
    places = tuple(Place(node, steps[i], ranks[i] if i < kept else lowest, i >= kept) for i, node in enumerate(nodes))
    return Tree(places, (0, *search.path(search.results[0])), tuple(way), lowest + (len(nodes) > kept))


def rank_steps(totals: Sequence[float], steps: Sequence[int]) -> list[int]:
    """The rank of each node among those of its step, 0 for the largest total; equals in the order they were kept."""
    ranks, seen = [0] * len(totals), {}
    for i in sorted(range(len(totals)), key=lambda i: -totals[i]):
        ranks[i] = seen.get(steps[i], 0)
        seen[steps[i]] = ranks[i] + 1
    return ranks


def last_kept(tree: Tree, step: int) -> float | None:
    """The lowest total that the beam kept at a step; None where it kept nothing."""
    return min((p.node.total for p in tree.places if p.step == step and not p.dropped), default=None)


def what_follows(model: TranslationModel, text: str, tokens: Sequence[int]) -> np.ndarray:
    """Log-probabilities (V,) float64 of what comes after these tokens of a translation of `text`.

    Raises:
        ValueError: for a text that is empty or does not fit the context.
    """
    import torch  # here, because pages import this module before torch is there

    from gptviz.translation import encode_source

    transformer, device = model.transformer, model.transformer.device
    inputs = [model.tokenizer.end_of_text, *tokens]  # shifted right
    with torch.no_grad():
        memory, _, _ = transformer.encode(torch.tensor([encode_source(model, text)], device=device))
        out, _ = transformer.decode(torch.tensor([inputs], device=device), memory, None)
        return transformer.logits(out[0, -1]).double().log_softmax(-1).cpu().numpy()
