"""s3prl's own DistilHuBERT with random weights: the upstream of a run on a task, and the step of its pretraining.

The code that is measured is s3prl's own. The step is in `pretrain/distiller` of s3prl's repository, which the installed
package lacks.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib
import importlib.util
import io
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import compat
from s3prl_gendistiller.host.layers import load_upstream

STEP = Path("pretrain", "distiller", "pretrain_expert.py")


def write_random_hubert(path: Path, **sizes: Any) -> Path:
    """Writes what `hubert_local` of s3prl loads: a HuBERT Base of random weights.

    Args:
        sizes: keys of s3prl's HubertConfig that are not those of HuBERT Base.
    """
    module = importlib.import_module("s3prl.upstream.hubert.hubert_model")
    task, symbols = module.HubertPretrainingConfig(), [["a", "b"]]
    settings = {"label_rate": 50.0, **sizes}
    model = module.HubertModel(module.HubertConfig(**settings), task, symbols)
    content = {"task_cfg": dataclasses.asdict(task), "model_cfg": settings, "dictionaries_symbols": symbols}
    torch.save({**content, "model_weight": model.state_dict()}, path)
    return path


def write_random_wavlm(path: Path, **sizes: Any) -> Path:
    """Writes what `wavlm_local` of s3prl loads: a WavLM Base+ of random weights.

    Args:
        sizes: keys of s3prl's WavLMConfig that are not those of WavLM Base+.
    """
    module = importlib.import_module("s3prl.upstream.wavlm.WavLM")
    positions = {"relative_position_embedding": True, "num_buckets": 320, "max_distance": 800, "gru_rel_pos": True}
    config = module.WavLMConfig({**positions, **sizes})
    torch.save({"cfg": vars(config), "model": module.WavLM(config).state_dict()}, path)
    return path


def write_random_distiller(path: Path, config: Mapping[str, Any]) -> Path:
    """Writes what `distiller_local` of s3prl loads: a DistilHuBERT of random weights.

    Args:
        config: s3prl's configuration with its section `distiller`, as `host.baseline.host_config` gives it.
    """
    module = importlib.import_module("s3prl.upstream.distiller.model")
    with _without_its_prints():
        model = module.DistillerModel(module.DistillerConfig(config["distiller"]))
    torch.save({"Config": dict(config), "Distiller": model.state_dict()}, path)
    return path


def load_distiller(path: Path) -> nn.Module:
    """s3prl's `distiller_local` in eval mode: a list of waveforms (S,) to hidden states, with its prediction heads."""
    with _without_its_prints():
        return load_upstream("distiller_local", path)


class StockStep(nn.Module):
    """s3prl's `DistillerForPretrain` with a teacher from a file, in the mode in which s3prl's Runner trains it.

    Args:
        host: package folder of s3prl's source tree.
        config: as in `write_random_distiller`, with the section `teacher`.
        teacher: checkpoint that `entry` loads.
        entry: an upstream of s3prl, such as `hubert_local` or `wavlm_local`.

    Raises:
        UserError: the folder lacks s3prl's pretraining of DistilHuBERT.
    """

    def __init__(self, host: Path, config: Mapping[str, Any], teacher: Path, entry: str = "hubert_local") -> None:
        super().__init__()
        module = _pretraining(host)
        expert = load_upstream(entry, teacher)

        def load(repository: str, name: str) -> nn.Module:
            return expert

        # s3prl asks torch.hub for its teacher, which would download the code of s3prl and the weights of HuBERT Base
        with mock.patch.object(torch.hub, "load", load), _without_its_prints():
            self.model = module.DistillerForPretrain(
                module.DistillerConfig(config["distiller"]), argparse.Namespace(**config["teacher"])
            )
        self.train()  # the teacher as well: s3prl's Runner does so

    def forward(self, wavs: Tensor) -> Tensor:
        """The loss, a scalar, of utterances (B, S) of equal length on the CPU, copied as s3prl's expert copies them."""
        device = next(self.parameters()).device
        lengths = torch.full((len(wavs),), wavs.shape[1])
        mask = torch.ones_like(wavs)
        loss, _ = self.model(wavs.to(device), list(wavs), lengths.to(device), mask.to(device))
        return loss


def stock_loader(host: Path, root: Path, manifest: Path, batch: int, samples: int, workers: int, pin: bool) -> Any:
    """The loader of s3prl's distiller: batches of at most `samples` samples from files listed in a manifest."""
    module = _pretraining(host)
    with _without_its_prints():
        data = module.OnlineWaveDataset(
            {"sequence_length": samples}, batch, str(manifest.parent), [manifest.stem], libri_root=str(root)
        )
    options: dict[str, Any] = {"batch_size": 1, "shuffle": True, "num_workers": workers, "pin_memory": pin}
    return torch.utils.data.DataLoader(data, collate_fn=data.collate_fn, **options)


def check_host(host: Path) -> None:
    """UserError if a folder is no package folder of s3prl's source tree with the pretraining of DistilHuBERT."""
    if not (host / STEP).is_file():
        raise UserError(
            f"--s3prl: {host} lacks {STEP}; expected the folder s3prl/ of s3prl's repository, version 0.4.18"
        )


def _pretraining(host: Path) -> Any:
    """s3prl's module `pretrain.distiller.pretrain_expert` of a source tree."""
    check_host(host)
    if importlib.util.find_spec("easydict") is None:  # the step only reads attributes of its configuration
        compat.supply_module("easydict", EasyDict=argparse.Namespace)
    before = list(sys.path)
    sys.path.insert(0, str(host.absolute()))  # s3prl imports `pretrain` and `upstream` from the top
    try:
        return importlib.import_module(".".join(STEP.with_suffix("").parts))
    finally:
        sys.path[:] = before


@contextlib.contextmanager
def _without_its_prints() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()):
        yield
