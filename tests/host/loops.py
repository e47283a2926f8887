"""Both training loops of s3prl around a model of three numbers, in this process and in milliseconds.

The Runners are the host's own files, each loaded anew, so that what is mounted on one is on no other.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from s3prl_gendistiller.host import mount
from s3prl_gendistiller.host.locate import find_host

Fault = Callable[[int, Tensor], Tensor]


class Data(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Tensor:
        return torch.tensor([1.0, 2.0, -0.5])  # equal for each batch


class PretrainTask(nn.Module):
    """A task with all methods that the pretraining Runner calls.

    Attributes:
        fault: called with the number of the batch and its loss.
    """

    fault: Fault | None = None

    def __init__(self, datarc: Any, upstream_config: Any, device: str, multi_gpu: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.device, self.model, self.batches, self._step = device, nn.Linear(3, 1), 0, 0

    def forward(self, data: Tensor, records: Any, global_step: int, log_step: int) -> tuple[Tensor, Any]:
        self._step = global_step
        self.batches += 1
        loss = (self.model(data) - 1).square().mean()
        return loss if self.fault is None else type(self).fault(self.batches, loss), records

    def get_train_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(Data(), batch_size=2)

    def load_model(self, states: Any) -> None:
        self.model.load_state_dict(states["Toy"])

    def add_state_to_save(self, states: dict[str, Any]) -> dict[str, Any]:
        return {**states, "Toy": self.model.state_dict(), "Step": self._step}

    def on_before_zero_grad(self) -> None: ...

    def log_records(self, **given: Any) -> None: ...


class DownstreamTask(nn.Module):
    fault: Fault | None = None

    def __init__(self, **given: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head, self.batches = nn.Linear(3, 1), 0

    def get_dataloader(self, split: str) -> Any:
        return torch.utils.data.DataLoader(Data(), batch_size=2, collate_fn=lambda items: (items, items))

    def forward(self, split: str, features: Any, labels: Any, records: Any, **given: Any) -> Tensor:
        self.batches += 1
        loss = (self.head(torch.stack(labels)) - 1).square().mean()
        return loss if self.fault is None else type(self).fault(self.batches, loss)

    def log_records(self, split: str, **given: Any) -> list[str]:
        return [] if split == "train" else [f"{split}-best.ckpt"]


class Loops:
    """Starts runs; `kind` is "pretrain" or "downstream".

    Attributes:
        rates: the learning rate of every optimiser step of the last run.
    """

    def __init__(self, kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kind, self.folder = kind, folder
        self.rates: list[float] = []
        package = find_host().package
        for name in ("optimizers", "schedulers"):
            monkeypatch.setitem(sys.modules, name, importlib.import_module(f"s3prl.{name}"))
        name = {"pretrain": "pretrain.toy.pretrain_expert", "downstream": "s3prl.downstream.toy.expert"}[kind]
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
        self.task: Any = type("Task", ({"pretrain": PretrainTask, "downstream": DownstreamTask}[kind],), {})
        sys.modules[name].UpstreamPretrainExpert = sys.modules[name].DownstreamExpert = self.task  # type: ignore
        spec = importlib.util.spec_from_file_location(f"s3prl.{kind}.fresh", package / kind / "runner.py")
        assert spec is not None and spec.loader is not None
        self.module: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)
        mount.guard_runner(self.module)
        stock = self.module.get_optimizer
        self.module.get_optimizer = lambda *given: self._followed(stock(*given))

    def train(self, name: str, optimizer: dict | None = None, resume: Path | None = None, **runner: Any) -> Any:
        """One run in `folder`/`name`; returns the Runner."""
        given = {"total_steps": 6, "log_step": 2, "save_step": 2, "eval_step": 100, "eval_dataloaders": ["dev"]}
        given |= {"max_keep": 9, "gradient_clipping": 1.0, "gradient_accumulate_steps": 1, "n_epochs": -1}
        config = {
            "runner": {**given, **runner},
            "optimizer": optimizer or {"name": "TorchOptim", "torch_optim_name": "SGD", "lr": 0.1},
            "scheduler": config_scheduler(optimizer),
            "pretrain_expert": {"datarc": {"train_batch_size": 2}},
            "downstream_expert": {"datarc": {"train_batch_size": 2}},
        }
        config["optimizer"] = {key: value for key, value in config["optimizer"].items() if key != "scheduler"}
        flags = {"expdir": str(self.folder / name), "init_ckpt": resume and str(resume), "device": "cpu", "seed": 1}
        args = argparse.Namespace(**flags, upstream="toy", upstream_config={}, multi_gpu=False, downstream="toy")
        vars(args).update(upstream_trainable=False, push_to_hf_hub=False, verbose=False)
        Path(args.expdir).mkdir(exist_ok=True)
        self.rates = []
        torch.manual_seed(1)
        gc.collect()  # tqdm fails if the bars of a run that broke off are collected while it writes
        made = self._runner(args, config)
        made.train()
        return made

    def _runner(self, args: Any, config: Any) -> Any:
        runner = self.module.Runner
        if self.kind == "downstream":
            entry = self.module.ModelEntry
            fixed = nn.Identity()
            runner._get_upstream = lambda runner: entry(fixed, "Upstream", False, [])
            featurizer = nn.Linear(1, 1)
            featurizer.forward = lambda wavs, features: features  # type: ignore[assignment]
            featurizer.output_dim = featurizer.downsample_rate = 1  # type: ignore[assignment]
            runner._get_featurizer = lambda runner: runner._init_model(featurizer, "Featurizer", True)
        return runner(args, config)

    def _followed(self, optimizer: Any) -> Any:
        optimizer.register_step_pre_hook(lambda *given: self.rates.append(rate(optimizer)))
        return optimizer


def config_scheduler(optimizer: dict | None) -> dict | None:
    return (optimizer or {}).get("scheduler")


def rate(optimizer: Any) -> float:
    """Of the step that comes next."""
    group = optimizer.param_groups[0]
    if "schedule" not in group:
        return float(group["lr"])
    done = optimizer.state[group["params"][0]].get("step", 0)
    return float(group["lr"] * group["schedule"].get_lr(done + (type(optimizer).__name__ == "Lamb")))


def weights(runner: Any) -> list[Tensor]:
    model = runner.downstream.model if hasattr(runner, "downstream") else runner.upstream
    return [parameter.detach().clone() for parameter in model.parameters()]


@pytest.fixture(params=["pretrain", "downstream"])
def loops(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loops:
    return Loops(request.param, tmp_path, monkeypatch)
