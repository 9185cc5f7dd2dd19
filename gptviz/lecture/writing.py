"""A lecture as its file, to be read by people and by `gptviz.lecture.read`."""

from __future__ import annotations

from typing import Any

import yaml

from gptviz.lecture.scene import Lecture, Scene


class Plain(yaml.SafeDumper):
    """YAML with long texts folded into lines, and no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        """Two equal texts are written twice."""
        return True


def write(lecture: Lecture) -> str:
    """The text of a file, whose order is that of the lecture."""
    parts: dict[str, Any] = {"title": lecture.title}
    parts |= {name: value for name in ("author", "theme") if (value := getattr(lecture, name))}
    parts["scenes"] = [parts_of(scene) for scene in lecture.scenes]
    return yaml.dump(parts, Dumper=Plain, sort_keys=False, allow_unicode=True, width=100, default_flow_style=False)


def parts_of(scene: Scene) -> dict[str, str]:
    """What a file says of a scene, what is empty left out."""
    named = {"page": scene.page or "home", "model": scene.model, "sentence": scene.text}
    texts = {"show": scene.show, "title": scene.title, "caption": scene.caption, "note": scene.note}
    return {
        name: str(value) for name, value in (named | dict(scene.settings) | texts).items() if value or name == "page"
    }
