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


def attend_heads(x: np.ndarray, memory: np.ndarray, p: Arrays, name: str, n_heads: int, rule: dict) -> Arrays:
    """All heads of one attention and its output: queries of x (T, C), keys and values of memory (S, C)."""
    c = x.shape[1]
    width, parts = c // n_heads, []
    weight, bias = p[name + ".qkv.weight"], p[name + ".qkv.bias"]
    for head in range(n_heads):
        rows = [slice(i * c + head * width, i * c + (head + 1) * width) for i in range(3)]
        q, k, v = (source @ weight[r].T + bias[r] for source, r in zip((x, memory, memory), rows, strict=True))
        parts.append({"q": q, "k": k, "v": v} | attend(q, k, v, **rule))
    out = linear(np.concatenate([part["heads"] for part in parts], axis=1), p, name + ".out")
    return {stage: np.stack([part[stage] for part in parts]) for stage in parts[0]} | {
        "attention_in": x,
        "attention_out": out,
    }


def feed_forward(x: np.ndarray, p: Arrays, name: str, activation: str) -> Arrays:
    """The second half of a block, that is added and then normalised."""
    hidden = activate(linear(x, p, name + "ff.expand"), activation)
    out = linear(hidden, p, name + "ff.contract")
    return {"middle": x, "ff_in": x, "ff_hidden": hidden, "ff_out": out, "out": normalise(x + out, p, name + "ff_norm")}


def forward_pair(transformer, source: list[int], inputs: list[int], rules: dict[str, dict]) -> dict[str, Arrays]:
    """Every stage of the three attentions of an encoder-decoder (Vaswani et al. 2017), as in `forward`.

    `rules` gives the `causal` and `scaled` of "encoder", "decoder" and "cross".
    """
    c, p = transformer.config, weights_of(transformer)
    table = p["token_embedding.weight"]

    def embed(ids: list[int]) -> tuple[np.ndarray, np.ndarray]:
        angles = [[at / 10000 ** ((i - i % 2) / c.d_model) for i in range(c.d_model)] for at in range(len(ids))]
        places = [[math.cos(a) if i % 2 else math.sin(a) for i, a in enumerate(row)] for row in angles]
        return np.array([table[i] * math.sqrt(c.d_model) for i in ids]), np.array(places)

    layers: dict[str, list[Arrays]] = {"encoder": [], "decoder": [], "cross": []}
    memory = sum(embed(source))
    for layer in range(c.n_layers):
        name = f"encoder.{layer}."
        seen = attend_heads(memory, memory, p, name + "attention", c.n_heads, rules["encoder"])
        middle = normalise(memory + seen["attention_out"], p, name + "attention_norm")
        layers["encoder"].append(seen | feed_forward(middle, p, name, c.activation))
        memory = layers["encoder"][-1]["out"]
    x = sum(embed(inputs))
    for layer in range(c.n_layers):
        name = f"decoder.{layer}."
        seen = attend_heads(x, x, p, name + "attention", c.n_heads, rules["decoder"])
        between = normalise(x + seen["attention_out"], p, name + "attention_norm")
        crossed = attend_heads(between, memory, p, name + "cross", c.n_heads, rules["cross"])
        rest = feed_forward(
            normalise(between + crossed["attention_out"], p, name + "cross_norm"), p, name, c.activation
        )
        layers["decoder"].append(seen | rest)
        layers["cross"].append(crossed | rest)
        x = rest["out"]
    found = {}
    for side, seen in layers.items():
        tokens, positions = embed(source if side == "encoder" else inputs)
        stages = {stage: np.stack([each[stage] for each in seen]) for stage in seen[0]}
        residual = np.stack([tokens + positions, *stages.pop("out")])
        found[side] = stages | {
            "token_embeddings": tokens,
            "position_embeddings": positions,
            "residual": residual,
            "final_vectors": residual[-1],
            "logits": residual[-1] @ table.T,
        }
    return found


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
