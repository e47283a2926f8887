"""ASR with a language model: what s3prl is told, and what is refused. The bindings themselves cannot be had here."""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.models import BenchmarkedModel
from s3prl_gendistiller.superb.suite import language_model as decoding
from s3prl_gendistiller.superb.suite.benchmark import run_suite
from s3prl_gendistiller.superb.suite.dry_run import planned_work
from s3prl_gendistiller.superb.suite.language_model import decoder_overrides, find_model, require_decoder
from s3prl_gendistiller.superb.suite.report import write_report
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.tasks import TASKS
from tests.conftest import run_python


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "lm"
    folder.mkdir()
    for name in ("4-gram.arpa.gz", decoding.LEXICON):
        (folder / name).touch()
    return folder


def bindings(monkeypatch: pytest.MonkeyPatch, missing: str = "") -> None:
    for name, names in decoding._BINDINGS.items():
        module = types.ModuleType(name)
        for each in names:
            if each != missing:
                setattr(module, each, object)
        monkeypatch.setitem(sys.modules, name, module)


def test_without_the_bindings_it_is_said_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"flashlight's text bindings.*pip install flashlight-text.*or leave --lm out"):
        require_decoder()
    bindings(monkeypatch)
    require_decoder()
    bindings(monkeypatch, missing="KenLM")  # built without it, as flashlight-text allows
    with pytest.raises(UserError, match=r"found flashlight\.lib\.text\.decoder without KenLM"):
        require_decoder()


def test_model_and_lexicon_are_found_or_named(model: Path, tmp_path: Path) -> None:
    assert find_model(model) == (model / "4-gram.arpa.gz", model / decoding.LEXICON)
    (model / "4-gram.bin").touch()
    assert find_model(model)[0].name == "4-gram.bin"
    (model / decoding.LEXICON).unlink()
    with pytest.raises(UserError, match=r"expected 4-gram\.bin or .*found 4-gram\.arpa\.gz, 4-gram\.bin"):
        find_model(model)
    with pytest.raises(UserError, match="found nothing"):
        find_model(tmp_path / "nowhere")
    with pytest.raises(UserError, match="cannot read a path with ="):
        find_model(tmp_path / "a=b")


def test_s3prl_reads_the_official_settings(model: Path) -> None:
    """Through s3prl's own `override`, into the very arguments that its expert hands to its decoder."""
    code = (
        "import sys\n"
        "from s3prl_gendistiller.host import mount\n"
        "mount.mount_hub()\n"
        "from s3prl.utility.helper import override\n"
        "config = {'downstream_expert': {'datarc': {'decoder_args': {'decoder_type': 'None'}}}}\n"
        "override(sys.argv[1], None, config)\n"
        "print(config['downstream_expert']['datarc']['decoder_args'])\n"
        "from s3prl.downstream.asr import w2l_decoder\n"
        "from s3prl.downstream.asr.expert import get_decoder\n"
        "w2l_decoder.W2lKenLMDecoder = lambda args, words: print(args.unk_weight, args.beam_size_token)\n"
        "get_decoder(config['downstream_expert']['datarc']['decoder_args'], range(32))\n"
    )
    answer = run_python("-c", code, ",,".join(decoder_overrides(model)))
    assert answer.returncode == 0, answer.stderr[-2000:]
    arguments, decoder = answer.stdout.splitlines()[-2:]
    assert decoder == "-inf 32"
    assert f"'kenlm_model': '{model}/4-gram.arpa.gz'" in arguments and "'decoder_type': 'kenlm'" in arguments
    for setting in ("'nbest': 1", "'beam': 5", "'beam_threshold': 25", "'lm_weight': 2", "'word_score': -1"):
        assert setting in arguments


def test_a_trained_head_is_tested_twice(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERB_DATA", str(tmp_path / "data"))
    for name in ("LibriSpeech/len_for_bucket",):
        (tmp_path / "data" / name).mkdir(parents=True)
    suite = Suite([BenchmarkedModel("fbank", "fbank")], [TASKS["asr"]], "small", tmp_path / "out", lm=model)
    commands: list[list[str]] = []

    def launch(arguments: Sequence[str], log: Path) -> None:
        commands.append(list(arguments))
        wer = 8.5 if "kenlm" in " ".join(arguments) else 12.5
        log.write_text(f"dev-clean wer: 9\ntest-clean uer: 4.0\ntest-clean wer: {wer}\n")
        if arguments[1] == "train":
            torch.save({"Step": 4}, log.parent / "dev-clean-best.ckpt")

    planned = [work.command for work in planned_work(suite, {})]
    results, failures = run_suite(suite, launch, {})
    assert failures == [] and commands == planned and len(commands) == 3
    assert results["fbank"]["asr"].values == {"wer": 12.5, "uer": 4.0, "wer_lm": 8.5}
    assert run_suite(suite, launch, {})[0] == results and len(commands) == 3
    header = write_report(suite, results, [], None, {})[1].read_text().splitlines()[0]
    assert "ASR WER with 4-gram %" in header
    without = replace(suite, lm=None)
    assert run_suite(without, launch, {})[0]["fbank"]["asr"].values == {"wer": 12.5, "uer": 4.0}
