"""Configurations of run_downstream.py: every shipped one is right, and what s3prl evaluates of it is one of a list."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.downstream_config import EXPERTS, check_downstream, check_stored_config, splits
from s3prl_gendistiller.schema import read_layered_yaml
from s3prl_gendistiller.shipped import shipped_folder

RUNS = shipped_folder("downstream_runs")
SHIPPED = sorted(RUNS.glob("*/*.yaml"))
EVIL = "__import__('os').system('id')"


def content(path: str) -> dict[str, Any]:
    return copy.deepcopy(read_layered_yaml(RUNS / path))


def put(content: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    *path, last = key.split(".")
    section = content
    for name in path:
        section = section.setdefault(name, {})
    section[last] = value
    return content


def refused(path: str, key: str, value: object, task: str | None = None) -> str:
    task = task or path.split("/")[0]
    wrong = put(content(path), key, value)
    with pytest.raises(UserError) as caught:
        check_downstream(task, wrong, "c.yaml")
    with pytest.raises(UserError):  # the same in a checkpoint
        check_stored_config(task, wrong, "states-1.ckpt: Config")
    return str(caught.value)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_shipped_configuration_is_right_and_reaches_s3prl_as_it_is(path: Path) -> None:
    given = read_layered_yaml(path)
    assert check_downstream(path.parent.name, given, str(path)) == given
    check_stored_config(path.parent.name, given, str(path))
    assert {path.parent.name for path in SHIPPED} == set(EXPERTS)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        *[(f"{task}/config.yaml", "optimizer.name") for task in ("asr", "emotion", "sv_voxceleb1")],
        ("asr/config.yaml", "optimizer.torch_optim_name"),
        ("asr/config.yaml", "downstream_expert.modelrc.select"),
        ("asr/config.yaml", "downstream_expert.modelrc.RNNs.module"),
        ("asr/config.yaml", "downstream_expert.datarc.decoder_args.unk_weight"),
        ("asr/lm.yaml", "downstream_expert.datarc.decoder_args.unk_weight"),
        ("ctc/libriphone.yaml", "downstream_expert.model.select"),
        ("ctc/libriphone.yaml", "downstream_expert.text.mode"),
        ("ctc/libriphone.yaml", "downstream_expert.corpus.name"),
        ("diarization/config.yaml", "runner.train_dataloader"),
        *[
            (f"{task}/config.yaml", f"downstream_expert.modelrc.{key}")
            for task in ("speech_commands", "voxceleb1", "fluent_commands", "emotion")
            for key in ("select", "UtteranceLevel.pooling", "UtteranceLevel.activation")
        ],
        ("emotion/config.yaml", "downstream_expert.modelrc.UtteranceLevel.pre_net.select"),
        ("emotion/config.yaml", "downstream_expert.modelrc.DeepModel.model_type"),
        *[
            ("sv_voxceleb1/config.yaml", f"downstream_expert.modelrc.{key}")
            for key in ("module", "agg_module", "utter_module", "ObjectiveLoss")
        ],
        ("quesst14_dtw/config.yaml", "downstream_expert.dtwrc.step_pattern"),
        ("quesst14_dtw/config.yaml", "downstream_expert.dtwrc.dist_method"),
    ],
)
def test_a_name_that_s3prl_evaluates_is_one_of_a_list(path: str, key: str) -> None:
    assert f"{key}: found" in refused(path, key, EVIL)


def test_a_list_of_names_that_s3prl_evaluates_is_one_of_a_list_each() -> None:
    assert "runner.eval_dataloaders[1]: found" in refused(
        "emotion/config.yaml", "runner.eval_dataloaders", ["dev", EVIL]
    )
    assert "downstream_expert.metric[0]" in refused("ctc/snips.yaml", "downstream_expert.metric", [EVIL])
    assert "save_best_on[0]" in refused("ctc/snips.yaml", "downstream_expert.save_best_on", [EVIL])
    missing = content("emotion/config.yaml")
    missing["runner"] = {"eval_dataloaders": [EVIL]}  # a checkpoint may lack the other keys
    with pytest.raises(UserError, match="eval_dataloaders"):
        check_stored_config("emotion", missing, "x.ckpt")


@pytest.mark.parametrize(
    ("path", "key", "value", "expected"),
    [
        ("asr/config.yaml", "optimiser", {}, "optimiser: unknown key; did you mean optimizer?"),
        ("asr/config.yaml", "runner", 5, "runner: found 5 (a whole number), expected a section of keys"),
        ("asr/config.yaml", "runner.totl_steps", 5, "runner.totl_steps: unknown key; did you mean total_steps?"),
        ("asr/config.yaml", "runner.total_steps", "2e5", "runner.total_steps: found '2e5' (text), expected a whole"),
        ("asr/config.yaml", "runner.gradient_clipping", float("nan"), "found nan, expected a finite number"),
        ("asr/config.yaml", "runner.eval_dataloaders", ["dev-claen"], "found 'dev-claen', expected one of train"),
        ("asr/config.yaml", "runner.eval_dataloaders", ["dev"], "datarc.dev: missing; runner names it as a split"),
        ("asr/config.yaml", "specaug.adaptiv", True, "specaug.adaptiv: unknown key; did you mean adaptive?"),
        ("asr/config.yaml", "specaug.num_time_mask", "two", "specaug.num_time_mask: found 'two' (text)"),
        ("asr/config.yaml", "specaug.freq_mask_width_range", [50, 0], "found [50, 0], expected two widths"),
        (
            "asr/config.yaml",
            "downstream_expert.datarc.libri_rot",
            "x",
            "libri_rot: unknown key; did you mean libri_root?",
        ),
        ("asr/config.yaml", "downstream_expert.modelrc.RNNs.dim", [8], "dropout: found 2 entries, expected 1"),
        ("asr/config.yaml", "scheduler", {"name": "linear"}, "scheduler.name: found 'linear', expected one of"),
        ("emotion/config.yaml", "downstream_expert.datarc.test_fold", "fold6", "found 'fold6', expected one of fold1"),
        ("emotion/config.yaml", "downstream_expert.modelrc.projector_dm", 1, "did you mean projector_dim?"),
        ("emotion/config.yaml", "downstream_expert.modelrc.UtteranceLevel.hiddens", [1], "hiddens: unknown key"),
        (
            "emotion/config.yaml",
            "downstream_expert.glmd",
            {"teacher": "x"},
            "only the tasks that begin with glmd_ are trained on a teacher's outputs",
        ),
        ("diarization/config.yaml", "downstream_expert.datarc.rate", 8000, "rate: found 8000, expected at least 16000"),
        ("sv_voxceleb1/config.yaml", "downstream_expert.modelrc.module", "Identity", "module_config.Identity: missing"),
        ("ctc/snips.yaml", "downstream_expert.text.slots_file", None, "slots_file: missing; mode character-slot reads"),
        ("quesst14_dtw/config.yaml", "downstream_expert.dtwrc.subseqence", True, "did you mean subsequence?"),
        ("quesst14_dtw/config.yaml", "downstream_expert.dtwrc.step_pattern", "symmetric2", "expected asymmetric"),
        ("quesst14_dtw/config.yaml", "downstream_expert.dtwrc.dist_method", "cosine_neg_log", "with feature_normaliz"),
    ],
)
def test_a_wrong_key_or_type_is_named_with_its_remedy(path: str, key: str, value: object, expected: str) -> None:
    assert expected in refused(path, key, value)


def test_the_configurations_of_another_launcher_and_an_unknown_task_are_named() -> None:
    with pytest.raises(UserError, match=r"holds student, a configuration of run_pretrain\.py"):
        check_downstream("asr", {"student": {}}, "m.yaml")
    with pytest.raises(UserError, match="-d: found 'asrr', expected one of asr, .*; did you mean asr?"):
        check_downstream("asrr", content("asr/config.yaml"), "c.yaml")
    for name in ("../asr", "asr.expert", "", EVIL):
        with pytest.raises(UserError, match="-d: found"):
            check_downstream(name, content("asr/config.yaml"), "c.yaml")


def test_a_task_of_s3prls_own_may_name_its_own_classes_alone() -> None:
    other = {
        "runner": content("emotion/config.yaml")["runner"],
        "optimizer": {"name": "AdamW", "lr": "1e-4"},
        "downstream_expert": {"modelrc": {"module": "TransformerEncoder", "agg_module": "SAP"}, "datarc": {"x": EVIL}},
    }
    assert check_downstream("atis", other, "c.yaml")["optimizer"]["lr"] == 1e-4
    for key in (
        "downstream_expert.modelrc.agg_module",
        "downstream_expert.a.select",
        "downstream_expert.modelrc.module",
    ):
        with pytest.raises(UserError, match=re.escape(f"{key}: found")):
            check_downstream("atis", put(copy.deepcopy(other), key, EVIL), "c.yaml")
    with pytest.raises(UserError, match="expected the name of a split"):
        check_downstream("atis", put(copy.deepcopy(other), "runner.eval_dataloaders", [EVIL]), "c.yaml")


def test_splits_are_those_of_the_task() -> None:
    assert splits("emotion", {}) == splits("glmd_ks", {}) == ("train", "dev", "test")
    assert splits("asr", content("asr/config.yaml")) == ("train", "dev-clean", "dev-other", "test-clean", "test-other")
    sets = {"downstream_expert": {"datarc": {"train": ["a"], "dev-clean": ["b"], "num_workers": 1}}}
    assert splits("asr", sets) == splits("glmd_asr", sets) == ("train", "dev-clean")
    assert splits("ctc", {}) == ("train", "dev", "test") and splits("quesst14_dtw", {}) == ("dev", "test", "eval")
    assert splits("mosei", {}) == ()
