"""Teachers from transformers folders, against the plain models of transformers."""

from __future__ import annotations

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from hubert.random_teacher import write_random_teacher
from s3prl_gendistiller.distill.transformers_teacher import (
    CLASSES,
    load_transformers_teacher,
    read_teacher_shape,
)
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.models.front_end import normalise_samples
from tests.bench import TINY_TEACHER
from tests.replicas import replicate

Audio = tuple[torch.Tensor, torch.Tensor]


def write(folder: Path, **changes: object) -> Path:
    return write_random_teacher(folder, **{**TINY_TEACHER, **changes})


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "teacher")


@pytest.mark.parametrize("model_type", CLASSES)
@pytest.mark.parametrize("stable", [False, True])
def test_hidden_states_are_those_of_transformers(tmp_path: Path, wavs: Audio, model_type: str, stable: bool) -> None:
    folder = write(tmp_path / "t", model_type=model_type, stable_layer_norm=stable)
    reference = getattr(transformers, CLASSES[model_type]).from_pretrained(folder).eval()
    with torch.no_grad():
        expected = reference(wavs[0], output_hidden_states=True)
    teacher = load_transformers_teacher(folder)
    states = teacher(wavs[0], torch.full((3,), 8000), [0, 1, 2, 3])
    assert states.shape == (3, 4, 24, 24)
    for layer in (0, 1, 2):
        assert torch.allclose(states[:, layer], expected.hidden_states[layer], atol=1e-5)
    assert torch.allclose(states[:, 3], expected.last_hidden_state, atol=1e-5)
    assert type(teacher.encoder) is type(reference)


@pytest.mark.parametrize("stable", [False, True])
def test_layers_above_the_highest_target_do_not_run_and_do_not_matter(
    tmp_path: Path, wavs: Audio, stable: bool
) -> None:
    teacher = load_transformers_teacher(write(tmp_path / "t", layers=5, stable_layer_norm=stable))
    ran: list[int] = []
    for index, layer in enumerate(teacher.encoder.encoder.layers):
        layer.register_forward_hook(lambda *_, index=index: ran.append(index))
    everything = teacher(*wavs, [0, 1, 2, 5])
    assert ran == [0, 1, 2, 3, 4]
    ran.clear()
    assert torch.equal(teacher(*wavs, [0, 1, 2]), everything[:, :3])
    assert ran == [0, 1] + [2] * stable
    assert torch.equal(teacher(*wavs, [5]), everything[:, 3:])


@pytest.mark.parametrize("model_type", CLASSES)
def test_replicas_of_data_parallel_give_the_same_layers(tmp_path: Path, wavs: Audio, model_type: str) -> None:
    """transformers installs its hooks at the first call; replicas would each add theirs to hooks that all share."""
    teacher = load_transformers_teacher(write(tmp_path / "t", model_type=model_type))
    found = []
    for _ in range(2):  # two training steps, two devices
        replicas = [replicate(teacher) for _ in range(2)]
        with ThreadPoolExecutor(2) as threads:
            found += list(threads.map(lambda replica: replica(*wavs, [0, 1, 3]), replicas))
    expected = teacher(*wavs, [0, 1, 3])
    assert all(torch.allclose(states, expected, atol=1e-5) for states in found)


@pytest.mark.parametrize("model_type", CLASSES)
def test_nothing_random_is_left_once_loaded(folder: Path, wavs: Audio, model_type: str) -> None:
    teacher = load_transformers_teacher(write(folder.parent / model_type, model_type=model_type))
    assert teacher.encoder.config.layerdrop == 0.0
    before = teacher(*wavs, [1, 3])
    teacher.train()
    assert torch.equal(teacher(*wavs, [1, 3]), before)


@pytest.mark.parametrize("model_type", CLASSES)
def test_padding_changes_nothing_without_group_norm(tmp_path: Path, wavs: Audio, model_type: str) -> None:
    teacher = load_transformers_teacher(write(tmp_path / "t", model_type=model_type, feat_extract_norm="layer"))
    together = teacher(*wavs, [0, 2, 3])
    filled = wavs[0] + 5.0 * (torch.arange(8000) >= wavs[1].unsqueeze(1))
    for index, length in enumerate(wavs[1].tolist()):
        alone = teacher(wavs[0][index : index + 1, :length], wavs[1][index : index + 1], [0, 2, 3])[0]
        frames = alone.shape[1]
        assert torch.allclose(together[index, :, :frames], alone, atol=1e-5)
        assert torch.allclose(teacher(filled, wavs[1], [0, 2, 3])[index, :, :frames], alone, atol=1e-5)


@pytest.mark.parametrize("model_type", CLASSES)
def test_a_group_norm_that_ignores_padding(tmp_path: Path, wavs: Audio, model_type: str) -> None:
    folder = write(tmp_path / "t", model_type=model_type, feat_extract_norm="group")
    stock, teacher = load_transformers_teacher(folder), load_transformers_teacher(folder)
    teacher.ignore_padding()
    assert teacher.fingerprint() == stock.fingerprint()  # names of weights too
    together, heard = teacher(*wavs, [0, 2, 3]), stock(*wavs, [0, 2, 3])
    for index, length in enumerate(wavs[1].tolist()):
        alone = stock(wavs[0][index : index + 1, :length], wavs[1][index : index + 1], [0, 2, 3])[0]
        frames = alone.shape[1]
        assert torch.allclose(together[index, :, :frames], alone, atol=1e-5)
        assert torch.allclose(heard[index, :, :frames], alone, atol=1e-5) == (length == 8000)
    assert torch.allclose(replicate(teacher)(*wavs, [3]), together[:, 2:], atol=1e-6)


def test_an_utterance_without_a_frame_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="399 samples"):
        load_transformers_teacher(folder)(torch.randn(2, 8000), torch.tensor([8000, 399]), [1])


def test_samples_are_normalised_as_the_preprocessor_says(tmp_path: Path, wavs: Audio) -> None:
    folder = write(tmp_path / "t", feat_extract_norm="layer")
    ours = normalise_samples(wavs[0], torch.arange(8000) < wavs[1].unsqueeze(1))
    extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(folder, return_attention_mask=True)
    items = [wav[:length].numpy() for wav, length in zip(wavs[0], wavs[1].tolist(), strict=True)]
    theirs = extractor(items, sampling_rate=16_000, padding=True, return_tensors="pt").input_values
    assert torch.allclose(ours, theirs, atol=1e-5)

    loud = load_transformers_teacher(folder)(wavs[0] * 7, wavs[1], [3])
    assert torch.allclose(load_transformers_teacher(folder)(*wavs, [3]), loud, atol=1e-3)
    (folder / "preprocessor_config.json").unlink()  # feat_extract_norm "layer" decides
    assert torch.equal(load_transformers_teacher(folder)(wavs[0] * 7, wavs[1], [3]), loud)
    (folder / "preprocessor_config.json").write_text('{"do_normalize": false}')
    assert not torch.allclose(load_transformers_teacher(folder)(wavs[0] * 7, wavs[1], [3]), loud, atol=1e-3)


def test_a_wavlm_folder_loads_as_wavlm_with_its_position_weights(tmp_path: Path) -> None:
    folder = write(tmp_path / "t", model_type="wavlm")
    teacher = load_transformers_teacher(folder)
    assert (teacher.model_type, type(teacher.encoder).__name__) == ("wavlm", "WavLMModel")
    assert "encoder.layers.0.attention.rel_attn_embed.weight" in teacher.encoder_state()
    edit_json(folder / "config.json", model_type="hubert")
    with pytest.raises(UserError, match=r"10 weights do not fit .*gru_rel_pos_const is not part of HubertModel"):
        load_transformers_teacher(folder)


def test_shape_is_read_from_the_configuration_alone(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    shape = read_teacher_shape(folder)
    assert (shape.model_type, shape.num_layers, shape.width) == ("hubert", 3, 24)
    (folder / "config.json").write_text('{"model_type": "wavlm"}')
    defaults, shape = transformers.WavLMConfig(), read_teacher_shape(folder)
    assert (shape.num_layers, shape.width) == (defaults.num_hidden_layers, defaults.hidden_size)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no config.json"),
        ("{", "not readable as JSON"),
        ("[]", "holds a list, expected an object"),
        ('{"model_type": "bert"}', "model_type 'bert', expected one of hubert, wavlm, wav2vec2"),
        ("{}", "model_type None"),
        ('{"model_type": "hubert", "hidden_size": null}', "a HubertModel: hidden_size: found null"),
        ('{"model_type": ["hubert"]}', r"model_type \['hubert'\], expected one of"),
        ('{"model_type": "hubert"}', "holds no weights"),
    ],
)
def test_a_folder_that_is_no_teacher_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=message):
        load_transformers_teacher(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_attention_heads": 5}, "divisible by num_heads"),
        ({"num_hidden_layers": 2.5}, "num_hidden_layers"),
        ({"conv_dim": [16] * 6}, "conv_dim"),
        ({"hidden_act": "nonsense"}, "nonsense"),
    ],
)
def test_a_configuration_that_makes_no_model_is_refused(folder: Path, changes: dict, message: str) -> None:
    edit_json(folder / "config.json", **changes)
    with pytest.raises(UserError, match=f"does not describe a HubertModel: .*{message}"):
        load_transformers_teacher(folder)


def test_a_preprocessor_file_that_is_not_whole_is_refused(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text('{"do_norm')
    with pytest.raises(UserError, match=r"preprocessor_config\.json: not readable as JSON"):
        load_transformers_teacher(folder)


def test_a_teacher_for_another_sampling_rate_is_refused(folder: Path) -> None:
    edit_json(folder / "preprocessor_config.json", sampling_rate=8000)
    with pytest.raises(UserError, match="sampling_rate 8000, expected 16000"):
        load_transformers_teacher(folder)


def test_loading_and_writing_show_no_progress_bar(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    load_transformers_teacher(write(tmp_path / "t"))
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_missing_surplus_and_misshapen_weights_are_listed(folder: Path) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    del weights["encoder.layers.2.final_layer_norm.bias"]
    weights["encoder.layers.3.final_layer_norm.bias"] = torch.zeros(24)
    weights["encoder.layer_norm.bias"] = torch.zeros(25)
    save_file(weights, path)
    with pytest.raises(UserError) as caught:
        load_transformers_teacher(folder)
    message = str(caught.value)
    assert "encoder.layers.2.final_layer_norm.bias is missing" in message
    assert "encoder.layers.3.final_layer_norm.bias is not part of HubertModel" in message
    assert "3 weights" in message and "encoder.layer_norm.bias is (25,), expected (24,)" in message


def test_a_half_precision_model_with_a_head_and_old_names_loads_as_its_encoder(
    folder: Path, wavs: Audio, caplog: pytest.LogCaptureFixture
) -> None:
    expected = load_transformers_teacher(folder)(*wavs, [1, 3])
    renames = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    weights = {}
    for name, value in load_file(folder / "model.safetensors").items():
        for new, old in renames.items():
            name = name.replace(new, old)
        weights[f"hubert.{name}"] = value.half()
    weights |= {"hubert.masked_spec_embed": torch.zeros(24), "lm_head.weight": torch.zeros(32, 24)}
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with caplog.at_level("INFO"):
        teacher = load_transformers_teacher(folder)
    assert "left out 2 weights" in caplog.text and "lm_head.weight" in caplog.text
    assert {value.dtype for value in teacher.encoder_state().values()} == {torch.float32}
    assert torch.allclose(teacher(*wavs, [1, 3]), expected, atol=0.05)


def test_weights_in_shards_load_whole(folder: Path, wavs: Audio) -> None:
    expected = load_transformers_teacher(folder)(*wavs, [3])
    weights = sorted(load_file(folder / "model.safetensors").items())
    (folder / "model.safetensors").unlink()
    index = {}
    for number in (0, 1):
        save_file(dict(weights[number::2]), folder / f"part{number}.safetensors")
        index |= dict.fromkeys(dict(weights[number::2]), f"part{number}.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    assert torch.equal(load_transformers_teacher(folder)(*wavs, [3]), expected)
    (folder / "part1.safetensors").unlink()
    with pytest.raises(UserError, match=r"part1.safetensors is not there"):
        load_transformers_teacher(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_weights_that_are_cut_off_are_refused(folder: Path, name: str) -> None:
    if name.endswith(".bin"):
        torch.save(load_file(folder / "model.safetensors"), folder / name)
        (folder / "model.safetensors").unlink()
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=f"{name} is not whole"):
        load_transformers_teacher(folder)


class Evil:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return Path.touch, (self.trace,)


def test_weights_that_would_run_code_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    trace = folder / "ran"
    torch.save({"encoder.layer_norm.bias": Evil(trace)}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="refused, it is no file of tensors alone"):
        load_transformers_teacher(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(trace)))
    with pytest.raises(UserError, match=r"pytorch_model.bin"):
        load_transformers_teacher(folder)
    assert not trace.exists()


def test_loading_leaves_the_random_state_alone(folder: Path) -> None:
    before = torch.get_rng_state()
    load_transformers_teacher(folder)
    assert torch.equal(torch.get_rng_state(), before)
