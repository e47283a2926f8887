"""Adds the tasks and upstreams of this package to s3prl for this process, without a change to s3prl's files.

Only this module, `compat` and `shims` change the host's globals. This one adds to `sys.path`, `sys.modules` and
`s3prl.hub`, lets run_pretrain find its tasks from any working directory, and guards both training loops.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import glob
import importlib.util
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import compat, compat_messages, hubconf, runners, soft_labels
from s3prl_gendistiller.host.feature_cache import put_cache_before, watch_loaders
from s3prl_gendistiller.host.feature_store import CACHE_FLAG, LIMIT_FLAG, FeatureCache, read_size
from s3prl_gendistiller.host.locate import find_host, is_host_package
from s3prl_gendistiller.host.progress import Bars
from s3prl_gendistiller.host.shims import ctc_corpora, downstream_experts, task_data, upstream_guards
from s3prl_gendistiller.host.training_guard import TrainingGuard
from s3prl_gendistiller.host.view import View
from s3prl_gendistiller.student_kinds import STUDENT_KINDS

logger = logging.getLogger(__name__)


def mount_pretrain() -> ModuleType:
    """Adds the pretrain tasks of this package to s3prl's and returns s3prl's module run_pretrain."""
    host = find_host()
    compat.apply()
    if str(host.package) not in sys.path:
        sys.path.insert(0, str(host.package))  # run_pretrain imports `pretrain`, `utility`, ... from the top
    guard_runner(importlib.import_module("pretrain.runner"))
    from s3prl_gendistiller.host.pretrain_expert import task_expert  # that module imports this one

    for name in STUDENT_KINDS:  # s3prl's Runner imports the task by this name
        compat.supply_module(f"pretrain.{name}.pretrain_expert", UpstreamPretrainExpert=task_expert(name))
    upstream_guards.install("upstream", ("baseline.extracter",))  # s3prl's own tasks import the module by this name
    module = importlib.import_module("s3prl.run_pretrain")
    tasks = pretrain_tasks()
    # run_pretrain's parser lists the tasks in 'pretrain/' of the working directory
    listed = View(os, listdir=lambda path=".": tasks if path == "pretrain/" else os.listdir(path))
    module.os, module.torch = listed, upstream_guards.TORCH  # type: ignore[attr-defined]
    return module


def guard_runner(module: ModuleType) -> None:
    """Puts the functions of `training_guard`, `saving` and `runners` into a module that holds a Runner of s3prl.

    The Runner's code stays as it is; some names in its module become other objects.
    """
    if isinstance(module.torch, View):
        return
    guard, runner = TrainingGuard(), module.Runner
    utils = View(torch.nn.utils, clip_grad_norm_=guard.clip_grad_norm_)
    module.torch = View(  # type: ignore[attr-defined]
        torch,
        load=upstream_guards.load,
        save=guard.save,
        nn=View(torch.nn, utils=utils),
        # the downstream Runner also uses `torch.cuda.device` on a CPU, when memory runs out
        cuda=View(torch.cuda, device=torch.cuda.device if torch.cuda.is_available() else contextlib.nullcontext),
    )
    module.glob = View(glob, glob=lambda pattern: [])  # type: ignore[attr-defined] # the Runner would delete a checkpoint before it writes
    module.print = guard.say  # type: ignore[attr-defined]
    if not hasattr(runner, "evaluate"):  # the pretraining Runner; the suite reads the bars of the other one
        module.tqdm = Bars(guard)  # type: ignore[attr-defined]
    runner._get_optimizer = runners.optimizer_getter(runner._get_optimizer, module, guard)
    runner._get_scheduler = runners.scheduler_getter(runner._get_scheduler)
    runner.train = runners.ended(runners.trained(runner.train, guard), guard)
    if hasattr(runner, "evaluate"):
        runner._load_weight = runners.weight_loader(runner._load_weight)
        runner.evaluate = runners.ended(runner.evaluate, guard)


def mount_hub() -> ModuleType:
    """Adds the upstreams of this package to `s3prl.hub` and returns that module.

    UserError: s3prl is missing or of another version, or another package has taken a name.
    """
    find_host()
    compat.apply()
    hub = importlib.import_module("s3prl.hub")
    upstream_guards.install()
    classified = importlib.import_module("s3prl.downstream.timit_phone.upstream_expert")  # the folder holds an upstream
    classified.eval = downstream_experts.class_of(classified)  # type: ignore[attr-defined]
    added = [name for name in hubconf.__all__ if not hasattr(hub, name)]
    for name in hubconf.__all__:
        entry, present = getattr(hubconf, name), getattr(hub, name, None)
        if present is not None and getattr(present, "__module__", "") != hubconf.__name__:
            owner = getattr(present, "__module__", type(present).__name__)
            raise UserError(
                f"s3prl.hub.{name}: already taken by {owner}, expected it to be free;"
                " remove that line from s3prl/hub.py, or uninstall the package that adds it"
            )
        setattr(hub, name, entry)
    if added:
        logger.debug("s3prl.hub: added %s", ", ".join(added))
    compat_messages.quieten_prints()
    return hub


def run_pretrain(argv: Sequence[str]) -> None:
    """Runs s3prl's run_pretrain.py with `argv` (without the program's name).

    A run that goes on takes ``-o`` from `argv`; s3prl would take the one in the checkpoint.
    """
    module = mount_pretrain()
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("-o", "--override")
    asked = {"override": parser.parse_known_args(argv)[0].override}
    module.Namespace = lambda **stored: argparse.Namespace(**stored | asked)  # type: ignore[attr-defined]
    _run_main(module, argv)


def run_pretrain_script(path: str | Path, argv: Sequence[str]) -> None:
    """Runs the run_pretrain.py of a checkout on `sys.path`; another script of that name runs unchanged."""
    if is_host_package(Path(path).resolve().parent):
        run_pretrain(argv)
    else:
        compat.run_script(path, argv)


def run_downstream(argv: Sequence[str]) -> None:
    """Runs s3prl's run_downstream.py with `argv`, which may hold ``--cache-features DIR`` of this package.

    s3prl replaces `builtins.isinstance` for the process, so this call has to be the last one of a process.
    """
    mount_hub()
    argv = _mounted(argv)
    module = importlib.import_module("s3prl.run_downstream")
    module.torch = upstream_guards.TORCH  # type: ignore[attr-defined]
    _run_main(module, argv)


def run_downstream_script(path: str | Path, argv: Sequence[str]) -> None:
    """Runs the run_downstream.py of a checkout on `sys.path` with `argv`."""
    compat.apply()
    upstream_guards.install()
    compat.run_script(path, _mounted(argv))


def _mounted(argv: Sequence[str]) -> list[str]:
    """Calls `mount_downstream` with the flags of this package in `argv`; returns the host's flags."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(CACHE_FLAG, type=Path)
    parser.add_argument(LIMIT_FLAG)
    ours, others = parser.parse_known_args(argv)
    limit = None if ours.cache_limit is None else read_size(ours.cache_limit)
    mount_downstream(None if ours.cache_features is None else FeatureCache(ours.cache_features, limit))
    return others


def mount_downstream(cache: FeatureCache | None = None) -> None:
    """Runs `runner_checks` and `supply_expert` before the Runner builds upstream and expert; adds the cache, if any."""
    from s3prl_gendistiller.host import runner_checks  # runner_checks imports this module

    module = importlib.import_module("s3prl.downstream.runner")
    guard_runner(module)
    runner = module.Runner
    stock = runner._get_downstream
    if hasattr(stock, "__wrapped__"):
        return
    runner._get_upstream = runner_checks.built(runner._get_upstream)
    runner._get_featurizer = runner_checks.selecting(runner._get_featurizer)

    @functools.wraps(stock)
    def supplied(self: Any) -> Any:
        supply_expert(self.args.downstream, Path(self.args.expdir), str(self.args.device))
        if cache is not None:
            put_cache_before(self, cache)
        downstream = stock(self)
        if cache is not None:
            watch_loaders(downstream.model, cache)
        if self.args.downstream in soft_labels.BASES:
            expert = downstream.model
            getattr(expert, "module", expert).teacher_cache = cache  # inside DistributedDataParallel
        return downstream

    runner._get_downstream = supplied


def supply_expert(downstream: str, folder: Path, device: str) -> None:
    """Supplies modules, data readers and cache folders that the expert of a task lacks.

    The run's folder takes the caches. s3prl would keep the file lists of the first VoxCeleb1 in its own package and use
    them for every other one, and two runs at a time would write the same file.
    """
    package = f"s3prl.downstream.{downstream}"
    base = soft_labels.BASES.get(downstream)
    if base is not None:
        supply_expert(base, folder, device)
        if package not in sys.modules:  # a task of this package: s3prl's expert, trained with a teacher's logits
            stock = importlib.import_module(f"s3prl.downstream.{base}.expert").DownstreamExpert
            compat.supply_module(f"{package}.expert", DownstreamExpert=soft_labels.distilled(stock))
    if downstream == "sv_voxceleb1":
        compat_messages.import_sox()  # before the task imports it
    task_data.supply(package, downstream)
    if downstream == "ctc":
        _supply_ctc(package)
    if downstream == "voxceleb1":
        module: Any = importlib.import_module(f"{package}.dataset")
        module.CACHE_PATH = f"{folder.absolute() / '.cache'}/"
        module.pickle = downstream_experts.PlainPickle
    if downstream == "sv_voxceleb1":
        module = importlib.import_module(f"{package}.dataset")
        module.__file__ = str(folder.absolute() / "dataset.py")  # the task writes its cache beside this file
        module.Parallel = downstream_experts.parallel_threads
        if device == "cpu":
            torch.Tensor.cuda = downstream_experts.stay  # type: ignore[method-assign, assignment]


def _supply_ctc(package: str) -> None:
    """Supplies the task's corpora, which s3prl from the registry lacks, and a loader that keeps the configuration."""
    if importlib.util.find_spec(f"{package}.corpus") is None:
        for name, dataset in (("libriphone", ctc_corpora.LibriPhoneDataset), ("snips", ctc_corpora.SnipsDataset)):
            compat.supply_module(f"{package}.corpus.{name}", **{dataset.__name__: dataset})
        logger.debug("s3prl.downstream.ctc: supplied its corpora, which s3prl from the registry lacks")
    expert: Any = importlib.import_module(f"{package}.expert")
    if not hasattr(expert.load_dataset, "__wrapped__"):
        expert.load_dataset = downstream_experts.keeping_corpus(expert.load_dataset)


def pretrain_tasks() -> list[str]:
    """Names that ``-u`` of run_pretrain.py takes: tasks of s3prl and of this package."""
    found = {path.parent.name for path in (find_host().package / "pretrain").glob("*/pretrain_expert.py")}
    return sorted(found | STUDENT_KINDS.keys())


def _run_main(module: ModuleType, argv: Sequence[str]) -> None:
    before = sys.argv
    sys.argv = [str(module.__file__), *argv]
    try:
        module.main()
    finally:
        sys.argv = before
