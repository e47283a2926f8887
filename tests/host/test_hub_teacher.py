"""Teachers from s3prl.hub: s3prl's own HuBERT and WavLM at tiny widths, loaded as `-u hubert_local` loads them."""

from __future__ import annotations

import importlib
import os
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hubert.random_teacher import write_random_teacher
from s3prl_gendistiller.distill.transformers_teacher import load_transformers_teacher
from s3prl_gendistiller.distill.warm_start import warm_start
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.hub_teacher import load_hub_teacher
from s3prl_gendistiller.models.gendistiller import GenDistiller
from tests.bench import TINY_TEACHER
from tests.conftest import run_python, tiny_config
from tests.fairseq import host_checkpoint
from tests.replicas import replicate

KINDS = ("hubert", "wavlm")
FLAVOURS = {
    "base": {"feat_extract_norm": "group", "stable_layer_norm": False},
    "large": {"feat_extract_norm": "layer", "stable_layer_norm": True},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    root = tmp_path_factory.mktemp("folders")
    return {
        (kind, flavour): write_random_teacher(
            root / f"{kind}-{flavour}", model_type=kind, **TINY_TEACHER, **FLAVOURS[flavour]
        )
        for kind in KINDS
        for flavour in FLAVOURS
    }


@pytest.fixture(scope="module")
def checkpoints(folders: dict[tuple[str, str], Path]) -> dict[tuple[str, str], Path]:
    """The same weights as s3prl stores them, with a layerdrop that must not act."""
    return {
        key: host_checkpoint(folder, folder.with_suffix(".pt"), encoder_layerdrop=0.9)
        for key, folder in folders.items()
    }


def whole(wavs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Two utterances without padding."""
    samples = torch.randn(2, 8000, generator=torch.Generator().manual_seed(2)) * 0.1
    return samples, torch.tensor([8000, 8000])


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_hub_teacher_gives_what_s3prls_own_expert_gives(
    kind: str, flavour: str, checkpoints: dict, wavs: tuple[Tensor, Tensor]
) -> None:
    path = str(checkpoints[kind, flavour])
    teacher = load_hub_teacher(f"{kind}_local", path).train()
    assert (teacher.num_layers, teacher.width, teacher.model_type, teacher.naming) == (3, 24, kind, "fairseq")
    expert = getattr(importlib.import_module("s3prl.hub"), f"{kind}_local")(ckpt=path).eval()
    samples, lengths = wavs
    with torch.no_grad():
        expected = expert([wav[:length] for wav, length in zip(samples, lengths, strict=True)])["hidden_states"]
    found = teacher(samples, lengths, [0, 1, 2, 3])
    assert len(expected) == 4 and found.shape == (3, 4, 24, 24) and not found.requires_grad
    for layer, state in enumerate(expected):
        torch.testing.assert_close(found[:, layer], state, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_weights_teach_the_same_from_a_folder_and_from_the_hub(
    kind: str, flavour: str, folders: dict, checkpoints: dict, wavs: tuple[Tensor, Tensor]
) -> None:
    """Also the last state of a pre-norm model, which transformers 5 lists before its final LayerNorm."""
    hub = load_hub_teacher(f"{kind}_local", str(checkpoints[kind, flavour]))
    folder = load_transformers_teacher(folders[kind, flavour])
    samples, lengths = whole(wavs)
    found, expected = hub(samples, lengths, [0, 1, 2, 3]), folder(samples, lengths, [0, 1, 2, 3])
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_student_starts_alike_from_the_folder_and_from_the_hub(
    kind: str, flavour: str, folders: dict, checkpoints: dict
) -> None:
    hub = load_hub_teacher(f"{kind}_local", str(checkpoints[kind, flavour]))
    students = []
    for seed, teacher in enumerate((hub, load_transformers_teacher(folders[kind, flavour]))):
        torch.manual_seed(seed)
        mode = {"base": "default", "large": "layer_norm"}[flavour]
        bias = {"hubert": "none", "wavlm": "gated"}[kind]
        student = GenDistiller(tiny_config(extractor_mode=mode, feature_norm=True, position_bias=bias), 2)
        report = warm_start(
            student, teacher.encoder_state(), str(teacher.naming), front_end=True, position=True, layer=1
        )
        assert report.left_out == () and report.untouched == ()
        students.append({name: student.state_dict()[name] for name in report.copied})
    assert students[0].keys() == students[1].keys()
    assert all(torch.equal(value, students[1][name]) for name, value in students[0].items())


def test_a_batch_without_the_longest_item_keeps_the_frames_of_all_samples(
    checkpoints: dict, wavs: tuple[Tensor, Tensor]
) -> None:
    """So it is in one of DataParallel's shares of a batch; the student sees all samples there."""
    teacher = load_hub_teacher("hubert_local", str(checkpoints["hubert", "base"]))
    samples, lengths = wavs
    found = teacher(samples[1:], lengths[1:], [3])
    assert abs(found.shape[2] - 24) <= 1
    short = teacher(samples[1:, :5000], lengths[1:], [3])
    torch.testing.assert_close(found[:, :, :15], short, atol=1e-5, rtol=1e-4)


def test_replicas_of_data_parallel_do_not_mix_their_states(checkpoints: dict, wavs: tuple[Tensor, Tensor]) -> None:
    """s3prl's hooks of all copies append to one list."""
    teacher = load_hub_teacher("hubert_local", str(checkpoints["hubert", "large"]))
    samples, lengths = wavs
    replicas = [replicate(teacher) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda replica: replica(samples, lengths, [0, 2, 3]), replicas))
    expected = teacher(samples, lengths, [0, 2, 3])
    for states in found:
        torch.testing.assert_close(states, expected, atol=1e-5, rtol=1e-5)


def test_what_stands_in_the_padding_does_not_matter(checkpoints: dict, wavs: tuple[Tensor, Tensor]) -> None:
    teacher = load_hub_teacher("hubert_local", str(checkpoints["hubert", "base"]))
    samples, lengths = wavs
    noisy = torch.where(torch.arange(8000) < lengths.unsqueeze(1), samples, 5.0)
    assert torch.equal(teacher(noisy, lengths, [1, 3]), teacher(samples, lengths, [1, 3]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_group_norm_that_ignores_padding(kind: str, checkpoints: dict, wavs: tuple[Tensor, Tensor]) -> None:
    """Of the CNN; fairseq's mask still takes a frame behind the end for a real one, which the position conv hears."""
    teacher = load_hub_teacher(f"{kind}_local", str(checkpoints[kind, "base"]))
    samples, lengths = wavs
    alone = teacher(samples[2:, : lengths[2]], lengths[2:], [0])[0, 0, :4]
    assert not torch.allclose(teacher(samples, lengths, [0])[2, 0, :4], alone, atol=1e-2)
    teacher.ignore_padding()
    torch.testing.assert_close(teacher(samples, lengths, [0])[2, 0, :4], alone, atol=1e-5, rtol=1e-4)


def test_loading_leaves_the_random_state_alone(checkpoints: dict) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    load_hub_teacher("wavlm_local", str(checkpoints["wavlm", "base"]))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_downloading_entry_takes_a_local_checkpoint_instead(checkpoints: dict) -> None:
    """s3prl's hubert_base overwrites the ckpt that it is given with its own address."""
    teacher = load_hub_teacher("hubert_base", str(checkpoints["hubert", "base"]))
    assert teacher.num_layers == 3 and teacher.naming == "fairseq"


def test_an_unknown_name_gets_suggestions() -> None:
    with pytest.raises(UserError, match=r"teacher\.upstream: found 'hubert_bsae', expected .*hubert_base"):
        load_hub_teacher("hubert_bsae")


@pytest.mark.parametrize("name", ["Path", "FileLock", "load_and_convert_fairseq_ckpt"])
def test_what_s3prls_hub_merely_imports_is_no_upstream(name: str) -> None:
    with pytest.raises(UserError, match=rf"teacher\.upstream: .*{name}"):
        load_hub_teacher(name)


def test_every_entry_that_reads_a_local_file_is_found() -> None:
    known = importlib.import_module("s3prl.hub").options()
    assert {"hubert_local", "wavlm_local", "wav2vec2_local", "distiller_local", "hf_hubert_custom"} <= set(known)


@pytest.mark.parametrize("name", ["hubert_local", "wavlm_local", "hf_hubert_custom"])
def test_an_entry_without_a_checkpoint_of_its_own_asks_for_one(name: str) -> None:
    with pytest.raises(UserError, match=rf"teacher\.checkpoint: missing.*{name} has none of its own"):
        load_hub_teacher(name)


def test_an_upstream_without_layers_is_no_teacher() -> None:
    with pytest.raises(UserError, match=r"teacher\.upstream: fbank has 1 hidden states.*hubert_base"):
        load_hub_teacher("fbank")


@pytest.mark.parametrize(("name", "kind"), [("hubert_local", "wavlm"), ("wavlm_local", "hubert")])
def test_a_checkpoint_of_another_kind_is_refused(name: str, kind: str, checkpoints: dict) -> None:
    path = checkpoints[kind, "base"]
    with pytest.raises(UserError, match=rf"teacher\.checkpoint: {path} could not be loaded by s3prl.hub.{name}: found"):
        load_hub_teacher(name, str(path))


def test_a_truncated_checkpoint_is_refused(checkpoints: dict, tmp_path: Path) -> None:
    content = checkpoints["hubert", "base"].read_bytes()
    path = tmp_path / "half.pt"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=str(path)):
        load_hub_teacher("hubert_local", str(path))


class Malicious:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("name", ["hubert_local", "wavlm_local", "distiller_local", "hubert_base"])
@pytest.mark.parametrize("saved_by", ["torch", "pickle"])
def test_a_malicious_checkpoint_runs_nothing(name: str, saved_by: str, tmp_path: Path) -> None:
    path, mark = tmp_path / "evil.pt", tmp_path / "ran"
    content = {"Config": Malicious(mark), "model_weight": Malicious(mark), "cfg": Malicious(mark)}
    if saved_by == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=str(path)):
        load_hub_teacher(name, str(path))
    assert not mark.exists()


@pytest.mark.parametrize("name", ["hubert_local", "wavlm_local"])
def test_code_in_a_checkpoints_settings_is_not_run(name: str, folders: dict, tmp_path: Path) -> None:
    """s3prl hands conv_feature_layers to eval."""
    mark = tmp_path / "ran"
    path = host_checkpoint(folders[name.removesuffix("_local"), "base"], tmp_path / "evil.pt")
    content = torch.load(path)
    settings = content["model_cfg" if name == "hubert_local" else "cfg"]
    settings["conv_feature_layers"] = f"__import__('os').mkdir({str(mark)!r}) or {settings['conv_feature_layers']}"
    torch.save(content, path)
    with pytest.raises(UserError, match=r"evil\.pt refused, its conv_feature_layers is .__import__"):
        load_hub_teacher(name, str(path))
    assert not mark.exists()


OFFLINE = """
import socket, sys
def refuse(*arguments, **keywords):
    raise socket.gaierror(-2, "Name or service not known")
socket.getaddrinfo = socket.create_connection = refuse
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.hub_teacher import load_hub_teacher
try:
    load_hub_teacher(sys.argv[1])
except UserError as problem:
    print("REFUSED", problem)
"""


@pytest.mark.parametrize("name", ["hubert_base", "wavlm_base_plus"])
def test_without_a_network_a_downloading_entry_is_refused_at_once(name: str, tmp_path: Path) -> None:
    started = time.monotonic()
    result = run_python("-c", OFFLINE, name, env={"HOME": str(tmp_path)}, timeout=120)
    lines = [line for line in result.stdout.splitlines() if line.startswith("REFUSED")]
    assert lines and "teacher.upstream" in lines[0] and name in lines[0], result.stderr
    assert "teacher.checkpoint" in lines[0] and "teacher.folder" in lines[0]
    assert time.monotonic() - started < 60


def test_hf_hubert_custom_gives_what_s3prls_own_expert_gives(
    folders: dict, wavs: tuple[Tensor, Tensor], capfd: pytest.CaptureFixture
) -> None:
    folder = str(folders["hubert", "base"])
    teacher = load_hub_teacher("hf_hubert_custom", folder)
    captured = capfd.readouterr()
    assert "Loading weights" not in captured.out + captured.err
    expert = importlib.import_module("s3prl.hub").hf_hubert_custom(folder).eval()
    samples, lengths = whole(wavs)
    with torch.no_grad():
        expected = expert(list(samples))["hidden_states"]
    found = teacher(samples, lengths, [0, 1, 2, 3])
    for layer, state in enumerate(expected):
        torch.testing.assert_close(found[:, layer], state, atol=1e-5, rtol=1e-4)
    assert teacher.naming == "transformers" and teacher.encoder_state()["feature_projection.projection.weight"].any()


def test_hf_hubert_custom_never_loads_a_wavlm(folders: dict) -> None:
    """s3prl itself does, and drops the position weights in silence."""
    folder = folders["wavlm", "base"]
    with pytest.raises(UserError, match=rf"teacher\.checkpoint: {folder} holds a wavlm.*teacher\.folder"):
        load_hub_teacher("hf_hubert_custom", str(folder))


def test_hf_hubert_custom_never_goes_to_the_network(folders: dict, tmp_path: Path) -> None:
    """s3prl fetches a feature extractor where the folder has none."""
    folder = tmp_path / "bare"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((folders["hubert", "base"] / name).read_bytes())
    assert load_hub_teacher("hf_hubert_custom", str(folder)).num_layers == 3
