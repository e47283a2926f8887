"""`gendistiller extract`: features as files, batches, pieces, resumption, and files that cannot be read."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile
import torch
from safetensors.numpy import load_file

from s3prl_gendistiller.cli import main
from s3prl_gendistiller.distill.audio import read_audio
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.inference import extraction
from s3prl_gendistiller.inference.extraction import Plan, batches
from s3prl_gendistiller.inference.feature_models import TorchStudent, load_feature_model
from s3prl_gendistiller.inference.recordings import Recording
from tests.host.test_checkpoint import save_student
from tests.inference.students import speech

SAMPLES = {"a": 8_000, "deep/b": 5_000, "deep/c d": 720, "long": 40_000}
PLAN = Plan((0,), "float32", 1.0, 0.5, 1.0)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with `student.ckpt` and `audio`."""
    torch.manual_seed(0)
    save_student(tmp_path / "student.ckpt")
    for seed, (name, samples) in enumerate(SAMPLES.items()):
        path = tmp_path / f"audio/{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, speech(samples, seed).numpy(), 16_000, subtype="FLOAT")
    return tmp_path


def run(place: Path, *flags: str, audio: Sequence[str] = ("audio",), out: str = "out") -> int:
    given = [*(str(place / name) for name in audio), "-k", str(place / "student.ckpt"), "--out", str(place / out)]
    return main(["extract", *given, "--no-progress", *flags])


def whole(place: Path, name: str) -> list[np.ndarray]:
    wav = read_audio(place / f"audio/{name}.wav")
    states, _ = load_feature_model(place / "student.ckpt")(wav[None], torch.tensor([len(wav)]))
    return [state[0].numpy() for state in states]


def test_each_recording_has_the_features_that_it_has_alone(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place) == 0
    files = sorted(path.relative_to(place / "out").as_posix() for path in (place / "out").rglob("*.safetensors"))
    assert files == sorted(f"{name}.safetensors" for name in SAMPLES)
    for name in SAMPLES:
        found, expected = load_file(place / f"out/{name}.safetensors"), whole(place, name)
        assert [*found] == ["hidden_0", "hidden_1", "hidden_2"]
        for array, wanted in zip(found.values(), expected, strict=True):
            assert array.shape == ((SAMPLES[name] - 400) // 320 + 1, 24)
            np.testing.assert_allclose(array, wanted, atol=1e-5)
    assert "out: features of 4 recordings, 3 arrays (T, 24) each\n" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["npz", "hdf5"])
def test_other_formats_and_chosen_layers(place: Path, kind: str) -> None:
    assert run(place, "--format", kind, "--layers", "-1", "--dtype", "float16", "--steps", "1") == 0
    expected = whole(place, "deep/b")[1]
    if kind == "npz":
        with np.load(place / "out/deep/b.npz") as file:
            found = dict(file)
    else:
        assert sorted(path.name for path in (place / "out").iterdir() if path.name[0] != ".") == [
            "extract.json",
            "features.h5",
        ]
        with h5py.File(place / "out/features.h5") as file:
            assert file["deep/c d"].attrs["samples"] == 720
            found = {name: file["deep/b"][name][()] for name in file["deep/b"]}
    assert [*found] == ["hidden_1"] and found["hidden_1"].dtype == np.float16
    np.testing.assert_allclose(found["hidden_1"], expected, atol=2e-3)


@pytest.mark.parametrize("kind", ["safetensors", "hdf5"])
def test_a_long_recording_runs_in_pieces_with_the_same_front_end(place: Path, kind: str) -> None:
    assert run(place, "--chunk", "0.8", "--overlap", "0.3", "--format", kind) == 0
    if kind == "hdf5":
        with h5py.File(place / "out/features.h5") as file:
            found = {name: file["long"][name][()] for name in file["long"]}
    else:
        found = load_file(place / "out/long.safetensors")
    first, *_, last = whole(place, "long")
    assert len(first) == 124
    np.testing.assert_allclose(found["hidden_0"], first, atol=1e-5)
    assert np.abs(found["hidden_2"] - last).max() > 1e-4


@pytest.mark.parametrize("kind", ["safetensors", "npz", "hdf5"])
def test_a_stopped_command_goes_on_with_what_is_missing(
    place: Path, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call, calls = TorchStudent.__call__, []

    def stopping(self: TorchStudent, wavs: torch.Tensor, lengths: torch.Tensor) -> object:
        calls.append(lengths.tolist())
        if len(calls) == 4:  # the first call measures the student
            raise KeyboardInterrupt
        return call(self, wavs, lengths)

    flags = ("--format", kind, "--batch", "0.1")
    with monkeypatch.context() as patch:
        patch.setattr(TorchStudent, "__call__", stopping)
        assert run(place, *flags) == 130
    assert calls[1:] == [[720], [5_000], [8_000]]
    assert not (place / "out/features.h5").exists()
    computed = []
    monkeypatch.setattr(extraction, "read_audio", lambda path: (computed.append(path.stem), read_audio(path))[1])
    leftover = place / "out/.a.safetensors.part-1"
    leftover.write_bytes(b"half")
    assert run(place, *flags) == 0
    assert computed == ["a", "long"] and not leftover.exists()
    assert (
        "features of 4 recordings, 3 arrays (T, 24) each, 2 of them from an earlier command" in capsys.readouterr().out
    )
    computed.clear()
    os.utime(place / "audio/deep/b.wav", (2e9, 2e9))  # the recording has changed since
    assert run(place, *flags) == 0 and computed == ["b"]


def test_a_command_that_was_stopped_before_the_last_file_was_made_makes_it(place: Path) -> None:
    for name in ("a", "deep/b"):
        assert run(place, "--format", "hdf5", audio=[f"audio/{name}.wav"], out=name) == 0
    parts = place / "a/.parts"
    parts.mkdir()
    (place / "deep/b/features.h5").rename(place / "b.h5")
    with h5py.File(place / "b.h5") as joined, h5py.File(parts / "b.h5", "w") as part:
        part.attrs["samples"] = 5_000
        for name, array in joined["b"].items():
            part[name] = array[()]
    assert run(place, "--format", "hdf5", audio=["audio/a.wav", "audio/deep/b.wav"], out="a") == 0
    with h5py.File(place / "a/features.h5") as file:
        assert [*file] == ["a", "b"] and file["b/hidden_0"].shape == (15, 24)
    assert not parts.exists()


def test_other_settings_and_foreign_folders_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, audio=["audio/a.wav"]) == 0
    before = (place / "out/a.safetensors").stat().st_mtime_ns
    for flags, key in {
        ("--layers", "0"): "layers (found [0, 1, 2], now [0])",
        ("--dtype", "float16"): 'dtype (found "float32", now "float16")',
        ("--steps", "2"): "steps (found null, now 2)",
        ("--chunk", "7"): "chunk_s (found 30.0, now 7.0)",
        ("--format", "npz"): 'format (found "safetensors", now "npz")',
    }.items():
        assert run(place, *flags, audio=["audio/a.wav"]) == 2
        assert f"was made with another {key}" in capsys.readouterr().err
    torch.manual_seed(1)
    save_student(place / "student.ckpt")
    assert run(place) == 2 and "was made with another student" in capsys.readouterr().err
    assert run(place, out="audio") == 2 and "found something else there" in capsys.readouterr().err
    assert (place / "out/a.safetensors").stat().st_mtime_ns == before and not [*(place / "audio").glob("*.json")]


def test_files_that_cannot_be_read_are_listed_and_the_others_written(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audio = place / "audio"
    (audio / "empty.wav").touch()
    (audio / "noise.mp3").write_bytes(bytes(range(256)) * 8)
    soundfile.write(audio / "short.wav", np.zeros(399), 16_000)
    soundfile.write(audio / "silent.wav", np.zeros(4_000), 16_000)
    for name, samples in (("nan", 3_000), ("long_nan", 40_000)):
        wav = speech(samples).numpy()
        wav[-7] = np.nan
        soundfile.write(audio / f"{name}.wav", wav, 16_000, subtype="FLOAT")
    lines = [f"audio/{path.relative_to(audio)}" for path in sorted(audio.rglob("*.*"))]
    (place / "list.txt").write_text("\n".join([*lines, "audio/gone.wav"]))
    assert run(place, "--chunk", "0.8", "--overlap", "0.3", audio=["list.txt"]) == 2
    told = capsys.readouterr()
    assert "6 of 11 recordings have no features; repair or remove them:" in told.err
    for line in (
        "empty.wav: file is empty",
        "noise.mp3: cannot be read as audio",
        "short.wav: 399 samples",
        "nan.wav: holds NaN",
        "long_nan.wav: holds NaN",
        "gone.wav: no such file",
    ):
        assert line in told.err and line in (place / "out/failed.txt").read_text()
    assert "features of 5 recordings" in told.out
    written = sorted(path.stem for path in (place / "out").rglob("*.safetensors"))
    assert written == ["a", "b", "c d", "long", "silent"]
    for name in ("empty.wav", "noise.mp3", "short.wav", "nan.wav", "long_nan.wav"):
        (audio / name).unlink()
    (place / "list.txt").write_text("\n".join(f"audio/{path.relative_to(audio)}" for path in audio.rglob("*.wav")))
    assert run(place, "--chunk", "0.8", "--overlap", "0.3", audio=["list.txt"]) == 0
    assert not [*(place / "out").rglob("nan*")]


def test_a_command_without_any_usable_file_writes_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "empty.wav").touch()
    assert run(place, audio=["empty.wav"]) == 2
    assert "1 of 1 recordings have no features" in capsys.readouterr().err
    assert [path.name for path in (place / "out").iterdir()] == [".extract.lock"]
    assert run(place, audio=["empty.wav"]) == 2
    for flags, message in {
        ("--layers", "3"): "layers: found 3, expected different numbers from -3 to 2",
        ("--steps", "9"): "steps: found 9, expected 1..2",
        ("--chunk", "0.001"): "--chunk: found 0.001 s, expected 0.02 to 86,400 s",
        ("--overlap", "-1"): "--overlap: found -1 s, expected 0 to 86,400 s",
        ("--device", "tpu"): "--device: found tpu",
    }.items():
        assert run(place, *flags, out="new") == 2
        assert message in capsys.readouterr().err and not (place / "new").exists()


def test_hdf5_without_its_library_names_the_extra(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3prl_gendistiller.inference.feature_folder.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'needs h5py; install it: pip install "s3prl-gendistiller\[sd\]"'):
        extraction.FeatureFolder(place / "new", {"format": "hdf5"})


def test_batches_hold_recordings_of_similar_length_within_their_limit() -> None:
    lengths = [16_000, 4_000, 4_100, 50_000, 3_900, 60_000, 9_000]
    known = [(Recording(Path(str(each)), str(each)), each) for each in lengths]
    found = [[samples for _, samples in batch] for batch in batches(known, PLAN, together=True)]
    assert found == [[3_900, 4_000, 4_100], [9_000], [16_000], [50_000], [60_000]]
    assert [len(batch) for batch in batches(known, PLAN, together=False)] == [1] * 7
    assert json.dumps(PLAN.longest_samples) == "32000"


def test_an_hdf5_holds_a_recording_beside_a_folder_of_its_name(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "audio/a").mkdir()
    for name in ("a/x", "a/y"):
        soundfile.write(place / f"audio/{name}.wav", speech(2_000, 9).numpy(), 16_000)
    assert run(place, "--format", "hdf5") == 0
    with h5py.File(place / "out/features.h5") as file:
        assert {"hidden_0", "x", "y"} <= set(file["a"]) and file["a/x/hidden_0"].shape[0] == 6
        assert file["a"].attrs["samples"] == SAMPLES["a"]
    soundfile.write(place / "audio/a.wav", speech(3_000, 1).numpy(), 16_000)  # computed again, and the folder stays
    assert run(place, "--format", "hdf5") == 0
    with h5py.File(place / "out/features.h5") as file:
        assert file["a"].attrs["samples"] == 3_000 and "x" in file["a"]
    soundfile.write(place / "audio/a/hidden_0.wav", speech(2_000, 9).numpy(), 16_000)
    capsys.readouterr()
    assert run(place, "--format", "hdf5", out="other") == 2
    assert "a/hidden_0: found a recording with the name of an array of a" in capsys.readouterr().err
    assert not (place / "other").exists()


@pytest.mark.parametrize("form", ["safetensors", "hdf5"])
def test_a_recording_that_breaks_later_loses_its_features_and_the_list_is_kept_up(
    form: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = (place / "audio/a.wav").read_bytes()
    assert run(place, "--format", form) == 0 and not (place / "out/failed.txt").exists()
    samples = torch.full((8_000,), 1.0e29).numpy()  # finite, and of another scale
    soundfile.write(place / "audio/a.wav", samples, 16_000, subtype="FLOAT")
    assert run(place, "--format", form) == 2
    error = capsys.readouterr().err
    assert "1 of 4 recordings have no features" in error and "audio/a.wav: found samples up to 1e+29" in error
    assert "audio/a.wav" in (place / "out/failed.txt").read_text()
    if form == "hdf5":
        with h5py.File(place / "out/features.h5") as file:
            assert "a" not in file or "hidden_0" not in file["a"]
    else:
        assert not (place / "out/a.safetensors").exists()
    (place / "audio/a.wav").write_bytes(good)
    assert run(place, "--format", form) == 0 and not (place / "out/failed.txt").exists()
    (place / "audio/junk.wav").write_bytes(b"junk")
    assert run(place, "--format", form) == 2 and (place / "out/failed.txt").exists()
    (place / "audio/junk.wav").unlink()
    assert run(place, "--format", form) == 0 and not (place / "out/failed.txt").exists()


def test_more_threads_than_cores_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "--jobs", "99999") == 2
    assert "threads: found 99999, expected 1 to" in capsys.readouterr().err and not (place / "out").exists()
