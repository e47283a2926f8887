"""Folders as ``save_pretrained`` writes them, and folders that somebody has tampered with."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from s3prl_gendistiller.distill.transformers_folder import EncoderConfig, read_encoder_weights, read_shape
from s3prl_gendistiller.distill.transformers_teacher import load_transformers_teacher, read_teacher_shape
from s3prl_gendistiller.errors import UserError

SIZES = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "vocab_size": 10,
    "classifier_proj_size": 8,
    "tdnn_dim": [16] * 5,
    "xvector_output_dim": 16,
    "codevector_dim": 16,
    "proj_codevector_dim": 16,
    "num_codevectors_per_group": 4,
}
HEADS = (
    "HubertModel",
    "HubertForCTC",
    "HubertForSequenceClassification",
    "WavLMModel",
    "WavLMForCTC",
    "WavLMForXVector",
    "WavLMForAudioFrameClassification",
    "WavLMForSequenceClassification",
    "Wav2Vec2ForPreTraining",
    "Wav2Vec2ForXVector",
)
WAVS = 0.1 * torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([4000, 4000])


def made(name: str, **changes: Any) -> Any:
    """A tiny model of transformers with random weights."""
    model_class = getattr(transformers, name)
    torch.manual_seed(0)
    return model_class(model_class.config_class(**{**SIZES, **changes})).eval()


def expected_states(model: Any) -> list[torch.Tensor]:
    encoder = getattr(model, model.base_model_prefix, model)
    with torch.no_grad():
        found = encoder(WAVS, output_hidden_states=True)
    return [*found.hidden_states[:-1], found.last_hidden_state]


def assert_same(folder: Path, expected: list[torch.Tensor], tolerance: float = 1e-5) -> None:
    found = load_transformers_teacher(folder)(WAVS, LENGTHS, list(range(len(expected))))
    for layer, states in enumerate(expected):
        torch.testing.assert_close(found[:, layer], states, atol=tolerance, rtol=tolerance)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made("WavLMModel").save_pretrained(tmp_path / "wavlm")
    return tmp_path / "wavlm"


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True, "use_weighted_layer_sum": True},
        {"conv_pos_batch_norm": True, "feat_proj_layer_norm": False, "mask_time_prob": 0.0},
    ],
    ids=["base", "large", "variant"],
)
def test_what_save_pretrained_writes_loads_as_its_encoder(name: str, changes: dict[str, Any], tmp_path: Path) -> None:
    model = made(name, **changes)
    model.save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(tmp_path)
    (tmp_path / "README.md").write_text("a model card")
    (tmp_path / "training_args.bin").write_bytes(b"not for us")
    assert_same(tmp_path, expected_states(model))


def test_half_precision_shards_and_the_old_format(tmp_path: Path) -> None:
    model = made("WavLMForXVector")
    expected = expected_states(model)
    model.save_pretrained(tmp_path / "shards", max_shard_size="40KB")
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 1
    assert_same(tmp_path / "shards", expected)
    model.half().save_pretrained(tmp_path / "half")
    assert_same(tmp_path / "half", expected, tolerance=0.02)
    shutil.copytree(tmp_path / "half", tmp_path / "old")
    (tmp_path / "old" / "model.safetensors").unlink()
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    weights = {}
    for key, value in load_file(tmp_path / "half" / "model.safetensors").items():
        for today, before in old.items():
            key = key.replace(today, before)
        weights[key] = value
    torch.save(weights, tmp_path / "old" / "pytorch_model.bin")
    assert_same(tmp_path / "old", expected, tolerance=0.02)


@pytest.mark.parametrize("normalise", [True, False])
def test_a_processor_says_whether_samples_are_normalised(normalise: bool, tmp_path: Path) -> None:
    """Today's `Wav2Vec2Processor` writes one file, processor_config.json."""
    made("HubertForCTC", feat_extract_norm="layer" if not normalise else "group").save_pretrained(tmp_path / "t")
    (tmp_path / "vocab.json").write_text(json.dumps({"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4}))
    tokenizer = transformers.Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json"))
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=normalise)
    transformers.Wav2Vec2Processor(extractor, tokenizer).save_pretrained(tmp_path / "t")
    assert read_shape(tmp_path / "t").normalize is normalise
    assert transformers.Wav2Vec2FeatureExtractor.from_pretrained(tmp_path / "t").do_normalize is normalise


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampling_rate": 8000}, "sampling_rate 8000, expected 16000"),
        ({"sampling_rate": "16000"}, "sampling_rate 16000, expected 16000"),
        ({"do_normalize": "false"}, "do_normalize 'false', expected true or false"),
    ],
)
def test_a_feature_extractor_that_does_not_fit_is_refused(
    settings: dict, message: str, nested: bool, folder: Path
) -> None:
    content = {"do_normalize": True, "sampling_rate": 16_000, **settings}
    name = "processor_config.json" if nested else "preprocessor_config.json"
    (folder / name).write_text(json.dumps({"feature_extractor": content} if nested else content))
    with pytest.raises(UserError, match=rf"teacher\.folder: {folder}/{name} states {message}"):
        read_teacher_shape(folder)


def test_the_processors_file_comes_first_as_in_transformers(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text('{"do_normalize": false}')
    (folder / "processor_config.json").write_text('{"feature_extractor": {"do_normalize": true}}')
    assert read_shape(folder).normalize
    (folder / "processor_config.json").write_text('{"processor_class": "Wav2Vec2Processor"}')
    assert not read_shape(folder).normalize
    (folder / "processor_config.json").write_text('{"feature_extractor": [1]}')
    with pytest.raises(UserError, match="holds a list as feature_extractor, expected an object"):
        read_shape(folder)


HOSTILE: dict[str, tuple[str, str]] = {
    "NaN": ('{"model_type": "hubert", "layer_norm_eps": NaN}', ": found NaN, expected a finite number"),
    "Infinity": ('{"model_type": "hubert", "hidden_dropout": -Infinity}', ": found -Infinity"),
    "deep": ('{"a":' * 100_000 + "1" + "}" * 100_000, ": nested too deep for JSON"),
    "digits": ('{"model_type": "hubert", "hidden_size": ' + "9" * 5000 + "}", ": found a whole number of 5000 digits"),
    "width": ('{"model_type": "hubert", "hidden_size": 1000000000}', "hidden_size: found 1000000000, expected at most"),
    "layers": ('{"model_type": "wavlm", "num_hidden_layers": 1000000000}', "num_hidden_layers: found 1000000000"),
    "negative": ('{"model_type": "wavlm", "num_attention_heads": -1}', "num_attention_heads: found -1"),
    "zero": ('{"model_type": "wavlm", "conv_stride": [5, 2, 2, 2, 2, 2, 0]}', r"conv_stride\[6\]: found 0"),
    "text": ('{"model_type": "hubert", "hidden_size": "24", "conv_bias": 1}', "hidden_size: .*; conv_bias: "),
    "lists": ('{"model_type": "hubert", "conv_dim": [' + "1," * 5000 + "1]}", "conv_dim 5001"),
    "object": ('{"model_type": {"hubert": 1}}', "model_type {'hubert': 1}, expected one of"),
    "norm": ('{"model_type": "hubert", "feat_extract_norm": "batch"}', "found 'batch', expected one of group, layer"),
    "act": ('{"model_type": "hubert", "hidden_act": "__import__"}', "__import__"),
    "large": (
        '{"model_type": "hubert", "x": "' + "x" * 10_000_000 + '"}',
        ": found .* bytes, expected a JSON file of at most 10,000,000",
    ),
    "bytes": ("\udcff", ": not UTF-8 at byte 0"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_configuration_is_refused_at_once(kind: str, folder: Path) -> None:
    content, message = HOSTILE[kind]
    (folder / "config.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    started = time.monotonic()
    with pytest.raises(
        UserError, match=rf"teacher\.folder: {folder}/config\.json{'' if message[0] == ':' else ' .*'}{message}"
    ):
        load_transformers_teacher(folder)
    assert time.monotonic() - started < 5


def test_what_config_json_says_beside_the_encoder_reaches_nobody(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w')\nclass Evil: pass\n")
    edit(
        folder / "config.json",
        auto_map={"AutoModel": "evil.Evil", "AutoConfig": "evil.Evil"},
        attn_implementation="kernels-community/evil",
        _attn_implementation="kernels-community/evil",
        quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True},
        torch_dtype="__import__('os')",
        gradient_checkpointing=True,
        layerdrop=0.9,
    )
    assert_same(folder, expected_states(made("WavLMModel")))
    assert not mark.exists()


def test_every_key_of_the_encoder_is_one_of_transformers() -> None:
    known = transformers.HubertConfig().to_dict().keys() | transformers.WavLMConfig().to_dict().keys()
    assert EncoderConfig.__dataclass_fields__.keys() <= known
    for name in EncoderConfig.__dataclass_fields__:  # and the defaults are those of the Base models
        for config in (transformers.HubertConfig(), transformers.WavLMConfig()):
            stated = getattr(config, name, None)
            default = getattr(EncoderConfig(), name)
            assert stated is None or (tuple(stated) if isinstance(default, tuple) else stated) == default, name


Change = Callable[[Path], Any]


def index(folder: Path, shard: object) -> None:
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))


WEIGHTS: dict[str, tuple[Change, str]] = {
    "outside": (lambda folder: index(folder, "../part.safetensors"), "names '../part.safetensors', expected files of"),
    "absolute": (lambda folder: index(folder, "/etc/passwd"), "names '/etc/passwd', expected files of this folder"),
    "number": (lambda folder: index(folder, 3), "holds no weight_map of file names"),
    "parent": (lambda folder: index(folder, ".."), r"names '\.\.'"),
    "dangling": (
        lambda folder: (index(folder, "x.safetensors"), (folder / "x.safetensors").symlink_to("/nowhere/x")),
        "x.safetensors is not there",
    ),
    "header": (lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 8 + b"{}"), "is not whole"),
    "json": (
        lambda folder: (folder / "model.safetensors").write_bytes((9).to_bytes(8, "little") + b'{"a": [}}'),
        "is not whole",
    ),
    "empty": (lambda folder: (folder / "model.safetensors").write_bytes(b""), "is not whole"),
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_come_from_whole_files_of_this_folder_alone(kind: str, folder: Path) -> None:
    shutil.copy(folder / "model.safetensors", folder.parent / "part.safetensors")
    change, message = WEIGHTS[kind]
    change(folder)
    with pytest.raises(UserError, match=message):
        load_transformers_teacher(folder)


def test_shards_may_be_links_as_in_the_cache_of_the_hub(folder: Path) -> None:
    blob = folder.parent / "blob"
    (folder / "model.safetensors").rename(blob)
    (folder / "model.safetensors").symlink_to(blob)
    assert_same(folder, expected_states(made("WavLMModel")))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named_with_their_layer(value: float, folder: Path) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    weights["encoder.layers.2.feed_forward.output_dense.bias"][3] = value
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"encoder\.layers\.2\.feed_forward\.output_dense\.bias \(1 such weights\)"):
        load_transformers_teacher(folder)


def test_weights_of_another_kind_are_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    name = "encoder.layers.2.feed_forward.output_dense.weight"
    save_file({**weights, name: weights[name].to(torch.int8)}, path)
    with pytest.raises(
        UserError, match=rf"1 weights do not fit the unquantised WavLMModel .*: {name} is of torch.int8"
    ):
        load_transformers_teacher(folder)
    assert read_encoder_weights(folder, "wavlm")[name].dtype is torch.int8


def test_the_vector_of_masked_frames_is_left_out_without_a_word(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Every pretrained folder holds it; a verbose command names it."""
    with caplog.at_level("DEBUG"):
        load_transformers_teacher(folder)
    (record,) = [record for record in caplog.records if "left out" in record.getMessage()]
    assert record.levelname == "DEBUG" and "left out 1 weight outside the encoder: masked_spec_embed" in caplog.text
