"""The transformer once more, in NumPy and float64, head by head and row by row: the answer that ours is held against.

Written from the papers, not from gptviz; reads nothing of it but the names of the weights.
"""

from __future__ import annotations

import math

import numpy as np

Arrays = dict[str, np.ndarray]


def weights_of(gpt) -> Arrays:
    """Every parameter as float64."""
    return {name: value.detach().double().numpy() for name, value in gpt.state_dict().items()}


def softmax(x: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def normalise(x: np.ndarray, p: Arrays, name: str) -> np.ndarray:
    """Layer normalisation with the biased variance (Ba et al. 2016)."""
    centred = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    return centred / deviation * p[name + ".weight"] + p[name + ".bias"]


def linear(x: np.ndarray, p: Arrays, name: str) -> np.ndarray:
    return x @ p[name + ".weight"].T + p[name + ".bias"]


def activate(x: np.ndarray, kind: str) -> np.ndarray:
    """ReLU; GELU by the error function; GELU by its tanh approximation (Hendrycks and Gimpel 2016, section 2)."""
    if kind == "relu":
        return np.where(x > 0, x, 0.0)
    if kind == "gelu":
        return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def attend(q: np.ndarray, k: np.ndarray, v: np.ndarray, causal: bool = True, scaled: bool = True) -> Arrays:
    """One head: q (T, D), k (S, D), v (S, D). Queries are the last T of the S positions."""
    t, s = len(q), len(k)
    scores = np.array([[float(np.dot(q[i], k[j])) for j in range(s)] for i in range(t)])
    divided = scores / math.sqrt(q.shape[1]) if scaled else scores
    masked = divided.copy()
    for i in range(t):
        for j in range(s):
            if causal and j > i + s - t:
                masked[i, j] = -math.inf
    weights = softmax(masked)
    return {"scores": scores, "scaled": divided, "masked": masked, "weights": weights, "heads": weights @ v}


def forward(gpt, ids: list[int], causal: bool = True, scaled: bool = True) -> Arrays:
    """Every stage of a pass over `ids` by its name in a Trace, in float64."""
    c, p = gpt.config, weights_of(gpt)
    post, width = c.norm_order == "post", c.d_model // c.n_heads
    kept: dict[str, list] = {}

    def keep(**stages: object) -> None:
        for name, value in stages.items():
            kept.setdefault(name, []).append(value)

    tokens = np.array([p["token_embedding.weight"][i] for i in ids])  # (T, C)
    positions = p["position_embedding.weight"][: len(ids)]  # (T, C)
    x = tokens + positions
    residual = [x]
    for layer in range(c.n_layers):
        name = f"blocks.{layer}."
        attention_in = x if post else normalise(x, p, name + "attention_norm")
        projected = linear(attention_in, p, name + "attention.qkv")  # (T, 3 C)
        parts = []
        for head in range(c.n_heads):
            q, k, v = (projected[:, i * c.d_model + head * width :][:, :width] for i in range(3))
            parts.append({"q": q, "k": k, "v": v} | attend(q, k, v, causal, scaled))
        keep(attention_in=attention_in, **{stage: np.stack([part[stage] for part in parts]) for stage in parts[0]})
        out = linear(np.concatenate([part["heads"] for part in parts], axis=1), p, name + "attention.out")
        middle = x + out
        if post:
            middle = normalise(middle, p, name + "attention_norm")
        ff_in = middle if post else normalise(middle, p, name + "ff_norm")
        hidden = activate(linear(ff_in, p, name + "ff.expand"), c.activation)
        ff_out = linear(hidden, p, name + "ff.contract")
        x = middle + ff_out
        if post:
            x = normalise(x, p, name + "ff_norm")
        keep(attention_out=out, middle=middle, ff_in=ff_in, ff_hidden=hidden, ff_out=ff_out)
        residual.append(x)
    final = x if post else normalise(x, p, "final_norm")
    return {name: np.stack(values) for name, values in kept.items()} | {
        "token_embeddings": tokens,
        "position_embeddings": positions,
        "residual": np.stack(residual),
        "final_vectors": final,
        "logits": final @ p["unembedding.weight"].T,
    }
