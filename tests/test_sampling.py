"""From logits to a token and from token to token, against answers worked out another way."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gptviz import sampling
from gptviz.checkpoint import LanguageModel
from gptviz.sampling import Drawn, draw, funnel, generate, keep_likeliest, next_logits, softmax, stream
from gptviz.trace import WhatIf
from tests.tiny import language_model, random_gpt

LOGITS = st.lists(st.one_of(st.integers(-4, 4), st.floats(-60, 60)), min_size=1, max_size=40)  # many of them equal
TEMPERATURES = st.one_of(st.just(0), st.floats(0.05, 20))
TOP_K = st.one_of(st.none(), st.integers(1, 50))
TOP_P = st.one_of(st.none(), st.floats(0.001, 1))


def by_hand(logits: list[float], temperature: float) -> list[float]:
    """Softmax of logits / temperature, number by number."""
    if temperature == 0:
        return [float(i == logits.index(max(logits))) for i in range(len(logits))]
    powers = [math.exp((x - max(logits)) / temperature) for x in logits]
    return [power / math.fsum(powers) for power in powers]


def ranked_by_hand(probabilities: list[float]) -> list[int]:
    return sorted(range(len(probabilities)), key=lambda i: (-probabilities[i], i))


def drawn_by_hand(probabilities: list[float], u: float) -> int:
    """Walk along the bar until `u` is passed."""
    passed = 0.0
    for i in ranked_by_hand(probabilities):
        passed += probabilities[i]
        if passed > u:
            return i
    raise AssertionError("the bar is shorter than u")


# --- the funnel


@settings(deadline=None)
@given(LOGITS, TEMPERATURES, TOP_K, TOP_P)
def test_every_stage_is_what_its_definition_says(
    logits: list[float], temperature: float, top_k: int | None, top_p: float | None
) -> None:
    seen = funnel(np.array(logits), temperature, top_k, top_p)
    assert np.allclose(seen.raw, by_hand(logits, 1), atol=1e-14)
    assert np.allclose(seen.tempered, by_hand(logits, temperature), atol=1e-14)

    order = ranked_by_hand(seen.tempered.tolist())
    left = order[:top_k]
    assert np.array_equal(seen.top_k, [p if i in left else 0 for i, p in enumerate(seen.tempered)])

    share = (1 if top_p is None else top_p) * seen.top_k.sum()
    nucleus = [i for i in order if seen.top_p[i] > 0]
    assert nucleus == order[: len(nucleus)]  # the beginning of the ranking
    assert seen.top_p[nucleus].sum() >= share - 1e-9  # enough
    assert len(nucleus) == 1 or seen.top_p[nucleus[:-1]].sum() < share + 1e-9  # and with one less, not enough
    assert np.array_equal(seen.top_p[nucleus], seen.tempered[nucleus])


@settings(deadline=None)
@given(LOGITS, TEMPERATURES, TOP_K, TOP_P)
def test_no_mass_is_lost_between_the_stages(
    logits: list[float], temperature: float, top_k: int | None, top_p: float | None
) -> None:
    seen = funnel(np.array(logits), temperature, top_k, top_p)
    for whole in (seen.raw, seen.tempered, seen.final):
        assert math.isclose(math.fsum(whole), 1, abs_tol=1e-12)
        assert whole.dtype == np.float64
        assert whole.shape == (len(logits),)
    assert math.isclose(seen.removed_top_k + seen.removed_top_p + math.fsum(seen.top_p), 1, abs_tol=1e-12)
    assert seen.removed_top_k >= 0
    assert seen.removed_top_p >= 0
    assert np.allclose(seen.final * seen.top_p.sum(), seen.top_p, atol=1e-15)
    assert seen.kept == sum(p > 0 for p in seen.final)


def test_a_funnel_that_can_be_done_in_the_head() -> None:
    probabilities = np.array([1 / 8, 1 / 2, 1 / 8, 1 / 4])
    seen = funnel(np.log(probabilities), top_k=3, top_p=0.8)
    assert np.allclose(seen.top_k, [1 / 8, 1 / 2, 0, 1 / 4])  # of two equals the lower id stays
    assert np.allclose(seen.top_p, [0, 1 / 2, 0, 1 / 4])  # 3/4 of 7/8 is 0.857
    assert np.allclose(seen.final, [0, 2 / 3, 0, 1 / 3])
    assert math.isclose(seen.removed_top_k, 1 / 8)
    assert math.isclose(seen.removed_top_p, 1 / 8)
    assert seen.kept == 2


@pytest.mark.parametrize("tenths", range(1, 11))
def test_equal_tokens_fill_a_nucleus_exactly(tenths: int) -> None:
    assert funnel(np.zeros(10), top_p=tenths / 10).kept == tenths


def test_temperature_zero_takes_the_lowest_of_the_largest() -> None:
    seen = funnel(np.array([1.0, 3.0, 3.0]), temperature=0, top_k=2, top_p=0.9)
    assert seen.final.tolist() == [0, 1, 0]
    assert seen.removed_top_k == seen.removed_top_p == 0
    assert not np.array_equal(seen.raw, seen.final)  # the model's own distribution stays to be seen


def test_extreme_temperatures_and_logits_stay_numbers() -> None:
    logits = np.array([3e4, -3e4, 0.0, -np.inf])
    assert funnel(logits, 1e-300).final.tolist() == [1, 0, 0, 0]
    assert np.allclose(funnel(np.array([1.0, 2.0]), 1e300).final, 0.5)
    assert funnel(logits, 1e9).final[3] == 0


def test_stages_cannot_be_changed() -> None:
    seen = funnel(np.array([1.0, 2.0]), top_k=1)
    for stage in (seen.raw, seen.tempered, seen.top_k, seen.top_p, seen.final):
        with pytest.raises(ValueError, match="read-only"):
            stage[0] = 1


def test_softmax_of_rows() -> None:
    logits = np.random.default_rng(0).normal(size=(3, 7)) * 30
    assert np.allclose(softmax(logits), [by_hand(row, 1) for row in logits.tolist()], atol=1e-15)
    assert np.allclose(softmax(logits + 1e5), softmax(logits), atol=1e-9)


@pytest.mark.parametrize("bad", [[], [[1.0, 2.0]], [1.0, math.nan], [1.0, math.inf], [-math.inf]])
def test_logits_that_are_none_are_refused(bad: list) -> None:
    with pytest.raises(ValueError, match="expected logits of one position"):
        funnel(np.array(bad))


# --- the likeliest and the draw


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("v", [5, 64, 3000])
def test_the_likeliest_are_those_that_sorting_puts_first(v: int, flat: bool) -> None:
    rng = np.random.default_rng(v)
    p = rng.integers(1, 3, size=v) / 1.0 if flat else rng.dirichlet(np.full(v, 0.05))
    by_sorting = ranked_by_hand(p.tolist())
    for n in (1, 2, 4, v // 2, v - 1, v, v + 1):
        first = by_sorting[:n]
        assert np.array_equal(keep_likeliest(p, n), [x if i in first else 0 for i, x in enumerate(p)])


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=30).filter(any), st.floats(0, 1, exclude_max=True))
def test_the_draw_is_a_walk_along_the_bar(weights: list[int], u: float) -> None:
    p = np.array(weights) / 256
    p[np.argmax(p)] += 1 - p.sum()  # exact in binary: the bar is 1 long
    assert draw(p, u) == drawn_by_hand(p.tolist(), u)


@pytest.mark.parametrize("spread", [0.01, 1.0, 1000.0])
def test_the_draw_in_a_large_vocabulary(spread: float) -> None:
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.full(4096, spread))
    for u in rng.random(20):
        assert draw(p, u) == drawn_by_hand(p.tolist(), u)


def test_tokens_are_drawn_as_often_as_they_are_probable() -> None:
    p, n = funnel(np.array([0.3, -1.0, 2.0, 1.1, 0.0]), 0.7).final, 10_000
    counts = np.bincount([draw(p, (i + 0.5) / n) for i in range(n)], minlength=len(p))
    assert np.abs(counts - n * p).max() <= 1


def test_a_removed_token_is_never_drawn_even_at_the_end_of_the_bar() -> None:
    last = np.nextafter(1, 0)
    assert draw(np.array([0.0, 0.1, 0.2, 0.7]) * (1 - 1e-15), last) == 1
    assert draw(np.array([0.0, 1.0]), last) == 1
    assert draw(np.array([0.5, 0.5]), 0.5) == 1  # a point belongs to what begins there
    assert draw(np.array([0.5, 0.5]), 0.0) == 0


@pytest.mark.parametrize("u", [-0.1, 1.0, math.nan])
def test_points_outside_the_bar_are_refused(u: float) -> None:
    with pytest.raises(ValueError, match="from 0 to below 1"):
        draw(np.array([1.0]), u)


# --- generation


def small(seed: int, context: int, **changes: object) -> LanguageModel:
    return language_model("small", random_gpt(seed=seed, context=context, **changes))


def without_cache(
    model: LanguageModel, ids: list[int], n: int, temperature: float, seed: int
) -> list[tuple[int, float]]:
    """Read everything again for every token; draw by hand."""
    rng = np.random.default_rng(seed)
    ids, drawn = list(ids), []
    for _ in range(n):
        window = torch.tensor([ids[-model.gpt.config.context :]])
        with torch.no_grad():
            logits = model.gpt(window)[0, -1].double().tolist()
        p = by_hand(logits, temperature)
        chosen = drawn_by_hand(p, rng.random())
        drawn.append((chosen, p[chosen]))
        if chosen == model.tokenizer.end_of_text:
            break
        ids.append(chosen)
    return drawn


PRE = {"norm_order": "pre", "activation": "gelu_tanh", "tied": True}


@pytest.mark.parametrize("changes", [{}, PRE], ids=["post-norm", "pre-norm"])
@pytest.mark.parametrize("temperature", [0, 0.8, 1.5])
@pytest.mark.parametrize("prompt", [1, 7, 12, 20], ids=lambda n: f"prompt-{n}")
def test_the_cache_changes_nothing(changes: dict, temperature: float, prompt: int) -> None:
    model = small(4, context=12, **changes)
    ids = np.random.default_rng(prompt).integers(0, 300, prompt).tolist()
    seen = list(stream(model, ids, 18, temperature=temperature, seed=5))  # goes beyond the context
    expected = without_cache(model, ids, 18, temperature, seed=5)
    assert [step.id for step in seen] == [chosen for chosen, _ in expected]
    assert np.allclose([step.probability for step in seen], [p for _, p in expected], atol=1e-4)
    assert [step.dropped for step in seen] == [max(0, prompt + i - 12) for i in range(len(seen))]


@pytest.mark.parametrize("prompt", [1, 7, 20], ids=lambda n: f"prompt-{n}")
def test_without_the_mask_every_token_sees_all_that_is_there_so_far(prompt: int) -> None:
    model = small(4, context=12)
    ids = np.random.default_rng(prompt).integers(0, 300, prompt).tolist()
    text = list(ids)
    masked = [step.probability for step in stream(model, ids, 8, seed=5)]
    seen = list(stream(model, ids, 8, seed=5, causal=False))
    for step in seen:
        window = text[-12:]
        logits = model.gpt.trace(window, WhatIf(causal=False)).logits[-1].astype(float).tolist()
        p = by_hand(logits, 0.8)
        assert step.id == drawn_by_hand(p, step.u)
        assert math.isclose(step.probability, p[step.id], abs_tol=1e-4)
        text.append(step.id)
    assert not np.allclose([step.probability for step in seen], masked, atol=1e-3)
    prompt_text = model.tokenizer.decode(ids)
    said = generate(model, prompt_text, 5, causal=False)
    assert said.ids == tuple(step.id for step in stream(model, model.encode(prompt_text)[0], 5, causal=False))


def test_a_step_reads_one_token_while_the_context_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small(4, context=12)
    lengths = []
    read = next_logits

    def counted(gpt: torch.nn.Module, ids: list[int], caches: list | None, causal: bool) -> np.ndarray:
        lengths.append(len(ids))
        return read(gpt, ids, caches, causal)

    monkeypatch.setattr(sampling, "next_logits", counted)
    steps = list(stream(model, [1, 2, 3, 4, 5], 10, seed=3))
    assert len(steps) == 10
    assert lengths == [5, 1, 1, 1, 1, 1, 1, 1, 12, 12]


def test_a_funnel_can_be_kept_with_every_token(tiny_model: LanguageModel) -> None:
    for step in stream(tiny_model, [1, 2], 5, top_k=9, top_p=0.8, keep_funnel=True):
        assert step.funnel is not None
        assert step.funnel.kept <= 9
        assert step.probability == step.funnel.final[step.id]
        assert step.id == draw(step.funnel.final, step.u)
    assert next(stream(tiny_model, [1, 2], 1)).funnel is None


def test_nothing_of_a_generation_stays_behind_between_its_tokens(tiny_model: LanguageModel) -> None:
    steps = stream(tiny_model, [1, 2, 3], 5)
    next(steps)
    assert not torch.is_inference_mode_enabled()
    list(stream(tiny_model, [9, 8], 5, seed=2))  # another one, in between
    rest = [step.id for step in steps]
    assert rest == [step.id for step in stream(tiny_model, [1, 2, 3], 5)][1:]


def same(a: list[Drawn], b: list[Drawn]) -> bool:
    return [dataclasses.astuple(step) for step in a] == [dataclasses.astuple(step) for step in b]


def test_seeds_decide_everything(tiny_model: LanguageModel) -> None:
    first = list(stream(tiny_model, [5], 12, seed=1))
    assert same(first, list(stream(tiny_model, [5], 12, seed=1)))
    assert same(first, list(stream(tiny_model, [5], 12, seed=np.random.default_rng(1))))
    assert not same(first, list(stream(tiny_model, [5], 12, seed=2)))
    assert not same(list(stream(tiny_model, [5], 12, seed=None)), list(stream(tiny_model, [5], 12, seed=None)))


def test_a_generator_goes_on_from_where_it_is(tiny_model: LanguageModel) -> None:
    whole = [step.id for step in stream(tiny_model, [5], 6, seed=4)]
    rng, ids = np.random.default_rng(4), [5]
    for _ in range(6):  # one token at a time, as a button does
        ids.append(next(stream(tiny_model, ids, 1, seed=rng)).id)
    assert ids[1:] == whole


def test_an_empty_prompt_begins_a_document(tiny_model: LanguageModel) -> None:
    end_of_text = tiny_model.tokenizer.end_of_text
    first = next(stream(tiny_model, [], 1, temperature=0))
    with torch.no_grad():
        assert first.id == int(tiny_model.gpt(torch.tensor([[end_of_text]]))[0, -1].argmax())
    result = generate(tiny_model, "", 3, temperature=0)
    assert result.ids[0] == first.id
    assert str(result) == result.text


def always(model: LanguageModel, token: int) -> LanguageModel:
    """A model that says `token` whatever it reads."""
    with torch.no_grad():
        norm = model.gpt.blocks[-1].ff_norm
        norm.weight.zero_()
        norm.bias.fill_(1)
        model.gpt.unembedding.weight[token] = 9
    return model


def test_end_of_text_ends_it() -> None:
    model = small(0, context=16)
    end_of_text = model.tokenizer.end_of_text
    always(model, end_of_text)
    assert [step.id for step in stream(model, [1, 2], 10)] == [end_of_text]
    result = generate(model, "My dog", 10)
    assert (result.ids, result.tokens, result.text, result.stopped) == ((), (), "", "end of text")
    assert str(result) == "My dog"


def test_a_generation_says_what_it_did(tiny_model: LanguageModel) -> None:
    result = generate(tiny_model, "My dog has", 7, seed=3)
    assert result.stopped == "length"
    assert len(result.ids) == len(result.tokens) == len(result.probabilities) == 7
    assert result.text == tiny_model.tokenizer.decode(result.ids)
    assert str(result) == "My dog has" + result.text
    assert result.dropped == 0
    assert all(0 < p <= 1 for p in result.probabilities)
    expected = stream(tiny_model, tiny_model.tokenizer.encode("My dog has"), 7, seed=3)
    assert result.ids == tuple(step.id for step in expected)


def test_text_beyond_the_context_is_cut_and_counted() -> None:
    model = always(small(0, context=16), token=65)
    length = len(model.tokenizer.encode(" dog" * 30))
    assert length > 16
    assert generate(model, " dog" * 30, 1).dropped == length - 16
    assert generate(model, " dog" * 30, 5).dropped == length - 16 + 4
    assert generate(model, " dog" * 30, 5).text == "AAAAA"
    assert generate(model, " dog" * 30, 0).dropped == length - 16


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": -0.1}, "temperature must be a number from 0"),
        ({"temperature": math.nan}, "temperature must be"),
        ({"temperature": math.inf}, "temperature must be"),
        ({"temperature": "hot"}, "found 'hot'"),
        ({"temperature": True}, "found True"),
        ({"top_k": 0}, "top_k must be a whole number from 1 up, or None"),
        ({"top_k": 2.5}, "top_k must be"),
        ({"top_p": 0}, "top_p must be above 0"),
        ({"top_p": 1.1}, "top_p must be"),
        ({"top_p": math.nan}, "top_p must be"),
        ({"max_new_tokens": -1}, "max_new_tokens must be"),
        ({"max_new_tokens": 2.0}, "max_new_tokens must be"),
        ({"seed": -1}, "seed must be"),
        ({"seed": "one"}, "seed must be"),
    ],
)
def test_settings_out_of_range_are_refused_at_once(tiny_model: LanguageModel, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stream(tiny_model, [1], **changes)  # not even asked for a token yet
    with pytest.raises(ValueError, match=message):
        generate(tiny_model, "My dog", **changes)


def test_ids_outside_the_vocabulary_are_refused(tiny_model: LanguageModel) -> None:
    with pytest.raises(ValueError, match="expected ids from 0 to"):
        stream(tiny_model, [10**6])


def test_numpy_numbers_are_numbers(tiny_model: LanguageModel) -> None:
    changes = {"temperature": np.float32(0.5), "top_k": np.int32(5), "seed": np.int64(1)}
    numpy = stream(tiny_model, np.array([1, 2]), np.int64(3), **changes)
    plain = stream(tiny_model, [1, 2], 3, temperature=0.5, top_k=5, seed=1)
    assert [step.id for step in numpy] == [step.id for step in plain]


def test_settings_that_remove_nothing(tiny_model: LanguageModel) -> None:
    plain = [step.id for step in stream(tiny_model, [1], 8)]
    assert [step.id for step in stream(tiny_model, [1], 8, top_k=10**6, top_p=1.0)] == plain
    assert [step.id for step in stream(tiny_model, [1], 8, top_k=1)] == [
        step.id for step in stream(tiny_model, [1], 8, temperature=0)
    ]
