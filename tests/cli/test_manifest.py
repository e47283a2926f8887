"""`gendistiller manifest`: from a folder of recordings to lists, a runner YAML and the command that trains."""

from __future__ import annotations

import errno
import os
import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile

from s3prl_gendistiller.cli import main, pretrain, shell, speech_runner
from s3prl_gendistiller.config_runner import DataConfig, RunnerConfig
from s3prl_gendistiller.distill.manifest import read_manifest
from s3prl_gendistiller.schema import from_dict, read_layered_yaml
from tests.cli.places import refuses

SPLITS = ("train-clean-100", "train-clean-360", "train-other-500", "dev-clean")


def write_audio(path: Path, samples: int = 800, rate_hz: int = 16_000, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    wav = 0.1 * np.random.default_rng(samples).standard_normal((samples, channels))
    soundfile.write(path, wav, rate_hz, format=path.suffix[1:].upper())


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of recordings of every kind, and an empty working folder beside it."""
    root = tmp_path / "audio" / "my calls"
    for index in range(8):
        write_audio(root / "Anna K" / f"call {index}.wav", 8_000 + index, 8_000)
        write_audio(root / "bert" / "today" / f"{index}.MP3", 44_100 + index, 44_100, 2)
    (root / "notes.txt").touch()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return root


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> list[str]:
    assert main(["manifest", "--no-progress", *argv]) == 0
    return capsys.readouterr().out.splitlines()


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    return refuses(capsys, main, "manifest", "--no-progress", *argv)


def trained_on(runner: str) -> DataConfig:
    return from_dict(RunnerConfig, read_layered_yaml(runner), runner).pretrain_expert.datarc


def test_a_folder_becomes_lists_a_yaml_and_a_command_that_is_taken(
    calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(capsys, str(calls), "--hold-out", "25%")
    assert sorted(map(str, Path().rglob("*"))) == [
        "my calls",
        "my calls.yaml",
        "my calls/held_out.csv",
        "my calls/train.csv",
    ]
    data = trained_on("my calls.yaml")
    assert (data.root, data.sets, data.valid_sets) == (str(calls), ("train",), ("held_out",))
    lists = [Path(data.file_path, f"{name}.csv") for name in ("train", "held_out")]
    assert [len(read_manifest([path], data.root)) for path in lists] == [12, 4]
    assert "my calls/train.csv: 12 files, 0.2 min" in lines and "0.3 min of speech in 16 files" in lines
    assert "resampled to 16000 Hz when training reads them: 8 files at 8000 Hz, 8 files at 44100 Hz" in lines
    assert "averaged to one channel when training reads them: 8 files of 2 channels" in lines
    assert "left out, as no .wav, .flac, .ogg, .mp3, .opus: 1 .txt" in lines
    assert lines[-2] == "next:" and "takes the mini recipe" in lines[-3]
    script, *flags = shlex.split(lines[-1])
    commands: list[list[str]] = []
    assert script == "run_pretrain.py" and pretrain.main(flags, host=commands.append) == 0
    resolved = read_layered_yaml(commands[0][commands[0].index("-c") + 1])
    assert resolved["pretrain_expert"]["datarc"]["root"] == str(calls) and resolved["runner"]["total_steps"] == 600


def test_by_folder_the_output_names_the_folders_and_an_overshoot(
    calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(capsys, str(calls), "--hold-out", "2", "--hold-out-by", "folder", "--name", "mine")
    (line,) = (line for line in lines if line.startswith("held out:"))
    assert line.startswith("held out: 1 of 2 folders (") and line.endswith("50% of the files; no folder is smaller")
    found = {row.split(",")[1].split("/")[0] for row in Path("mine/held_out.csv").read_text().splitlines()[1:]}
    assert len(found) == 1 and found.pop() in line


def test_the_same_call_writes_the_same_files(calls: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = (str(calls), "--name", "x", "--hold-out", "3")
    for out, more in (("a", ()), ("b", ()), ("c", ("--seed", "1"))):
        said(capsys, *flags, "--out", out, *more)
    held = [Path(out, "held_out.csv").read_bytes() for out in "abc"]
    assert held[0] == held[1] != held[2]


def test_nothing_is_replaced_without_being_asked(calls: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, str(calls), "--hold-out", "2", "--out", "lists")
    before = {path: path.read_bytes() for path in Path("lists").iterdir()}
    error = refused(capsys, str(calls), "--out", "lists")
    assert "lists/train.csv, lists/held_out.csv, lists/my calls.yaml: already there; add --overwrite" in error
    assert {path: path.read_bytes() for path in Path("lists").iterdir()} == before
    lines = said(capsys, str(calls), "--out", "lists", "--overwrite")
    assert any("nothing is held out; with --hold-out 5%" in line for line in lines)
    assert sorted(path.name for path in Path("lists").iterdir()) == ["my calls.yaml", "train.csv"]
    assert trained_on("lists/my calls.yaml").valid_sets == ()


def test_lists_never_go_among_the_recordings_unless_out_says_so(
    calls: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(calls.rglob("*"))
    monkeypatch.chdir(calls.parent)
    said(capsys, "my calls")
    assert trained_on("my calls.yaml").file_path == str(calls.parent / "my calls-lists")
    monkeypatch.chdir(calls)
    assert "would be written among the recordings" in refused(capsys, ".")
    assert sorted(calls.rglob("*")) == before
    said(capsys, ".", "--out", "lists")
    assert (calls / "lists" / "my calls.yaml").is_file()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--hold-out", "16"), "--hold-out 16: found 16 audio files, which leaves nothing to train on"),
        (("--hold-out", "0%"), "--hold-out: found 0, expected a number above 0"),
        (("--hold-out", "100%"), "--hold-out: found '100%'; expected a share above 0% and below 100%, such as 5%"),
        (("--hold-out", "0.05"), "--hold-out: found '0.05'; expected a share"),
        (("--hold-out", "0"), "--hold-out: found '0'; expected a share"),
        (("--hold-out", "nan%"), "--hold-out: found nan, expected a number"),
        (("--hold-out-by", "folder"), "--hold-out-by folder: found without --hold-out; add --hold-out 5%"),
        (("--seed", "3"), "--seed 3: found without --hold-out"),
        (("--workers", "0"), "'0'; expected a whole number of at least 1"),
    ],
)
def test_flags_that_cannot_work_are_refused(
    flags: tuple[str, ...], message: str, calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(capsys, str(calls), *flags)


def test_folders_that_cannot_be_listed_are_refused(
    calls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "gone: no such folder" in refused(capsys, str(tmp_path / "gone"))
    assert "notes.txt: found a file; expected a folder" in refused(capsys, str(calls / "notes.txt"))
    (tmp_path / "none").mkdir()
    assert "no audio files found" in refused(capsys, str(tmp_path / "none"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "listdir", _denied)
        assert "none: cannot be listed (Permission denied)" in refused(capsys, str(tmp_path / "none"))
    one_speaker = (str(calls / "bert"), "--hold-out", "5%", "--hold-out-by", "folder")
    assert "found 8 audio files, all in one folder, today; expected at least two" in refused(capsys, *one_speaker)


def _denied(folder: object) -> list[str]:
    raise PermissionError(errno.EACCES, "Permission denied")


def test_a_link_to_the_recordings_gives_its_own_name(
    calls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "linked").symlink_to(calls, target_is_directory=True)
    said(capsys, "../linked/")
    assert trained_on("linked.yaml").root == str(tmp_path / "linked")


def test_unreadable_files_are_named_and_the_rest_goes_on(calls: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (calls / "broken.mp3").write_bytes(b"garbage" * 500)
    os.mkfifo(calls / "pipe.wav")
    error = refused(capsys, str(calls))
    assert "2 of 18 audio files cannot be used; repair them or pass --skip-bad" in error
    assert main(["manifest", str(calls), "--skip-bad", "--no-progress"]) == 0
    found = capsys.readouterr()
    assert "broken.mp3: cannot be read as audio (it is damaged, or no mp3 inside)" in found.err
    assert "pipe.wav: is a named pipe" in found.err and "does not exist" not in found.err
    assert "of speech in 16 files" in found.out


def test_the_notes_of_the_mp3_decoder_are_not_shown(calls: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_audio(calls / "hole.mp3", 40_000)
    data = (calls / "hole.mp3").read_bytes()
    (calls / "hole.mp3").write_bytes(data[:2_000] + b"U" * 3_000 + data[5_000:])
    assert main(["manifest", str(calls), "--no-progress"]) == 2
    os.write(2, b"what C libraries write later is shown\n")
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 3 and lines[0].startswith("error: 1 of 17 audio files") and "hole.mp3: cannot" in lines[1]
    assert lines[2] == "what C libraries write later is shown"


@pytest.mark.parametrize("own", [False, True])
def test_the_command_to_type_next_works_where_it_is_printed(
    own: bool, calls: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("run_pretrain.py").touch()
    if own:  # s3prl's own folder, whose script knows neither `base` nor the name of a shipped file
        monkeypatch.setattr(shell, "is_host_package", lambda folder: folder == Path.cwd())
    start = "python -m s3prl_gendistiller run_pretrain.py" if own else "python run_pretrain.py"
    assert said(capsys, str(calls), "--name", "x")[-1].startswith(f"  {start} -u gendistiller -n x -c x.yaml -g ")


def test_many_hours_take_the_large_recipe(
    calls: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speech_runner, "FEW_HOURS", 0.001)
    lines = said(capsys, str(calls), "--name", "mine")
    assert lines[-1] == "  run_pretrain.py -u gendistiller -n mine -c mine.yaml"
    content = read_layered_yaml("mine.yaml")
    assert content["runner"]["total_steps"] == 200_000 and content["pretrain_expert"]["datarc"]["valid_sets"] == []


def test_long_files_that_are_decoded_whole_are_named(
    calls: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3prl_gendistiller.cli.manifest.LONG_S", 0.5)
    assert any(line.startswith("16 files longer than") and "decodes each" in line for line in said(capsys, str(calls)))


@pytest.mark.parametrize(
    ("splits", "last"),
    [
        (SPLITS, "run_pretrain.py -u gendistiller -n my_student"),
        (("train-clean-100", "dev-clean"), f"-g {speech_runner.MINI_MODEL} -c {speech_runner.MINI}"),
        (("train-clean-100",), "-o 'config.pretrain_expert.datarc.valid_sets=[]'"),
        (("dev-clean", "test-clean"), "-o \"config.pretrain_expert.datarc.sets=['dev-clean']\""),
    ],
)
def test_librispeech_keeps_its_layout_and_names_the_recipe_that_fits(
    splits: tuple[str, ...],
    last: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = tmp_path / "LibriSpeech"
    for split in splits:
        write_audio(root / split / "1" / "2" / "1-2-0000.flac")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUPERB_DATA", "elsewhere")
    lines = said(capsys, "LibriSpeech")
    assert sorted(path.stem for path in (root / "len_for_bucket").iterdir()) == sorted(splits)
    assert sorted(os.listdir()) == ["LibriSpeech"]
    assert lines[-2] == f"  export SUPERB_DATA={tmp_path}" and lines[-1].endswith(last)
    if splits != SPLITS:  # the large recipe's teacher is not on this machine
        monkeypatch.setenv("SUPERB_DATA", str(tmp_path))
        commands: list[list[str]] = []
        assert pretrain.main(shlex.split(lines[-1])[1:], host=commands.append) == 0
    assert "already there; add --overwrite" in refused(capsys, "LibriSpeech")
    assert "found with LibriSpeech's split folders" in refused(capsys, "LibriSpeech", "--hold-out", "5%")


def test_librispeech_under_another_name_is_given_by_its_root(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for split in ("train-clean-100", "dev-clean"):
        write_audio(tmp_path / "my libri" / split / "1.flac")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SUPERB_DATA", raising=False)
    command = said(capsys, "my libri", "--out", "lists")[-1]
    commands: list[list[str]] = []
    assert pretrain.main(shlex.split(command)[1:], host=commands.append) == 0
    data = read_layered_yaml(commands[0][commands[0].index("-c") + 1])["pretrain_expert"]["datarc"]
    assert (data["root"], data["file_path"]) == (str(tmp_path / "my libri"), str(tmp_path / "lists"))
