"""How many hidden states an upstream of s3prl gives: what ``-l`` can choose from."""

from __future__ import annotations

import difflib
from pathlib import Path

import torch

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import mount

SAMPLE_RATE = 16_000


def require_upstream(name: str) -> None:
    """
    Raises:
        UserError: s3prl has no such upstream; it says which are close.
    """
    hub = mount.mount_hub()
    if not hasattr(hub, name):
        close = ", ".join(difflib.get_close_matches(name, hub.options(), n=3)) or "nothing; s3prl/hub.py lists all"
        raise UserError(f"-u {name}: no such upstream in s3prl.hub; close to it: {close}")


def count_hidden_states(upstream: str, checkpoint: Path | None) -> int:
    """Asks the upstream with a second of noise, as s3prl's Featurizer does.

    Raises:
        UserError: there is no such upstream.
    """
    require_upstream(upstream)
    entry = getattr(mount.mount_hub(), upstream)
    expert = entry(ckpt=None if checkpoint is None else str(checkpoint), model_config=None, refresh=False).eval()
    with torch.no_grad():
        return len(expert([torch.randn(SAMPLE_RATE)])["hidden_states"])
