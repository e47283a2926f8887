"""Flags, tasks and splits of run_downstream.py, before the host runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from s3prl_gendistiller.cli import downstream_flags
from s3prl_gendistiller.cli.downstream_flags import check_variant
from s3prl_gendistiller.errors import UserError
from tests.cli.places import FBANK, accepted, downstream_refuses


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--device", "gpu"), "--device: found gpu, expected "),
        (("--device", "mps"), "--device: found mps, expected "),
        (("--device", "cuda:99"), "--device: found cuda:99, expected "),
        (("--device", "cuda:"), "--device: found cuda:, expected "),
        (("--seed", "-1"), "--seed: found '-1'; expected a whole number from 0 to 4294967295"),
        (("--seed", "4294967296"), "--seed: found '4294967296'; expected a whole number"),
        (("--seed", "1" * 5000), "--seed: found '1111"),
        (("-n", ""), "-n/--expname: found '', expected a text of one line"),
        (("-n", "../x"), "-n/--expname: found '..', expected one name, without slashes"),
        (("-n", "/a/b"), "-n/--expname: found '', expected a text of one line"),
        (("-n", ".."), "-n/--expname: found '..', expected one name, without slashes"),
        (("-n", "a\nb"), r"-n/--expname: found 'a\nb', expected a text of one line"),
        (("-n", "x" * 300), "found 300 bytes, expected 200 at most"),
        (("-n", "caf\udce9"), "expected UTF-8 text"),
        (("-p", "file"), "found a file at"),
        (("-p", "file/x"), "found a file at"),
        (("-p", "/proc/x"), "-p /proc/x: nothing can be written there"),
        (("-a",), "-a: found without the name of a run"),
        (("-m", "tarin"), "invalid choice: 'tarin'"),
        (("-t", "dev-clean"), "-t: found dev-clean beside -m train"),
        (("-m", "evaluate"), "-m evaluate: found without -e"),
        (("-m", "inference", "-t", "file"), "-m inference: found without -e"),
        (("-m", "evaluate", "-i", "down.ckpt"), "-t: missing (s3prl's default, test, is no split"),
        (("-m", "evaluate", "-i", "down.ckpt", "-t", "tset"), "one of train, dev-clean, dev-other, test-clean"),
        (("-i", "gen.ckpt"), "-i gen.ckpt: found a checkpoint of no task"),
        (("-i", "nope"), "nope: no such checkpoint"),
        (("--cache-features", "file"), "--cache-features file: found a file"),
        (("--cache-features", "/proc/x"), "--cache-features /proc/x: nothing can be written there"),
        (("--cache-features", ""), "expected a text of one line"),
        (("--cache-features", "c", "-f"), "found together with -f"),
        (("-l", "0", "--upstream_feature_normalize"), "--upstream_feature_normalize: found with -l"),
        (("--upstream_revision", "x"), "found x without --hub huggingface, to which it belongs"),
        (("--hub", "huggingface", "-k", "x"), "-k: found x beside --hub huggingface"),
        (("--hf_hub_org", "x"), "found x without --push_to_hf_hub"),
        (("--push_to_hf_hub", "True"), "--push_to_hf_hub: found with"),
        (("--backend", "gloo"), "found gloo without --local_rank"),
        (("--local_rank", "0"), "found 0 without RANK"),
        (("-v", "fold2"), "-v: found fold2 with -d asr; emotion alone has variants"),
        (("-r",), "-r: found with -u fbank, which downloads nothing here"),
        (("--teacher", "run"), "--teacher: found with -d asr"),
        (("--bogus",), "found --bogus, which no flag takes"),
        (("--upstream_ckptt", "x"), "did you mean --upstream_ckpt?"),
        (("stray",), "found stray, which no flag takes"),
    ],
)
def test_flags_of_run_downstream_that_cannot_work_are_refused(
    flags: tuple[str, ...], said: str, inside_place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in downstream_refuses(capsys, *FBANK, *flags)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("-d", "../asr"), "-d: found '../asr', expected the name of a task"),
        (("-d", "a.b"), "-d: found 'a.b', expected the name of a task"),
        (("-d", "asrr", "-c", "downstream_runs/asr/small.yaml"), "no such task in s3prl.downstream; expected one such"),
        (("-d", "quesst14_dtw"), "which trains nothing; give -m evaluate -t dev"),
        (("-d", "speech_commands", "-m", "inference", "-i", "x"), "only asr can transcribe a file"),
    ],
)
def test_a_task_is_known_by_its_name_and_does_what_is_asked(
    flags: tuple[str, ...], said: str, inside_place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in downstream_refuses(capsys, "-u", "fbank", *flags)


def test_query_by_example_is_evaluated_without_a_checkpoint(
    inside_place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "quesst14Database").mkdir()
    monkeypatch.setenv("SUPERB_DATA", str(tmp_path))
    qbe = ("-u", "fbank", "-d", "quesst14_dtw", "-m", "evaluate")
    assert accepted(*qbe)[-4:-2] == ["-t", "test"] or "test" in accepted(*qbe)
    assert "dev" in accepted(*qbe, "-t", "dev")
    assert "-t: found tset, expected one of dev, test, eval" in downstream_refuses(capsys, *qbe, "-t", "tset")


def test_a_record_that_was_edited_is_named(
    inside_place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for content in ("{", json.dumps({"a": 1}), "[" * 100_000):
        (run / "run.json").write_text(content)
        assert "move that file away" in downstream_refuses(capsys, *FBANK, "-p", str(run))


def test_a_variant_that_the_configuration_overrules_is_refused() -> None:
    """s3prl takes the configuration's fold, and would train on another one than asked for."""
    config = {"downstream_expert": {"datarc": {"test_fold": "fold1"}}}
    check_variant("fold1", "emotion", config)
    with pytest.raises(UserError, match=r"-o config\.downstream_expert\.datarc\.test_fold='fold2' in its place"):
        check_variant("fold2", "glmd_er", config)


def test_a_name_may_hold_folders_and_stand_beside_a_place(inside_place: Path) -> None:
    command = accepted(*FBANK, "-n", "fbank/asr")
    assert command[command.index("-p") + 1] == str(Path("result/downstream/fbank/asr").absolute())
    command = accepted(*FBANK, "-n", "mine", "-p", "there")
    assert command[command.index("-n") + 1] == "mine" and command[command.index("-p") + 1] == str(
        Path("there").absolute()
    )


def test_flags_that_come_with_an_override_are_read_as_flags(
    inside_place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    accepted(*FBANK, "-o", "args.upstream_layer_selection=0")
    for override, said in (
        ("args.upstream_layer_selection='x'", "-o: args.upstream_layer_selection: found 'x'"),
        ("args.mode='banana'", "found 'banana' for args.mode"),
        ("args.device='cuda'", "found args.device=cuda beside --device cpu"),
        ("args.verbose=3", "found 3 for args.verbose, expected True or False"),
    ):
        assert said in downstream_refuses(capsys, *FBANK, "--device", "cpu", "-o", override)


def test_a_bare_v_asks_for_all_messages_and_one_with_a_value_for_a_variant(
    inside_place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """s3prl's run_downstream.py has both, -v VARIANT and --verbose."""
    read = downstream_flags.parser().parse_args
    assert [read(["-v"]).verbose, read(["--verbose", "-m", "train"]).verbose, read(["-v", "fold2"]).verbose] == [
        *(True, True),
        False,
    ]
    assert (
        read(["-v", "-m", "train"]).downstream_variant is None and read(["-v", "fold2"]).downstream_variant == "fold2"
    )
    assert "--verbose" in accepted(*FBANK, "-v") and "--verbose" not in accepted(*FBANK)
    assert "expected one argument" in downstream_refuses(capsys, *FBANK, "--downstream_variant")
