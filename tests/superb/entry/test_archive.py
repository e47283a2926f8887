"""predict.zip: members and bytes as s3prl's own packer makes them; what is broken is refused by name."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.entry.archive import check_submissions, fold_folders, known_submissions, pack
from s3prl_gendistiller.superb.tasks import TASKS
from tests.superb.experiments import FLAGS, write_experiment

# s3prl/submit/submit.py: flag -> (file in the experiment folder, file in the archive); sd is a folder, below.
OFFICIAL = {
    "pr": ("test-hyp.ark", "pr_public/predict.ark"),
    "sid": ("test_predict.txt", "sid_public/predict.txt"),
    "ks": ("test_predict.txt", "ks_public/predict.txt"),
    "ic": ("test_predict.csv", "ic_public/predict.csv"),
    "er_fold1": ("test_fold1_predict.txt", "er_fold1_public/predict.txt"),
    "er_fold2": ("test_fold2_predict.txt", "er_fold2_public/predict.txt"),
    "er_fold3": ("test_fold3_predict.txt", "er_fold3_public/predict.txt"),
    "er_fold4": ("test_fold4_predict.txt", "er_fold4_public/predict.txt"),
    "er_fold5": ("test_fold5_predict.txt", "er_fold5_public/predict.txt"),
    "asr_no_lm": ("test-clean-noLM-hyp.ark", "asr_public/predict.ark"),
    "asr_with_lm": ("test-clean-LM-hyp.ark", "asr_lm_public/predict.ark"),
    "qbe": ("benchmark.stdlist.xml", "qbe_public/benchmark.stdlist.xml"),
    "sf": ("test-hyp.ark", "sf_public/predict.ark"),
    "sv": ("test_predict.txt", "sv_public/predict.txt"),
}
Folders = dict[str, Path]


@pytest.fixture
def folders(ten: Path, host_ids: dict[str, list[str]], tmp_path: Path) -> Folders:
    """All ten tasks, tested on their corpora."""
    return {flag: write_experiment(tmp_path / "runs" / flag, flag, host_ids[flag], ten) for flag in FLAGS}


def official_zip(folders: Folders, out: Path) -> Path:
    """As submit.py makes it: a tree of copies, and `zip -r` of that tree."""
    for flag, folder in folders.items():
        if flag == "sd":
            shutil.copytree(folder / "scoring/predictions", out / "predict/sd_public/scoring/predictions")
            shutil.copyfile(folder / "frame_shift", out / "predict/sd_public/frame_shift")
            continue
        source, target = OFFICIAL[flag]
        (out / "predict" / target).parent.mkdir(parents=True)
        shutil.copyfile(folder / source, out / "predict" / target)
    with zipfile.ZipFile(out / "predict.zip", "w") as archive:
        for path in [out / "predict", *(out / "predict").rglob("*")]:
            archive.write(path, path.relative_to(out))
    return out / "predict.zip"


def test_members_and_bytes_are_those_of_s3prls_packer(folders: Folders, tmp_path: Path) -> None:
    with_lm = write_experiment(tmp_path / "asr_with_lm", "asr_with_lm", ["1-2-3", "1-2-4"])
    folders = {**folders, "asr_with_lm": with_lm}
    assert folders.keys() == OFFICIAL.keys() | {"sd"} == known_submissions().keys()
    path = pack(check_submissions(folders), tmp_path / "ours")
    with zipfile.ZipFile(path) as ours, zipfile.ZipFile(official_zip(folders, tmp_path / "official")) as official:
        assert sorted(ours.namelist()) == sorted(official.namelist())
        assert all(ours.read(name) == official.read(name) for name in ours.namelist())
        assert all((ours.getinfo(name).external_attr >> 16) & 0o444 == 0o444 for name in ours.namelist())
    first = path.read_bytes()
    assert pack(check_submissions(folders), tmp_path / "ours").read_bytes() == first
    assert [entry.name for entry in (tmp_path / "ours").iterdir()] == ["predict.zip"]


def test_what_was_compared_is_said(folders: Folders, ten: Path) -> None:
    said = {found.submission.flag: str(found) for found in check_submissions(folders)}
    assert said["pr"] == f"pr_public: 3 predictions, ids as in test-ref.ark and {ten}/LibriSpeech"
    assert said["qbe"] == f"qbe_public: 8 predictions, ids as in {ten}/quesst14Database/scoring"


def test_without_the_corpus_the_true_answers_beside_are_what_remains(
    folders: Folders, host_ids: dict[str, list[str]], tmp_path: Path
) -> None:
    (alone,) = check_submissions({"sid": write_experiment(tmp_path / "sid", "sid", host_ids["sid"])})
    assert str(alone) == (
        "sid_public: 5 predictions, ids as in test_truth.txt; ids not compared with the corpus: its folder holds no "
        "configuration (config_resolved.yaml or s3prl's config_*.yaml)"
    )
    (moved,) = check_submissions({"sv": write_experiment(tmp_path / "sv", "sv", host_ids["sv"], tmp_path / "nowhere")})
    assert str(moved).endswith(
        f"; ids not compared with the corpus: no {tmp_path}/nowhere/VoxCeleb1/voxceleb1_test_v2.txt"
    )


def edit(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))


def swapped(old: str, new: str) -> Callable[[list[str]], list[str]]:
    """In the first line, once."""
    return lambda lines: [lines[0].replace(old, new, 1), *lines[1:]]


def begun(line: str) -> Callable[[list[str]], list[str]]:
    return lambda lines: [line, *lines[1:]]


BROKEN_FILES: dict[str, tuple[str, Callable[[list[str]], list[str]], str]] = {
    "truncated": ("pr", lambda lines: [*lines[:2], lines[2][:9]], "line 3: cut off; the file ends without"),
    "lost its end": ("pr", lambda lines: lines[:2], "2 predictions, expected 3 by .*missing 3-7-0000"),
    "shuffled ark": ("pr", lambda lines: lines[::-1], "line 1: found 3-7-0000, expected 3-7-0002, the order of"),
    "shuffled trials": ("sv", lambda lines: lines[::-1], "the order of .*voxceleb1_test_v2.txt"),
    "empty": ("sf", lambda lines: [], "is empty"),
    "a NaN score": ("sv", swapped("0.25", "nan"), "line 1: .* has nan, expected a finite number"),
    "no score": ("sv", swapped("0.25", "[0.25]"), r"line 1: .* has \[0.25\], expected a finite number"),
    "no class": ("sid", begun("id10001-clip-00004 \n"), "line 1: found .*, expected UTTERANCE CLASS"),
    "a line twice": ("ks", lambda lines: [*lines, lines[0]], "stands there 2 times"),
    "a foreign id": ("er_fold2", begun("other neu\n"), "too many or foreign other"),
    "three fields": ("ic", begun("0,increase,heat\n"), "expected UTTERANCE,ACTION,OBJECT,LOCATION"),
    "another query": ("qbe", swapped("eval_0001", "dev_0001"), "missing .*; too many or foreign quesst14_dev_0001"),
    "a NaN in a list": ("qbe", swapped("-0.5000", "nan"), "of quesst14_0000. is nan, expected a finite number"),
    "a document less": ("qbe", swapped('"quesst14_00000"', '"other"'), "no score for quesst14_00000"),
    "a cut list": ("qbe", swapped("</stdlist>", ""), "expected the list that s3prl's quesst14_dtw writes"),
}


def refused(folders: Folders, flag: str, said: str) -> None:
    _, submission = known_submissions()[flag]
    where = f"nothing was packed; .*{submission.folder}: {folders[flag] / submission.source}: "
    with pytest.raises(UserError, match=f"(?s){where}.*{said}"):
        check_submissions(folders)


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_a_broken_file_is_refused_by_name(name: str, folders: Folders) -> None:
    flag, change, said = BROKEN_FILES[name]
    edit(folders[flag] / known_submissions()[flag][1].source, change)
    refused(folders, flag, said)


def test_what_is_no_text_or_not_there_is_refused_by_name(folders: Folders) -> None:
    (folders["asr_no_lm"] / "test-clean-noLM-hyp.ark").unlink()
    refused(folders, "asr_no_lm", "no such file; evaluate this run on its test set")
    (folders["sf"] / "test-hyp.ark").write_bytes(b"\xff\xfe")
    refused(folders, "sf", "not text in UTF-8")


def write_frames(path: Path, values: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("T_hat", data=values)


BROKEN_FRAMES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a recording less": (lambda path: path.unlink(), "1 predictions, expected 2 by .*missing mix1"),
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:-9]), "mix1.h5: not readable"),
    "NaN": (lambda path: write_frames(path, np.full((150, 2), np.nan)), "mix1.h5: T_hat of 150x2, expected"),
    "too short": (lambda path: write_frames(path, np.zeros((149, 2))), "mix1: 149 frames, expected at least 150"),
    "no frame shift": (lambda path: (path.parents[2] / "frame_shift").unlink(), "frame_shift: no such file"),
    "another file": (lambda path: path.with_name("log").write_text(""), "log: found a file that is no .h5"),
    "nothing": (lambda path: shutil.rmtree(path.parents[1]), "no such folder; evaluate this run on its test set"),
}


@pytest.mark.parametrize("name", BROKEN_FRAMES)
def test_broken_diarization_is_refused_by_name(name: str, folders: Folders) -> None:
    breaking, said = BROKEN_FRAMES[name]
    breaking(folders["sd"] / "scoring/predictions/mix1.h5")
    refused(folders, "sd", said)


def test_all_problems_are_listed_at_once(folders: Folders) -> None:
    edit(folders["pr"] / "test-hyp.ark", lambda lines: lines[:2])
    edit(folders["sv"] / "test_predict.txt", lambda lines: [line.replace("0.25", "inf") for line in lines])
    with pytest.raises(UserError) as caught:
        check_submissions(folders)
    lines = str(caught.value).splitlines()
    assert lines[0] == "nothing was packed; 4 problems:" and len(lines) == 5  # pr by its truth and by its corpus
    assert "missing 3-7-0000" in lines[1] and "has inf" in lines[3] and "has inf" in lines[4]


def test_a_head_that_learned_from_a_teachers_answers_is_no_entry(folders: Folders) -> None:
    path = folders["ks"] / "config_resolved.yaml"
    content = yaml.safe_load(path.read_text())
    content["downstream_expert"]["glmd"] = {"teacher": "runs/teacher"}
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match="was trained on a teacher's soft labels .*expected a run of the task itself"):
        check_submissions(folders)


def test_many_problems_of_a_file_are_shortened(folders: Folders) -> None:
    edit(folders["ks"] / "test_predict.txt", lambda lines: ["?\n"] * len(lines))
    with pytest.raises(UserError, match="(?s)line 3: .*and 9 more of this kind$"):
        check_submissions({"ks": folders["ks"]})


def test_folds_are_told_by_what_they_hold(folders: Folders) -> None:
    folds = [folders[f"er_fold{fold}"] for fold in (3, 1, 5, 2, 4)]
    found, problems = fold_folders(TASKS["er"], folds)
    assert problems == [] and found == {f"er_fold{fold}": folders[f"er_fold{fold}"] for fold in range(1, 6)}
    _, problems = fold_folders(TASKS["er"], [*folds[:3], folds[0]])
    assert [problem.split(":")[1] for problem in problems[:2]] == [" fold 2 is missing", " fold 4 is missing"]
    assert problems[2] == f"er: fold 3 is in {folds[0]} and in {folds[0]}"


def test_a_missing_fold_is_refused_and_a_partial_set_is_not(folders: Folders) -> None:
    del folders["er_fold3"]
    with pytest.raises(UserError, match="1 problem:\n  er: fold 3 is missing; ER is scored with all 5 folds only"):
        check_submissions(folders)
    some = {flag: folder for flag, folder in folders.items() if not flag.startswith("er_")}
    assert len(check_submissions(some)) == len(some) == 9
