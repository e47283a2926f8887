"""Names of huggingface_hub before version 1 that s3prl's runners import or call.

huggingface_hub no longer has password logins, a class for the saved token, or git-based repositories. Calls that read
from the hub are passed on; calls that cannot work any more raise an error.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from s3prl_gendistiller.errors import UserError


class HfFolder:
    """Stand-in that reads the saved token; saving belongs to the `hf auth` command."""

    @classmethod
    def get_token(cls) -> str | None:
        """The token of `hf auth login` or of the variable HF_TOKEN, if there is one."""
        from huggingface_hub import get_token

        return get_token()

    @classmethod
    def save_token(cls, token: str | None) -> None:
        """Does nothing for the token in use, which s3prl passes; refuses any other."""
        if token != cls.get_token():
            raise UserError("HfFolder.save_token is gone from huggingface_hub 1; run `hf auth login` instead")


class Repository:
    """Stand-in whose constructor raises an error."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise UserError(
            "huggingface_hub.Repository (used by --push_to_hf_hub) is gone from huggingface_hub 1; "
            "run without that flag and upload the experiment folder with `hf upload`"
        )


def login(self: object, username: str | None = None, password: str | None = None) -> str | None:
    """`HfApi.login`: the hub takes no passwords any more; returns the saved token, if there is one."""
    return HfFolder.get_token()


def accept_old_arguments(snapshot_download: Callable[..., str]) -> Callable[..., str]:
    """`snapshot_download` that takes arguments as s3prl passes them: revision by position, and `use_auth_token`.

    `use_auth_token=True` becomes "the saved token if there is one", since public models need none.
    """

    @functools.wraps(snapshot_download)
    def wrapped(repo_id: str, revision: str | None = None, *, use_auth_token: Any = None, **options: Any) -> str:
        if isinstance(use_auth_token, str) or use_auth_token is False:
            options.setdefault("token", use_auth_token)
        return snapshot_download(repo_id, revision=revision, **options)

    return wrapped
