"""What a checkpoint may make s3prl do: train and evaluate, and nothing else."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.overrides import Overrides, read_overrides
from s3prl_gendistiller.host.stored_run import check_settings, check_stored_downstream, check_stored_pretrain
from s3prl_gendistiller.schema import read_layered_yaml
from s3prl_gendistiller.shipped import shipped_folder

EVIL = "__import__('os').system('id')"
TASKS = ["gendistiller", "tera"]


def downstream(config: dict[str, Any] | None = None, **args: object) -> dict[str, Any]:
    stored = {"upstream": "fbank", "downstream": "emotion", "seed": 1337, "upstream_ckpt": None, **args}
    content = read_layered_yaml(shipped_folder("downstream_runs") / "emotion/config.yaml")
    return {"Args": argparse.Namespace(**stored), "Config": {**content, **(config or {})}}


def pretrain(config: dict[str, Any] | None = None, **args: object) -> dict[str, Any]:
    content = read_layered_yaml(shipped_folder("pretrain_configs") / "gendistiller/config_runner.yaml")
    stored = argparse.Namespace(**{"upstream": "gendistiller", **args})
    return {"Args": stored, "Config": {**content, "distiller": {"of": "s3prl"}, **(config or {})}}


def test_a_run_that_trains_and_evaluates_goes_on() -> None:
    check_stored_downstream(downstream(), "x.ckpt", Overrides())
    check_stored_downstream(downstream(), "x.ckpt", read_overrides("config.optimizer.lr=1e-5,,args.seed=3"))
    found = check_stored_pretrain(pretrain(), "x.ckpt", read_overrides("config.runner.total_steps=300000"), TASKS)
    assert found["runner"]["total_steps"] == 300000 and "distiller" not in found
    check_stored_pretrain(pretrain(upstream="tera"), "x.ckpt", Overrides(), TASKS)


@pytest.mark.parametrize(
    ("states", "override", "expected"),
    [
        (downstream({"optimizer": {"name": EVIL}}), "", "x.ckpt: Config: 1 problem\n  optimizer.name: found"),
        (downstream({"scheduler": {"name": EVIL}}), "", "scheduler.name: found"),
        (downstream({"downstream_expert": {"modelrc": {"select": EVIL}}}), "", "modelrc.select: found"),
        (downstream({"runner": {"eval_dataloaders": [EVIL]}}), "", "runner.eval_dataloaders[0]: found"),
        (downstream({"runner": 5}), "", "runner: found 5 (a whole number), expected a section"),
        (downstream(), "config.runner.totl_steps=3", "runner.totl_steps: unknown key; did you mean total_steps?"),
        (downstream(), "config.optimizer.name='Adm'", "optimizer.name: found 'Adm'"),
        (downstream(downstream="os.path"), "", "-d: found 'os.path', expected one of"),
        (downstream(), f"args.downstream={EVIL}", "-d: found"),
        (downstream(upstream=EVIL), "", "as args.upstream, expected the name of an upstream"),
        (downstream(upstream="_urls"), "", "as args.upstream, expected the name of an upstream"),
        (downstream(upstream=["fbank"]), "", "found ['fbank'] as args.upstream, expected text"),
        (downstream(seed="1"), "", "found '1' as args.seed, expected a whole number"),
        (downstream(upstream_trainable=[1]), "", "as args.upstream_trainable, expected True or False"),
        (downstream(hub="huggingface"), "", "would download code from the Hugging Face hub and run it"),
        (downstream(from_hf_hub=True), "", "would download code from the Hugging Face hub and run it"),
        (downstream(push_to_hf_hub=True), "", "would upload the run's folder to the Hugging Face hub"),
        ({"Args": {"upstream": "x"}, "Config": {}}, "", "found Args of type dict, expected a run's Namespace"),
        ({"Args": argparse.Namespace(), "Config": [1]}, "", "found Config of type list, expected a run's dict"),
    ],
)
def test_a_downstream_run_that_would_do_more_is_refused(states: dict[str, Any], override: str, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        check_stored_downstream(states, "x.ckpt", read_overrides(override))
    assert expected in str(caught.value)


def test_what_no_yaml_could_hold_is_refused_without_a_traceback() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    round_about: dict[str, Any] = {}
    round_about["a"] = round_about
    for wrong in (
        downstream({"optimizer": {"name": deep}}),
        downstream({"optimizer": {"name": "Adam", "lr": -(10**5000)}}),
        downstream({"runner": {"total_steps": -(10**5000)}}),
        downstream({"downstream_expert": round_about}),
        downstream({"downstream_expert": round_about}, downstream="atis"),
        downstream(seed=deep),
        downstream(upstream=deep),
    ):
        with pytest.raises(UserError):
            check_stored_downstream(wrong, "x.ckpt", Overrides())


@pytest.mark.parametrize("answer", ["True", "False"])
def test_an_upload_is_asked_for_by_the_command(answer: str) -> None:
    override = read_overrides(f"args.push_to_hf_hub={answer}")
    check_stored_downstream(downstream(push_to_hf_hub="yes"), "x.ckpt", override)


@pytest.mark.parametrize(
    ("states", "override", "expected"),
    [
        (pretrain({"optimizer": {"name": EVIL}}), "", "x.ckpt: Config: 1 problem\n  optimizer.name: found"),
        (pretrain({"scheduler": {"name": EVIL}}), "", "scheduler.name: found"),
        (pretrain({"scheduler": {"name": EVIL}}, upstream="tera"), "", "scheduler.name: found"),
        (pretrain(), "config.optimizer.lrr=1", "optimizer.lrr: unknown key; did you mean lr?"),
        (pretrain(), "config.runner=5", "runner: found 5"),
        (pretrain(), "config.runner.gradient_clipping='nan'", "found nan, expected a finite number"),
        (
            pretrain(),
            "config.runner.log_step=200001",
            "-o: 1 problem\n  runner.log_step: found 200001, expected at most",
        ),
        (pretrain(upstream="os"), "", "found task 'os' in it, expected one of gendistiller, tera"),
        (pretrain(multi_gpu=3), "", "as args.multi_gpu, expected True or False"),
    ],
)
def test_a_pretraining_run_that_would_do_more_is_refused(states: dict[str, Any], override: str, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        check_stored_pretrain(states, "x.ckpt", read_overrides(override), TASKS)
    assert expected in str(caught.value)


def test_settings_of_an_upstream_are_plain_data(tmp_path: object) -> None:
    check_settings("gendistiller_local", "steps: 2")
    check_settings("distiller_local", "moved.yaml")
    path = shipped_folder("downstream_runs") / "asr/char.dict"
    for settings in ("steps: [", "stepz: 2", "steps: .nan"):
        with pytest.raises(UserError):
            check_settings("gendistiller_local", settings)
    with pytest.raises(UserError, match="char.dict"):
        check_settings("baseline_local", str(path))
