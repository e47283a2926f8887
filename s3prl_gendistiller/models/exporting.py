"""Whether torch.export traces a student: a trace has no numbers, so no branch may depend on one."""

from __future__ import annotations

from collections.abc import Callable

import torch

is_exporting: Callable[[], bool] = getattr(torch.compiler, "is_exporting", lambda: False)
"""`torch.compiler.is_exporting`, which torch 2.7 brought; earlier versions run students, and do not export them."""
