"""Chat templates of strangers: rendered once, in a process of its own with a bound on time, memory and length.

The template sees a placeholder in place of a message. So it is rendered once for all messages, what a visitor writes
never passes through it, and special tokens in a message stay apart from those of the template. This file is also what
the process runs: it imports nothing of gptviz.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SECONDS = 10.0  # until the process is ended; 0.2 are usual, nearly all of them for starting Python
MEMORY = 512 * 2**20  # bytes of address space of the process, where the system can bound it
LONGEST_SOURCE = 2**18  # characters; long ones have some ten thousand
LONGEST = 2**18  # characters of a rendered conversation


def render(source: str, message: str, names: Mapping[str, str]) -> str:
    """One message of a user and the beginning of the answer, as a chat template writes them.

    Args:
        source: Jinja source.
        message: what the user's message is, to the template.
        names: further values by name, such as "bos_token".

    Raises:
        ValueError: in words, if the template is wrong, refuses, runs too long or writes too much.
    """
    if len(source) > LONGEST_SOURCE:
        raise ValueError(
            f"chat template: expected at most {LONGEST_SOURCE} characters, found {len(source)}; turn the chat "
            "template off"
        )
    request = json.dumps({"source": source, "message": message, "names": dict(names)})
    command = [sys.executable, "-P", str(Path(__file__).resolve())]
    try:
        done = subprocess.run(command, input=request.encode(), capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise ValueError(
            f"chat template: expected it to end, found it running after {SECONDS:g} s; turn the chat template off"
        ) from None
    try:
        answer = json.loads(done.stdout)
    except ValueError:  # the process was ended by the system
        answer = {"error": f"the process ended with code {done.returncode}, out of time or memory"}
    if "error" in answer:
        raise ValueError(
            f"chat template: expected it to render one message, found: {answer['error']}; turn the chat template off"
        )
    return answer["text"]


def render_here(request: dict[str, Any]) -> str:
    """Render in this process; raises whatever Jinja and the template raise."""
    from datetime import datetime

    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(words: str) -> None:
        raise TemplateError(str(words))

    def to_json(value: Any, indent: int | None = None, **_: Any) -> str:  # Jinja's own escapes for HTML
        return json.dumps(value, ensure_ascii=False, indent=indent)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda pattern: datetime.now().strftime(pattern)
    messages = [{"role": "user", "content": request["message"]}]
    values = {"messages": messages, "add_generation_prompt": True, "tools": None, "documents": None}
    parts, length = [], 0
    for part in environment.from_string(request["source"]).generate(**request["names"], **values):
        parts.append(part)
        length += len(part)
        if length > LONGEST:
            raise TemplateError(f"more than {LONGEST} characters")
    return "".join(parts)


def bound_this_process() -> None:
    """Bound memory and processor time, where the system knows how."""
    try:
        import resource
    except ImportError:  # Windows: the clock alone
        return
    for kind, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, int(SECONDS))):
        try:
            resource.setrlimit(kind, (most, most))
        except (ValueError, OSError):  # macOS bounds no address space
            continue


def answer_one_request() -> None:
    """Read a request from standard input; write {"text": ...} or {"error": ...}."""
    bound_this_process()
    try:
        answer = {"text": render_here(json.load(sys.stdin))}
    except Exception as error:  # whatever a template can do wrong
        answer = {"error": f"{type(error).__name__}: {error}"[:500]}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    answer_one_request()
