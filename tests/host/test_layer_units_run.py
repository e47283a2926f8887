"""Units on every layer: trained, gone on with, loaded, exported."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml

from s3prl_gendistiller import load_student
from s3prl_gendistiller.cli import main
from s3prl_gendistiller.export.hub_folder import write_hub_folder
from s3prl_gendistiller.host.checkpoint import newest_checkpoint, read_checkpoint
from s3prl_gendistiller.host.layers import load_upstream
from s3prl_gendistiller.superb.models import find_models
from tests.bench import LAUNCH, Bench
from tests.cli.test_units import command
from tests.conftest import run_python
from tests.export.test_hub_folder import CARD, load_as_the_host, succeed
from tests.host.test_launchers import succeed as answered


def test_a_student_of_units_is_trained_gone_on_with_loaded_and_exported(bench: Bench, tmp_path: Path) -> None:
    assert main(command(bench, tmp_path / "u", "--layer", "1", "3", "--clusters", "12", "--ratio", "1")) == 0
    content = {
        "base": str(bench.model(tmp_path)),
        "objectives": [{"name": "layerwise"}, {"name": "layer_units", "units": "u", "weight": 0.1}],
    }
    model = tmp_path / "form.yaml"
    model.write_text(yaml.safe_dump(content))
    files = ("-g", model, "-c", bench.runner(tmp_path))
    answered(run_python("-c", LAUNCH, "-u", "gendistiller", "-n", "x", *files, cwd=tmp_path, env=bench.environment))
    run = tmp_path / "result/pretrain/x"
    whole = newest_checkpoint(run)
    assert whole is not None
    expected = read_checkpoint(whole)
    whole.unlink()  # as after a kill between the two checkpoints
    answered(run_python("-c", LAUNCH, "-e", run, cwd=tmp_path, env=bench.environment))
    newest = newest_checkpoint(run)
    assert newest is not None
    found = read_checkpoint(newest)
    assert found["Step"] == expected["Step"] == 6
    for part in ("GenDistiller", "Objectives"):
        assert found[part].keys() == expected[part].keys()
        assert all(torch.equal(value, expected[part][name]) for name, value in found[part].items())

    loaded, wav = load_student(newest), torch.randn(4000)
    wanted = loaded.generate(wav[None]).hidden_states
    (model_of_suite,) = find_models([f"mine={run}"])
    with torch.no_grad():
        states = load_upstream(model_of_suite.upstream, model_of_suite.checkpoint)([wav])["hidden_states"]
    assert len(states) == 3 and all(map(torch.equal, states, wanted))
    write_hub_folder(newest, tmp_path / "hub", CARD)
    assert "states 3" in succeed(load_as_the_host(newest, tmp_path / "hub"))
