"""What a new objective and a new kind of student cost: their own file and one row, and the real commands know them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
import yaml

from s3prl_gendistiller import load_student
from s3prl_gendistiller.config_objectives import OBJECTIVES
from s3prl_gendistiller.distill.metrics import read_metrics
from s3prl_gendistiller.distill.objectives import Setting, build_objectives
from s3prl_gendistiller.errors import ConfigError
from s3prl_gendistiller.forms import HISTORY_INPUTS
from s3prl_gendistiller.host.checkpoint import newest_checkpoint, read_checkpoint
from s3prl_gendistiller.host.layers import load_upstream
from s3prl_gendistiller.student_kinds import STUDENT_KINDS, function, kind_of, read_model_config
from s3prl_gendistiller.superb.models import find_models
from tests.bench import Bench
from tests.conftest import ROOT, TINY, TINY_CONV, run_python
from tests.host.test_launchers import succeed
from tests.toy_objective import Toy, ToyConfig
from tests.toy_student import TOY, ToyModelConfig, ToyStudent

# Each adds one row to a table; LAUNCH is a command of s3prl's name that then knows the row.
WITH_OBJECTIVE = """
import sys
from s3prl_gendistiller.config_objectives import OBJECTIVES
from tests.toy_objective import ToyConfig
OBJECTIVES["toy"] = ToyConfig
"""
WITH_STUDENT = """
import sys
from s3prl_gendistiller.student_kinds import STUDENT_KINDS
from tests.toy_student import TOY
STUDENT_KINDS["toy"] = TOY
"""
LAUNCH = "from s3prl_gendistiller.cli.{} import main; raise SystemExit(main(sys.argv[1:]))"
TABLES = {"student_kinds.py", "forms.py", "config_objectives.py"}


def test_a_new_objective_is_its_file_and_one_row(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = ("-g", bench.model(tmp_path, objectives=[{"name": "toy", "weight": 2.0}]), "-c", bench.runner(tmp_path))
    code = WITH_OBJECTIVE + LAUNCH.format("pretrain")
    succeed(run_python("-c", code, "-u", "gendistiller", "-n", "x", *files, cwd=tmp_path, env=bench.environment))
    run = tmp_path / "result/pretrain/x"
    losses = [metrics["loss"] for metrics in read_metrics(run, "valid").values()]
    assert losses[-1] < losses[0] and read_metrics(run, "train")[6]["toy_difference"] > 0
    monkeypatch.setitem(OBJECTIVES, "toy", ToyConfig)
    assert load_student(newest_checkpoint(run) or "").generate(torch.randn(1, 4000)).num_predicted == 2


def test_an_objective_without_a_row_is_an_error_and_not_another_objective(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LookupError, match="ToyConfig: no row of config_objectives.OBJECTIVES; add 'toy' there"):
        build_objectives([ToyConfig()], Setting((1, 3)))
    content = {"teacher": {"folder": "x"}, "objectives": [{"name": "toy"}]}
    with pytest.raises(ConfigError, match=r"objectives\[0\]\.name: found 'toy', expected one of layerwise, ckd, glmd"):
        read_model_config("gendistiller", content)
    monkeypatch.setitem(OBJECTIVES, "toy", ToyConfig)
    config = read_model_config("gendistiller", content)
    assert isinstance(build_objectives(config.objectives, Setting((1, 3)))[0], Toy)


def test_a_new_kind_of_student_is_its_file_and_one_row(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "toy.yaml"
    student = {**TINY, "extractor_conv_feature_layers": [list(shape) for shape in TINY_CONV], "gain": 0.5}
    content = {"teacher": {"folder": str(bench.teacher)}, "student": student, "distill": {"target_layers": [1, 3]}}
    model.write_text(yaml.safe_dump(content))
    files, code = ("-g", model, "-c", bench.runner(tmp_path)), WITH_STUDENT + LAUNCH.format("pretrain")
    succeed(run_python("-c", code, "-u", "toy", *files, cwd=tmp_path, env=bench.environment))
    run = tmp_path / "result/pretrain/toy"
    longer = ("-e", run, "-o", "config.runner.total_steps=8")
    succeed(run_python("-c", code, *longer, cwd=tmp_path, env=bench.environment))
    newest = newest_checkpoint(run)
    assert newest is not None and read_checkpoint(newest).keys() >= {"ToyStudent", "Upstream_Config"}
    assert read_checkpoint(newest)["Step"] == 8 and list(read_metrics(run, "valid")) == [2, 4, 6, 8]

    monkeypatch.setitem(STUDENT_KINDS, "toy", TOY)
    loaded, wav = load_student(newest), torch.randn(4000)
    assert isinstance(loaded, ToyStudent) and loaded.gain == 0.5
    (found,) = find_models([f"mine={run}"])
    assert found.flags()[:2] == ["-u", "gendistiller_local"] and not found.baseline
    with torch.no_grad():
        states = load_upstream(found.upstream, found.checkpoint)([wav])["hidden_states"]
    assert all(map(torch.equal, states, loaded.generate(wav[None]).hidden_states))


def test_a_configuration_without_a_row_is_an_error() -> None:
    config = ToyModelConfig(teacher=read_model_config("gendistiller", {"teacher": {"folder": "x"}}).teacher)
    with pytest.raises(LookupError, match="ToyModelConfig: no row of student_kinds.STUDENT_KINDS has this class"):
        kind_of(config)


def test_every_row_names_itself_and_functions_that_are_there() -> None:
    for name, config in OBJECTIVES.items():
        assert config.name == name
        assert callable(function(f"{config.module}:build"))
        assert not config.files or callable(function(f"{config.module}:check_files"))
    for name, kind in STUDENT_KINDS.items():
        assert kind.name == name and "_" not in name
        assert callable(function(kind.build)) and callable(function(kind.warm_start))


def test_no_name_of_a_kind_or_form_is_compared_outside_its_table() -> None:
    names = {*STUDENT_KINDS, *OBJECTIVES, *HISTORY_INPUTS}
    for kind in STUDENT_KINDS.values():
        names |= {kind.upstream, kind.weights}
    found = []
    for path in sorted((ROOT / "s3prl_gendistiller").rglob("*.py")):
        if path.name in TABLES:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare):
                sides = [item for side in (node.left, *node.comparators) for item in getattr(side, "elts", [side])]
                compared = {side.value for side in sides if isinstance(side, ast.Constant)}
                found += [f"{path.name}:{node.lineno}" for _ in compared & names]
    assert found == []


def test_a_configuration_is_read_without_torch_and_s3prl() -> None:
    code = (
        "import sys\n"
        "from s3prl_gendistiller.student_kinds import STUDENT_KINDS, read_model_config\n"
        "for name in STUDENT_KINDS:\n"
        "    read_model_config(name, {'teacher': {'folder': 'x'}, 'distill': {'target_layers': [1, 2, 3]},"
        " 'objectives': [{}, {'name': 'ckd'}, {'name': 'glmd', 'units': 'u'},"
        " {'name': 'layer_units', 'units': 'u'}]})\n"
        "print([name for name in ('torch', 's3prl', 'transformers') if name in sys.modules])"
    )
    assert succeed(run_python("-c", code)).stdout == "[]\n"
