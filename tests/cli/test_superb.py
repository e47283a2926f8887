"""`gendistiller superb`: what it says before anything runs, and two tasks for real through s3prl."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from s3prl_gendistiller.cli import downstream, main
from s3prl_gendistiller.corpora.catalogue import write_corpora
from s3prl_gendistiller.host.checkpoint import newest_checkpoint
from s3prl_gendistiller.superb.cost import multiply_adds
from s3prl_gendistiller.superb.tasks import TASKS
from tests.conftest import ROOT, run_python
from tests.host.test_checkpoint import save_student
from tests.superb.noise_corpora import write_ten

COMMAND = ("-c", "import sys; from s3prl_gendistiller.cli import main; sys.exit(main())", "superb")
SHORT = ",,".join(
    f"config.runner.{key}={steps}" for key, steps in {"total_steps": 4, "eval_step": 2, "save_step": 2}.items()
)
SHORT += ",,config.runner.log_step=2"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ten(tmp_path_factory.mktemp("ten"))


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_student(tmp_path_factory.mktemp("student") / "states-3.ckpt")


@pytest.fixture
def inside(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUPERB_DATA", str(data))
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["superb", *arguments]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error and not Path("result").exists()
    return error


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Students need not be loaded to be counted."""
    monkeypatch.setattr(multiply_adds, "size", lambda student: (1_000_000, 3.5))


def test_a_dry_run_prints_the_commands_and_makes_nothing(
    inside: Path, student: Path, counted: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["superb", "--student", f"mine={student}", "--tasks", "ks", "er", "--dry-run"]) == 0
    printed = capsys.readouterr().out.splitlines()
    lines = [line for line in printed if not line.startswith("# ")]
    assert len(lines) == 12 and all(line.startswith("run_downstream.py -m ") for line in lines)
    assert "-u gendistiller_local -k" in lines[0] and "-d speech_commands -c" in lines[0]
    assert not Path("result").exists()


def test_a_plan_trains_each_head_with_each_seed(
    inside: Path, student: Path, counted: None, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["superb", "--student", f"mine={student}", "fbank", "--tasks", "ks", "--seeds", "1", "2", "--dry-run"]
    assert main(command) == 0
    plan = [line for line in capsys.readouterr().out.splitlines() if " -m train " in line]
    assert [re.findall(r"--seed (\d+)", line) for line in plan] == [["1"], ["2"], ["1"], ["2"]]


def test_an_override_that_a_task_does_not_read_is_refused_before_the_plan(
    inside: Path, student: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["superb", "--student", f"mine={student}", "--tasks", "ks", "-o", "config.runner.total_step=3"]
    assert main([*command, "--dry-run"]) == 2
    assert "runner.total_step: unknown key; did you mean total_steps?" in capsys.readouterr().err


def test_the_official_plan_needs_no_corpora_and_states_hours_and_paths(
    inside: Path, student: Path, counted: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUPERB_DATA")
    tasks = [name for name in TASKS if name != "qbe"]  # which would load the student
    command = ["superb", "--student", f"mine={student}", "--preset", "official", "--dry-run", "--tasks", *tasks]
    assert main([*command, "--devices", "cuda:0", "cuda:1", "--hardware", "8gb"]) == 0
    lines = capsys.readouterr().out.splitlines()
    plan = [line for line in lines if line.startswith("# ")]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in plan if line.startswith("# | mine ")]
    assert [row[1] for row in rows] == tasks and all(row[4].endswith(" h") for row in rows)
    assert sum(float(row[4].removesuffix(" h")) for row in rows) == pytest.approx(float(total_hours(plan)[0]), rel=0.01)
    assert "2 at a time: " in "".join(plan) and "16 TFLOP/s for each run, on a GPU" in "".join(plan)
    assert "# sid reads ${SUPERB_DATA}/VoxCeleb1/veri_test_class.txt (not there)" in plan
    commands = lines[len(plan) :]
    assert len(commands) > 80 and all(line.startswith("run_downstream.py -m ") for line in commands)
    searched = [line for line in commands if "-d ctc" in line and "libriphone_8gb.yaml" in line]
    assert len(searched) == 5 + 3 + 2 + 1 and "config.runner.total_steps=5000,,config.optimizer.lr=0.1" in searched[0]
    assert not Path("result").exists()


def total_hours(plan: list[str]) -> list[str]:
    return re.findall(r"# ([\d.]+) h of runs", "\n".join(plan))


def test_a_faster_device_and_a_chosen_rate_take_less(
    inside: Path, student: Path, counted: None, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["superb", "--student", f"mine={student}", "--preset", "official", "--dry-run", "--tasks", "pr"]
    hours = []
    for more in ([], ["--tflops", "64"], ["--lr", "pr=1e-3"], ["--no-lr-search"], ["--no-halving"]):
        assert main([*command, *more]) == 0
        hours.append(float(total_hours(capsys.readouterr().out.splitlines())[0]))
    searched, faster, chosen, unsearched, full = hours
    assert faster < searched / 2 and chosen == unsearched == pytest.approx(searched / 1.9, rel=0.02)
    assert full == pytest.approx(5 * chosen, rel=0.02)


def test_mistakes_are_named_before_anything_runs(
    inside: Path, student: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = ("--student", f"mine={student}")
    assert "did you mean ks (keyword spotting)?" in refused(capsys, *mine, "--tasks", "keyword")
    assert "expected TASK=RATE" in refused(capsys, *mine, "--tasks", "ks", "--lr", "ks=fast")
    assert "no such file or folder" in refused(capsys, "--student", "mine=none/states-1.ckpt")
    assert "--jobs: found '0'" in refused(capsys, *mine, "--jobs", "0")
    assert "--tflops: found 0" in refused(capsys, *mine, "--tflops", "0")
    assert "--hardware: found 8gb with --preset small" in refused(capsys, *mine, "--hardware", "8gb")
    assert "--lm: only asr uses a language model; leave --lm out, or add asr to --tasks" in refused(
        capsys, *mine, "--tasks", "ks", "--lm", "lm"
    )
    assert "4-gram.arpa.gz (openslr.org/11)" in refused(capsys, *mine, "--tasks", "asr", "--lm", "lm")
    assert "--devices: found cuda:64" in refused(capsys, *mine, "--tasks", "ks", "--devices", "cuda:64")
    section = "{'name': 'linear_schedule_with_warmup', 'num_warmup_steps': 1}"
    schedule = ("--preset", "official", "-o", f"config.scheduler={section}")
    assert "ks: found config.scheduler" in refused(capsys, *mine, "--tasks", "ks", *schedule)
    monkeypatch.setenv("SUPERB_DATA", str(data / "SNIPS"))
    error = refused(capsys, *mine, "--tasks", "sid", "sf")
    assert "sid: downstream_expert.datarc.file_path: looked for" in error and "VoxCeleb1" in error
    assert "\nsf: downstream_expert.corpus.path: looked for" in error and "gendistiller corpus" in error


def test_a_downstream_of_two_tasks_asks_which(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert downstream.main(["-u", "fbank", "-d", "ctc"]) == 2
    error = capsys.readouterr().err
    assert "choose with -c downstream_runs/ctc/libriphone.yaml or -c downstream_runs/ctc/snips.yaml" in error


def superb(*arguments: str | Path, cwd: Path, data: Path) -> subprocess.CompletedProcess[str]:
    return run_python(*COMMAND, *arguments, cwd=cwd, env={"SUPERB_DATA": str(data)})


@pytest.fixture(scope="module")
def finished(data: Path, student: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str | Path]]:
    """Three tasks for real: one from the registry's gaps, one of the cache and the GPU, one that trains nothing."""
    folder = tmp_path_factory.mktemp("suite")
    command: list[str | Path] = ["--student", f"mine={student}", "--tasks", "pr", "asv", "qbe", "--out", "suite"]
    command += ["-o", SHORT, "--jobs", "2", "--cache-features", "features"]
    answer = superb(*command, cwd=folder, data=data)
    assert answer.returncode == 0, answer.stdout[-2000:] + answer.stderr[-4000:]
    return folder, command


def test_tasks_run_for_real_and_leave_plain_experiment_folders(finished: tuple[Path, list], data: Path) -> None:
    folder, _ = finished
    tasks = json.loads((folder / "suite/results.json").read_text())["students"]["mine"]["tasks"]
    assert set(tasks) == {"pr", "asv", "qbe"}
    assert 0 <= tasks["asv"]["values"]["eer"] <= 100 and set(tasks["qbe"]["dev"]) == {"0", "1", "2"}
    run = folder / "suite/runs/mine/asv"
    assert {"states-4.ckpt", "run.json", "config_resolved.yaml", "test_predict.txt"} <= {p.name for p in run.iterdir()}
    assert list(run.glob("events.out.tfevents*")) and (run / ".wav_lengths").is_dir()
    assert (folder / "suite/scores.png").is_file()


def test_a_finished_suite_is_ready_for_the_leaderboard(finished: tuple[Path, list], student: Path, data: Path) -> None:
    """Predictions that s3prl's experts wrote, and costs that are counted through s3prl."""
    folder, _ = finished
    arguments = ["suite", "--student", "mine", "--out", "submission", "--hub-folder", "upstream"]
    answer = run_python(*COMMAND[:2], "submit", *arguments, cwd=folder)
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert answer.stdout.count("ids as in ") == 3 and "not compared" not in answer.stdout
    with zipfile.ZipFile(folder / "submission/predict.zip") as archive:
        names = {name.removeprefix("predict/") for name in archive.namelist() if not name.endswith("/")}
    assert names == {"pr_public/predict.ark", "qbe_public/benchmark.stdlist.xml", "sv_public/predict.txt"}
    parameters = json.loads((folder / "suite/results.json").read_text())["students"]["mine"]["cost"]["parameters"]
    assert f"- {parameters:,} parameters" in (folder / "upstream/README.md").read_text()


def test_features_are_kept_where_utterances_come_again(finished: tuple[Path, list], data: Path) -> None:
    folder, _ = finished
    (student,) = (folder / "features").iterdir()
    kept = len(list((student / "hidden_states").iterdir()))
    logs = {task: (folder / "suite/runs/mine" / task / "superb_train.log").read_text() for task in ("pr", "asv")}
    assert "--cache-features" in logs["pr"] and "--cache-features" in logs["asv"]
    heard = [path for task in ("LibriSpeech", "quesst14Database", "VoxCeleb1") for path in (data / task).rglob("*.*")]
    assert 0 < kept <= len(heard)


def test_the_same_command_again_repeats_nothing(finished: tuple[Path, list], data: Path) -> None:
    folder, command = finished
    before = {path: path.stat().st_mtime_ns for path in (folder / "suite/runs").rglob("*")}
    answer = superb(*command, cwd=folder, data=data)
    assert answer.returncode == 0 and "| mine " in answer.stdout
    assert {path: path.stat().st_mtime_ns for path in (folder / "suite/runs").rglob("*")} == before


def test_a_search_in_parts_trains_on_with_s3prls_own_checkpoints(data: Path, tmp_path: Path) -> None:
    """ASV too, whose trials are compared on dev speakers, checkpoint by checkpoint."""
    rates = ("ks=1e-3,1e-4", "asv=1e-2")
    command = ["--student", "fbank", "--tasks", "ks", "asv", "--out", "suite", "--jobs", "1", "-o", SHORT]
    command += ["--halving", "--lr-search", "--lr"]
    answer = superb(*command, *rates, cwd=tmp_path, data=data)
    assert answer.returncode == 0, answer.stderr[-3000:]
    outcome = json.loads((tmp_path / "suite/results.json").read_text())["students"]["fbank"]["tasks"]["ks"]
    assert len(outcome["trials"]) == 4
    folders = {path.name: path for path in (tmp_path / "suite/runs/fbank").iterdir()}
    winner = folders[f"ks-lr{outcome['lr']:g}"]
    assert [path.name for path in winner.glob("states-*")] == ["states-4.ckpt"]
    log = (winner / "superb_train.log").read_text()
    assert log.count("Start a new experiment") == log.count("Resume from") == 1 and "states-2.ckpt" in log
    others = [path for name, path in folders.items() if name.startswith("ks") and path != winner]
    assert all([path.name for path in other.glob("states-*")] == ["states-2.ckpt"] for other in others)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "suite/runs").rglob("*")}
    answer = superb(*command, "ks=1e-3,1e-4", "asv=1e-2,1e-3", cwd=tmp_path, data=data)  # ks is finished, asv is new
    assert answer.returncode == 0, answer.stderr[-3000:]
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "suite/runs").rglob("*")}
    assert [path for path in before if "ks-lr" in str(path) and after[path] != before[path]] == []
    stages = json.loads((tmp_path / "suite/runs/fbank/asv-lr0.001/superb.json").read_text())["stages"]
    assert 0 <= stages["2"]["dev"] <= 100


def test_a_suite_that_is_killed_goes_on_where_it_stood(data: Path, student: Path, tmp_path: Path) -> None:
    steps = SHORT.replace("total_steps=4", "total_steps=80").replace("eval_step=2", "eval_step=40")
    command = ["--student", f"mine={student}", "--tasks", "ic", "--out", "suite", "--jobs", "1", "-o", steps]
    environment = {**os.environ, "SUPERB_DATA": str(data), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, *COMMAND, *command], cwd=tmp_path, env=environment)
    run = tmp_path / "suite/runs/mine/ic"
    try:
        while newest_checkpoint(run) is None and process.poll() is None:  # a half-written one is no place to go on from
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 130
    finally:
        process.kill()
    assert "trained" not in json.loads((run / "superb.json").read_text())
    assert not (run / "states-80.ckpt").exists()
    answer = superb(*command, cwd=tmp_path, data=data)
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert (run / "states-80.ckpt").is_file() and "| mine " in answer.stdout
    assert "Resume from" in (run / "superb_train.log").read_text()


def test_a_damaged_recording_is_named_and_nothing_finished_is_lost(student: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_corpora(data, size="tiny", tasks=["ic", "ks"], progress=False)
    broken = next((data / "fluent_speech_commands_dataset/wavs").rglob("test_*.wav"))
    broken.write_bytes(broken.read_bytes()[:30])
    command = ["--student", f"mine={student}", "--tasks", "ks", "ic", "--out", "suite", "-o", SHORT, "--jobs", "2"]
    answer = superb(*command, cwd=tmp_path, data=data)
    assert answer.returncode == 2 and "Traceback" not in answer.stderr.rpartition("error:")[2]
    assert "1 of 2 have no result" in answer.stderr and str(broken.relative_to(data)) in answer.stderr
    assert "| mine " in (tmp_path / "suite/table.md").read_text()
    ks = (tmp_path / "suite/runs/mine/ks/superb.json").stat().st_mtime_ns
    write_corpora(data, size="tiny", tasks=["ic"], progress=False)  # mends it
    answer = superb(*command, cwd=tmp_path, data=data)
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert (tmp_path / "suite/runs/mine/ks/superb.json").stat().st_mtime_ns == ks


def test_a_single_run_checks_where_it_is_to_keep_features(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").touch()
    started: list[object] = []
    command = ["-u", "fbank", "-d", "speech_commands", "-n", "my_ks"]
    for wrong, message in (
        (["--cache-features", "file/kept"], "--cache-features"),
        (["--cache-features", "/proc/kept"], "--cache-features"),
        (["--cache-features", "kept", "--cache-limit", "nan"], "--cache-limit: found 'nan', expected a size"),
        (["--cache-limit", "5G"], "--cache-limit: found without --cache-features"),
    ):
        assert downstream.main([*command, *wrong], started.append) == 2
        assert message in capsys.readouterr().err and started == [] and not Path("result").exists()
    assert downstream.main([*command, "--cache-features", "kept", "--cache-limit", "5G"], started.append) == 0
    (given,) = started
    assert isinstance(given, list) and given[given.index("--cache-limit") + 1] == "5G" and "--cache-features" in given
