"""What run_downstream.py says of an upstream and a checkpoint that do not fit, before s3prl is asked to build it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from s3prl_gendistiller.export.card import Card
from s3prl_gendistiller.export.hub_folder import write_hub_folder
from tests.cli.places import ASR, accepted, downstream_refuses


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("-u", "hubertt"), "-u: found 'hubertt', expected an upstream of s3prl.hub; close to it: hubert"),
        (("-u", "nonsense"), "-u: found 'nonsense', expected an upstream"),
        (("-u", "../fbank"), "-u: found '../fbank', expected an upstream"),
        (("-u", "Path"), "-u: found 'Path', expected an upstream"),
        (("-u", "options"), "-u: found 'options', expected an upstream"),
        (("-u", "passt_base"), "its Runner cannot use: it has no parameter ckpt, which s3prl always passes"),
        (("-u", "mos_tera"), "its Runner cannot use: it has no get_downsample_rates, so its frame rate is unknown"),
        (("-u", "ast"), "needs the Python package timm"),
        (("-u", "espnet_hubert_local", "-k", "x"), "needs the Python package espnet2"),
        (("-u", "hubert_local"), "-k: missing; expected a checkpoint's path"),
        (("-u", "baseline_local"), "-g: missing; expected the YAML file"),
        (("-u", "baseline_local", "-g", "no.yaml"), "-g no.yaml: no such file"),
        (("-u", "fbank", "-k", "x"), "-k: found x with -u fbank, which does not read it; leave it out"),
        (("-u", "hubert_base", "-k", "mine"), "which does not read it; leave it out, or give -u hubert_local"),
        (("-u", "fbank", "-g", "x.yaml"), "-g: found 'x.yaml' with -u fbank, which does not read it"),
        (("-u", "hubert_local", "-k", "hubert.pt", "-g", "x"), "-g: found 'x' with -u hubert_local"),
    ],
)
def test_an_upstream_that_cannot_be_built_as_asked_is_refused(
    flags: tuple[str, ...], said: str, inside_place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in downstream_refuses(capsys, *flags, *ASR)


@pytest.mark.parametrize(
    ("upstream", "checkpoint", "said"),
    [
        ("hubert_local", "nope.pt", "-k nope.pt: no such file"),
        ("hubert_local", "wavlm", "found a folder, expected a checkpoint file; it holds a wavlm of transformers"),
        ("hubert_local", "hubert", "it holds a hubert of transformers; give -u transformers_local"),
        ("hubert_local", "students", "name students/states-3.ckpt"),
        ("hubert_local", "empty", "it holds no whole states-*.ckpt either"),
        ("hubert_local", "raw.pt", "python -m s3prl.upstream.hubert.convert raw.pt --output_dir DIR"),
        ("hubert_local", "dictionary.pt", "python -m s3prl.upstream.hubert.convert dictionary.pt --output_dir DIR"),
        ("wav2vec2_local", "dictionary.pt", "python -m s3prl.upstream.wav2vec2.convert dictionary.pt --output_dir"),
        ("wavlm_local", "raw.pt", "python -m s3prl.upstream.hubert.convert raw.pt --output_dir DIR"),
        ("wavlm_local", "hubert.pt", "which hubert_local reads"),
        ("hubert_local", "pytorch_model.bin", "found weights alone"),
        ("hubert_local", "gen.ckpt", "which gendistiller_local reads; give -u gendistiller_local"),
        ("hubert_local", "down.ckpt", "found a run of run_downstream.py, expected an upstream"),
        ("gendistiller_local", "down.ckpt", "found a run of run_downstream.py, expected an upstream"),
        ("gendistiller_local", "stock.ckpt", "which distiller_local reads; give -u distiller_local"),
        ("gendistiller_local", "stock2.ckpt", "which distiller_local reads; give -u distiller_local"),
        ("gendistiller_local", "odd.ckpt", "found list as Upstream_Config, expected a mapping"),
        ("wavlm_local", "odd.ckpt", "found list as Upstream_Config, expected a mapping"),
        ("gendistiller_local", "empty", "without a whole states-*.ckpt and without config.json"),
        ("gendistiller_local", "hubert", "it holds a hubert of transformers; give -u transformers_local"),
        ("gendistiller_url", "gen.ckpt", "expected an address (https://...); gendistiller_local reads files"),
        ("distiller_local", "gen.ckpt", "which gendistiller_local reads; give -u gendistiller_local"),
        ("distiller_local", "https://x/y", "found an address, expected a file; distiller_url reads addresses"),
        ("tera_local", "gen.ckpt", "which gendistiller_local reads"),
        ("hf_hubert_custom", "hubert.pt", "expected for hf_hubert_custom a transformers folder"),
        ("hf_hubert_custom", "students", "expected for hf_hubert_custom a transformers folder"),
        ("hf_hubert_custom", "wavlm", "-k: wavlm holds a wavlm, expected a hubert for hf_hubert_custom"),
    ],
)
def test_a_checkpoint_of_another_kind_is_named_with_what_reads_it(
    upstream: str, checkpoint: str, said: str, inside_place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = downstream_refuses(capsys, "-u", upstream, "-k", checkpoint, *ASR)
    assert said in error and checkpoint in error


@pytest.mark.parametrize(
    "flags",
    [
        ("-u", "hubert_local", "-k", "hubert.pt", "-l", "3"),
        ("-u", "hf_hubert_custom", "-k", "hubert", "-l", "-4"),
        ("-u", "hubert_url", "-k", "https://x/y.pt"),
        ("-u", "distiller_local", "-k", "stock.ckpt"),
        ("-u", "distiller_local", "-k", "base.ckpt", "-l", "4"),
        ("-u", "gendistiller_local", "-k", "base.ckpt"),
        ("-u", "gendistiller_local", "-k", "gen.ckpt", "--steps", "1", "-l", "1"),
        ("-u", "fbank", "-l", "-1", "-s", "last_hidden_state", "--verbose"),
        (
            "-u",
            "audio_albert",
        ),
        ("-u", "fbank", "--see", "4294967295", "-n", "é"),
        ("-u", "fbank", "-i", "down.ckpt", "-m", "evaluate", "-t", "dev-clean"),
    ],
)
def test_what_fits_is_handed_on_as_it_was_given(flags: tuple[str, ...], inside_place: Path) -> None:
    command = accepted(*flags, *ASR)
    for flag, value in zip(flags, flags[1:], strict=False):
        if flag in ("-u", "-l", "-s", "-i", "-t", "-n"):
            assert command[command.index(flag) + 1] == value
    if "-k" in flags:
        given = flags[flags.index("-k") + 1]
        assert command[command.index("-k") + 1] == (given if "://" in given else str(inside_place / given))


def test_a_student_is_taken_from_its_run_and_from_its_export(inside_place: Path) -> None:
    exported = inside_place / "exported"
    write_hub_folder(inside_place / "gen.ckpt", exported, Card("mine", 1, 0.5, 8, [], ""), steps=1)
    try:
        for given, taken in (("students", inside_place / "students" / "states-3.ckpt"), ("exported", exported)):
            command = accepted("-u", "gendistiller_local", "-k", given, "-l", "1", *ASR)
            assert command[command.index("-k") + 1] == str(taken)
        with pytest.raises(AssertionError):
            accepted("-u", "gendistiller_local", "-k", "exported", "-l", "2", *ASR)
    finally:
        shutil.rmtree(exported)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("-u", "gendistiller_local", "-k", "gen.ckpt", "-l", "9"), "-l: found 9, expected 0..2"),
        (("-u", "gendistiller_local", "-k", "gen.ckpt", "--steps", "1", "-l", "2"), "-l: found 2, expected 0..1"),
        (("-u", "gendistiller_local", "-k", "gen.ckpt", "-g", "steps: 9"), "steps: found 9, expected 1..2"),
        (("-u", "distiller_local", "-k", "base.ckpt", "-l", "5"), "-l: found 5, expected 0..4"),
        (("-u", "hubert_local", "-k", "hubert.pt", "-l", "-5"), "-l: found -5, expected 0..3"),
        (("-u", "hf_hubert_custom", "-k", "hubert", "-l", "4"), "-l: found 4, expected 0..3"),
        (("-u", "fbank", "-l", "1"), "-l: found 1, expected 0..0"),
    ],
)
def test_a_layer_beyond_the_hidden_states_is_refused(
    flags: tuple[str, ...], said: str, inside_place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in downstream_refuses(capsys, *flags, *ASR)
