"""Entries for s3prl.hub, called by run_downstream.py as ``name(ckpt=, model_config=, refresh=)``."""

from __future__ import annotations

from typing import Any

__all__ = ["gendistiller_local", "gendistiller_url", "transformers_local"]


def gendistiller_local(ckpt: str, model_config: str | None = None, refresh: bool = False, **kwargs: Any) -> Any:
    """A student from a checkpoint on disk.

    ckpt (str): PATH of a checkpoint that run_pretrain.py wrote
    model_config (str): PATH of a YAML with `steps`, to generate fewer layers
    """
    from s3prl_gendistiller.host.upstream_expert import UpstreamExpert

    return UpstreamExpert(ckpt, model_config, **kwargs)


def gendistiller_url(ckpt: str, model_config: str | None = None, refresh: bool = False, **kwargs: Any) -> Any:
    """A student from a URL, downloaded once into s3prl's cache.

    ckpt (str): URL
    refresh (bool): download again
    """
    from s3prl.util.download import _urls_to_filepaths

    return gendistiller_local(_urls_to_filepaths(ckpt, refresh=refresh), model_config, **kwargs)


def transformers_local(ckpt: str, model_config: str | None = None, refresh: bool = False, **kwargs: Any) -> Any:
    """A HuBERT, WavLM or wav2vec 2.0 from a transformers folder, the class by its model_type.

    ckpt (str): PATH of a folder with config.json and its weights
    """
    from s3prl_gendistiller.host.transformers_expert import UpstreamExpert

    return UpstreamExpert(ckpt, model_config, **kwargs)
