"""`gendistiller units` on several layers at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from s3prl_gendistiller.cli import main
from s3prl_gendistiller.distill.units import Units
from tests.bench import Bench
from tests.cli.test_units import command


def test_several_layers_give_a_folder_with_the_units_of_each(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, asked = tmp_path / "units", ("--clusters", "12", "--ratio", "1")
    assert main(command(bench, out, "--layer", "3", "1", *asked)) == 0
    assert sorted(path.name for path in out.iterdir()) == ["layer1.safetensors", "layer3.safetensors"]
    assert [path.name for path in tmp_path.iterdir()] == ["units"]
    assert "12 units of layer 1 of" in capsys.readouterr().out
    for layer in (1, 3):
        alone = tmp_path / f"alone{layer}"
        assert main(command(bench, alone, "--layer", str(layer), *asked)) == 0
        one, other = Units.load(out / f"layer{layer}.safetensors"), Units.load(alone)
        assert one.layer == other.layer and one.facts == other.facts and torch.equal(one.counts, other.counts)
        torch.testing.assert_close(one.predict.embeddings, other.predict.embeddings)
    assert main(command(bench, out, "--layer", "1", "3", *asked)) == 2
    assert "already exists" in capsys.readouterr().err
