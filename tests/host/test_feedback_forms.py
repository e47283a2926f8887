"""The forms of history and of the output layer in pretrain_configs/ablations: trained, gone on with, used, exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from miniature.forms import joined
from s3prl_gendistiller import load_student
from s3prl_gendistiller.errors import ConfigError
from s3prl_gendistiller.export.card import Card
from s3prl_gendistiller.export.hub_folder import write_hub_folder
from s3prl_gendistiller.host.upstream_expert import UpstreamExpert
from s3prl_gendistiller.schema import merge
from s3prl_gendistiller.student_kinds import read_model_config
from s3prl_gendistiller.superb.cost.counted_models import counted_models, model_sources
from s3prl_gendistiller.superb.models import find_models
from tests.bench import Bench
from tests.host.test_pretrain_expert import train

CARD = Card("mine", 123_456, 0.5, 8)
WAVS = [torch.randn(samples, generator=torch.Generator().manual_seed(samples)) / 10 for samples in (8_000, 5_000)]
FRONT_ENDS: dict[str, dict[str, Any]] = {"": {}, "+mel_no_norm": {"mel_bins": 20, "mel_channels": 16}}
WITHOUT_OUTPUT = ("echo+head", "echo+head_linear", "head+predict_last", "echo+head+predict_both")
FORMS = (
    *WITHOUT_OUTPUT,
    *("echo+head_exposed", "head", "head_linear", "project_teacher_forced+head"),
    *("project_teacher_forced", "teacher_forced", "scheduled"),
)
LAYERS = {"target_layers": [1, 2, 3]}


def sections(form: str, front_end: str = "", **tiny: Any) -> dict[str, Any]:
    """What a form states, for a tiny student whose history is at work."""
    stated = joined(form + front_end)
    assert stated.task == "gendistiller"
    sizes = {"student": {"history_init": "random", **FRONT_ENDS[front_end]}, "distill": LAYERS}
    return merge(merge(dict(stated.difference), sizes), tiny)


def saved(expert: Any, path: Path) -> Path:
    torch.save(expert.add_state_to_save({"Config": {}}), path)
    return path


@pytest.mark.parametrize("front_end", FRONT_ENDS)
@pytest.mark.parametrize("form", FORMS)
def test_a_form_trains_goes_on_exactly_and_serves(form: str, front_end: str, make: Any, tmp_path: Path) -> None:
    stated = sections(form, front_end)
    unbroken = make(**stated)
    losses = train(unbroken, 7)
    first = make(**stated)
    assert train(first, 4) == losses[:4]  # an epoch
    states = first.add_state_to_save({"Config": {}})  # with the state of random numbers, which `make` sets anew
    second = make(**stated)
    second.load_model(states)
    torch.randn(100)
    assert train(second, 3, first=5) == losses[4:]
    student = unbroken.model["student"]
    weights, again = student.state_dict(), second.model["student"].state_dict()
    assert all(torch.equal(value, again[name]) for name, value in weights.items())

    checkpoint = saved(unbroken, tmp_path / "states-7.ckpt")
    whole = load_student(checkpoint, whole=True).generate(WAVS)
    write_hub_folder(checkpoint, tmp_path / "hub", CARD)
    lengths = [len(wav) for wav in WAVS]
    for place in (checkpoint, tmp_path / "hub"):
        used = UpstreamExpert(str(place)).eval()
        with torch.no_grad():
            layers = used(WAVS)["hidden_states"]
        assert lengths[0] // 320 - 1 == layers[0].shape[1] and len(layers) == 4
        real = whole.frame_mask
        assert all(torch.equal(*(one[real] for one in pair)) for pair in zip(layers, whole.hidden_states, strict=True))
        names = used.student.state_dict().keys()
        assert any(name.startswith("output.") for name in names) == (form not in WITHOUT_OUTPUT)
    assert load_file(tmp_path / "hub/model.safetensors").keys() == names
    predicted = whole.predictions
    assert ("head" in form and "exposed" not in form) != torch.equal(predicted[:, -1][real], layers[-1][real])


@pytest.mark.parametrize("form", ["echo+head", "head", "teacher_forced"])
def test_a_configuration_and_its_trained_student_are_counted_as_used(
    form: str, make: Any, bench: Bench, tmp_path: Path
) -> None:
    stated = sections(form)
    checkpoint = saved(make(**stated), tmp_path / "states-0.ckpt")
    sources = model_sources(find_models([f"trained={checkpoint}"]), [f"plan={bench.model(tmp_path, **stated)}"], [])
    sizes = [row.parameters for source in sources for row in counted_models(source)]
    used = sum(parameter.numel() for parameter in load_student(checkpoint).parameters())
    assert sizes == [used, used]
    bare = sum(parameter.numel() for parameter in load_student(checkpoint, whole=True).parameters()) - used
    assert bare == (5 * 24 * 24 + 4 * 24 if form == "echo+head" else 0)


def test_keys_without_effect_are_refused_at_once() -> None:
    content = {
        "teacher": {"upstream": "hubert_base"},
        "student": {
            **{"history_input": "echo", "output_layer": False, "output_form": "mlp", "exposed_layer": "hidden"},
            "predicted_from": "both",
        },
    }
    with pytest.raises(ConfigError) as caught:
        read_model_config("gendistiller", content)
    message = str(caught.value)
    for said in (
        "student.output_form: found mlp with output_layer false, expected linear, or output_layer true",
        "student.exposed_layer: found hidden with output_layer false, expected generated, or output_layer true",
        "student.predicted_from: found both with output_layer false, expected step, or output_layer true",
    ):
        assert said in message


@pytest.mark.parametrize(
    ("student", "said"),
    [
        ({"predicted_from": "both"}, "found both with exposed_layer generated, expected step, or exposed_layer hidden"),
        (
            {"predicted_from": "last", "exposed_layer": "hidden"},
            "found last with history_input carry and skip_connection none, expected step or both",
        ),
        (
            {"predicted_from": "last", "exposed_layer": "hidden", "history_input": "echo", "skip_connection": "layer"},
            "found last with history_input echo and skip_connection layer, expected step or both",
        ),
    ],
)
def test_a_prediction_that_the_student_cannot_make_is_refused(student: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=f"student.predicted_from: {said}"):
        read_model_config("gendistiller", {"teacher": {"upstream": "hubert_base"}, "student": student})
