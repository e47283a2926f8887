"""What the README tells people to type is typed here, or checked against what exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from s3prl_gendistiller.cli import downstream, main, pretrain
from tests.conftest import ROOT, run_python

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line.split("   #")[0])
    for line in re.findall(r"^    (\S.*)$", re.sub(r"\\\n +", "", README), flags=re.MULTILINE)
    if line.startswith(("python ", "gendistiller ", "make ", "pip "))
]


def of(*start: str) -> list[list[str]]:
    found = [command for command in COMMANDS if tuple(command[: len(start)]) == start]
    assert found, f"README.md has no command {' '.join(start)}"
    return found


def test_the_python_example_runs(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    checks = (
        "\nassert [tuple(s.shape) for s in out.hidden_states] == [(2, 99, 768)] * 3 and out.frame_mask.shape == (2, 99)"
    )
    answer = run_python("-c", code + checks, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr[-2000:]


@pytest.mark.parametrize(("script", "module"), [("run_pretrain.py", pretrain), ("run_downstream.py", downstream)])
def test_every_flag_of_a_launcher_command_exists(script: str, module: object) -> None:
    hosts = {"-t"}  # passed through to the host as it is
    for command in of("python", script):
        _, unknown = module._parser().parse_known_args(command[2:])
        assert {flag for flag in unknown if flag.startswith("-")} <= hosts, command


def test_every_subcommand_exists(capsys: pytest.CaptureFixture[str]) -> None:
    for command in of("gendistiller"):
        with pytest.raises(SystemExit) as caught:
            main([command[1], "--help"])
        assert caught.value.code == 0
    capsys.readouterr()


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {command[1] for command in of("make")} <= targets


def test_every_file_and_folder_that_is_named_exists() -> None:
    named = re.findall(
        r"\]\((?!http)([^)#]+)\)|\b((?:pretrain_configs|downstream_runs|benchmarks|docs)/[\w./-]*)", README
    )
    paths = {path for pair in named for path in pair if path}
    assert len(paths) > 5
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
