"""The tasks of this package inside a git checkout of s3prl: `link` adds them, `unlink` restores the checkout.

As s3prl's guide for new upstreams requires, the checkout gets one folder for each pretrain task, one upstream folder,
and one import line in `hub.py`. The folders hold symbolic links into this installation, by which both functions
recognise the folders. Everything is checked before the first change, and a failed change is undone.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.hub_line import HUB_LINE, UPSTREAM, with_hub_line, without_hub_line
from s3prl_gendistiller.host.locate import SUPPORTED, is_supported
from s3prl_gendistiller.outputs import replacing
from s3prl_gendistiller.shipped import PACKAGE_DIR, shipped_folder
from s3prl_gendistiller.student_kinds import STUDENT_KINDS

CONFIGS = ("config_model.yaml", "config_runner.yaml")
_UNCHANGED = "nothing was changed; correct the cause, then repeat the command"


@dataclass(frozen=True)
class Link:
    """One symbolic link from `place` in the checkout to `target` in this installation.

    `tails`: last parts of `target`, equal in every installation of this package; those of older versions come last.
    """

    place: Path
    target: Path
    tails: tuple[tuple[str, ...], ...]

    def is_ours(self) -> bool:
        """Whether `place` is a link into this or another installation of this package, or into a deleted one."""
        found = self.present()
        return found is not None and (found == self.target or any(_is_installed(found, tail) for tail in self.tails))

    def present(self) -> Path | None:
        """Target of `place`; None if it is no link."""
        return self.place.readlink() if self.place.is_symlink() else None


@dataclass(frozen=True)
class Step:
    """One change to the checkout: its description, the function that makes it, and the function that undoes it."""

    text: str
    do: Callable[[], None]
    undo: Callable[[], None]


def link(checkout: Path) -> list[str]:
    """Links the pretrain tasks and the upstream into a checkout, and imports them in its `hub.py`.

    `checkout` is the repository's root (it holds ``s3prl/hub.py``) or the package folder itself. Returns one line per
    change, none if everything was linked already. After a UserError, nothing has been changed.
    """
    package = package_folder(checkout)
    found = (package / "version.txt").read_text(encoding="utf-8").strip()
    if not is_supported(found):
        raise UserError(f"{package}: found s3prl {found!r}, expected {SUPPORTED}; check out such a release")
    hub = (package / "hub.py").resolve()
    before = hub.read_bytes()
    after = with_hub_line(before, hub)
    links = planned_links(package)
    _refuse_foreign(links, package)
    folders = _task_folders(links, package)
    steps = [Step(f"made {folder}", folder.mkdir, folder.rmdir) for folder in folders if not folder.exists()]
    steps += [_relinking(item) for item in links if item.present() != item.target]
    if after != before:
        steps.append(_rewriting(hub, before, after, f"added to {hub}: {HUB_LINE.decode()}"))
    return _carry_out(steps, package, hub, folders)


def unlink(checkout: Path) -> list[str]:
    """Removes the links of `link` from a checkout, and restores `hub.py` byte for byte.

    Returns one line per change. A UserError, for instance about a stranger's file in a linked folder, changes nothing.
    """
    package = package_folder(checkout)
    hub = (package / "hub.py").resolve()
    before = hub.read_bytes()
    links = [item for item in planned_links(package) if item.is_ours()]
    folders = _task_folders(links, package)
    strangers = [str(path) for folder in folders for path in _strangers(folder, links)]
    if strangers:
        raise UserError(
            f"not made by link, so not removed: {', '.join(strangers)}; expected only our links there; "
            "move what you want to keep elsewhere, then unlink again"
        )
    steps = []
    # If link did not make the upstream folder, the import line belongs to that folder.
    foreign_upstream = os.path.lexists(package / "upstream" / UPSTREAM) and not any(
        item.place.name == UPSTREAM for item in links
    )
    after = before if foreign_upstream else without_hub_line(before)
    if after != before:
        steps.append(_rewriting(hub, before, after, f"removed from {hub}: {HUB_LINE.decode()}"))
    for item in links:
        back = functools.partial(item.place.symlink_to, item.place.readlink())
        steps.append(Step(f"removed {item.place}", item.place.unlink, back))
    steps += [_removing(folder) for folder in folders]
    return _carry_out(steps, package, hub, folders)


def package_folder(checkout: Path) -> Path:
    """The absolute `s3prl` package folder of a checkout; UserError for any other folder, and s3prl of pip."""
    marks = ("hub.py", "version.txt", "pretrain", "upstream", "run_pretrain.py")
    for folder in (checkout / "s3prl", checkout):
        if all((folder / mark).exists() for mark in marks):
            break
    else:
        raise UserError(
            f"{checkout}: not a checkout of s3prl; expected its root, or its package folder s3prl/ with "
            f"{', '.join(marks)} in it; clone s3prl and name that folder"
        )
    folder = folder.resolve()
    if any(folder.parent.glob("s3prl-*.dist-info")):
        raise UserError(
            f"{folder}: found s3prl as pip installed it, expected a git checkout; "
            "nothing needs linking here, the launchers of s3prl-gendistiller use this s3prl as it is"
        )
    return folder


def planned_links(package: Path) -> list[Link]:
    """Every link of a linked checkout, `package` being its package folder; UserError if a target is missing."""
    configs, upstream = shipped_folder("pretrain_configs"), shipped_folder("upstream")
    upstream_place = package / "upstream" / UPSTREAM
    plan: list[tuple[Any, ...]] = [(upstream_place, upstream.parent, ("upstream", UPSTREAM))]
    for task in STUDENT_KINDS:
        folder = package / "pretrain" / task
        older = ("host", "tasks", task, "pretrain_expert.py")
        plan.append((folder / older[-1], PACKAGE_DIR, ("host", "linked_task.py"), older))
        plan += [(folder / name, configs.parent, ("pretrain_configs", task, name)) for name in CONFIGS]
    links = [Link(place, root.joinpath(*tails[0]), tuple(tails)) for place, root, *tails in plan]
    for item in links:
        if not item.target.exists():
            raise UserError(f"{item.target}: no such file; this installation is incomplete; install it again")
    return links


def _is_installed(target: Path, tail: tuple[str, ...]) -> bool:
    """Whether a target that ends in `tail` lies in an installation of this package, or in a deleted folder."""
    root = Path(*target.parts[: -len(tail)])
    at_home = root.name in ("_shipped", "s3prl_gendistiller") or (root / "s3prl_gendistiller").is_dir()
    return target.parts[-len(tail) :] == tail and (at_home or not root.exists())


def _task_folders(links: Iterable[Link], package: Path) -> list[Path]:
    return sorted({item.place.parent for item in links} - {package / "upstream"})


def _strangers(folder: Path, links: list[Link]) -> list[Path]:
    """Entries of `folder` that are neither one of `links` nor Python's cache."""
    ours = {item.place for item in links}
    return sorted(path for path in folder.iterdir() if path not in ours and path.name != "__pycache__")


def _refuse_foreign(links: list[Link], package: Path) -> None:
    """Refuses places that are taken: a folder without a link of this package, or a file in place of a link."""
    foreign = [str(item.place) for item in links if os.path.lexists(item.place) and not item.is_ours()]
    for folder in _task_folders(links, package):
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            foreign.append(str(folder))
        elif folder.is_dir() and not any(item.is_ours() for item in links if item.place.parent == folder):
            foreign += [str(path) for path in _strangers(folder, links)]
    if foreign:
        raise UserError(
            f"already there and not made by link: {', '.join(sorted(set(foreign)))}; expected free places; "
            "move them elsewhere, then link again"
        )


def _relinking(item: Link) -> Step:
    old = item.present()
    undo = item.place.unlink if old is None else lambda: _point(item.place, old)
    return Step(f"linked {item.place} -> {item.target}", lambda: _point(item.place, item.target), undo)


def _removing(folder: Path) -> Step:
    def remove() -> None:
        shutil.rmtree(folder / "__pycache__", ignore_errors=True)
        folder.rmdir()

    return Step(f"removed {folder}", remove, folder.mkdir)


def _rewriting(file: Path, before: bytes, after: bytes, text: str) -> Step:
    return Step(text, lambda: _write(file, after), lambda: _write(file, before))


def _point(place: Path, target: Path) -> None:
    with replacing(place, _UNCHANGED) as fresh:
        fresh.symlink_to(target)


def _write(file: Path, content: bytes) -> None:
    """Replaces a file's content and keeps its mode; a crash leaves the old content or the new one."""
    with replacing(file, _UNCHANGED) as fresh:
        fresh.write_bytes(content)
        shutil.copymode(file, fresh)


def _carry_out(steps: list[Step], package: Path, hub: Path, folders: list[Path]) -> list[str]:
    """Makes every step or none; UserError if a folder cannot be written, or a step failed and all were undone."""
    places = (package, package / "pretrain", package / "upstream", hub.parent, *folders)
    for folder in places if steps else ():
        if folder.exists() and not os.access(folder, os.W_OK):
            raise UserError(f"{folder}: cannot write there, expected a folder of yours; nothing was changed")
    with contextlib.ExitStack() as back:
        for step in steps:
            try:
                step.do()
            except OSError as error:
                raise UserError(f"{error}; {_UNCHANGED}") from error
            back.callback(step.undo)
        back.pop_all()
    return [step.text for step in steps]
