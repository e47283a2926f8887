"""Names of devices."""

from __future__ import annotations

import re

import torch

from s3prl_gendistiller.errors import UserError

NAME = re.compile(r"cpu|cuda(:(0|[1-9][0-9]{0,3}))?")


def check_device(device: str, flag: str) -> None:
    """UserError that names `flag` if `device` is not cpu, cuda or cuda:N, or no device of this machine."""
    count = torch.cuda.device_count()
    known = NAME.fullmatch(device)
    number = int(known[2] or 0) if known else 0
    if not known or (device != "cpu" and number >= count):
        gpus = ", ".join(f"cuda:{index}" for index in range(count))
        raise UserError(f"{flag}: found {device}, expected {gpus or 'cpu, since this machine has no GPU'}")
