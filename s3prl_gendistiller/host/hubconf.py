"""Entries for s3prl.hub, called by run_downstream.py as ``name(ckpt=, model_config=, refresh=)``.

`s3prl.nn.S3PRLUpstream` calls them with `path_or_url` as `ckpt`, `refresh`, and the keys of its `extra_conf`.
"""

from __future__ import annotations

from typing import Any

__all__ = ["gendistiller_local", "gendistiller_url", "transformers_local"]


def gendistiller_local(
    ckpt: str | None = None, model_config: str | None = None, refresh: bool = False, **extra: Any
) -> Any:
    """A student from a place on disk that `load_student` takes, such as a checkpoint that run_pretrain.py wrote.

    The YAML file `model_config` may hold `steps`, to generate fewer layers; from Python, `steps` itself may be given.
    """
    from s3prl_gendistiller.host.upstream_expert import UpstreamExpert

    return UpstreamExpert(ckpt, model_config, **extra)


def gendistiller_url(ckpt: str, model_config: str | None = None, refresh: bool = False, **extra: Any) -> Any:
    """A student from a URL, downloaded into s3prl's cache, once or again with `refresh`."""
    from s3prl.util.download import _urls_to_filepaths

    return gendistiller_local(_urls_to_filepaths(ckpt, refresh=refresh), model_config, **extra)


def transformers_local(ckpt: str, model_config: str | None = None, refresh: bool = False, **kwargs: Any) -> Any:
    """A HuBERT, WavLM or wav2vec 2.0 from a folder of transformers, the class by its model_type."""
    from s3prl_gendistiller.host.upstream_expert import TransformersExpert

    return TransformersExpert(ckpt, model_config, **kwargs)
