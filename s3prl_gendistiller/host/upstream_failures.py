"""What building an upstream of s3prl may fail with, as one message."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Iterator

from s3prl_gendistiller.errors import UserError

FOLDERS_ENTRY = "transformers_local"
CONVERT = "fairseq's own are converted by s3prl/upstream/hubert/convert.py first"
# These are a user's matter: no network, no or a wrong checkpoint, no package, no memory.
_FAILURES = (
    OSError,  # also what urllib, requests and huggingface_hub raise without a network
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    MemoryError,
    ImportError,
    EOFError,
    pickle.UnpicklingError,
)


@contextlib.contextmanager
def named_failures(
    name: str, checkpoint: str | None, keys: tuple[str, str] = ("-u", "-k"), folder: str = f"-u {FOLDERS_ENTRY} -k"
) -> Iterator[None]:
    """
    Args:
        name: the entry of s3prl.hub that is built inside.
        checkpoint: what it is given.
        keys: the flags or configuration keys of both, and
        folder: of a transformers folder, for the message.

    Raises:
        UserError: in place of what the building raises.
    """
    try:
        yield
    except _FAILURES as error:
        reason = ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])[:300]
        other = f"a transformers folder as {folder}"
        if checkpoint is None:
            raise UserError(
                f"{keys[0]}: {name} could not be downloaded or loaded ({reason}); expected it from the network or "
                f"whole in s3prl's cache (~/.cache/s3prl). Give a local file as {keys[1]}, or {other}"
            ) from error
        raise UserError(
            f"{keys[1]}: {checkpoint} could not be loaded by s3prl.hub.{name} ({reason}); expected a checkpoint of "
            f"that kind ({CONVERT}), or give {other}"
        ) from error
