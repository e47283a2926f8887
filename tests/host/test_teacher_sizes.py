"""A configuration and its teacher before any weight is read: training, --check and macs give one answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from s3prl_gendistiller.cli import main, pretrain
from s3prl_gendistiller.config import TeacherConfig
from s3prl_gendistiller.errors import ConfigError
from s3prl_gendistiller.host import teacher_sizes
from s3prl_gendistiller.host.teacher_sizes import SIZES, check_teacher, compare, read_sizes
from s3prl_gendistiller.host.upstreams import reads_checkpoint, upstreams
from s3prl_gendistiller.schema import merge
from s3prl_gendistiller.student_kinds import STUDENT_KINDS, read_model_config
from s3prl_gendistiller.superb.cost.counted_models import model_sources
from tests.bench import Bench
from tests.fairseq import host_checkpoint


def named(upstream: str, **sections: Any) -> Any:
    return read_model_config("gendistiller", {"teacher": {"upstream": upstream}, **sections})


def test_every_name_is_an_upstream_that_loads_its_own_checkpoint() -> None:
    assert SIZES.keys() <= set(upstreams()) and not any(map(reads_checkpoint, SIZES))


def test_a_known_name_needs_neither_s3prl_nor_a_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(teacher_sizes, "check_hub_teacher")
    assert check_teacher(named("wavlm_base_plus"), "x.yaml") == (12, 768, None)
    deep = {"distill": {"target_layers": [8, 20]}}
    with pytest.raises(ConfigError, match=r"x.yaml: student and teacher hubert_base do not fit.*\n.*found 20, expe"):
        check_teacher(named("hubert_base", **deep), "x.yaml")
    lines = compare(named("hubert_large_ll60k", **deep), "x.yaml")
    assert "from the student's 768 channels to the teacher's 1024, 1,574,912 parameters" in lines[0]


@pytest.mark.parametrize("kind", ["folder", "transformers", "fairseq"])
def test_files_say_their_sizes(kind: str, bench: Bench, tmp_path: Path) -> None:
    if kind == "folder":
        teacher = TeacherConfig(folder=str(bench.teacher))
    elif kind == "transformers":
        teacher = TeacherConfig(upstream="hf_hubert_custom", checkpoint=str(bench.teacher))
    else:
        checkpoint = host_checkpoint(bench.teacher, tmp_path / "t.pt")
        teacher = TeacherConfig(upstream="hubert_base", checkpoint=str(checkpoint))  # loaded by hubert_local
    sizes = read_sizes(teacher)
    assert sizes is not None and (sizes.num_layers, sizes.width) == (3, 24)
    assert (sizes.layout is None) == (kind == "fairseq")


@pytest.mark.parametrize(
    "teacher",
    [
        {"folder": "nowhere/hubert"},
        {"folder": "${SUPERB_DATA}/absent"},
        {"upstream": "hubert_local", "checkpoint": "no.pt"},
    ],
)
def test_a_teacher_on_another_machine_is_not_compared(teacher: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUPERB_DATA", raising=False)
    config = read_model_config("gendistiller", {"teacher": teacher, "distill": {"target_layers": [99]}})
    (line,) = compare(config, "x.yaml")
    assert line.startswith("not compared with its teacher: teacher.") and line.endswith("is not there")


def test_an_unknown_teacher_is_said_to_be_unknown() -> None:
    (line,) = compare(named("discretebert"), "x.yaml")
    assert line.endswith("the sizes of discretebert show only when its weights are loaded")


@pytest.mark.parametrize("kind", STUDENT_KINDS)
@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({}, ""),
        ({"student": {"encoder_embed_dim": 12}}, ""),
        ({"student": {"encoder_embed_dim": 12}, "distill": {"target_layers": [3, 4]}}, "found 4, expected 1..3"),
        ({"student": {"encoder_ffn_embed_dim": 20}}, "encoder_ffn_embed_dim: found 20, expected 32"),
        ({"student": {"encoder_embed_dim": 13}}, "found 13, which encoder_attention_heads 2 and conv_pos"),
    ],
)
def test_training_check_and_macs_give_one_answer(
    kind: str,
    sections: dict[str, Any],
    said: str,
    bench: Bench,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUPERB_DATA", str(bench.data))
    model = bench.model(tmp_path, kind)
    content = yaml.safe_load(model.read_text())
    model.write_text(yaml.safe_dump(merge(content, sections)))
    files = ["-u", kind, "-g", str(model), "-c", str(bench.runner(tmp_path, kind))]
    commands: dict[str, Callable[[], int]] = {
        "training": lambda: pretrain.main(files, host=lambda call: None),
        "check": lambda: main(["config", kind, "--check", str(model)]),
    }
    if said:
        commands["macs"] = lambda: main(["macs", "--config", str(model)])
        for name, run in commands.items():
            assert run() == 2, name
            error = capsys.readouterr().err
            assert said in error and str(model) in error, name
        return
    assert commands["training"]() == 0
    capsys.readouterr()
    assert commands["check"]() == 0
    first, *lines = capsys.readouterr().out.splitlines()
    (source,) = model_sources([], [f"{kind}={model}"], [])
    assert first.endswith(f"a valid {kind} configuration") and [line.strip() for line in lines] == list(source.remarks)
    assert [line.partition(":")[0] for line in source.remarks] == (["layerwise", "warm_start"] if sections else [])


def test_faults_of_model_teacher_and_runner_come_at_once(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model = bench.model(tmp_path, distill={"target_layers": [1, 9]}, student={"encoder_attention_heads": 4})
    runner = bench.runner(tmp_path, save_steps=3)
    assert pretrain.main(["-u", "gendistiller", "-g", str(model), "-c", str(runner)], host=lambda call: None) == 2
    error = capsys.readouterr().err
    assert "runner.save_steps: unknown key" in error and "distill.target_layers: found 9, expected 1..3" in error
    assert "student.encoder_attention_heads: found 4, expected 2" in error
