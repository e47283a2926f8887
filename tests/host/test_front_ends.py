"""Every front end that is not HuBERT's: trained, gone on with, loaded and exported through the real commands."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from s3prl_gendistiller import build_student, load_student
from s3prl_gendistiller.cli import downstream
from s3prl_gendistiller.config import THIN_CHANNELS
from s3prl_gendistiller.errors import ConfigError
from s3prl_gendistiller.host.checkpoint import newest_checkpoint, read_checkpoint
from s3prl_gendistiller.host.layers import load_upstream
from s3prl_gendistiller.models.mel import MelFrontEnd
from s3prl_gendistiller.models.thin import ThinFrontEnd
from s3prl_gendistiller.student_kinds import STUDENT_KINDS, read_model_config
from s3prl_gendistiller.superb.models import find_models
from tests.bench import LAUNCH, Bench
from tests.conftest import TINY, run_python
from tests.host.test_launchers import succeed

FRONT_ENDS = {  # keys of the student, and whether the teacher's convolutions are copied
    "mel": ({"front_end": "mel", "mel_bins": 20, "mel_channels": 12}, False),
    "thin": ({"front_end": "thin", "thin_channels": [6, 8, 8, 8, 8, 10, 12]}, True),
}
MODULES = {"mel": MelFrontEnd, "thin": ThinFrontEnd}


def behind(name: str, bench: Bench, kind: str, folder: Path) -> Path:
    student, copied = FRONT_ENDS[name]
    content = {"base": str(bench.model(folder, kind)), "student": student, "warm_start": {"front_end": copied}}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("kind", STUDENT_KINDS)
@pytest.mark.parametrize("name", FRONT_ENDS)
def test_a_student_behind_another_front_end_is_trained_gone_on_with_and_loaded(
    name: str,
    kind: str,
    bench: Bench,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = behind(name, bench, kind, tmp_path)
    files = ("-g", model, "-c", bench.runner(tmp_path, kind))
    answer = succeed(run_python("-c", LAUNCH, "-u", kind, "-n", "x", *files, cwd=tmp_path, env=bench.environment))
    assert ("kept 6 of 16, 8 of 16" in answer.stderr) == FRONT_ENDS[name][1]
    run = tmp_path / "result/pretrain/x"
    longer = ("-e", run, "-o", "config.runner.total_steps=8")
    succeed(run_python("-c", LAUNCH, *longer, cwd=tmp_path, env=bench.environment))
    newest = newest_checkpoint(run)
    assert newest is not None and read_checkpoint(newest)["Step"] == 8
    student, wavs = load_student(newest), [torch.randn(4000), torch.randn(2700)]
    assert any(isinstance(module, MODULES[name]) for module in student.modules())
    (found,) = find_models([f"mine={run}"])
    assert found.flags()[:2] == ["-u", "gendistiller_local"]
    with torch.no_grad():
        states = load_upstream(found.upstream, found.checkpoint)(wavs)["hidden_states"]
        alone = load_upstream(found.upstream, found.checkpoint)(wavs[1:])["hidden_states"]
    assert [state.shape[1] for state in states] == [12] * len(states)
    for together, by_itself in zip(states, alone, strict=True):
        assert torch.allclose(together[1, : by_itself.shape[1]], by_itself[0], atol=1e-4)
    if kind == "distilhubert":
        monkeypatch.chdir(tmp_path)
        assert downstream.main(["-u", "distiller_local", "-k", str(newest), "-d", "asr"]) == 2
        assert "gendistiller_local" in capsys.readouterr().err


def test_a_baseline_whose_front_end_is_as_wide_as_its_layers_is_trained(bench: Bench, tmp_path: Path) -> None:
    model = behind("mel", bench, "distilhubert", tmp_path)
    content = yaml.safe_load(model.read_text())
    content["student"] |= {"mel_channels": TINY["encoder_embed_dim"], "feature_grad_mult": 0.1}
    model.write_text(yaml.safe_dump(content))
    student = build_student(read_model_config("distilhubert", model))
    output = student(torch.randn(2, 4000), torch.tensor([4000, 2700]))
    output.predictions.sum().backward()
    assert all(p.grad is not None for name, p in student.named_parameters() if "feature_extractor" in name)
    assert student.distiller.post_extract_proj.in_features == TINY["encoder_embed_dim"]


def test_a_warm_start_that_the_front_end_cannot_take_is_refused(bench: Bench, tmp_path: Path) -> None:
    model = behind("mel", bench, "gendistiller", tmp_path)
    model.write_text(model.read_text().replace("front_end: false", "front_end: true"))
    with pytest.raises(ConfigError, match="warm_start.front_end: found true with student.front_end mel"):
        build_student(model)


@pytest.mark.parametrize("kind", STUDENT_KINDS)
def test_keys_of_another_front_end_are_refused_in_the_file_that_names_one(
    kind: str, bench: Bench, tmp_path: Path
) -> None:
    base = bench.model(tmp_path, kind)  # states extractor_conv_feature_layers, which belongs to the base's front end
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"base: {base}\nstudent: {{front_end: mel, mel_bins: 40}}\nwarm_start: {{front_end: false}}\n")
    assert read_model_config(kind, mine).student.mel_bins == 40
    mine.write_text(f"base: {base}\nstudent: {{front_end: thin, extractor_mode: layer_norm}}\n")
    assert read_model_config(kind, mine).student.thin_channels == THIN_CHANNELS
    mine.write_text(f"base: {base}\nstudent: {{front_end: mel, extractor_mode: layer_norm, conv_pos_groups: 7}}\n")
    message = refused(kind, mine)
    assert "student.extractor_mode: found with front_end mel, expected front_end conv or thin" in message
    assert "encoder_embed_dim: found 24, which conv_pos_groups 7 does not divide" in message
    mine.write_text(f"base: {base}\nstudent: {{mel_bins: 40}}\n")
    assert "student.mel_bins: found with front_end conv, expected front_end mel" in refused(kind, mine)


@pytest.mark.parametrize("channels", [[8] * 6, [8] * 8, [], [8, 8, 8, 0, 8, 8, -1]])
def test_wrong_channels_are_listed_with_keys_of_other_front_ends(
    channels: list[int], bench: Bench, tmp_path: Path
) -> None:
    keys = {"front_end": "thin", "thin_channels": channels, "mel_bins": 40, "conv_pos_groups": 7}
    keys["extractor_conv_feature_layers"] = [[16, 10, 5]]
    mine = tmp_path / "mine.yaml"
    mine.write_text(yaml.safe_dump({"base": str(bench.model(tmp_path)), "student": keys}))
    message = refused("gendistiller", mine)
    assert f"student.thin_channels: found {channels}, expected 7 positive numbers" in message
    assert "student.mel_bins: found with front_end thin, expected front_end mel" in message
    assert "student.extractor_conv_feature_layers: found with front_end thin, expected front_end conv" in message
    assert "which conv_pos_groups 7 does not divide" in message


def refused(kind: str, model: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_model_config(kind, model)
    return str(caught.value)
