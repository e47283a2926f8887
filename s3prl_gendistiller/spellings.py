"""Keys of the YAML files that have two names: the name here, and the name in s3prl's own files."""

from __future__ import annotations

ROOT, LIBRI_ROOT = "root", "libri_root"  # folder of the audio, in pretrain_expert.datarc

_OTHER = {ROOT: LIBRI_ROOT, LIBRI_ROOT: ROOT}


def other_name(name: str) -> str | None:
    """The second name of a key; None for a key with one name."""
    return _OTHER.get(name)
