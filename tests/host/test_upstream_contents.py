"""Files and folders that a user gives to an upstream of s3prl: data, whatever stands in them."""

from __future__ import annotations

import argparse
import collections
import importlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hubert.random_teacher import write_random_teacher
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.baseline import host_config
from s3prl_gendistiller.host.layers import load_upstream
from s3prl_gendistiller.host.mount import mount_hub
from s3prl_gendistiller.host.students import build_student
from s3prl_gendistiller.host.upstream_files import check_file
from s3prl_gendistiller.host.upstreams import LAUNCHER, TEACHER, Door
from s3prl_gendistiller.student_kinds import read_model_config
from s3prl_gendistiller.superb.models import find_models
from tests.bench import TINY_TEACHER, write_corpus
from tests.conftest import TINY, TINY_CONV, run_python
from tests.fairseq import host_checkpoint

SHAPES = "[(16, 10, 5)] + [(16, 3, 2)] * 4 + [(16, 2, 2)] * 2"
KINDS = ("distiller", "hubert", "wavlm")
KEYS = {"distiller": "extractor_conv_feature_layers", "hubert": "conv_feature_layers", "wavlm": "conv_feature_layers"}


def baseline_checkpoint(path: Path) -> Path:
    """What run_pretrain.py -u distilhubert writes, as far as it is read again."""
    student = {**TINY, "extractor_conv_feature_layers": [list(shape) for shape in TINY_CONV]}
    content = {"teacher": {"folder": "x"}, "student": student, "distill": {"target_layers": [1, 3]}}
    config: Any = read_model_config("distilhubert", content)
    weights = build_student(config).stored_module.state_dict()
    torch.save({"Config": host_config(config), "Distiller": weights, "Upstream_Config": content}, path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A good checkpoint of each family, by the name of its `_local` entry without that ending."""
    root = tmp_path_factory.mktemp("files")
    found = {"distiller": baseline_checkpoint(root / "distiller.ckpt")}
    for kind in ("hubert", "wavlm"):
        folder = write_random_teacher(root / kind, model_type=kind, **TINY_TEACHER)
        found[kind] = host_checkpoint(folder, root / f"{kind}.pt")
    return found


def settings_of(kind: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"distiller": lambda: content["Config"]["distiller"], "hubert": lambda: content["model_cfg"]}.get(
        kind, lambda: content["cfg"]
    )()


def check_upstream_file(name: str, path: str | Path, door: Door = LAUNCHER) -> None:
    check_file(name, str(path), door)


def changed(files: dict[str, Path], kind: str, path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    content = torch.load(files[kind], weights_only=True)
    change(content)
    torch.save(content, path)
    return path


def with_shapes(files: dict[str, Path], kind: str, path: Path, value: object) -> Path:
    return changed(files, kind, path, lambda content: settings_of(kind, content).update({KEYS[kind]: value}))


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_file_passes_and_loads_in_either_spelling_of_its_shapes(
    kind: str, files: dict[str, Path], tmp_path: Path
) -> None:
    check_upstream_file(f"{kind}_local", files[kind])
    other = with_shapes(files, kind, tmp_path / "other.ckpt", SHAPES)
    first, second = (load_upstream(f"{kind}_local", path) for path in (files[kind], other))
    wav = torch.randn(4000)
    with torch.no_grad():
        assert torch.equal(first([wav])["hidden_states"][-1], second([wav])["hidden_states"][-1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "hostile",
    [
        "__import__('os').mkdir({mark!r}) or " + SHAPES,
        "9**9**9**9",
        "[(16, 10, 5)] * 10**9",
        "[[(16, 10, 5)] * 250] * 250",
        "(" * 1000,
        "[(10**300, 10, 5)]",
        "[x for x in [(16, 10, 5)]]",
        "16",
        b"__import__('os').mkdir({mark!r})",
    ],
    ids=lambda value: str(value)[:12],
)
def test_text_that_s3prl_evaluates_is_a_literal(
    kind: str, hostile: str | bytes, files: dict[str, Path], tmp_path: Path
) -> None:
    mark = str(tmp_path / "ran")
    hostile = hostile.replace("{mark!r}", repr(mark)) if isinstance(hostile, str) else hostile
    hostile = hostile.replace(b"{mark!r}", repr(mark).encode()) if isinstance(hostile, bytes) else hostile
    path = with_shapes(files, kind, tmp_path / "evil.ckpt", hostile)
    started = time.monotonic()
    with pytest.raises(UserError, match=rf"-k: {path} refused, its {KEYS[kind]} is"):
        check_upstream_file(f"{kind}_local", path)
    with pytest.raises((UserError, TypeError)):  # without the check: s3prl still evaluates nothing
        getattr(mount_hub(), f"{kind}_local")(ckpt=str(path))
    assert not os.path.exists(mark) and time.monotonic() - started < 20


PAIRS: dict[str, Callable[[dict], Any]] = {
    "list of pairs": lambda cfg: list(cfg.items()),
    "list of lists": lambda cfg: [list(item) for item in cfg.items()],
    "tuple of pairs": lambda cfg: tuple(cfg.items()),
    "pairs as keys": lambda cfg: [dict.fromkeys(map(str, item)) for item in cfg.items()],
    "namespace": lambda cfg: argparse.Namespace(**cfg),
    "ordered": lambda cfg: collections.OrderedDict(cfg),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", PAIRS)
def test_settings_in_another_form_hide_nothing(kind: str, form: str, files: dict[str, Path], tmp_path: Path) -> None:
    mark = tmp_path / "ran"

    def hide(content: dict[str, Any]) -> None:
        hostile = PAIRS[form]({**settings_of(kind, content), KEYS[kind]: f"__import__('os').mkdir({str(mark)!r})"})
        place = content["Config"] if kind == "distiller" else content
        place[{"distiller": "distiller", "hubert": "model_cfg", "wavlm": "cfg"}[kind]] = hostile

    path = changed(files, kind, tmp_path / "evil.ckpt", hide)
    with pytest.raises(UserError, match=r"refused, its|expected a dictionary|is missing|could not be loaded"):
        check_upstream_file(f"{kind}_local", path)
    with pytest.raises(Exception):  # noqa: B017 (s3prl's own, or the stand-in's)
        getattr(mount_hub(), f"{kind}_local")(ckpt=str(path))
    assert not mark.exists()


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("name", ["distiller_local", "mockingjay_local", "tera_local", "audio_albert_local"])
def test_loaders_that_unpickle_anything_read_as_ours_does(name: str, tmp_path: Path) -> None:
    """Called as s3prl's Runner calls them, without any check before."""
    path, mark = tmp_path / "evil.ckpt", tmp_path / "ran"
    torch.save({"Config": Evil(mark), "Distiller": {}, "Transformer": {}}, path)
    with pytest.raises(UserError, match=r"refused, loading it would call posix\.mkdir"):
        getattr(mount_hub(), name)(ckpt=str(path))
    assert not mark.exists()


def test_the_name_of_a_kaldi_feature_is_one_of_three(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    evil = f"fbank.__globals__['os'].mkdir({str(mark)!r}) or fbank"
    (tmp_path / "evil.yaml").write_text(f'kaldi:\n  feat_type: "{evil}"\n  "{evil}": {{}}\n')
    with pytest.raises(UserError, match=r"feat_type: found .*expected fbank, mfcc or spectrogram"):
        mount_hub().baseline_local(model_config=str(tmp_path / "evil.yaml"))
    torch.save({"Config": {"audio": {"kaldi": {"feat_type": evil}}}, "Transformer": {}}, tmp_path / "evil.ckpt")
    with pytest.raises(UserError, match="its feat_type is .*expected fbank, mfcc or spectrogram"):
        check_upstream_file("tera_local", tmp_path / "evil.ckpt")
    assert not mark.exists()
    mount_hub().fbank()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder_layers": 10**9}, "encoder_layers is 1000000000, expected"),
        ({"encoder_embed_dim": 48, "encoder_ffn_embed_dim": "32"}, "encoder_embed_dim is 48, expected 24; encoder_ffn"),
        ({"conv_pos": 10**12}, "conv_pos is 1000000000000, expected 8"),
    ],
    ids=str,
)
def test_sizes_that_the_weights_do_not_have_are_named_before_anything_is_built(
    kind: str, changes: dict, message: str, files: dict[str, Path], tmp_path: Path
) -> None:
    path = changed(files, kind, tmp_path / "x.ckpt", lambda content: settings_of(kind, content).update(changes))
    with pytest.raises(UserError, match=f"describes another network than its weights make: .*{message}"):
        check_upstream_file(f"{kind}_local", path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_not_finite_are_named_with_their_layer(
    kind: str, value: float, files: dict[str, Path], tmp_path: Path
) -> None:
    name = "encoder.layers.1.fc1.weight"
    weights = {"distiller": "Distiller", "hubert": "model_weight", "wavlm": "model"}[kind]
    path = changed(files, kind, tmp_path / "x.ckpt", lambda content: content[weights][name][0].fill_(value))
    found = "NaN" if value != value else "infinite numbers"
    with pytest.raises(UserError, match=rf"-k: {path}: found {found} in the weight {name} \(1 such weights\)"):
        check_upstream_file(f"{kind}_local", path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_another_family_is_told_by_what_it_holds(kind: str, files: dict[str, Path], tmp_path: Path) -> None:
    for other in set(KINDS) - {kind}:
        with pytest.raises(UserError, match=rf"could not be loaded by s3prl.hub.{kind}_local: found"):
            check_upstream_file(f"{kind}_local", files[other])
    torch.save({"args": None, "cfg": torch.nn.Linear(1, 1)}, tmp_path / "raw.pt")
    with pytest.raises(UserError, match=r"raw\.pt"):
        check_upstream_file(f"{kind}_local", tmp_path / "raw.pt")


def test_a_checkpoint_of_fairseq_is_sent_to_the_converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = type(importlib)("fairseq.data.dictionary")
    dictionary = type("Dictionary", (), {"__module__": module.__name__, "__qualname__": "Dictionary"})
    module.Dictionary = dictionary  # type: ignore[attr-defined]
    for name in ("fairseq", "fairseq.data"):
        monkeypatch.setitem(__import__("sys").modules, name, type(importlib)(name))
    monkeypatch.setitem(__import__("sys").modules, module.__name__, module)
    torch.save({"task_state": {"dictionaries": [dictionary()]}, "model": {}}, tmp_path / "hubert_base.pt")
    with pytest.raises(UserError, match=r"a checkpoint of fairseq.*python -m s3prl\.upstream\.hubert\.convert"):
        check_upstream_file("hubert_local", tmp_path / "hubert_base.pt")


def test_a_folder_is_no_file_of_another_upstream(tmp_path: Path) -> None:
    hubert, wavlm = (
        write_random_teacher(tmp_path / kind, model_type=kind, **TINY_TEACHER) for kind in ("hubert", "wavlm")
    )
    check_upstream_file("hf_hubert_custom", hubert)
    for name in ("hubert_local", "hf_hubert_custom"):
        with pytest.raises(
            UserError,
            match=r"holds a wavlm.*give -u transformers_local|folder.*give -u transformers_local",
        ):
            check_upstream_file(name, wavlm)
    with pytest.raises(UserError, match=r"teacher\.checkpoint: .*give it as teacher\.folder instead"):
        check_upstream_file("hf_hubert_custom", wavlm, TEACHER)
    check_upstream_file("transformers_local", wavlm)
    with pytest.raises(UserError, match="a transformers folder, with config.json and weights$"):
        check_upstream_file("transformers_local", tmp_path)
    check_upstream_file("hubert_url", "https://somewhere/hubert.pt")


def test_every_student_of_the_command_line_is_checked(files: dict[str, Path], tmp_path: Path) -> None:
    evil = with_shapes(files, "distiller", tmp_path / "evil.ckpt", "9**9**9**9")
    with pytest.raises(UserError, match=r"--student mine: .*evil\.ckpt refused, its extractor_conv_feature_layers"):
        find_models([f"mine={evil}"])
    assert find_models([f"mine={files['distiller']}"])[0].upstream == "distiller_local"


def test_no_command_runs_what_stands_in_a_baselines_checkpoint(files: dict[str, Path], tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    evil = with_shapes(files, "distiller", tmp_path / "evil.ckpt", f"__import__('os').mkdir({str(mark)!r}) or {SHAPES}")
    script = (
        "import sys\n"
        "from s3prl_gendistiller.cli import downstream, main\n"
        "evil, folder = sys.argv[1:]\n"
        "print('MACS', main(['macs', '--student', f'mine={evil}']))\n"
        "print('SUBMIT', main(['submit', '--checkpoint', evil, '--hub-folder', f'{folder}/hub']))\n"
        "print('SUPERB', main(['superb', '--student', f'mine={evil}', '--out', f'{folder}/out']))\n"
        "print('RUN', downstream.main(['-u', 'distiller_local', '-k', evil, '-d', 'asr', '-p', f'{folder}/run']))\n"
    )
    env = {"SUPERB_DATA": str(write_corpus(tmp_path))}
    answer = run_python("-c", script, evil, tmp_path, cwd=tmp_path, env=env)
    for command in ("MACS", "SUBMIT", "SUPERB", "RUN"):
        assert f"{command} 2" in answer.stdout, answer.stdout + answer.stderr[-3000:]
    assert answer.stderr.count("evil.ckpt refused, its extractor_conv_feature_layers is") == 4, answer.stderr
    assert "Traceback" not in answer.stderr and not mark.exists()
