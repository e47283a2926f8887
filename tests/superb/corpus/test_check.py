"""What is under SUPERB_DATA, held against what tasks read and what is published."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from s3prl_gendistiller.distill.files import files_below
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.corpus import check as data_check
from s3prl_gendistiller.superb.corpus.check import Report, Shelf, check, need
from s3prl_gendistiller.superb.corpus.sizes import Amount
from s3prl_gendistiller.superb.tasks import TASKS
from s3prl_gendistiller.superb.tasks.needs import Need


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SUPERB_DATA", str(tmp_path))
    return tmp_path


def speak(path: Path, seconds: float = 0.5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(int(seconds * 16_000)), 16_000)


def books(data: Path) -> Need:
    """Two utterances a split and the lists of ASR."""
    found = need(TASKS["asr"])
    for audio in found.audio:
        for name in ("1-7-0000", "1-7-0001"):
            speak(audio.folder / "1" / "7" / f"{name}.flac")
    for listing in found.listings:
        listing.path.parent.mkdir(parents=True, exist_ok=True)
        rows = "".join(f"{i},{listing.path.stem}/1/7/1-7-000{i}.flac,8000,\n" for i in range(2))
        listing.path.write_text(f",file_path,length,label\n{rows}")
    return found


def published(found: Need, amount: Amount | None) -> Need:
    return dataclasses.replace(found, audio=[dataclasses.replace(audio, amount=amount) for audio in found.audio])


def of(found: Need, ours: bool | None = None) -> Report:
    return check(found, Shelf(progress=False), lambda root: ours)


def leaves(content: Any) -> Iterator[str]:
    if isinstance(content, dict | list):
        for value in content.values() if isinstance(content, dict) else content:
            yield from leaves(value)
    elif isinstance(content, str):
        yield content


@pytest.mark.parametrize("name", TASKS)
def test_every_path_of_a_configuration_is_looked_at(name: str, data: Path) -> None:
    found = need(TASKS[name])
    looked = [*found.roots, *(audio.folder for audio in found.audio), *(listing.path for listing in found.listings)]
    paths = [Path(text) for text in leaves(found.config) if text.startswith(str(data))]
    assert paths and all(any(other.is_relative_to(path) for other in looked) for path in paths)


def test_without_the_variable_nothing_can_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUPERB_DATA", raising=False)
    with pytest.raises(UserError, match="SUPERB_DATA is not set"):
        need(TASKS["pr"])


def test_a_corpus_of_the_published_size_is_complete(data: Path) -> None:
    report = of(published(books(data), Amount(2, 1 / 3600, rounding_h=0)))
    assert (report.state, report.files, report.problems) == ("complete", 6, ())
    assert report.hours == pytest.approx(3 / 3600) and not report.missing and report.audible


def test_a_corpus_that_is_not_there_is_absent(data: Path) -> None:
    report = of(need(TASKS["asr"]))
    assert (report.state, report.files, report.hours) == ("absent", 0, None) and report.missing
    assert report.problems == (f"{data / 'LibriSpeech'}: not there",)


def test_fewer_files_are_named_and_more_are_no_fault(data: Path) -> None:
    found = books(data)
    report = of(published(found, Amount(3)))
    assert report.state == "incomplete" and not report.audible and not report.makeable
    assert report.problems[0] == f"train-clean-100: 2 of 3 files in {found.audio[0].folder}"
    assert of(published(found, Amount(1))).state == "complete"


def test_hours_may_be_off_by_their_rounding_and_two_percent(data: Path) -> None:
    found = books(data)
    hour = 1 / 3600
    assert of(published(found, Amount(2, hour * 1.015, rounding_h=0))).state == "complete"
    assert of(published(found, Amount(2, hour * 1.2, rounding_h=hour / 4))).state == "complete"
    report = of(published(found, Amount(2, hour * 1.2, rounding_h=hour / 10)))
    assert "train-clean-100: 0.00 h in" in report.problems[0] and "expected 0.000333333" in report.problems[0]


def test_a_small_corpus_of_ours_is_synthetic_and_not_compared(data: Path) -> None:
    found = books(data)
    assert of(found).state == "incomplete"
    assert of(found, ours=True).state == "synthetic"
    unfinished = of(found, ours=False)
    assert unfinished.state == "incomplete" and "repeat `gendistiller corpus`" in unfinished.problems[0]


def test_what_a_list_names_has_to_be_there(data: Path) -> None:
    found = books(data)
    (found.audio[1].folder / "1/7/1-7-0001.flac").unlink()
    report = of(found, ours=True)
    (problem,) = report.problems
    assert problem.endswith("dev-clean.csv: names 1 audio files that are not there: dev-clean/1/7/1-7-0001.flac")
    assert report.state == "incomplete" and report.audible


def test_a_list_of_which_most_is_missing_says_where_the_audio_is_looked_for(data: Path) -> None:
    found = books(data)
    for file in (found.audio[1].folder / "1/7").glob("*.flac"):
        file.unlink()
    (problem,) = (problem for problem in of(found, ours=True).problems if "dev-clean.csv" in problem)
    assert problem.endswith(f"; they are looked for where downstream_expert.datarc.libri_root points, {found.roots[0]}")


def test_a_list_of_other_things_than_paths_is_a_problem(data: Path) -> None:
    found = books(data)
    for names, expected in (([3.5], "entry 1: found 3.5"), (["a", None], "entry 2: found None"), ([""], "found ''")):
        listing = dataclasses.replace(found.listings[0], named=lambda path, names=names: iter(names))
        (problem,) = of(dataclasses.replace(found, listings=[listing]), ours=True).problems
        assert expected in problem and "expected the path of an audio file" in problem


def test_a_list_that_can_be_made_says_so(data: Path) -> None:
    found = books(data)
    for listing in found.listings[:2]:
        listing.path.unlink()
    folder = found.listings[0].path.parent
    report = of(published(found, None))
    assert report.problems == (f"{folder}: no train-clean-100.csv, dev-clean.csv; --make writes it",)
    assert report.makeable
    report = of(found, ours=True)
    assert "dev-clean.csv; repeat `gendistiller corpus`" in report.problems[0] and not report.makeable


def test_a_list_of_another_form_is_named(data: Path) -> None:
    found = books(data)
    found.listings[0].path.write_bytes(b"\xff\xfe\x00")
    found.listings[1].path.write_text("path\n")
    problems = of(found, ours=True).problems
    assert (
        "train-clean-100.csv line 1: found byte 0xff, expected UTF-8" in problems[0]
        and "dev-clean.csv: names no audio file" in problems[1]
    )


def test_files_without_audio_are_named(data: Path) -> None:
    found = books(data)
    broken = found.audio[0].folder / "1/7/1-7-0001.flac"
    broken.write_bytes(b"fLaC")
    report = of(found, ours=True)
    assert report.problems == (f"train-clean-100: 1 files hold no audio: {broken}",)
    unheard = check(found, Shelf(sample=0, progress=False), lambda root: True)
    assert (unheard.state, unheard.hours, unheard.files) == ("synthetic", None, 6)


def test_counts_are_compared_for_real_lists_only(data: Path) -> None:
    found = need(TASKS["ic"])
    (root,) = found.roots
    speak(root / "wavs/speakers/a/1.wav")
    for listing in found.listings:
        listing.path.parent.mkdir(parents=True, exist_ok=True)
        listing.path.write_text(",path\n0,wavs/speakers/a/1.wav\n")
    assert of(found, ours=True).state == "synthetic"
    assert "train_data.csv: 1 entries, expected 23,132" in of(found).problems[0]


def test_only_the_voices_of_the_configuration_count(data: Path) -> None:
    found = need(TASKS["sf"])
    for name in ("Ivy-snips-train-0", "Aditi-snips-train-0"):
        speak(found.roots[0] / "train" / f"{name}.wav")
    assert [file.name for file in Shelf(progress=False).audio(found.audio[0]).files] == ["Ivy-snips-train-0.wav"]


def test_a_folder_is_looked_at_once_for_all_tasks(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    books(data)
    looked: list[Path] = []

    def counted(folder: Path, *rest: Any) -> Iterator[Path]:
        looked.append(folder)
        return files_below(folder, *rest)

    monkeypatch.setattr(data_check, "files_below", counted)
    shelf = Shelf(progress=False)
    for name in ("pr", "asr"):
        check(need(TASKS[name]), shelf, lambda root: None)
    assert len(looked) == len(set(looked)) == 3


def test_hidden_files_are_left_out_and_links_followed(tmp_path: Path) -> None:
    speak(tmp_path / "real" / "a.WAV")
    (tmp_path / "real" / "._a.wav").touch()
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "b.wav").touch()
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "corpus")
    assert [file.name for file in files_below(tmp_path / "corpus", ".wav")] == ["a.WAV"]
