"""What of a lecture cannot be shown here: its scenes are compared with the models, recordings and runs on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from gptviz import folder
from gptviz.config import KINDS, ModelConfig
from gptviz.fetch import known
from gptviz.lecture.reading import LectureError, bytes_of, in_order, in_part, read, text_of
from gptviz.lecture.scene import Lecture, Scene
from gptviz.places import FIRST_MODELS, TRANSFORMER_PAGES
from gptviz.runs.recording import find_recording, recordings
from gptviz.runs.run import all_runs
from gptviz.runs.twins import all_twins

Installed = Mapping[str, list[str]]  # kind of model -> names
Wrong = tuple[str, str]  # the name of what a scene says, and what is wrong with it
GET_ONE = "get one on the page Models, or with python -m gptviz get"
TRAIN_ONE = "train one on the page Train"
MOST_NAMED = 5  # of what there is instead


def check(lecture: Lecture) -> list[str]:
    """What cannot be shown here, a line of text each, in the order of the file: file, line, what was expected, found.

    Models that are not installed, or of the wrong kind; layers, heads and recorded steps that they do not have;
    recordings, pairs and runs that are not here.
    """
    return compare(dict(enumerate(lecture.scenes, 1)), lecture.file)


def compare(scenes: Mapping[int, Scene], file: str) -> list[str]:
    """As `check`, of scenes by their numbers."""
    there = {kind: in_turn(kind) for kind in KINDS}
    found = []
    for number, scene in scenes.items():
        for name, said in problems(scene, there):
            line = scene.lines.get(name, scene.line)
            where = f"{file or 'lecture'}: line {line}: " if line else ""
            found.append(f"{where}scene {number}: {said}")
    return in_order(found)


def examine(path: Path) -> tuple[Lecture | None, list[str]]:
    """A lecture from a file; see `examine_bytes`.

    Raises:
        OSError: for a file that cannot be opened.
    """
    try:
        return examine_bytes(bytes_of(path), path.name)
    except LectureError as error:  # too large
        return None, error.mistakes


def examine_bytes(data: bytes, name: str) -> tuple[Lecture | None, list[str]]:
    """A lecture from what its file holds, and what is wrong with it: with the file and with what it asks for, by lines.

    A lecture that can be read and not shown in full comes with what is missing; where it cannot be read it is None, and
    the scenes that are whole are compared all the same. No more than `reading.MOST_TOLD` lines, and how many more.
    """
    try:
        talk = read(text_of(data, name), name)
    except LectureError as error:
        return None, in_part(in_order([*error.mistakes, *compare(error.scenes, name)]))
    return talk, in_part(check(talk))


def in_turn(kind: str) -> list[str]:
    """The installed models of a kind, first what the app begins with."""
    return sorted(folder.available(kind), key=lambda name: name not in FIRST_MODELS)


def problems(scene: Scene, there: Installed) -> Iterator[Wrong]:
    """What of a scene cannot be shown, with the models that are `there`."""
    kind = "transformer" if scene.page in TRANSFORMER_PAGES else "gpt"
    page = scene.page or "home"
    name = scene.model or next(iter(there[kind]), "")
    if not name:
        yield "page", f"expected a model of the kind {kind} for the page {page}, found none installed; {GET_ONE}"
        return
    if said := unlike(name, kind, page, there):
        yield "model", said
        return
    with_own = {"time-lapse": of_a_recording, "why-mask": of_a_pair, "train": of_a_run}
    if scene.page in with_own:
        yield from with_own[scene.page](scene)
        return
    yield from beyond(scene, name, {"layer": "layer", "head": "head"})
    if scene.page == "compare":
        yield from of_the_other(scene, name, there)


def unlike(name: str, kind: str, page: str, there: Installed) -> str:
    """What is wrong with a model for a page, "" if nothing is."""
    model = name if any(name in names for names in there.values()) else name.partition("@")[0]
    instead = named(there[kind])
    if all(model not in names for names in there.values()):
        get = f"python -m gptviz get {model}" if model in known() else GET_ONE
        return f"expected a model that is installed ({instead}), found {name[:80]!r}; name one of those, or {get}"
    if model not in there[kind]:
        wanted = f"expected a model of the kind {kind} for the page {page} ({instead})"
        return f"{wanted}, found {model}, of another kind; name one of those"
    try:
        folder.find_weights(name)
        folder.shape_of(folder.find_shipped(model))
    except folder.CheckpointError as error:
        return str(error)
    except (ValueError, OSError) as error:
        return f"expected a model that can be read, found {model}: {error}; get it again"
    return ""


def config_of(name: str) -> ModelConfig:
    """The config of a model, or of NAME@STEP, that `unlike` has nothing against."""
    return folder.shape_of(folder.find_weights(name)[0])


def beyond(scene: Scene, name: str, layer_and_head: Mapping[str, str]) -> Iterator[Wrong]:
    """The layer and the head of a scene that the model does not have; `layer_and_head` are their names in the scene."""
    config = config_of(name)
    ends = {"layer": config.n_layers - 1, "head": config.n_heads - 1}
    for what, own in layer_and_head.items():
        yield from above(scene, own, ends[what], f"a {what}", name)
    yield from above(scene, "emb_stage", config.n_layers, "a stage", name)


def above(scene: Scene, own: str, last: int, what: str, name: str) -> Iterator[Wrong]:
    """A number of a scene that is larger than it may be."""
    text = scene.settings.get(own, "0")
    if not text.isdecimal() or int(text) > last:
        yield own, f"expected {what} from 0 to {last} of {name}, found {text[:40]}; say one of those, or another model"


def of_the_other(scene: Scene, name: str, there: Installed) -> Iterator[Wrong]:
    """What is wrong with the second model of a comparison."""
    others = [each for each in there["gpt"] if each != name]
    other = scene.settings.get("other") or next(iter(others), "")
    if not others:
        yield "page", f"expected a model to set beside {name}, found no other one; {GET_ONE}"
    elif other not in others:
        wanted = f"expected another installed model than {name} ({named(others)})"
        yield "other", f"{wanted}, found {other[:80]!r}; name one of those"
    else:
        yield from beyond(scene, other, {"layer": "other_layer", "head": "other_head"})


def of_a_recording(scene: Scene) -> Iterator[Wrong]:
    """What is wrong with the recording of a scene, or with its step."""
    found = recordings()
    name = scene.settings.get("recording") or next(iter(found), "")
    if not found:
        yield "page", f"expected a recorded training for the page time-lapse, found none; {TRAIN_ONE}"
    elif name not in found:
        yield "recording", f"expected one of the recordings {named(found)}, found {name[:80]!r}; name one of those"
    else:
        yield from unrecorded(scene, "lapse_step", find_recording(name).steps, name)
        yield from beyond_recorded(scene, name)


def of_a_pair(scene: Scene) -> Iterator[Wrong]:
    """What is wrong with the pair of trainings of a scene, or with its step."""
    found = {pair.name: pair for pair in all_twins()}
    name = scene.settings.get("pair") or next(iter(found), "")
    if not found:
        yield "page", f"expected two trainings that differ in nothing but the mask, found none; {TRAIN_ONE}"
    elif name not in found:
        yield "pair", f"expected one of the pairs {named(list(found))}, found {name[:80]!r}; name one of those"
    else:
        yield from unrecorded(scene, "pair_step", found[name].steps, name)
        yield from beyond_recorded(scene, found[name].masked.name)


def of_a_run(scene: Scene) -> Iterator[Wrong]:
    """The run of a scene, if it is not here."""
    found = [run.name for run in all_runs()]
    name = scene.settings.get("run", "")
    if name and name not in found:
        yield "run", f"expected a run of this machine ({named(found)}), found {name[:80]!r}; name one of those, or none"


def unrecorded(scene: Scene, own: str, steps: list[int], name: str) -> Iterator[Wrong]:
    """The step of a scene that nobody recorded."""
    text = scene.settings.get(own, "")
    if text and text not in map(str, steps):
        there = ", ".join(map(str, steps))
        yield own, f"expected a recorded step of {name}, found {text[:40]}; say one of {there}"


def beyond_recorded(scene: Scene, name: str) -> Iterator[Wrong]:
    """The layer and the head of a scene that the model of a recording does not have."""
    try:
        config = folder.read_config(folder.place(name) / folder.SNAPSHOTS)[0]
    except folder.CheckpointError as error:
        yield "page", str(error)
        return
    for what, count in (("layer", config.n_layers), ("head", config.n_heads)):
        yield from above(scene, what, count - 1, f"a {what}", name)


def named(names: list[str]) -> str:
    """What there is, the first few by their names."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more or "there is none"
