"""What the pages on a translation show besides stages of a pass, for the badge to check."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gptviz.analysis.derived import translations as derived

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gptviz.analysis.predictions import Top
    from gptviz.ui.beam import Found
    from gptviz.ui.encoder_decoder import Measured
    from gptviz.ui.forcing import Pair
    from gptviz.ui.translation import PairReading

OF_RESULTS = ("beam score", "log-probability, nats", "tokens", "length penalty")  # of each translation that ended


def claim_runs(pair: Pair) -> None:
    """Let the badge check what is shown of both runs, token by token and as a whole."""
    runs = {"reference": (pair.seen.trace, pair.reference), "running free": (pair.reading.trace, pair.free)}
    for name, (trace, judged) in runs.items():
        shown = {
            "log-probability, nats [position]": judged.log_p,
            "probability [position]": judged.probability,
            "rank [position]": judged.rank,
            "largest probability [position]": judged.choice_probability,
            "probability of the choice named [position]": judged.choice_probability,
            "log-probability, nats": judged.total,
            "per token, nats": judged.mean,
            "perplexity": judged.perplexity,
        }
        if judged is pair.reference:
            shown["first choices"] = len(judged.ids) - len(pair.differing)
        ids = tuple(judged.ids.tolist()), tuple(judged.choices.tolist())
        pair.reading.claim(name, shown, derived.judged, *ids, of=(trace,), side="decoder")


def claim_odds(pair: Pair, odds: float) -> None:
    """How many times as probable one run is as the other."""
    ids = (tuple(judged.ids.tolist()) for judged in (pair.reference, pair.free))
    traces = pair.seen.trace, pair.reading.trace
    pair.reading.claim("both", {"times as probable": odds}, derived.compared, *ids, of=traces, side="decoder")


def claim_position(pair: Pair, at: int, top: Top) -> None:
    """What the model would have said at one position of the reference."""
    shown = {
        "probability of the tokens named [rank]": top.probabilities,
        "largest probabilities [rank]": top.probabilities,
        "all others together": top.rest,
    }
    made, traces = (at, tuple(top.ids.tolist())), (pair.seen.trace,)
    pair.reading.claim(f"position {at}", shown, derived.at_step, *made, of=traces, side="decoder")


def claim_tree(found: Found) -> None:
    """Let the badge check every node of the tree, and that the beam kept what it should have."""
    nodes = [place.node for place in found.tree.places]
    kept = [node.total for node in found.best.search.nodes[1:]]
    shown = {
        "log-probability, nats [node]": [node.log_probability for node in nodes],
        "probability [node]": np.exp([node.log_probability for node in nodes]),
        "total, nats [node]": [node.total for node in nodes],
        "total of the kept, nats [node]": kept,
        "largest totals, nats [node]": kept,
    }
    found.reading.claim("tree", shown, derived.tree, *tree_of(found), len(kept) + 1, nodes=len(found.tree.places))


def tree_of(found: Found) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Parents and tokens of all nodes: the tree as the badge makes it anew."""
    nodes = [place.node for place in found.tree.places]
    return tuple(max(node.parent, 0) for node in nodes), tuple(node.token for node in nodes)


def claim_ended(found: Found, ends: tuple[int, ...], shown: Mapping[str, object]) -> None:
    """What is shown of translations that ended, each given by its last place in the tree."""
    about = "translations that ended" if len(shown) > 1 else "both"
    found.reading.claim(about, shown, derived.ended, *tree_of(found), ends, nodes=len(found.tree.places))


def claim_following(
    found: Found, at: int, ids: Sequence[int], log_p: np.ndarray, totals: np.ndarray, most: int
) -> None:
    """What could follow at a place, the `most` likeliest first."""
    shown = {
        "probability of the tokens named [rank]": np.exp(log_p),
        "largest probabilities [rank]": np.exp(log_p[:most]),
        "total, nats [rank]": totals,
        "total down to here, nats": found.tree.places[at].node.total,
    }
    made = *tree_of(found), len(found.best.search.nodes), at, tuple(ids), most
    found.reading.claim("what could follow", shown, derived.following, *made, nodes=len(found.tree.places))


def claim_lowest(found: Found, at: int, lowest: float) -> None:
    """The total that had to be beaten one step after a place."""
    made = *tree_of(found), len(found.best.search.nodes), at, (), 0
    shown = {"lowest total that was kept, nats": lowest}
    found.reading.claim("the step after it", shown, derived.following, *made, nodes=len(found.tree.places))


def claim_directions(pair: PairReading, name: str, measured: Measured) -> None:
    """Let the badge check where the heads of one side look."""
    every = measured.heads
    shown = {f"{part} [layer, head]": values for part, values in zip(derived.NAMES, every, strict=True)}
    shown["spread evenly [share]"] = list(measured.even)
    if name == "encoder":
        shown["earlier tokens, mean of all heads"] = every.past.mean()
        shown["later tokens, mean of all heads"] = every.future.mean()
        shown["end of text, mean of all heads"] = measured.last
    pair.claim(f"where heads of the {name} look", shown, derived.directions, side=name)


def claim_future(pair: PairReading, layer: int, head: int, share: np.ndarray) -> None:
    """How much of each query's attention goes to what comes after it."""
    shown = {"later tokens [query]": share}
    pair.claim(f"future of head {layer}.{head}", shown, derived.ahead, layer, head, side="encoder")
