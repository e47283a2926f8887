"""Commands, files and examples of the documents: each is run, parsed, or looked up."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from s3prl_gendistiller.cli import downstream, main, parser, pretrain
from tests.conftest import ROOT, run_python

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in (
        "README.md",
        "docs/your_recordings.md",
        "docs/distil.md",
        "docs/superb.md",
        "docs/python.md",
        "docs/training.md",
    )
}
README_LINES_AT_MOST = 130


def commands(text: str) -> list[list[str]]:
    """The indented command lines of a document."""
    joined = re.sub(r"\\\n +", "", text)
    lines = re.findall(r"^    (\S.*)$", joined, flags=re.MULTILINE)
    parts = [part for line in lines for part in re.split(r"\s{2,}#", line)[0].split(" && ")]
    return [shlex.split(part) for part in parts if part.startswith(("python ", "gendistiller ", "make ", "pip "))]


COMMANDS = [command for text in DOCUMENTS.values() for command in commands(text)]


def of(*start: str) -> list[list[str]]:
    found = [command for command in COMMANDS if tuple(command[: len(start)]) == start]
    assert found, f"the documents have no command {' '.join(start)}"
    return found


def test_the_readme_is_read_in_one_sitting() -> None:
    assert len(README.splitlines()) <= README_LINES_AT_MOST


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


def test_every_flag_of_a_command_of_ours_exists(capsys: pytest.CaptureFixture[str]) -> None:
    for command in of("gendistiller"):
        assert callable(parser().parse_args(command[1:]).run), command
    capsys.readouterr()


def test_every_command_of_a_table_exists(capsys: pytest.CaptureFixture[str]) -> None:
    named = {name for text in DOCUMENTS.values() for name in re.findall(r"`gendistiller ([a-z]+)", text)}
    assert len(named) > 5
    for name in sorted(named):
        with pytest.raises(SystemExit) as caught:
            main([name, "--help"])
        assert caught.value.code == 0
    capsys.readouterr()


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {command[1] for command in of("make")} <= targets


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_file_and_folder_that_is_named_exists(name: str) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", DOCUMENTS[name])
    shipped = re.findall(r"\b((?:pretrain_configs|downstream_runs|benchmarks|docs)/[\w./-]*)", DOCUMENTS[name])
    modules = re.findall(r"`(superb/[\w/]+\.py)`", DOCUMENTS[name])
    paths = [(ROOT / name).parent / link for link in links]
    paths += [ROOT / path for path in shipped] + [ROOT / "s3prl_gendistiller" / path for path in modules]
    assert len(paths) > 5 or name != "README.md" and paths
    assert [path for path in paths if not path.exists()] == []


def test_the_yaml_examples_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```yaml\n# (\S+\.yaml):[^\n]*\n(.*?)```", DOCUMENTS["docs/distil.md"], flags=re.DOTALL)
    assert {name for name, _ in examples} == {"my_model.yaml", "calls.yaml", "my_narrow.yaml", "my_objectives.yaml"}
    for name, text in examples:
        content = yaml.safe_load(text)
        Path(name).write_text(yaml.safe_dump(content))
        kind = "runner" if name == "calls.yaml" else "gendistiller"
        assert main(["config", kind, "--check", name]) == 0
