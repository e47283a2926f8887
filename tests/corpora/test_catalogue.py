"""All corpora together: same bytes for a seed, resumed, mended, checked, and nothing else touched."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from s3prl_gendistiller.corpora.catalogue import SIZES, TASKS, check_corpora, is_synthetic, write_corpora
from s3prl_gendistiller.corpora.espeak import Espeak
from s3prl_gendistiller.corpora.folder import STAMP
from s3prl_gendistiller.errors import UserError
from tests.corpora.conftest import digests, names

AGAIN = "repeat the command that wrote the corpus"
FOLDERS = {
    *("LibriSpeech", "speech_commands_v0.01", "speech_commands_test_set_v0.01", "quesst14Database", "VoxCeleb1"),
    *("Libri2Mix", "fluent_speech_commands_dataset", "SNIPS", "IEMOCAP"),
}


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    """The emotion and diarization corpora, free to be damaged."""
    for name in ("IEMOCAP", "Libri2Mix"):
        shutil.copytree(tiny / name, tmp_path / name)
    return tmp_path


def rewrite(out: Path, **changes: object) -> None:
    write_corpora(out, **{"size": "tiny", "tasks": ["er", "sd"], "workers": 1, "progress": False, **changes})


def test_ten_tasks_have_their_official_folders(tiny: Path) -> None:
    assert len(TASKS) == 10
    assert {entry.name for entry in tiny.iterdir()} == FOLDERS
    assert all("no recording of a person" in (tiny / name / "README.md").read_text() for name in FOLDERS)


def test_same_seed_gives_the_same_bytes_on_any_number_of_processes(tiny: Path, tmp_path: Path) -> None:
    tasks = ["ks", "sd", "qbe", "sf"]
    write_corpora(tmp_path, size="tiny", tasks=tasks, workers=2, progress=False)
    for name in ("speech_commands_v0.01", "speech_commands_test_set_v0.01", "Libri2Mix", "quesst14Database", "SNIPS"):
        assert digests(tmp_path / name) == digests(tiny / name)


def test_another_seed_gives_other_speech_under_the_same_names(tiny: Path, tmp_path: Path) -> None:
    write_corpora(tmp_path, size="tiny", seed=1, tasks=["er"], workers=1, progress=False)
    first, second = digests(tiny / "IEMOCAP"), digests(tmp_path / "IEMOCAP")
    assert first.keys() == second.keys()
    assert not {name for name in first if name.endswith(".wav") and first[name] == second[name]}


@pytest.mark.parametrize("size", SIZES)
def test_every_size_can_be_planned_with_the_speakers_there_are(size: str) -> None:
    engine = Espeak()
    counts = {}
    for module in dict.fromkeys(TASKS.values()):
        for plan in module.plans(engine, size, 0):
            paths = [clip.path for clip in plan.clips]
            assert len(set(paths)) == len(paths)
            counts[plan.name] = len(paths)
    assert set(counts) == FOLDERS
    low, high = {"tiny": (200, 400), "small": (3500, 5500), "medium": (12000, 20000), "bench": (12000, 16000)}[size]
    assert low < sum(counts.values()) < high


def test_interrupted_corpus_is_finished_with_the_same_bytes(copy: Path, tiny: Path) -> None:
    for name in ("IEMOCAP", "Libri2Mix"):
        (copy / name / "SHA256SUMS").unlink()
    shutil.rmtree(copy / "Libri2Mix/train/wav")
    shutil.rmtree(copy / "IEMOCAP/meta_data")
    (copy / "Libri2Mix/test/turns/test-0001.rttm").unlink()
    gone = sorted((copy / "IEMOCAP").rglob("*.wav"))
    for path in gone[1::2]:
        path.unlink()
    kept = gone[0].stat().st_mtime_ns
    rewrite(copy)
    for name in ("IEMOCAP", "Libri2Mix"):
        assert digests(copy / name) == digests(tiny / name)
    assert gone[0].stat().st_mtime_ns == kept


def test_killed_command_loses_nothing_and_leaves_no_half_file(tiny: Path, tmp_path: Path) -> None:
    script = "import sys; from s3prl_gendistiller.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["corpus", str(tmp_path), "--size", "tiny", "--tasks", "er", "--workers", "1", "--no-progress"]
    process = subprocess.Popen([sys.executable, "-c", script, *arguments], cwd=Path(__file__).parents[2])
    while not names(tmp_path) and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {name: (tmp_path / "IEMOCAP" / name).stat().st_mtime_ns for name in names(tmp_path / "IEMOCAP")}
    assert 0 < len(done) < 40
    assert check_corpora(tmp_path)[0].problems == [f"{tmp_path / 'IEMOCAP'}: not finished; " + AGAIN + " to continue"]
    rewrite(tmp_path, tasks=["er"])
    assert digests(tmp_path / "IEMOCAP") == digests(tiny / "IEMOCAP")
    assert all((tmp_path / "IEMOCAP" / name).stat().st_mtime_ns == changed for name, changed in done.items())


def test_check_names_the_corrupted_and_the_missing_file(copy: Path) -> None:
    flipped = copy / "IEMOCAP/Session2/sentences/wav/Ses02F_impro01/Ses02F_impro01_F001.wav"
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 1
    flipped.write_bytes(content)
    missing = copy / "Libri2Mix/dev/segments"
    missing.unlink()
    problems = [problem for state in check_corpora(copy) for problem in state.problems]
    assert problems == [
        f"{flipped}: corrupted; {AGAIN} to write the file again",
        f"{missing}: missing; {AGAIN} to write the file again",
    ]


def test_damage_is_mended_by_repeating_the_command(copy: Path, tiny: Path, caplog: pytest.LogCaptureFixture) -> None:
    flipped = copy / "IEMOCAP/Session5/sentences/wav/Ses05F_impro01/Ses05F_impro01_M003.wav"
    flipped.write_bytes(flipped.read_bytes()[:-7])
    (copy / "Libri2Mix/dev/wav/dev-0001.wav").unlink()
    rewrite(copy)
    assert [state.problems for state in check_corpora(copy)] == [[], []]
    assert digests(copy / "Libri2Mix") == digests(tiny / "Libri2Mix")
    assert digests(copy / "IEMOCAP") == digests(tiny / "IEMOCAP")


def test_whole_corpus_is_checked_in_a_moment(tiny: Path) -> None:
    states = check_corpora(tiny)
    assert {state.root.name for state in states} == FOLDERS
    assert not [problem for state in states for problem in state.problems]
    assert all(state.files > 20 for state in states)


def test_missing_layout_folder_is_named(copy: Path) -> None:
    states = check_corpora(copy, ["er", "asv"])
    assert [state.problems for state in states] == [[f"{copy / 'VoxCeleb1'}: no such folder; {AGAIN}"], []]


def test_folder_without_corpora_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found no corpus of this command in it"):
        check_corpora(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        check_corpora(tmp_path / "none")


def test_ruined_checksums_are_named(copy: Path) -> None:
    (copy / "IEMOCAP/SHA256SUMS").write_text("nonsense\n")
    with pytest.raises(UserError, match=r"IEMOCAP/SHA256SUMS: corrupted, .* remove it and repeat the command"):
        check_corpora(copy)


def test_real_corpus_is_never_touched(tmp_path: Path) -> None:
    real = tmp_path / "Libri2Mix/wav16k/max"
    real.mkdir(parents=True)
    with pytest.raises(UserError, match="Libri2Mix: not empty and not written by this command"):
        rewrite(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == [
        *("Libri2Mix", "Libri2Mix/wav16k", "Libri2Mix/wav16k/max"),
    ]


def test_corpus_of_another_seed_or_size_is_refused_with_the_difference(copy: Path) -> None:
    with pytest.raises(UserError, match=r"another synthetic corpus is here \(seed 0, asked for 3\); remove"):
        rewrite(copy, seed=3)
    with pytest.raises(UserError, match=r"\(size .*, asked for .*\); remove"):
        rewrite(copy, size="small")


def test_unknown_names_are_refused_with_the_likeliest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--size: found smal, expected one of .*; did you mean small"):
        write_corpora(tmp_path, size="smal")
    with pytest.raises(UserError, match="--tasks: found asrr, expected one of pr, asr, .*; did you mean asr"):
        write_corpora(tmp_path, tasks=["ks", "asrr"])
    assert not list(tmp_path.iterdir())


def test_missing_synthesiser_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(UserError, match=r'pip install "s3prl-gendistiller\[corpus\]"'):
        rewrite(tmp_path)
    assert not list(tmp_path.iterdir())


def test_synthetic_corpora_are_known_by_their_stamp(tmp_path: Path) -> None:
    (tmp_path / "LibriSpeech").mkdir()
    assert not is_synthetic(tmp_path) and not is_synthetic(tmp_path / "none")
    (tmp_path / "LibriSpeech" / STAMP).write_text("{}")
    assert is_synthetic(tmp_path)
