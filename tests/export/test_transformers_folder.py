"""The folder of transformers, read by transformers in a process that cannot import this package."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from torch.testing import assert_close

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.export import student_files
from s3prl_gendistiller.export.transformers_folder import write_transformers
from s3prl_gendistiller.host.students import load_student
from tests.conftest import run_python
from tests.export.test_hub_folder import CARD, MEL, NO_PACKAGE, THIN, WAVS, save, succeed

READ = f"""
import sys
from s3prl_gendistiller.host import compat
compat.apply()  # transformers imports the torchaudio that is there
{NO_PACKAGE}
import torch
from transformers import AutoFeatureExtractor, AutoModel, AutoModelForAudioClassification, AutoModelForCTC, pipeline
folder, states, tuned = sys.argv[1:]
{WAVS}
remote = dict(trust_remote_code=True)
model = AutoModel.from_pretrained(folder, **remote).eval()
extractor = AutoFeatureExtractor.from_pretrained(folder)
inputs = extractor([wav.numpy() for wav in wavs], sampling_rate=16000, padding=True, return_tensors="pt")
with torch.no_grad():
    found = model(**inputs, output_hidden_states=True)
    assert torch.equal(found.hidden_states[-1], found.last_hidden_state)
    assert model(**inputs).hidden_states is None and len(model(**inputs, return_dict=False)) == 1
    assert len(model(**inputs, output_hidden_states=True, steps=1).hidden_states) == 2
    features = pipeline("feature-extraction", model=folder, **remote)(wavs[1].numpy(), return_tensors=True)
    assert torch.allclose(features, found.last_hidden_state[1:2, : features.shape[1]], atol=1e-5)
    pipe = pipeline("feature-extraction", model=folder, batch_size=2, **remote)
    pair = pipe([wav.numpy() for wav in wavs[:2]], return_tensors=True)
    assert [answer.shape[1] for answer in pair] == [24, 15] and torch.allclose(pair[1], features, atol=1e-5)
torch.save(found.hidden_states, states)
labels = torch.tensor([[1, 2, 3], [4, 4, -100], [5, -100, -100]])
ctc = AutoModelForCTC.from_pretrained(folder, vocab_size=7, **remote)
ctc(**inputs, labels=labels).loss.backward()
assert ctc.lm_head.weight.grad.abs().sum() > 0 and ctc.base_model.student.feature_projection.weight.grad.abs().sum() > 0
classes = AutoModelForAudioClassification.from_pretrained(folder, num_labels=4, use_weighted_layer_sum=True, **remote)
classes.freeze_base_model()
answer = classes.eval()(**inputs, labels=torch.tensor([0, 3, 1]))
answer.loss.backward()
assert answer.hidden_states is None and answer.logits.shape == (3, 4)
assert classes.layer_weights.grad.abs().sum() > 0
assert classes.base_model.student.feature_projection.weight.grad is None
alone = classes(**extractor(wavs[2].numpy(), sampling_rate=16000, return_tensors="pt"))
assert torch.allclose(alone.logits, answer.logits[2:], atol=1e-5)  # no padding in the mean
classes.save_pretrained(tuned)
again = AutoModelForAudioClassification.from_pretrained(tuned, **remote).eval()
assert torch.allclose(again(**inputs).logits, answer.logits, atol=1e-6), again(**inputs).logits - answer.logits
assert not any(name.startswith("s3prl_gendistiller") for name in sys.modules)
"""
REFUSED = """
import sys, torch
import s3prl_gendistiller.transformers
from transformers import AutoModel, AutoModelForAudioClassification, AutoModelForCTC
folder = sys.argv[1]
model = AutoModel.from_pretrained(folder)
ctc = AutoModelForCTC.from_pretrained(folder, vocab_size=7)
classes = AutoModelForAudioClassification.from_pretrained(folder, num_labels=4)
wavs, mask = torch.randn(2, 4000) / 10, torch.ones(2, 4000, dtype=torch.long)
left, hole = mask.clone(), mask.clone()
left[1, :2000] = 0
hole[1, 900:1000] = 0
nan = wavs.clone()
nan[1, 7] = float("nan")
for said, call in {
    "pad on the right": lambda: model(wavs, left),
    "zeros before or between samples": lambda: model(wavs, hole),
    "attention_mask: found the shape (2, 3000)": lambda: model(wavs, mask[:, :3000]),
    "input_values: found (4000,)": lambda: model(wavs[0]),
    "input_values: found list": lambda: model([0.1] * 4000),
    "found nan at sample 7": lambda: model(nan),
    "found samples of type int16": lambda: model((wavs * 32768).short()),
    "found samples up to": lambda: model(wavs * 32768),
    "expected at least 400": lambda: model(wavs[:, :300]),
    "steps: found 9": lambda: model(wavs, steps=9),
    "labels: found 9, expected below vocab_size, 7": lambda: ctc(wavs, labels=torch.tensor([[9], [1]])),
    "expected (B, L)": lambda: ctc(wavs, labels=torch.tensor([1, 2])),
    "labels: found 9, expected below num_labels, 4": lambda: classes(wavs, labels=torch.tensor([9, 1])),
}.items():
    try:
        call()
    except ValueError as error:
        assert said in str(error), (said, str(error))
    else:
        raise AssertionError(said)
assert model(wavs.double()).last_hidden_state.dtype == torch.float32
assert model.to(torch.bfloat16)(wavs).last_hidden_state.dtype == torch.bfloat16
assert torch.isinf(ctc(wavs, labels=torch.ones(2, 50, dtype=torch.long)).loss)  # more labels than frames
model.save_pretrained(sys.argv[2])
again = AutoModel.from_pretrained(sys.argv[2], trust_remote_code=True)
assert "auto_map" not in open(sys.argv[2] + "/config.json").read()
"""
REGISTERED = """
import sys, torch
import s3prl_gendistiller.transformers as own
from transformers import AutoModel, AutoModelForCTC
model = AutoModel.from_pretrained(sys.argv[1])
assert type(model) is own.GenDistillerModel
assert type(AutoModelForCTC.from_pretrained(sys.argv[1])) is own.GenDistillerForCTC
fresh = AutoModel.from_config(own.GenDistillerConfig(config=model.config.config))
assert all(weight.isfinite().all() for weight in fresh.parameters())
"""


@pytest.mark.parametrize("student", [{"position_bias": "gated"}, MEL, {**THIN, "history_input": "recur"}])
def test_transformers_reads_the_folder_without_this_package(tmp_path: Path, student: dict) -> None:
    checkpoint, folder = save(tmp_path / "x.ckpt", **student), tmp_path / "student-v1.0"
    write_transformers(checkpoint, folder, CARD)
    states, tuned = tmp_path / "states.pt", tmp_path / "tuned"
    succeed(run_python("-c", READ, folder, states, tuned, env={"HF_HOME": str(tmp_path / "cache")}))
    torch.manual_seed(0)
    wavs = [torch.randn(samples) / 10 for samples in (8000, 5000, 3210)]
    wanted = load_student(checkpoint).generate(wavs).hidden_states
    assert_close(torch.load(states), tuple(wanted))
    # what transformers wrote is a student of this package, too, with a head or without
    again = load_student(tuned).generate(wavs).hidden_states
    assert_close(again, wanted)


def test_wrong_input_is_named(tmp_path: Path) -> None:
    write_transformers(save(tmp_path / "x.ckpt"), tmp_path / "folder", CARD)
    succeed(run_python("-c", REFUSED, tmp_path / "folder", tmp_path / "saved"))


def test_a_full_disk_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise SafetensorError("No space left on device")

    monkeypatch.setattr(student_files, "save_file", full)
    with pytest.raises(UserError, match="folder: cannot be written .No space left on device.; choose another place"):
        write_transformers(save(tmp_path / "x.ckpt"), tmp_path / "folder", CARD)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.ckpt"]


def test_a_baseline_is_refused(tmp_path: Path) -> None:
    checkpoint = save(tmp_path / "x.ckpt", "distilhubert")
    with pytest.raises(UserError, match="found the student distilhubert, expected gendistiller"):
        write_transformers(checkpoint, tmp_path / "folder", CARD)
    assert not (tmp_path / "folder").exists()


def test_after_one_import_no_code_of_the_folder_runs(tmp_path: Path) -> None:
    write_transformers(save(tmp_path / "x.ckpt"), tmp_path / "folder", CARD, steps=2)
    for path in (tmp_path / "folder").glob("*.py"):
        path.write_text("raise SystemExit('code of the folder')")
    succeed(run_python("-c", REGISTERED, tmp_path / "folder"))
