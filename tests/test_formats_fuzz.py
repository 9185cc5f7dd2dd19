"""Files with flipped bits and absurd counts: a model of finite weights, or one sentence; in no time, and no memory.

Each set runs in a process of its own that may not take more than 100 MB of address space.
"""

from __future__ import annotations

import json
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gguf
import pytest

from gptviz import checkpoint
from gptviz.tokenizer import Tokenizer
from tests.test_formats_gguf import header, random_weights, text, write
from tests.test_formats_hugging_face import SHAPES, random_reference
from tests.tiny import random_gpt, tiny_ranks

FLIPS = 250  # of each kind of file
SECONDS = 1.0  # of the processor, for each file
BYTES = 100 * 2**20  # of address space beside what the process had

GUARDED = '''
import json, random, resource, sys, time
from pathlib import Path
import torch
from gptviz import checkpoint
from gptviz.folder import CheckpointError
from gptviz.formats import gguf, hugging_face
torch.set_num_threads(1)

def foreign(reader, path):
    config = reader.read_config(path)
    weights = reader.read_weights(path, config)
    checkpoint.empty_model(config, {name: tuple(value.shape) for name, value in weights.items()}, path.name)
    return weights

def of_gguf(path):
    gguf.parsed.cache_clear()
    gguf.read_tokenizer(path).encode("a b")
    return foreign(gguf, path)

READ = {
    "ours": lambda path: checkpoint.load(path.parent, "cpu").gpt.state_dict(),
    "hugging_face": lambda path: foreign(hugging_face, path.parent),
    "gguf": of_gguf,
}

def outcome(read, path):
    """"" for a sound model, the complaint, or a word on what should not have been."""
    try:
        found = read(path)
    except CheckpointError as error:
        return str(error)
    except BaseException as error:
        return f"!{type(error).__name__}: {error}"
    return "" if all(value.isfinite().all() for value in found.values()) else "!not finite"

kind, limit, cases = sys.argv[1], int(sys.argv[2]), json.load(sys.stdin)
outcome(READ[kind], Path(cases["sound"]))
taken = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize:"))
resource.setrlimit(resource.RLIMIT_AS, (1024 * taken + limit,) * 2)
path, done = Path(cases["path"]), []
for changes in cases["changes"]:
    content = bytearray(Path(cases["sound"]).read_bytes()) if isinstance(changes, list) else bytes.fromhex(changes)
    for at, bit in changes if isinstance(changes, list) else ():
        content[at] ^= 1 << bit
    path.write_bytes(content)
    begun = time.process_time()
    said = outcome(READ[kind], path)
    done.append([said, time.process_time() - begun])
    del content
print(json.dumps(done))
'''

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="address space is bounded as on Linux")


def outcomes(kind: str, sound: Path, path: Path, changes: list) -> list[str]:
    """What came of each change to a sound file; nothing may take long, raise something else or take memory."""
    cases = json.dumps({"sound": str(sound), "path": str(path), "changes": changes})
    command = [sys.executable, "-c", GUARDED, kind, str(BYTES)]
    done = subprocess.run(command, input=cases, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    for (said, seconds), change in zip(found, changes, strict=True):
        assert seconds < SECONDS, (said, seconds, str(change)[:200])
        assert not said.startswith("!"), (said, str(change)[:200])
        assert len(said) < 700 and "\n" not in said, said
    return [said for said, _ in found]


def flips(size: int, beginning: int, seed: int) -> list[list[tuple[int, int]]]:
    """One to three bits of a file of `size` bytes; half of them among the first `beginning`."""
    rng = random.Random(seed)
    ends = (beginning, size)
    return [
        [(rng.randrange(ends[number % 2]), rng.randrange(8)) for _ in range(rng.randint(1, 3))]
        for number in range(FLIPS)
    ]


def ours(folder: Path) -> tuple[Path, int]:
    """A file of ours, and where its tensors begin."""
    checkpoint.save(folder, random_gpt(), Tokenizer(tiny_ranks()))
    return with_header(folder / "model.safetensors")


def hugging_face(folder: Path) -> tuple[Path, int]:
    """One of Hugging Face's."""
    random_reference(*SHAPES["llama 3 key heads"]).save_pretrained(folder)
    return with_header(folder / "model.safetensors")


def with_header(path: Path) -> tuple[Path, int]:
    """A safetensors file, and where its tensors begin."""
    return path, 8 + int.from_bytes(path.read_bytes()[:8], "little")


def vocabulary(writer: gguf.GGUFWriter) -> None:
    """40 tokens, of which two are merged."""
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    tokens = [*"abcdefghijklmnopqrstuvwxyz", *"0123456789", "Ġ", "ab", "<|end|>"]
    writer.add_token_list([*tokens, "Ġa"])
    writer.add_token_types([1] * 40)
    writer.add_token_merges(["a b", "Ġ a"])
    writer.add_eos_token_id(38)


def gguf_file(folder: Path) -> tuple[Path, int]:
    """A GGUF file with a vocabulary."""
    folder.mkdir()
    path = write(folder / "model.gguf", random_weights(), prepare=vocabulary)
    return path, path.read_bytes().index(b"blk.1.attn_v") + 60


KINDS: dict[str, Callable[[Path], tuple[Path, int]]] = {"ours": ours, "hugging_face": hugging_face, "gguf": gguf_file}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bits_make_a_finite_model_or_one_sentence(kind: str, seed: int, tmp_path: Path) -> None:
    path, beginning = KINDS[kind](tmp_path / "model")
    sound = tmp_path / "sound" / path.name
    KINDS[kind](tmp_path / "sound")
    said = outcomes(kind, sound, path, flips(path.stat().st_size, beginning, seed))
    refused = [each for each in said if each]
    assert FLIPS / 8 < len(refused) < FLIPS  # both happen
    named = "model" if kind == "hugging_face" else "model.gguf" if kind == "gguf" else "model/model.safetensors"
    assert all(each.startswith(named) and ": expected " in each and "found" in each for each in refused)


# Counts and places that a stranger wrote ------------------------------------------------------------------------------

KEY = text("k")


def tensor(name: str, *sides: int, kind: int = 0, offset: int = 0, n_sides: int | None = None) -> bytes:
    """One entry of the list of tensors."""
    n_sides = len(sides) if n_sides is None else n_sides
    return text(name) + struct.pack(f"<I{len(sides)}QIQ", n_sides, *sides, kind, offset)


def array(kind: int, count: int) -> bytes:
    """The beginning of an array in the metadata."""
    return KEY + struct.pack("<IIQ", 9, kind, count)


FILL = b"x" * 400
ABSURD = {
    "tensor count": header(FILL, tensors=2**60),
    "metadata count": header(FILL, pairs=2**60),
    "metadata count ": header(FILL, tensors=1, pairs=2**64 - 1),
    "metadata key": header(struct.pack("<Q", 2**60), FILL, pairs=1),
    "'k'": header(KEY, struct.pack("<IQ", 8, 2**60), FILL, pairs=1),
    "'k' ": header(KEY, struct.pack("<IQ", 8, 2**64 - 1), FILL, pairs=1),
    "'k'  ": header(array(8, 2**60), FILL, pairs=1),
    "'k'   ": header(array(8, 30), text("a") * 4, struct.pack("<Q", 2**60), FILL, pairs=1),
    "'k'    ": header(array(12, 2**60), FILL, pairs=1),
    "'k'     ": header(array(9, 2**60), FILL, pairs=1),
    "'k'      ": header(array(9, 90), struct.pack("<IQ", 9, 30) * 30, FILL, pairs=1),
    "'k'       ": header(KEY, struct.pack("<I", 9), struct.pack("<IQ", 9, 1) * 200_000, FILL, pairs=1),
    "'t'": header(tensor("t", n_sides=2**31), FILL, tensors=1),
    "'t' ": header(tensor("t", 2**31), FILL, tensors=1),
    "'t'  ": header(tensor("t", 2**30, 2**30, 2**30, 2**30), FILL, tensors=1),
    "'t'   ": header(tensor("t", 4, offset=2**60), FILL, tensors=1),
    "'t'    ": header(tensor("t", 4, offset=2**64 - 8), FILL, tensors=1),
    "'t'     ": header(tensor("t", 400), FILL, tensors=1),
    "'u'": header(tensor("t", 40), tensor("u", 40, offset=32), FILL, tensors=2),
    "name of a tensor": header(struct.pack("<Q", 2**60), FILL, tensors=1),
    "general.alignment": header(text("general.alignment"), struct.pack("<II", 4, 2**31), FILL, pairs=1),
}


def test_absurd_counts_are_refused_at_once_and_in_little_memory(tmp_path: Path) -> None:
    sound, _ = gguf_file(tmp_path / "sound")
    said = outcomes("gguf", sound, tmp_path / "bad.gguf", [content.hex() for content in ABSURD.values()])
    for field, each in zip(ABSURD, said, strict=True):
        assert each.startswith(f"bad.gguf, {field.strip()}: expected "), each


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"block_count": 2**32 - 1}, "block_count: expected at most"),
        ({"attention.key_length": 2**31, "attention.value_length": 2**31}, "key_length"),
        ({"context_length": 2**31}, "context"),
        ({"embedding_length": 2**31 - 4}, "embedding_length: expected heads of at most"),
        ({"attention.head_count": 2**31 - 1}, "n_heads"),
        ({"feed_forward_length": 2**31 - 1}, "ffn_down"),
    ],
    ids=str,
)
def test_absurd_shapes_are_refused_at_once_and_in_little_memory(changes: dict, said: str, tmp_path: Path) -> None:
    sound, _ = gguf_file(tmp_path / "sound")
    bad = write(tmp_path / "bad.gguf", random_weights(), prepare=vocabulary, **changes)
    (found,) = outcomes("gguf", sound, bad, [bad.read_bytes().hex()])
    assert found.startswith("bad.gguf") and said in found


def safetensors(entries: dict, data: bytes = b"\0" * 64, length: int | None = None) -> str:
    """A file with such a header, in hexadecimal digits."""
    raw = json.dumps(entries).encode()
    return (struct.pack("<Q", len(raw) if length is None else length) + raw + data).hex()


def entry(shape: list, start: int, end: int, kind: str = "F32") -> dict:
    return {"dtype": kind, "shape": shape, "data_offsets": [start, end]}


LIES = {
    "model.safetensors: expected": safetensors({}, length=2**60),
    "header": safetensors({}, b"", length=1),
    "'a', data_offsets": safetensors({"a": entry([2**31 - 1] * 8, 0, 64)}),
    "'a', shape": safetensors({"a": entry([2**60], 0, 2**62)}),
    "'a', shape ": safetensors({"a": entry([1] * 100_000, 0, 4)}),
    "'a', data_offsets ": safetensors({"a": entry([16], 2**62, 2**62 + 64)}),
    "'a', data_offsets  ": safetensors({"a": entry([16], -64, 0)}),
    "'a', data_offsets   ": safetensors({"a": entry([16], 0.0, 64.0)}),
    "'b', data_offsets": safetensors({"a": entry([16], 0, 64), "b": entry([8], 32, 64)}),
    "'b', data_offsets ": safetensors({"a": entry([4], 0, 16), "b": entry([8], 32, 64)}),
    "size": safetensors({"a": entry([8], 0, 32)}),
    "size ": safetensors({"a": entry([32], 0, 128)}),
    "'a', dtype": safetensors({"a": entry([16], 0, 64, "F31")}),
    "'a', dtype ": safetensors({"a": [1, 2]}),
}


def test_headers_of_safetensors_that_lie_are_refused_at_once_and_in_little_memory(tmp_path: Path) -> None:
    path, _ = hugging_face(tmp_path / "model")
    sound, _ = hugging_face(tmp_path / "sound")
    for field, each in zip(LIES, outcomes("hugging_face", sound, path, list(LIES.values())), strict=True):
        assert each.startswith("model/model.safetensors") and field.strip() in each, (field, each)


def test_a_tensor_of_zeros_larger_than_the_model_takes_no_memory(tmp_path: Path) -> None:
    path, _ = hugging_face(tmp_path / "model")
    sound, _ = hugging_face(tmp_path / "sound")
    raw = json.dumps({"model.embed_tokens.weight": entry([2**26], 0, 2**28)}).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.truncate(8 + len(raw) + 2**28)  # of which nothing is on the disk
    program = GUARDED.replace("path.write_bytes(content)", "pass")
    cases = json.dumps({"sound": str(sound), "path": str(path), "changes": [""]})
    command = [sys.executable, "-c", program, "hugging_face", str(BYTES)]
    done = subprocess.run(command, input=cases, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    ((said, seconds),) = json.loads(done.stdout)
    assert "embed_tokens.weight: expected less than" in said and seconds < SECONDS
