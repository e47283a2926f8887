"""What a configuration or an override says, through the launchers: refused first, or as s3prl gets it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from s3prl_gendistiller.cli import downstream, main, pretrain
from s3prl_gendistiller.schema import merge, read_layered_yaml
from s3prl_gendistiller.shipped import shipped_folder
from tests.bench import Bench

EVIL = "__import__('os').system('touch evil')"


@pytest.fixture
def inside(tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUPERB_DATA", str(bench.data))
    return tmp_path


@pytest.fixture
def files(inside: Path, bench: Bench) -> list[str]:
    return ["-g", str(bench.model(inside)), "-c", str(bench.runner(inside))]


def refused(capsys: pytest.CaptureFixture[str], status: int) -> str:
    error = capsys.readouterr().err
    assert status == 2 and len([line for line in error.splitlines() if line.startswith("error: ")]) == 1, error
    assert not Path("result").exists() and not Path("evil").exists()
    return error


def distil(*flags: str) -> tuple[int, list[str]]:
    commands: list[list[str]] = []
    status = pretrain.main(["-u", "gendistiller", *flags], host=commands.append)
    return status, commands[0] if commands else []


def evaluate(*flags: str) -> tuple[int, list[str]]:
    commands: list[list[str]] = []
    status = downstream.main(["-u", "fbank", *flags], host=commands.append)
    return status, commands[0] if commands else []


def given(command: list[str], flag: str = "-c") -> dict[str, Any]:
    """What s3prl reads from the file that it is given."""
    with open(command[command.index(flag) + 1]) as file:
        content = yaml.load(file, Loader=yaml.FullLoader)
    assert isinstance(content, dict)
    return content


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("runner.total_steps=3", "such as config.runner.total_steps=3"),
        ("conifg.runner.total_steps=3", "such as config.runner.total_steps=3"),
        ("args.sede=3", "did you mean seed?"),
        ("args.seed='a'", "args.seed: found 'a'; expected a whole number"),
        ("args.past_exp='x'", "give it as a flag of its own"),
        ("config.runner=5", "runner: found 5 (a whole number), expected a section of keys"),
        ("config.optimizer.lrr=1", "optimizer.lrr: unknown key; did you mean lr?"),
        ("config.optimizer.lr=nan", "optimizer.lr: found nan, expected a finite number"),
        (f"config.optimizer.name={EVIL}", "optimizer.name: found"),
        (f"config.scheduler={{'name': {EVIL!r}}}", "scheduler.name: found"),
    ],
)
def test_an_override_is_refused_by_both_launchers(
    override: str, expected: str, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in refused(capsys, distil(*files, "-o", override)[0])
    asr = ("-d", "asr", "-c", "downstream_runs/asr/small.yaml")
    assert expected in refused(capsys, evaluate(*asr, "-o", override)[0])


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"optimizer": {"name": "adamw"}}, "optimizer.name: found 'adamw', expected one of"),
        ({"optimizer": {"lrr": 1e-4}}, "optimizer.lrr: unknown key; did you mean lr?"),
        ({"optimizer": {"lr": ".nan"}}, "optimizer.lr: found '.nan' (text), expected a number"),
        (
            {"scheduler": {"name": "linear"}},
            "scheduler.name: found 'linear', expected one of linear_schedule_with_warmup",
        ),
        ({"runner": {"gradient_clipping": float("nan")}}, "found .nan in line"),
        ({"runner": {"gradient_clipping": "nan"}}, "runner.gradient_clipping: found nan, expected a finite number"),
        (
            {"runner": {"n_epochs": 1, "log_step": 5}},
            "runner.log_step: found 5, expected at most 4, the steps of n_epochs",
        ),
    ],
)
def test_a_runner_yaml_is_refused_before_the_teacher_is_loaded(
    section: dict[str, Any], expected: str, inside: Path, bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    content = merge(read_layered_yaml(bench.runner(inside)), section)
    Path("r.yaml").write_text(yaml.safe_dump(content))
    assert expected in refused(capsys, distil("-g", str(bench.model(inside)), "-c", "r.yaml")[0])
    if "n_epochs" not in content["runner"] or content["runner"]["n_epochs"] < 1:  # the checked steps depend on the data
        assert main(["config", "runner", "--check", "r.yaml"]) == 2
        assert expected in capsys.readouterr().err


def test_s3prl_receives_numbers_and_no_override_that_it_would_evaluate(inside: Path, bench: Bench) -> None:
    runner = bench.runner(inside)
    runner.write_text(yaml.safe_dump(merge(read_layered_yaml(runner), {"optimizer": {"lr": "2e-4"}})))
    flags = ("-g", str(bench.model(inside)), "-c", str(runner), "-o", "config.runner.total_steps=9,,args.seed=7")
    status, command = distil(*flags)
    content = given(command)
    assert status == 0 and content["optimizer"]["lr"] == 2e-4 and content["runner"]["total_steps"] == 9
    assert content["runner"]["n_epochs"] == -1  # s3prl reads the key, so the default is filled in
    assert command[command.index("-o") + 1] == "args.seed=7" and command[command.index("--seed") + 1] == "7"

    difference = {"base": "downstream_runs/asr/small.yaml", "optimizer": {"lr": "2e-4"}}
    Path("asr.yaml").write_text(yaml.safe_dump(difference))
    corpus = "config.downstream_expert.datarc.libri_root='${SUPERB_DATA}/LibriSpeech'"
    status, command = evaluate("-d", "asr", "-c", "asr.yaml", "-o", corpus)
    content = given(command)
    assert status == 0 and content["optimizer"]["lr"] == 2e-4 and "-o" not in command
    data = content["downstream_expert"]["datarc"]
    assert data["libri_root"] == str(bench.data / "LibriSpeech") and Path(data["dict_path"]).is_file()


def test_a_model_yaml_and_a_runner_yaml_are_told_apart(
    files: list[str], capsys: pytest.CaptureFixture[str], inside: Path
) -> None:
    model, runner = files[1], files[3]
    error = refused(capsys, distil("-g", runner, "-c", model)[0])
    assert "found a runner YAML, expected a model YAML" in error and "a model YAML, which -g takes" in error
    assert "a configuration of run_pretrain.py" in refused(capsys, evaluate("-d", "asr", "-c", model)[0])
    assert main(["config", "asr", "--check", "downstream_runs/asr/small.yaml"]) == 0
    assert main(["config", "asr", "--check", runner]) == 2


@pytest.mark.parametrize(
    "text",
    [
        "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)),
        "a: &a [*a]",
        "a: " + "[" * 300,
        "a: " + "9" * 5000,
        "",
    ],
)
def test_a_hostile_yaml_is_refused_wherever_it_is_given(
    text: str, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("x.yaml").write_text(text)
    Path("y.yaml").write_text("base: x.yaml\n")
    for path in ("x.yaml", "y.yaml"):
        refused(capsys, evaluate("-d", "asr", "-c", path)[0])
        refused(capsys, distil("-g", path)[0])
        refused(capsys, distil(*files, "-c", path)[0])
        refused(capsys, pretrain.main(["-u", "tera", "-c", path, "-g", path, "-n", "t"], host=lambda command: None))
        refused(capsys, main(["config", "gendistiller", "--check", path]))
        refused(capsys, main(["macs", "--config", f"a={path}"]))
    refused(capsys, evaluate("-d", "asr", "-g", "x.yaml")[0])


def test_a_pipe_is_not_waited_for(capsys: pytest.CaptureFixture[str], files: list[str]) -> None:
    os.mkfifo("x.yaml")
    assert "found a pipe" in refused(capsys, evaluate("-d", "asr", "-c", "x.yaml")[0])
    assert "found a pipe" in refused(capsys, distil(*files, "-g", "x.yaml")[0])


def test_a_stored_run_is_checked_and_goes_on_with_literals_alone(
    inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("a=b").mkdir()
    checkpoint = Path("a=b/states-1.ckpt")
    content = read_layered_yaml(shipped_folder("downstream_runs") / "emotion/config.yaml")
    stored = argparse.Namespace(expdir="elsewhere", upstream="fbank", upstream_ckpt=None, downstream="emotion", seed=1)

    def save(config: dict[str, Any], args: argparse.Namespace = stored) -> None:
        torch.save(
            {"Optimizer": {}, "Step": 1, "Featurizer": {}, "Downstream": {}, "Args": args, "Config": config}, checkpoint
        )

    save({**content, "optimizer": {"name": EVIL}})
    for flags in (["-e", str(checkpoint)], ["-m", "evaluate", "-t", "test", "-e", str(checkpoint)]):
        assert "optimizer.name: found" in refused(capsys, downstream.main(flags, host=lambda command: None))
    save(content)
    commands: list[list[str]] = []
    override = f"config.runner.total_steps=5,,config.downstream_expert.datarc.root={EVIL}"
    assert downstream.main(["-e", str(checkpoint), "-o", override], host=commands.append) == 0
    text = commands[0][commands[0].index("-o") + 1]
    values = dict(option.split("=") for option in text.split(",,"))  # as s3prl reads it
    assert eval(values["args.expdir"]) == str(inside / "a=b")
    assert eval(values["config.downstream_expert.datarc.root"]) == EVIL and not Path("evil").exists()
    assert "-i: found x beside -e" in refused(
        capsys, downstream.main(["-e", str(checkpoint), "-o", "args.init_ckpt='x'"], host=commands.append)
    )
    assert "did you mean total_steps?" in refused(
        capsys, downstream.main(["-e", str(checkpoint), "-o", "config.runner.totl_steps=5"], host=commands.append)
    )


def test_a_fault_of_an_override_is_blamed_on_it_and_one_of_the_file_on_the_file(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*flags: str, launch: Any = distil) -> str:
        return refused(capsys, launch(*flags)[0])

    assert "error: -o: 1 problem\n  runner.log_step: found 9, expected at most total_steps 6" in said(
        *files, "-o", "config.runner.log_step=9"
    )
    # the key that is wrong stands in the file, and the override made it wrong
    assert "error: -o: 2 problems\n  runner.log_step: found 2" in said(*files, "-o", "config.runner.total_steps=1")
    runner = Path(files[3])
    runner.write_text(yaml.safe_dump(merge(read_layered_yaml(runner), {"runner": {"max_keep": 0}})))
    both = said(*files, "-o", "config.runner.log_step=x")
    assert f"error: {runner}: 1 problem\n  runner.max_keep: found 0" in both
    assert "\n-o: 1 problem\n  runner.log_step: found 'x'" in both
    asr = ("-d", "asr", "-c", "downstream_runs/asr/small.yaml", "-o")
    assert "error: -o: 1 problem\n  runner.max_keep: found 0" in said(*asr, "config.runner.max_keep=0", launch=evaluate)


def test_a_key_of_the_model_is_told_where_it_belongs(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    option = ("-o", "config.student.dropout=0.1,,config.distill.target_layers=[1, 2],,config.runner.log_step=1")
    error = refused(capsys, distil(*files, *option)[0])
    assert "-o: found config.student.dropout, config.distill.target_layers, of the model YAML" in error
    Path("mine.yaml").write_text(error.partition("for -g:\n")[2])
    assert read_layered_yaml("mine.yaml")["student"]["dropout"] == 0.1
    assert distil("-g", "mine.yaml", *files[2:])[0] == 0
    error = refused_after_a_run(capsys, evaluate("-d", "asr", "-c", "downstream_runs/asr/small.yaml", *option)[0])
    assert "a trained student keeps its model" in error


def refused_after_a_run(capsys: pytest.CaptureFixture[str], status: int) -> str:
    error = capsys.readouterr().err
    assert status == 2
    return error
