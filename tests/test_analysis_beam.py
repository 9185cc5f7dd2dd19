"""The tree of a beam search: every node has its place, greedy decoding is in it, and what could follow is exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import gptviz
from gptviz.analysis import beam
from gptviz.translation import BeamSearch, Node
from tests.tiny import translator

END = 9
KEPT = BeamSearch(  # beam 2: the second beginning wins, greedy's own end is dropped
    (
        Node(-1, END, 0.0, 0.0, False),
        Node(0, 1, -0.2, -0.2, False),
        Node(0, 2, -1.0, -1.0, False),
        Node(2, 3, -0.1, -1.1, False),
        Node(2, 4, -0.3, -1.3, False),
        Node(3, END, -0.1, -1.2, True),
        Node(4, END, -0.1, -1.4, True),
    ),
    (5, 6),
    "end",
)
GREEDY = BeamSearch(
    (
        Node(-1, END, 0.0, 0.0, False),
        Node(0, 1, -0.2, -0.2, False),
        Node(1, 3, -1.5, -1.7, False),
        Node(2, END, -0.5, -2.2, True),
    ),
    (3,),
    "end",
)


def test_a_small_tree_by_hand() -> None:
    tree = beam.draw_tree(KEPT, GREEDY)
    assert tree.winner == (0, 2, 3, 5)
    assert tree.greedy == (0, 1, 7, 8)
    assert [place.step for place in tree.places] == [0, 1, 1, 2, 2, 3, 3, 2, 3]
    assert [place.rank for place in tree.places] == [0, 0, 1, 0, 1, 0, 1, 2, 2]
    assert [place.dropped for place in tree.places] == [False] * 7 + [True] * 2
    assert tree.places[7].node == GREEDY.nodes[2]._replace(parent=1)
    assert tree.ranks == 3
    assert tree.fork == 0
    assert tree.tokens(8) == [1, 3, END] and tree.find([1, 3, END]) == 8
    assert tree.find([1, 4]) is None and tree.find([]) == 0
    assert beam.last_kept(tree, 1) == -1.0 and beam.last_kept(tree, 3) == -1.4 and beam.last_kept(tree, 4) is None


def test_the_greedy_tree_is_one_line() -> None:
    tree = beam.draw_tree(GREEDY, GREEDY)
    assert tree.winner == tree.greedy == (0, 1, 2, 3)
    assert tree.ranks == 1 and tree.fork == 0


@pytest.mark.parametrize("width", [1, 2, 4, 8])
@pytest.mark.parametrize("text", ["Tom", "Once upon a time", "My dog has fleas.", "..."])
def test_a_real_search_is_drawn_whole(text: str, width: int) -> None:
    model = translator(end_bias=4.0)
    found, greedy = gptviz.translate(model, text, beam=width), gptviz.translate(model, text)
    tree = beam.draw_tree(found.search, greedy.search)
    assert [place.node for place in tree.places if not place.dropped] == list(found.search.nodes)
    assert [i for i in tree.tokens(tree.winner[-1]) if i != model.tokenizer.end_of_text] == list(found.ids)
    assert [i for i in tree.tokens(tree.greedy[-1]) if i != model.tokenizer.end_of_text] == list(greedy.ids)
    corners = [(place.step, place.rank) for place in tree.places]
    assert len(set(corners)) == len(corners), "two nodes in one place"
    assert max(rank for _, rank in corners) == tree.ranks - 1
    for place in tree.places[1:]:
        parent = tree.places[place.node.parent]
        assert place.step == parent.step + 1
        assert place.node.total == pytest.approx(parent.node.total + place.node.log_probability, abs=1e-4)
    for step in range(1, 1 + max(place.step for place in tree.places)):
        kept = sorted((p.rank, -p.node.total) for p in tree.places if p.step == step and not p.dropped)
        assert [rank for rank, _ in kept] == list(range(len(kept)))
        assert [cost for _, cost in kept] == sorted(cost for _, cost in kept)


def test_what_follows_is_what_the_search_saw() -> None:
    model, text = translator(), "Once upon a time"
    found = gptviz.translate(model, text, beam=3)
    tree = beam.draw_tree(found.search, found.search)
    end = model.tokenizer.end_of_text
    source = torch.tensor([[*model.tokenizer.encode(text), end]])
    for at in (0, 1, 5, tree.winner[-2]):
        log_p = beam.what_follows(model, text, tree.tokens(at))
        with torch.no_grad():
            expected = (
                model.transformer(source, torch.tensor([[end, *tree.tokens(at)]]))[0, -1].double().log_softmax(-1)
            )
        np.testing.assert_allclose(log_p, expected.numpy(), atol=1e-4)
        assert np.exp(log_p).sum() == pytest.approx(1)
        for child in tree.children(at):
            node = tree.places[child].node
            assert log_p[node.token] == pytest.approx(node.log_probability, abs=1e-4)


def test_an_empty_sentence_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        beam.what_follows(translator(), " ", [])
