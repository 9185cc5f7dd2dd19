"""Summaries, words, readings and head statistics, against answers worked out another way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptviz.analysis import heads


def attention(layers: int = 3, n_heads: int = 2, t: int = 5, seed: int = 0, causal: bool = True) -> np.ndarray:
    """Random attention (L, H, T, T) float32, read-only like a Trace's."""
    scores = 3 * np.random.default_rng(seed).standard_normal((layers, n_heads, t, t))
    scores = np.where(np.tri(t, dtype=bool) | (not causal), scores, -np.inf)
    weights = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    weights = weights.astype(np.float32)
    weights.flags.writeable = False
    return weights


def future(t: int) -> np.ndarray:
    return np.triu(np.ones((t, t), dtype=bool), 1)


def test_mean_and_max_by_hand() -> None:
    weights = np.array([[[1, 0], [0.5, 0.5]], [[1, 0], [0.1, 0.9]]])
    np.testing.assert_allclose(heads.mean_attention(weights), [[1, 0], [0.3, 0.7]])
    np.testing.assert_allclose(heads.max_attention(weights), [[1, 0], [0.5, 0.9]])


def test_mean_and_max_over_all_layers_and_heads() -> None:
    weights = attention()
    for query in range(5):
        for key in range(5):
            cells = [float(weights[layer, head, query, key]) for layer in range(3) for head in range(2)]
            assert heads.mean_attention(weights)[query, key] == pytest.approx(sum(cells) / 6)
            assert heads.max_attention(weights)[query, key] == max(cells)


def test_rollout_follows_every_path() -> None:
    """Brute force: add up all paths through three layers, each step along the mixed attention."""
    weights = attention().astype(np.float64)
    mixed = [0.5 * sum(layer) / 2 + 0.5 * np.eye(5) for layer in weights]
    mixed = [step / step.sum(axis=1, keepdims=True) for step in mixed]
    expected = np.zeros((5, 5))
    for last in range(5):
        for first in range(5):
            for a in range(5):
                for b in range(5):
                    expected[last, first] += mixed[2][last, a] * mixed[1][a, b] * mixed[0][b, first]
    np.testing.assert_allclose(heads.rollout(weights), expected, atol=1e-12)


def test_rollout_of_heads_that_only_look_at_themselves_stays_put() -> None:
    weights = np.broadcast_to(np.eye(4), (3, 2, 4, 4))
    np.testing.assert_allclose(heads.rollout(weights), np.eye(4))


def test_rollout_stops_at_the_chosen_layer() -> None:
    weights = attention()
    chosen = heads.summarise(weights, "rollout", layer=1, head=0)
    np.testing.assert_array_equal(chosen, heads.rollout(weights[:2]))
    assert not np.allclose(chosen, heads.summarise(weights, "rollout", layer=1, head=0, whole_model=True))


def test_summarise_picks_what_it_is_asked_for() -> None:
    weights = attention()
    np.testing.assert_array_equal(heads.summarise(weights, "head", 2, 1), weights[2, 1])
    np.testing.assert_allclose(heads.summarise(weights, "mean", 2, 1), weights[2].mean(axis=0), atol=1e-7)
    np.testing.assert_allclose(heads.summarise(weights, "max", 2, 1, whole_model=True), weights.max(axis=(0, 1)))
    with pytest.raises(ValueError, match="median"):
        heads.summarise(weights, "median", 0, 0)


@pytest.mark.parametrize("what", ["head", "mean", "rollout"])
@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize("t", [1, 2, 5, 64])
def test_rows_that_are_shown_sum_to_one(what: str, words: bool, t: int) -> None:
    tokens = ["My", " dog", " fl", "eas", " bark"] * 13
    view = heads.look(
        attention(t=t, seed=t), future(t), tokens[:t], what=what, layer=1, head=1, words=words, whole_model=True
    )
    assert np.abs(view.weights.sum(axis=-1) - 1).max() < 1e-5
    assert np.abs(view.heads.sum(axis=-1) - 1).max() < 1e-5
    assert view.weights.shape == view.masked.shape == (len(view.names),) * 2
    assert (view.weights[view.masked] == 0).all()


def test_without_the_first_token_rows_are_rescaled_and_the_first_is_empty() -> None:
    weights = attention()[0, 0]
    kept = heads.without_first(weights)
    assert np.isnan(kept[0]).all()
    assert np.isnan(kept[:, 0]).all()
    for query in range(1, 5):
        rest = [float(w) for w in weights[query, 1:]]
        np.testing.assert_allclose(kept[query, 1:], [w / sum(rest) for w in rest], rtol=1e-6)
    assert weights[0, 0] == 1, "the model's own row must stay as it was"


def test_without_the_first_of_one_token_nothing_is_left() -> None:
    assert np.isnan(heads.without_first(np.ones((1, 1)))).all()


def test_without_the_first_token_unmasked_rows_all_stay() -> None:
    kept = heads.without_first(attention(causal=False)[0, 0])
    np.testing.assert_allclose(np.nansum(kept, axis=1), 1)


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (["My", " dog", " has", " f", "le", "as"], ["My", " dog", " has", " fleas"]),
        (["a", "\n", "b", "c"], ["a", "\n", "bc"]),
        (["a\n", "b"], ["a\n", "b"]),
        ([" ", " ", "x"], [" ", " ", "x"]),
        (["don", "'t", "."], ["don't."]),
        (["x", "\u00a0y"], ["x", "\u00a0y"]),
        (["one"], ["one"]),
        ([b"\xf0\x9f", b"\x98\x80", b" a"], ["😀", " a"]),
        ([b"a", b"\xe3\x80", b"\x80", b"b"], ["a", "\u3000", "b"]),  # a wide space in two tokens
        ([b"\xff", b"\xfe", b" \x80"], ["\\xff\\xfe", " \\x80"]),
        (["<b>", " $x$", "\u202e", "\ud800"], ["<b>", " $x$\u202e\\ud800"]),
    ],
)
def test_words_by_hand(tokens: list[bytes | str], words: list[str]) -> None:
    groups = heads.word_groups(tokens)
    assert list(heads.word_texts(tokens, groups)) == words


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=12))
def test_words_cover_all_tokens_in_order(tokens: list[bytes]) -> None:
    groups = heads.word_groups(tokens)
    assert [i for group in groups for i in group] == list(range(len(tokens)))
    assert all(len(group) for group in groups)
    assert len(heads.word_texts(tokens, groups)) == len(groups)


@given(st.text(min_size=1, max_size=30), st.data())
def test_words_begin_where_the_text_says_so(text: str, data: st.DataObject) -> None:
    """However a text is cut, even inside a character: a word begins at cuts beside white space, nowhere else."""
    whole = text.encode()
    cuts = sorted({0, *data.draw(st.sets(st.integers(0, len(whole) - 1), max_size=8))})
    tokens = [whole[a:b] for a, b in zip(cuts, [*cuts[1:], len(whole)], strict=True)]
    beside = {len(text[:i].encode()) for i in range(len(text)) if text[i].isspace() or text[i - 1 : i].isspace()}
    groups = heads.word_groups(tokens)
    assert [cuts[group.start] for group in groups] == [cut for cut in cuts if cut == 0 or cut in beside]


def test_joining_sums_keys_and_averages_queries() -> None:
    weights = np.array([[1, 0, 0], [0.4, 0.6, 0], [0.2, 0.3, 0.5]])
    joined = heads.join_words(weights, [range(1), range(1, 3)])
    np.testing.assert_allclose(joined, [[1, 0], [0.3, 0.7]])
    np.testing.assert_array_equal(heads.join_mask(future(3), [range(1), range(1, 3)]), [[0, 1], [0, 0]])


@given(st.integers(1, 9), st.sets(st.integers(1, 8)), st.integers(0, 5))
def test_joined_rows_still_sum_to_one(t: int, cuts: set[int], seed: int) -> None:
    starts = [0, *sorted(cut for cut in cuts if cut < t)]
    groups = [range(a, b) for a, b in zip(starts, [*starts[1:], t], strict=True)]
    weights = attention(1, 1, t, seed)[0, 0]
    joined = heads.join_words(weights, groups)
    np.testing.assert_allclose(joined.sum(axis=1), 1, atol=1e-6)
    for row, queries in enumerate(groups):
        for column, keys in enumerate(groups):
            block = [[float(weights[i, j]) for j in keys] for i in queries]
            assert joined[row, column] == pytest.approx(sum(map(sum, block)) / len(queries), abs=1e-7)


def test_words_then_hiding_leaves_the_first_word_out() -> None:
    view = heads.look(
        attention(t=4), future(4), ["My", "th", " dog", " x"], what="head", layer=0, head=0, words=True, hide_first=True
    )
    assert view.names == ("Myth", " dog", " x")
    assert np.isnan(view.weights[:, 0]).all()
    np.testing.assert_allclose(np.nansum(view.weights[1:], axis=1), 1)
    np.testing.assert_allclose(np.nansum(view.heads[:, 1:], axis=2), 1)


def test_picked_tokens_are_summed_in_both_directions() -> None:
    weights = np.array([[1, 0, 0], [0.4, 0.6, 0], [0.2, 0.3, 0.5]])
    np.testing.assert_allclose(heads.attended_by(weights, [1, 2]), [0.6, 0.9, 0.5])
    np.testing.assert_allclose(heads.attending_to(weights, [0, 1]), [1, 1, 0.5])
    np.testing.assert_allclose(heads.attending_to(heads.without_first(weights), [1]), [0, 1, 0.375])
    assert heads.attended_by(weights, []).tolist() == [0, 0, 0]


def test_levels_begin_at_their_thresholds() -> None:
    levels = heads.read_levels(np.array([[0.0, 0.19, 0.2, 0.49, 0.5, 1.0, np.nan]]), 0.2, 0.5)
    assert levels.tolist() == [[0, 0, 1, 1, 2, 2, -1]]
    assert heads.read_levels(np.array([[0.3, 0.4]]), 0.4, 0.4).tolist() == [[0, 2]]
    with pytest.raises(ValueError, match=r"0\.6 and 0\.5"):
        heads.read_levels(np.ones((1, 1)), 0.6, 0.5)


def test_entropy_is_log2_of_the_choices() -> None:
    for n in (1, 2, 8):
        assert heads.entropy(np.full((1, n), 1 / n))[0] == pytest.approx(math.log2(n))
    assert heads.entropy(np.array([[0.5, 0.25, 0.25, 0.0]]))[0] == pytest.approx(1.5)


def test_distance_is_the_mean_step() -> None:
    weights = np.array([[1, 0, 0], [1, 0, 0], [0.5, 0.5, 0]])
    np.testing.assert_allclose(heads.distance(weights), [0, 1, 1.5])


def test_head_table_knows_typical_heads() -> None:
    t = 6
    previous = np.eye(t, k=-1)
    previous[0, 0] = 1
    first = np.zeros((t, t))
    first[:, 0] = 1
    table = heads.head_table(np.stack([previous, first, np.eye(t)]), 1).set_index("head")
    assert list(table.index) == ["1.0", "1.1", "1.2"]
    assert table.loc["1.0", "previous token"] == 1
    assert table.loc["1.0", "distance"] == 1
    assert table.loc["1.1", "first token"] == 1
    assert table.loc["1.1", "distance"] == pytest.approx(np.mean(range(1, t)))
    assert table.loc["1.2", "itself"] == 1
    assert table.loc["1.2", "distance"] == 0
    assert (table["entropy"] == 0).all()


def test_head_table_of_one_token() -> None:
    table = heads.head_table(np.ones((2, 1, 1)), 0)
    assert len(table) == 2
    assert table.drop(columns="head").notna().all().all()


def test_weight_table_keeps_equal_tokens_apart() -> None:
    weights = attention()[0, 0]
    table = heads.weight_table(weights, ["a"] * 5, ["a"] * 5)
    assert table.columns.is_unique
    assert table.index.is_unique
    np.testing.assert_array_equal(table.to_numpy(), weights)
