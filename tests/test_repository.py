"""What a stranger relies on: the commands in README, the limits on files, and nothing in them that is only ours."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MAX_CHECKPOINT = 30_000_000  # bytes


def tracked(*patterns: str) -> list[Path]:
    """Files that git knows, or would take, and that are there; skips where this is no clone."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"not a git clone: {error}")
    return [ROOT / name for name in sorted(set(listed.split("\0")) - {""}) if (ROOT / name).is_file()]


def blocks(language: str, text: str = README) -> list[str]:
    """Fenced code blocks of a language."""
    return [code for kind, code in CODE.findall(text) if kind == language]


def shell_lines(text: str = README) -> list[str]:
    """Commands in a Markdown text, one a line."""
    return [line for block in blocks("sh", text) for line in block.splitlines() if line]


def run_command() -> str:
    """README's command that starts the app."""
    return next(line for line in shell_lines() if "streamlit run" in line)


def check_command() -> str:
    """README's command that runs all tests."""
    return next(line for line in shell_lines() if "pytest" in line)


# Commands ------------------------------------------------------------------------------------------------------------


def test_the_two_commands_are_on_the_first_screen_one_line_each() -> None:
    assert run_command() == "pip install -r requirements.txt && streamlit run app.py"
    assert check_command() == "pip install -r requirements-dev.txt && python -m pytest"
    first_screen = README.splitlines()[:25]
    assert run_command() in first_screen
    assert check_command() in first_screen


def test_ci_and_contributing_run_readmes_test_command_as_written() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert check_command() in ci.splitlines()
    assert check_command() in shell_lines((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert "GPTVIZ_REQUIRE_BROWSER=1" in ci
    assert "|| true" not in ci


def test_ci_stops_at_a_failing_first_half(tmp_path: Path) -> None:
    # bash's `set -e` forgives a failing `a` in `a && b`: the script must not go on to the linter after it.
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    at = lines.index(check_command())
    script = "\n".join(["set -euo pipefail", *lines[at - 1 : at + 2], "echo went on"])
    script = script.replace(check_command(), "false && true")
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode != 0
    assert "went on" not in done.stdout


def test_readme_commands_name_things_that_exist() -> None:
    for line in shell_lines():
        for word in shlex.split(line):
            if word.endswith((".py", ".txt")):
                assert (ROOT / word).is_file(), f"{word} in: {line}"


@pytest.mark.parametrize("line", [line for line in shell_lines() if line.startswith("python -m gptviz")])
def test_readme_command_lines_are_understood(line: str) -> None:
    words = [word for word in shlex.split(line)[1:] if not word.startswith("-") or word == "-m"][:3]  # -m gptviz NAME
    done = subprocess.run(
        [sys.executable, *words, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout.lower()


# README --------------------------------------------------------------------------------------------------------------


def test_readmes_library_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = "\n".join(blocks("python"))
    monkeypatch.chdir(tmp_path)  # one of them saves a file
    seen: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), seen)
    trace, moved = seen["trace"], seen["moved"]
    t = len(trace.tokens)
    assert "".join(trace.tokens) == "My dog has fleas"
    assert trace.weights.shape[2:] == (t, t) == trace.weights[1, 3].shape
    assert trace.residual.shape[1] == trace.logits.shape[0] == t
    assert abs(moved).max() > 0.01  # the future was visible
    assert seen["story"]


def test_readme_is_short_and_shows_pictures_before_words() -> None:
    lines = README.splitlines()
    assert len(lines) < 200
    first_picture = next(i for i, line in enumerate(lines) if line.startswith("!["))
    assert first_picture <= 6


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_and_pictures_of_a_page_are_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    local = [link for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if "://" not in link]
    missing = [link for link in local if not (ROOT / link).exists()]
    assert not missing


def test_pictures_have_a_description() -> None:
    for described in re.findall(r"!\[([^\]]*)\]", README):
        assert len(described) > 20, described


# Requirements and licences -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "benchmarks/requirements.txt"])
def test_requirements_are_pinned_each_with_a_reason(name: str) -> None:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    requirements = [line for line in lines if not line.startswith(("#", "-r "))]
    assert requirements
    for line in requirements:
        assert re.fullmatch(r"[A-Za-z0-9_.-]+==\d[\w.]*  # .{10,}", line), line


def test_the_core_needs_only_what_is_required() -> None:
    required = re.findall(r"^([a-z_]+\d?)==", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    required += ["yaml", "pptx"]  # of pyyaml and python-pptx
    # imported where translations are scored, a corpus streamed by its name, events written
    optional = {"sacrebleu", "datasets", "tensorboardX"}
    own = {"gptviz", "__future__"}
    for path in tracked("app.py", "gptviz/**.py", "gptviz/*.py", "pages/*.py", "pages/**.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names.append(node.module or "")
            for top in {name.split(".")[0] for name in names} - own - optional - sys.stdlib_module_names:
                assert top in required, f"{path.relative_to(ROOT)} imports {top}"


def test_licence_is_mit_everywhere() -> None:
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert licence.startswith("MIT License")
    assert "the gptviz authors" in licence
    assert 'license = "MIT"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert "[MIT](LICENSE)" in README


def test_every_checkpoint_has_a_model_card_and_is_small() -> None:
    root = ROOT / "checkpoints"
    for folder in sorted({root / path.relative_to(root).parts[0] for path in tracked("checkpoints/*")}):
        card = folder / "README.md"
        assert card.is_file(), f"{folder.name} has no model card"
        assert "licen" in card.read_text(encoding="utf-8").lower(), f"the card of {folder.name} names no licence"
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        assert size <= MAX_CHECKPOINT, f"{folder.name} has {size} bytes"
        pickles = [p.name for p in folder.rglob("*") if p.suffix in {".pt", ".pth", ".bin", ".pkl", ".ckpt"}]
        assert not pickles


# Sizes and places ----------------------------------------------------------------------------------------------------


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    doc = ast.get_docstring(node, clean=False)
    return (node.end_lineno or 0) - node.lineno + 1 - (doc.count("\n") + 1 if doc else 0)


def test_modules_pages_and_functions_are_short() -> None:
    limits = {"app.py": 60, "pages": 60, "gptviz": 400, "benchmarks": 400}
    too_long = []
    for path in tracked("*.py"):
        name, text = str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
        limit = limits.get(name.split("/", maxsplit=1)[0], 10_000)
        if (lines := len(text.splitlines())) > limit:
            too_long.append(f"{name}: {lines} lines, at most {limit}")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and code_lines(node) > 50:
                too_long.append(f"{name}: {node.name} has {code_lines(node)} lines, at most 50")
    assert not too_long


def test_pages_are_in_a_folder_per_group_beside_the_router() -> None:
    # Streamlit takes scripts of a folder "pages" beside the main script for pages of its own: the router is in it.
    assert [path.name for path in (ROOT / "pages").glob("*.py")] == ["router.py"]
    assert list((ROOT / "pages").glob("*/*.py"))


def test_files_hold_no_paths_of_a_machine_and_no_registry_hosts() -> None:
    slash = chr(47)
    roots = "|".join(["root", "work", "home", "Users", "farm"])
    machine = re.compile(rf"(?<![\w.:{slash}-]){slash}(?:{roots}){slash}\w")
    hosts = re.compile("pypi" + r"\.|python" + r"hosted\.|npm" + r"js\.|debian" + r"\.org|index" + "-url")
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            if machine.search(line) or hosts.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line[:100]}")
    assert not found


def test_no_large_or_generated_files_are_in_the_repository() -> None:
    for path in tracked():
        name = str(path.relative_to(ROOT))
        assert "__pycache__" not in name
        if not name.startswith(("checkpoints/", "docs/")):
            assert path.stat().st_size <= 400_000, name
