"""Several runs, one after another, in every process of torchrun: processes can meet only once.

Arguments: a JSON list of [recipe, folder with texts, folder of the run, shards or copies, steps or null].
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

from gptviz.recipe import load_recipe, run, with_steps
from gptviz.training.ranks import joined

if __name__ == "__main__":
    with joined("cpu") as ranks:
        for recipe, texts, folder, shard, steps in json.loads(sys.argv[1]):
            chosen = with_steps(load_recipe(Path(recipe)), steps)
            for _ in run(chosen, Path(texts), Path(folder), ranks=dataclasses.replace(ranks, shard=shard)):
                pass
