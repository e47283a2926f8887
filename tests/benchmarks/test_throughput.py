"""The benchmark of training steps: its rows, its files, and wrong commands, with tiny networks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from s3prl_gendistiller.errors import UserError
from stock import training
from stock.training import PARTS
from tests.benchmarks.stock.test_distiller import TINY_HUBERT
from tests.benchmarks.test_scripts import load
from tests.benchmarks.tiny_scale import ship_tiny_configs

FORMS = ["distilhubert", "gendistiller", "share_front_end"]


class Stock(nn.Module):
    """In place of s3prl's step, which is not installed."""

    def __init__(self, host: Path, config: dict, teacher: Path, entry: str) -> None:
        super().__init__()
        assert teacher.is_file() and config["teacher"]["model"] == "hubert_base" and entry == "hubert_local"
        self.model = nn.ModuleDict({"teacher": nn.Linear(1, 1), "distiller": Distiller()})
        self.model.teacher, self.model.distiller = self.model["teacher"], self.model["distiller"]

    def forward(self, wavs: Tensor) -> Tensor:
        x = wavs.mean(1, keepdim=True)
        return (self.model.distiller(x)[2] - self.model.teacher(x).detach()).square().mean()


class Distiller(nn.Linear):
    def __init__(self) -> None:
        super().__init__(1, 1)

    def forward(self, x: Tensor) -> tuple[None, None, Tensor, None]:
        return None, None, super().forward(x), None


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script with a tiny configuration in place of paper scale, and a tiny teacher."""
    found = load("throughput")
    ship_tiny_configs(tmp_path, monkeypatch)
    monkeypatch.setattr(found, "SIZES", TINY_HUBERT)
    sizes = {"width": 24, "layers": 3, "heads": 2, "ffn": 32, "conv_dim": 16, "conv_pos": 8, "conv_pos_groups": 2}
    monkeypatch.setattr(found, "FOLDER_SIZES", sizes)
    monkeypatch.setattr(found, "StockStep", Stock)
    monkeypatch.setattr(found, "check_host", lambda host: None)
    monkeypatch.setattr(found, "stock_loader", lambda host, root, manifest, *options: [root, manifest])
    return found


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    return ["--seconds", "0.25", "--rounds", "2", "--out", str(tmp_path / "out" / "t.md"), "--forms", *FORMS]


def rows(text: str) -> dict[str, list[str]]:
    lines = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("|")]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in lines}


def test_all_contenders_are_compared_with_s3prls_own(
    script: ModuleType, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.run([*options, "--s3prl", str(tmp_path), "--transformers"]) == 0
    text = (tmp_path / "out" / "t.md").read_text()
    found = json.loads((tmp_path / "out" / "t.json").read_text())
    entries = found["contenders"]
    stock = [name for name in entries if name.startswith("s3prl")]
    ours = [*FORMS, *(f"{name}, transformers" for name in FORMS)]
    assert stock[0] == "s3prl" and [*entries] == [*stock, *ours] and text in capsys.readouterr().out
    for entry in entries.values():
        assert entry["rounds"] == found["rounds"] == 2 and [*entry["times_as_fast"]] == stock
        assert entry["steps_per_second"] == pytest.approx(1 / entry["seconds_per_step"])
        assert all(entry["parts_seconds"][part] > 0 for part in PARTS) and entry["loader_seconds_per_batch"] > 0
    assert entries["s3prl"]["times_as_fast"]["s3prl"] == 1.0
    assert entries["gendistiller"]["times_as_fast"]["s3prl"] < 1.0  # the stand-in multiplies two numbers
    table = rows(text)
    assert [*table][2:] == [*entries] and table["s3prl"][1].startswith("1.00 (1.00)")
    assert "2 crops of 0.25 s, teacher hubert_base" in text and "2 rounds of 2 timed steps" in text
    assert (tmp_path / "out" / "t.png").stat().st_size > 1_000


def test_without_the_source_tree_ours_alone_are_measured(
    script: ModuleType, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> Callable[[], Tensor]:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    real = script.our_loss
    monkeypatch.setattr(script, "our_loss", lambda *a: broken() if a[2].distill.share_front_end else real(*a))
    assert script.run([*options, "--teacher", "wavlm_base_plus"]) == 0
    text = (tmp_path / "out" / "t.md").read_text()
    assert "s3prl's distiller was not measured" in text
    found = rows(text)
    assert found["share_front_end"][0] == "does not fit in memory" and float(found["gendistiller"][0]) > 0


def test_a_form_may_have_a_second_row_with_torch_compile(
    script: ModuleType, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []
    monkeypatch.setattr(
        script, "compile_task", lambda task, lengths, device: compiled.append((task, lengths, device.type))
    )
    forms = ["--forms", "gendistiller", "distilhubert", "--compile", "gendistiller"]
    rows = script.our_contenders(
        {"gendistiller": 1}, list, torch.device("cpu"), torch.zeros(1, 1), ", compiled", compiled=True
    )
    assert [row.name for row in rows] == ["gendistiller, compiled"] and script.checked(
        script.arguments([*options, *forms])
    )
    monkeypatch.setattr(
        script, "our_task", lambda *given: SimpleNamespace(teacher=nn.Linear(1, 1), student=nn.Linear(1, 1))
    )
    monkeypatch.setattr(script, "our_loss", lambda *given: None)
    monkeypatch.setattr(script, "optimiser_step", lambda task, loss, clock: task)
    task = rows[0].build(training.Clock())
    assert compiled == [(task, 1, "cpu")]


def test_an_early_end_is_said() -> None:
    script = load("throughput")
    args = script.arguments(["--minutes", "2"])
    assert "1 round of 5, because --minutes 2.0 were over" in script.about(args, torch.device("cpu"), 0.0, 1)
    assert "2 rounds of 5, so far, of 2 timed steps" in script.about(args, torch.device("cpu"), 0.0, 2, last=False)
    assert "5 rounds of 2 timed steps" in script.about(args, torch.device("cpu"), 0.0, 5)


def test_all_that_is_wrong_with_a_command_is_said_at_once(tmp_path: Path) -> None:
    script = load("throughput")
    command = [
        "--compile",
        "recur",
        "--rounds",
        "0",
        "--threads",
        "0",
        "--forms",
        "nothing",
        "mel",
        "mel",
        "--s3prl",
        str(tmp_path),
    ]
    with pytest.raises(UserError) as raised:
        script.run([*command, "--device", "cuda:77", "--out", str(tmp_path / "out.png")])
    said = str(raised.value)
    for part in (
        "--rounds, --batch, --seconds, --workers: expected at least 1, 1, 0.1 and 0",
        "--minutes, --threads: expected more than 0",
        "found nothing, expected a YAML file or one of",
        "--forms: found mel more than once",
        "--s3prl: ",
        "--device: found cuda:77",
        "expected a name that ends in .md",
        "--compile: found recur, expected some of --forms",
    ):
        assert part in said
    assert not list(tmp_path.iterdir())


def test_a_gpu_has_paper_scale_and_two_rows_of_s3prls_distiller() -> None:
    script = load("throughput")
    args = script.arguments(["--device", "cuda:1", "--seconds", "3"])
    assert (args.batch, args.seconds, args.teacher, args.workers) == (24, 3.0, "wavlm_base_plus", 8)
    gpu = SimpleNamespace(type="cuda")
    assert [row.name for row in script.stock_contenders(args, gpu, torch.zeros(1, 1), Path())] == [
        "s3prl, float32",
        "s3prl, fp16",
    ]
