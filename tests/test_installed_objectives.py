"""Objectives of other packages: installed for a test as pip installs them, a module beside its metadata."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from s3prl_gendistiller import installed_objectives, load_student
from s3prl_gendistiller.cli import main
from s3prl_gendistiller.config_objectives import OBJECTIVES
from s3prl_gendistiller.distill.metrics import read_metrics
from s3prl_gendistiller.distill.objectives import Setting, build_objectives
from s3prl_gendistiller.errors import ConfigError, UserError
from s3prl_gendistiller.host.checkpoint import newest_checkpoint, read_checkpoint
from s3prl_gendistiller.student_kinds import read_model_config
from tests.bench import Bench
from tests.conftest import ROOT, run_python
from tests.host.test_launchers import succeed

DOCUMENT = (ROOT / "docs" / "objectives.md").read_text(encoding="utf-8")
MODULE, PROJECT = (
    re.search(rf"```\w+\n# {name}[^\n]*\n(.*?)```", DOCUMENT, flags=re.DOTALL).group(1)  # type: ignore[union-attr]
    for name in ("huber_loss.py", "pyproject.toml")
)
Install = Callable[..., Path]


def put(folder: Path, package: str, points: dict[str, str], **modules: str) -> Path:
    """Writes into a folder what `pip install --target` writes: modules, and the metadata of their package."""
    metadata = folder / f"{package.replace('-', '_')}-0.1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1\n")
    lines = [f"[{installed_objectives.GROUP}]", *(f"{name} = {target}" for name, target in points.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    return folder


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    folder = tmp_path / "site"
    monkeypatch.syspath_prepend(folder)

    def installed(package: str, points: dict[str, str], **modules: str) -> Path:
        for name in modules:
            monkeypatch.delitem(sys.modules, name, raising=False)
        put(folder, package, points, **modules)
        installed_objectives.installed.cache_clear()
        return folder

    yield installed
    installed_objectives.installed.cache_clear()


def read(name: str, **keys: object) -> object:
    content = {"teacher": {"folder": "x"}, "objectives": [{"name": name, **keys}]}
    return read_model_config("gendistiller", content).objectives[0]


def refusal(name: str, **keys: object) -> str:
    with pytest.raises(ConfigError) as caught:
        read(name, **keys)
    return str(caught.value)


def test_the_template_of_the_document_is_short_and_installed_by_its_own_pyproject() -> None:
    assert len(MODULE.splitlines()) <= 32
    assert f'[project.entry-points."{installed_objectives.GROUP}"]' in PROJECT
    assert 'huber = "huber_loss:HuberConfig"' in PROJECT


def test_an_installed_objective_is_read_checked_and_built_like_one_of_ours(install: Install) -> None:
    install("huber-loss", {"huber": "huber_loss:HuberConfig"}, huber_loss=MODULE)
    config = read("huber", delta=0.25, weight=2.0)
    (objective,) = build_objectives([config], Setting((1, 3)))
    teacher, student, mask = torch.zeros(1, 2, 3, 4), torch.full((1, 2, 3, 4), 3.0), torch.tensor([[True, True, False]])
    total, count = objective(teacher, student, mask)["huber"]
    assert (float(total), int(count)) == (2 * 0.25 * (3.0 - 0.125), 2) and objective.terms == {"huber": 2.0}
    assert "objectives[0].delta: found -1.0, expected more than 0" in refusal("huber", delta=-1.0)
    assert "huber" in OBJECTIVES and list(OBJECTIVES) == ["layerwise", "ckd", "glmd", "layer_units", "huber"]


@pytest.mark.parametrize(
    ("target", "module", "message"),
    [
        ("bad:X", "import nowhere_at_all", r"bad:X cannot be imported \(ModuleNotFoundError: No module named 'nowhere"),
        ("bad:X", "def", r"bad:X cannot be imported \(SyntaxError"),
        ("bad:X", "", r"bad:X cannot be imported \(AttributeError"),
        ("bad:X", "X = 3", "found bad:X, expected a class that extends s3prl_gendistiller.config_objectives.Objective"),
        ("bad:HuberConfig", MODULE.replace("@dataclass(frozen=True)", ""), r"bad:HuberConfig without @dataclass"),
        ("bad:HuberConfig", MODULE.replace("name: str", "# "), "found no default of its key name, expected 'bad'"),
        ("bad:HuberConfig", MODULE, "found the default 'huber' of its key name, expected 'bad'"),
    ],
)
def test_a_broken_entry_point_is_one_message_that_names_its_package(
    install: Install, target: str, module: str, message: str
) -> None:
    install("my-losses", {"bad": target}, bad=module)
    found = refusal("bad")
    assert re.search(message, found) and "my-losses 0.1" in found and "uninstall that package" in found
    assert found.count("\n") == 1 and read("ckd")  # other objectives are read as before


def test_a_name_that_is_taken_is_refused_and_all_its_packages_are_named(install: Install) -> None:
    install("one", {"huber": "huber_loss:HuberConfig", "ckd": "huber_loss:HuberConfig"}, huber_loss=MODULE)
    install("two", {"huber": "huber_loss:HuberConfig"})
    assert "found the objective huber in one 0.1 and two 0.1, expected it in one" in refusal("huber")
    assert "found the objective ckd of one 0.1, expected another name" in refusal("ckd")


def test_a_module_without_its_functions_is_blamed_on_its_package(install: Install) -> None:
    install("my-losses", {"huber": "huber_loss:HuberConfig"}, huber_loss=MODULE.replace("def build", "def make"))
    with pytest.raises(UserError, match=r"huber of my-losses 0\.1, and its module huber_loss .*attribute 'build'"):
        build_objectives([read("huber")], Setting((1, 3)))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("return Huber(config)", "whose build gives no dictionary `terms`"),
        ("return 3", "whose build gives int; expected"),
    ],
)
def test_a_build_that_gives_no_objective_is_blamed_on_its_package(install: Install, line: str, message: str) -> None:
    module = MODULE.replace("self.delta, self.terms = config.delta, ", "self.delta, _ = config.delta, ")
    install("my-losses", {"huber": "huber_loss:HuberConfig"}, huber_loss=module.replace("return Huber(config)", line))
    with pytest.raises(UserError, match=rf"huber of my-losses 0\.1, {message}"):
        build_objectives([read("huber")], Setting((1, 3)))


def test_the_model_yaml_of_the_document_chooses_it(
    install: Install, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install("huber-loss", {"huber": "huber_loss:HuberConfig"}, huber_loss=MODULE)
    (content,) = re.findall(r"```yaml\n# my_huber.yaml:[^\n]*\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    (tmp_path / "my_huber.yaml").write_text(content)
    assert main(["config", "gendistiller", "--check", str(tmp_path / "my_huber.yaml")]) == 0
    narrow = "student: {encoder_embed_dim: 128, encoder_attention_heads: 2}\n"
    (tmp_path / "my_huber.yaml").write_text(content + narrow)
    assert main(["config", "gendistiller", "--check", str(tmp_path / "my_huber.yaml")]) == 2
    assert "found 128, expected 256 (huber compares channel by channel)" in capsys.readouterr().err


def test_the_list_of_keys_holds_installed_objectives(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install("huber-loss", {"huber": "huber_loss:HuberConfig"}, huber_loss=MODULE)
    install("my-losses", {"bad": "bad:X"}, bad="")
    assert main(["config", "gendistiller"]) == 0
    printed = capsys.readouterr().out
    assert "# - name: huber" in printed and "distance from which the difference counts linearly" in printed
    assert "bad of my-losses 0.1, and bad:X cannot be imported" in " ".join(printed.replace("#", "").split())


def test_the_launcher_trains_with_an_installed_objective_and_its_checkpoint_names_the_package(
    bench: Bench, tmp_path: Path, install: Install
) -> None:
    site = install("huber-loss", {"huber": "huber_loss:HuberConfig"}, huber_loss=MODULE)
    model = bench.model(tmp_path, objectives=[{"name": "huber", "delta": 0.5}])
    files = ("-g", model, "-c", bench.runner(tmp_path))
    environment = {**bench.environment, "PYTHONPATH": f"{ROOT}:{site}"}
    succeed(
        run_python(ROOT / "run_pretrain.py", "-u", "gendistiller", "-n", "x", *files, cwd=tmp_path, env=environment)
    )
    run = tmp_path / "result/pretrain/x"
    losses = [metrics["loss"] for metrics in read_metrics(run, "valid").values()]
    assert losses[-1] < losses[0] and read_metrics(run, "train")[6]["huber"] > 0
    checkpoint = newest_checkpoint(run)
    assert checkpoint is not None and read_checkpoint(checkpoint)["Objective_Packages"] == {"huber": "huber-loss 0.1"}
    assert load_student(checkpoint).generate(torch.randn(4000)).num_predicted == 2
    (site / "huber_loss-0.1.dist-info" / "entry_points.txt").unlink()
    installed_objectives.installed.cache_clear()
    with pytest.raises(UserError, match=r"trained with the objective huber of the package huber-loss 0\.1, which is"):
        load_student(checkpoint)
