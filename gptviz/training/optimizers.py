"""What moves the weights: AdamW, or Muon beside it, which parameter is moved by which, and the norms of gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gptviz.attention import MultiHeadAttention
from gptviz.gpt import FeedForward
from gptviz.training.config import TrainConfig
from gptviz.training.ranks import Model

GROUPS: dict[str, type[nn.Module] | tuple[type[nn.Module], ...]] = {
    "embeddings": nn.Embedding,
    "attention": MultiHeadAttention,
    "feed_forward": FeedForward,
    "norms": (nn.LayerNorm, nn.RMSNorm),
}
"""Parts of a model whose gradients are measured by themselves; what is in none of them is the "unembedding"."""


class Optimizers:
    """AdamW, or Muon for the matrices inside the blocks with AdamW for the rest, behind one step.

    Muon makes every singular value of an update equal, matrix by matrix. Queries, keys and values lie in one matrix,
    in which the gradient of the values outweighs the others by far; it is given to Muon as three, or attention would
    hardly learn where to look.
    """

    def __init__(self, model: Model, config: TrainConfig) -> None:
        self.parameters = list(model.parameters())
        self.groups = parameter_groups(model)
        self.parts: list[tuple[nn.Parameter, nn.Parameter, int, int]] = []  # part, whole, its first row, its rows
        outside = getattr(model, "unembedding", None)  # to the vocabulary
        linear = [module for module in model.modules() if isinstance(module, nn.Linear) and module is not outside]
        matrices = [module.weight for module in linear]
        tables = [module.weight for module in model.modules() if isinstance(module, nn.Embedding)]
        chosen = {id(p) for p in (*matrices, *tables)}
        adam = [
            {"params": [p for p in self.parameters if id(p) not in chosen], "weight_decay": 0.0, "multiple": 1.0},
            {"params": tables, "weight_decay": 0.0, "multiple": config.embedding_rate},
        ]
        if config.optimizer != "muon":
            adam.append({"params": matrices, "weight_decay": config.weight_decay})
        self.all: list[torch.optim.Optimizer] = [torch.optim.AdamW(adam, betas=(0.9, 0.95), fused=fuses(model))]
        if config.optimizer == "muon":
            hidden = self.split(model, matrices)
            self.all.append(
                torch.optim.Muon(hidden, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw")
            )

    def split(self, model: Model, matrices: list[nn.Parameter]) -> list[nn.Parameter]:
        """`matrices` with each joint q, k, v matrix as three that share its memory."""
        joint = {id(module.qkv.weight): module for module in model.modules() if isinstance(module, MultiHeadAttention)}
        for whole in matrices:
            if id(whole) in joint:
                of = joint[id(whole)]
                q, kv = of.n_heads * of.d_head, of.n_groups * of.d_head  # rows of queries; of keys, and of values
                for start, rows in ((0, q), (q, kv), (q + kv, kv)):
                    self.parts.append((nn.Parameter(whole.data.narrow(0, start, rows)), whole, start, rows))
        return [p for p in matrices if id(p) not in joint] + [part for part, *_ in self.parts]

    def clip(self, largest: float) -> Tensor:
        """Scale the gradients down to a norm of at most `largest`.

        Returns:
            Norms before that, (1 + groups,): of all, then of each of `groups`.
        """
        norms = []
        for group in self.groups.values():
            norm = torch.nn.utils.get_total_norm([p.grad for p in group if p.grad is not None])
            norms.append(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)  # of shards: of all of them
        parts = torch.stack(norms)  # (groups,)
        total = torch.linalg.vector_norm(parts)
        torch.nn.utils.clip_grads_with_norm_(self.parameters, largest, total)
        return torch.cat([total[None], parts])

    def step(self, rate: float) -> None:
        """Move the weights with learning rate `rate`, and forget the gradients."""
        for part, whole, start, rows in self.parts:
            part.grad = None if whole.grad is None else whole.grad.narrow(0, start, rows)
        for optimizer in self.all:
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get("multiple", 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        for parameter in self.parameters:
            parameter.grad = None


def fuses(model: Model) -> bool:
    """AdamW moves a parameter in one pass over its memory: a quarter of the time of its single operations on a CPU."""
    whole = not hasattr(model.token_embedding.weight, "full_tensor")
    return whole and model.device.type in ("cpu", "cuda")


def parameter_groups(model: Model) -> dict[str, list[nn.Parameter]]:
    """The parameters of a model by the part they belong to, each once; parts that have none are left out."""
    groups: dict[str, list[nn.Parameter]] = {}
    taken: set[int] = set()
    for name, kind in GROUPS.items():
        for module in model.modules():
            if isinstance(module, kind):
                new = [p for p in module.parameters() if id(p) not in taken]
                taken |= {id(p) for p in new}
                groups.setdefault(name, []).extend(new)
    rest = [p for p in model.parameters() if id(p) not in taken]
    return {name: group for name, group in (groups | {"unembedding": rest}).items() if group}
