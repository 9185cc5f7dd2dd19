"""Where a picture or a table comes from: what it takes to make it again, written into every file that leaves gptviz."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import gptviz

if TYPE_CHECKING:
    from gptviz.checkpoint import AnyModel

PACKAGES = ("torch", "numpy")  # whose versions can move the last digits of a number


@dataclass(frozen=True)
class Provenance:
    """What made a picture. Plain text throughout, as it comes from sentences and links of anybody."""

    model: str  # its name
    fingerprint: str  # sha256 of weights, config and vocabulary, 16 hex digits
    text: str  # the sentence
    settings: Mapping[str, str] = field(default_factory=dict)  # what else was chosen, by name in a link
    versions: Mapping[str, str] = field(default_factory=dict)
    link: str = ""  # the part of the app's address behind the host

    def lines(self) -> list[str]:
        """For people, a line each: model with its hash, sentence, settings, versions, link."""
        named = [f"model: {self.model} (sha256 {self.fingerprint})", f"sentence: {one_line(self.text)}"]
        if self.settings:
            chosen = (f"{name} = {one_line(value)}" for name, value in self.settings.items())
            named.append("settings: " + ", ".join(chosen))
        named.append("made with: " + ", ".join(f"{name} {number}" for name, number in self.versions.items()))
        return named + ([f"link: {one_line(self.link)}"] if self.link else [])

    def to_json(self) -> dict[str, object]:
        """The same for programs."""
        return asdict(self) | {"settings": dict(self.settings), "versions": dict(self.versions)}


def provenance(model: AnyModel, text: str, settings: Mapping[str, object] | None = None, link: str = "") -> Provenance:
    """The provenance of what `model` made of `text` now.

    Args:
        model: from `gptviz.load`.
        settings: what else was chosen, such as {"layer": 1, "head": 3, "seed": 0}.
        link: the part of the app's address behind the host that shows the same, such as "attention?layer=1".
    """
    chosen = {name: str(value) for name, value in (settings or {}).items()}
    return Provenance(model.name, model.fingerprint, text, chosen, versions(), link)


def versions() -> dict[str, str]:
    """Of gptviz, of Python, and of the packages that make the numbers."""
    found = {"gptviz": gptviz.__version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # built by hand, without metadata
            found[name] = "unknown"
    return found | {"python": platform.python_version()}


def one_line(text: str) -> str:
    """A text without line breaks and other signs that files and terminals would obey."""
    return "".join(c if c.isprintable() else " " for c in text)
