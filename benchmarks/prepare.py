"""`python -m gptviz prepare` over a single-threaded tiktoken loop on the same text: tokens a second and core, memory.

The text is made of the words of this repository's pages, and nothing has to be fetched but GPT-2's vocabulary; where
tiktoken does not have that, the shipped model's is used.
"""

from __future__ import annotations

import json
import lzma
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.common import Row
from gptviz import folder
from gptviz.corpus.prepare import cores
from gptviz.corpus.shards import Manifest
from gptviz.tokenizer import Tokenizer, TokenizerError

ROOT = Path(__file__).resolve().parent.parent
WORDS = 850  # of a document; one of OpenWebText has 5,000 characters
WORKER = """
import json, sys, time
from pathlib import Path
from gptviz.corpus.prepare import Settings, prepare
from gptviz.corpus.sources import Files
from gptviz.tokenizer import Tokenizer
source, out, tokenizer = Files(Path(sys.argv[1])), Path(sys.argv[2]), Tokenizer.load(Path(sys.argv[3]))
tokenizer.encode("warm")
start = time.perf_counter()
*_, last = prepare(source, out, tokenizer, Settings())
seconds = time.perf_counter() - start
status = Path("/proc/self/status")
lines = status.read_text().splitlines() if status.exists() else ()
peak = next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), None)
print(json.dumps({"tokens": last.tokens, "seconds": seconds, "peak": peak}))
"""
LOOP = """
import json, sys, time
from pathlib import Path
from gptviz.tokenizer import Tokenizer
tokenizer = Tokenizer.load(Path(sys.argv[2]))
texts = [json.loads(line)["text"] for line in open(sys.argv[1], encoding="utf-8")]
tokenizer.encode("warm")
encode = tokenizer.encoding.encode_ordinary
start = time.perf_counter()
tokens = sum(len(encode(text)) + 1 for text in texts)
print(json.dumps({"tokens": tokens, "seconds": time.perf_counter() - start}))
"""


def run(quick: bool) -> Iterator[Row]:
    """Speed on a plain file and on xz; memory on a corpus larger than what it may take."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        ranks = vocabulary(place)
        yield from speed(place, ranks, megabytes=4 if quick else 24, rounds=1 if quick else 3)
        yield memory(place, ranks, megabytes=20 if quick else 600)


def speed(place: Path, ranks: Path, megabytes: int, rounds: int) -> Iterator[Row]:
    """Tokens a second and core, over the loop in the same round."""
    plain = write(place / "tales.jsonl", megabytes)
    packed = place / "tales.jsonl.xz"
    with plain.open("rb") as source, lzma.open(packed, "wb", preset=1) as target:
        shutil.copyfileobj(source, target)
    seen: dict[str, list[float]] = {"loop": [], plain.name: [], packed.name: []}
    for _ in range(rounds):
        loop = measure(LOOP, plain, ranks)
        seen["loop"].append(loop["tokens"] / loop["seconds"])
        for path in (plain, packed):
            done = measure(WORKER, path, place / "out", ranks)
            seen[path.name].append(done["tokens"] / done["seconds"] / cores())
            shutil.rmtree(place / "out")
    for path, bound in ((plain, 0.5), (packed, 0.35)):  # unpacking xz takes its share of the cores
        ratios = [ours / loop for ours, loop in zip(seen[path.name], seen["loop"], strict=True)]
        yield Row(
            f"preparing {path.name}, tokens per second and core: over a single-threaded tiktoken loop",
            statistics.median(ratios),
            (">=", bound),
            detail=f"{statistics.median(seen[path.name]):,.0f} on each of {cores()} cores, "
            f"against {statistics.median(seen['loop']):,.0f} on one",
        )


def memory(place: Path, ranks: Path, megabytes: int) -> Row:
    """The largest resident size of the whole process, on a corpus that would not fit into its bound."""
    path = write(place / "large.jsonl", megabytes, repeat=10)
    done = measure(WORKER, path, place / "large", ranks)
    documents = sum(Manifest.load(place / "large").documents.values())
    return Row(
        f"memory of preparing {megabytes} MB of text",
        done["peak"] or float("nan"),
        ("<=", 500),
        unit="MB",
        detail=f"{documents:,} documents, {done['tokens']:,} tokens in {done['seconds']:.0f} s",
    )


def vocabulary(place: Path) -> Path:
    """GPT-2's vocabulary where tiktoken has it, else the shipped model's, as a file."""
    path = place / "vocabulary.tiktoken"
    try:
        Tokenizer.gpt2().save(path)
    except TokenizerError:
        shutil.copy(folder.find("gpt-stories") / folder.VOCABULARY, path)
    return path


def write(path: Path, megabytes: int, repeat: int = 1) -> Path:
    """JSON lines of so many megabytes: words as often as this repository's pages use them, shuffled; documents of 5 kB.

    `repeat` writes every document several times, each with its number in front.
    """
    rng = np.random.default_rng(0)
    pages = [page for folder in (".", "docs") for page in sorted(ROOT.glob(f"{folder}/*.md"))]
    texts = [page.read_text(encoding="utf-8") for page in pages]
    words = np.array([word for text in texts for word in text.split() if len(word) < 20])
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < megabytes * 1_000_000:
            text = " ".join(rng.choice(words, size=WORDS))
            file.writelines(json.dumps({"text": f"{number} {text}."}) + "\n" for number in range(repeat))
    return path


def measure(code: str, *arguments: Path) -> dict[str, float]:
    """What a fresh interpreter printed."""
    start = time.perf_counter()
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"after {time.perf_counter() - start:.0f} s: {done.stderr}")
    return json.loads(done.stdout)
