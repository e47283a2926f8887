"""The log lines of this package on stderr, and the warnings of other packages that say nothing to a user."""

from __future__ import annotations

import logging
import sys
import warnings

from s3prl_gendistiller.host.process_group import speaks


class _Messages(logging.StreamHandler):
    """Writes to the present `sys.stderr`, which may change between two calls in one process."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def configure_logging() -> None:
    """Sends the log lines of this package to stderr with its name in front; the host's logging stays as it is."""
    package = logging.getLogger("s3prl_gendistiller")
    if not package.handlers:
        handler = _Messages()
        handler.setFormatter(logging.Formatter("[gendistiller] %(message)s"))
        handler.addFilter(speaks)
        package.addHandler(handler)
        package.setLevel(logging.INFO)
        package.propagate = False
    # the host's loops use torch.cuda.amp, which warns in every run
    warnings.filterwarnings("ignore", message=".*torch.cuda.amp.*", category=FutureWarning)
    warnings.filterwarnings("ignore", message=".*CUDA is not available.*", category=UserWarning)
    # s3prl's models use weight_norm
    warnings.filterwarnings("ignore", message=".*utils.weight_norm. is deprecated.*", category=FutureWarning)
