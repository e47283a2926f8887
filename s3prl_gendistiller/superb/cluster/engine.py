"""The engine of a cluster, which `benchmark.run_suite` calls in the place of `processes.Processes`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


class Engine(Protocol):
    """Runs commands on the hosts of a cluster; called from several threads at once."""

    def __call__(self, arguments: Sequence[str], log: Path) -> None:
        """Runs run_downstream.py on some host and waits for its end, as `experiment_folder.Launch`.

        A job of an earlier controller with the same arguments is waited for, or its result is taken.

        Raises:
            UserError: the run failed, or the engine was stopped.
        """

    def stop(self) -> None:
        """Ends the waiting of all calls; the jobs of a cluster with a queue go on."""
