"""`link` and `unlink`, on a made checkout and on a copy of the host's own files under git."""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from s3prl_gendistiller.cli.link import add_parser
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import link as link_module
from s3prl_gendistiller.host.hub_line import HUB_LINE
from s3prl_gendistiller.host.link import link, package_folder, unlink
from s3prl_gendistiller.student_kinds import STUDENT_KINDS

HUB = b"""from s3prl.downstream.timit_phone.hubconf import timit_posteriorgram
from s3prl.upstream.apc.hubconf import *
from s3prl.upstream.example.hubconf import *
from s3prl.upstream.hubert.hubconf import *
from s3prl.upstream.wavlm.hubconf import *


def options():
    return []
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The least that counts as a checkout of s3prl."""
    package = tmp_path / "s3prl" / "s3prl"
    for room in ("pretrain", "upstream"):
        (package / room).mkdir(parents=True)
        (package / room / "__init__.py").touch()
    (package / "run_pretrain.py").touch()
    (package / "version.txt").write_text("0.4.18\n")
    (package / "hub.py").write_bytes(HUB)
    return tmp_path / "s3prl"


@pytest.fixture
def host_copy(tmp_path: Path) -> Path:
    """The installed host's own files, committed to a git repository that ignores what s3prl's ignores."""
    spec = importlib.util.find_spec("s3prl")
    assert spec is not None and spec.origin is not None
    host, root = Path(spec.origin).parent, tmp_path / "host"
    for name in ("pretrain", "upstream"):
        shutil.copytree(host / name, root / "s3prl" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("hub.py", "version.txt", "run_pretrain.py"):
        shutil.copy(host / name, root / "s3prl" / name)
    (root / ".gitignore").write_text("__pycache__/\n")
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-q", "-m", "host")
    return root


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def snapshot(folder: Path) -> dict[str, object]:
    """Every path below `folder` with its content, its link's target, or None for a folder; and its mode."""
    return {
        path.relative_to(folder).as_posix(): (
            path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None,
            path.lstat().st_mode,
        )
        for path in sorted(folder.rglob("*"))
    }


def test_link_makes_task_folders_an_upstream_folder_and_one_line_in_hub(checkout: Path) -> None:
    lines = link(checkout)
    package = checkout / "s3prl"
    for task in STUDENT_KINDS:
        for name in ("pretrain_expert.py", "config_model.yaml", "config_runner.yaml"):
            assert (package / "pretrain" / task / name).is_symlink()
            assert (package / "pretrain" / task / name).is_file()
        assert not (package / "pretrain" / task).is_symlink()
    assert (package / "upstream" / "gendistiller" / "hubconf.py").is_file()
    assert (package / "hub.py").read_bytes().splitlines().index(HUB_LINE) == 3
    assert len(lines) == 2 + 6 + 1 + 1


@pytest.mark.parametrize("inner", [".", "s3prl"])
def test_unlink_leaves_what_was_there_before_link(checkout: Path, inner: str) -> None:
    before = snapshot(checkout)
    link(checkout / inner)
    assert snapshot(checkout) != before
    unlink(checkout / inner)
    assert snapshot(checkout) == before


def test_git_sees_no_change_in_the_hosts_own_files_after_unlink(host_copy: Path) -> None:
    link(host_copy)
    assert len(git(host_copy, "status", "--porcelain").splitlines()) >= 3
    assert git(host_copy, "diff", "--numstat").split() == ["1", "0", "s3prl/hub.py"]
    unlink(host_copy)
    assert git(host_copy, "status", "--porcelain", "--ignored") == ""


def test_the_hosts_task_match_finds_exactly_the_folder_that_was_named(host_copy: Path) -> None:
    link(host_copy)
    folders = os.listdir(host_copy / "s3prl" / "pretrain")
    for task in STUDENT_KINDS:
        assert [name for name in folders if task == name or task.startswith(f"{name}_")] == [task]
        assert "_" not in task


def test_link_and_unlink_twice_change_nothing_the_second_time(checkout: Path) -> None:
    link(checkout)
    linked = snapshot(checkout)
    assert link(checkout) == []
    assert snapshot(checkout) == linked
    assert unlink(checkout) != []
    assert unlink(checkout) == []


def test_a_half_removed_link_is_completed(checkout: Path) -> None:
    link(checkout)
    linked = snapshot(checkout)
    (checkout / "s3prl" / "pretrain" / "gendistiller" / "pretrain_expert.py").unlink()
    (checkout / "s3prl" / "hub.py").write_bytes(HUB)
    assert len(link(checkout)) == 2
    assert snapshot(checkout) == linked


@pytest.mark.parametrize("target", ["host/linked_task.py", "host/tasks/gendistiller/pretrain_expert.py"])
def test_links_of_an_installation_that_moved_or_is_older_are_renewed_and_removed(checkout: Path, target: str) -> None:
    before = snapshot(checkout)
    link(checkout)
    expert = checkout / "s3prl" / "pretrain" / "gendistiller" / "pretrain_expert.py"
    vanished = checkout / "gone/s3prl_gendistiller" / target
    expert.unlink()
    expert.symlink_to(vanished)
    assert len(link(checkout)) == 1
    assert expert.is_file()
    expert.unlink()
    expert.symlink_to(vanished)
    unlink(checkout)
    assert snapshot(checkout) == before


def test_the_mode_of_hub_stays(checkout: Path) -> None:
    hub = checkout / "s3prl" / "hub.py"
    hub.chmod(0o751)
    link(checkout)
    assert hub.stat().st_mode & 0o777 == 0o751


def test_pythons_cache_does_not_stop_unlink(checkout: Path) -> None:
    before = snapshot(checkout)
    link(checkout)
    cache = checkout / "s3prl" / "pretrain" / "gendistiller" / "__pycache__"
    cache.mkdir()
    (cache / "pretrain_expert.cpython-311.pyc").touch()
    unlink(checkout)
    assert snapshot(checkout) == before


@pytest.mark.parametrize("name", ["notes.txt", "config_model.yaml"])
def test_a_file_of_the_users_in_our_folder_is_named_and_kept(checkout: Path, name: str) -> None:
    link(checkout)
    mine = checkout / "s3prl" / "pretrain" / "distilhubert" / name
    mine.unlink(missing_ok=True)
    mine.write_text("mine")
    linked = snapshot(checkout)
    with pytest.raises(UserError, match=f"not made by link.*distilhubert/{name}"):
        unlink(checkout)
    assert snapshot(checkout) == linked


def a_foreign_task(package: Path) -> None:
    (package / "pretrain" / "distilhubert").mkdir()
    (package / "pretrain" / "distilhubert" / "pretrain_expert.py").touch()


def a_foreign_upstream(package: Path) -> None:
    (package / "upstream" / "gendistiller").mkdir()


def a_foreign_link(package: Path) -> None:
    (package / "upstream" / "gendistiller").symlink_to(package / "upstream")


def a_foreign_line(package: Path) -> None:
    line = b"from s3prl.upstream.mine.hubconf import gendistiller_local\n"
    (package / "hub.py").write_bytes(HUB + line)


def a_hub_without_upstreams(package: Path) -> None:
    (package / "hub.py").write_bytes(b"x = 1\n")


def another_version(package: Path) -> None:
    (package / "version.txt").write_text("0.5.0")


def no_version(package: Path) -> None:
    (package / "version.txt").write_text("")


def no_hub(package: Path) -> None:
    (package / "hub.py").unlink()


def an_installed_package(package: Path) -> None:
    (package.parent / "s3prl-0.4.18.dist-info").mkdir()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (a_foreign_task, r"not made by link: .*pretrain/distilhubert/pretrain_expert\.py"),
        (a_foreign_upstream, r"not made by link: .*upstream/gendistiller"),
        (a_foreign_link, r"not made by link: .*upstream/gendistiller"),
        (a_foreign_line, r"hub\.py, line 10: found 'from s3prl\.upstream\.mine.*gendistiller_local'"),
        (a_hub_without_upstreams, "found no line 'from s3prl.upstream"),
        (another_version, r"found s3prl '0\.5\.0', expected .*0\.4\.15"),
        (no_version, "found s3prl ''"),
        (no_hub, "not a checkout of s3prl; expected .*hub.py"),
        (an_installed_package, "as pip installed it, expected a git checkout"),
    ],
)
def test_link_refuses_and_changes_nothing(checkout: Path, spoil, message: str) -> None:
    spoil(checkout / "s3prl")
    before = snapshot(checkout)
    with pytest.raises(UserError, match=message):
        link(checkout)
    assert snapshot(checkout) == before


def test_a_folder_that_cannot_be_written_is_named(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # root can write every folder, so the answer of os.access is replaced
    monkeypatch.setattr(link_module.os, "access", lambda path, mode: Path(path).name != "upstream")
    before = snapshot(checkout)
    with pytest.raises(UserError, match=r"s3prl/upstream: cannot write there"):
        link(checkout)
    assert snapshot(checkout) == before


@pytest.mark.parametrize("act", [link, unlink])
def test_a_change_that_fails_halfway_is_taken_back(checkout: Path, monkeypatch: pytest.MonkeyPatch, act) -> None:
    if act is unlink:
        link(checkout)
    before = snapshot(checkout)

    def full(path: Path, *arguments: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    # link writes hub.py last; unlink removes folders last
    monkeypatch.setattr(link_module.Path, "write_bytes" if act is link else "rmdir", full)
    with pytest.raises(UserError, match="No space left on device.*nothing was changed"):
        act(checkout)
    monkeypatch.undo()
    assert snapshot(checkout) == before


def test_the_commands_say_what_was_done_and_what_to_type_next(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    args = parser.parse_args(["link", str(checkout)])
    assert args.run(args) == 0
    said = capsys.readouterr().out
    assert f"cd {package_folder(checkout)}" in said
    assert "python run_pretrain.py -u gendistiller -n my_student" in said
    assert "python -m s3prl_gendistiller run_downstream.py -u gendistiller_local -d asr" in said
    assert "run text from checkpoints and configurations as Python" in said
    assert args.run(args) == 0
    assert "already linked" in capsys.readouterr().out
    args = parser.parse_args(["unlink", str(checkout)])
    assert args.run(args) == 0
    assert f"removed from {checkout / 's3prl' / 'hub.py'}" in capsys.readouterr().out
