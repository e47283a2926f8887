"""s3prl-gendistiller: generative distillation of speech models inside s3prl.

from s3prl_gendistiller import build_student, load_student
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s3prl_gendistiller._version import __version__

if TYPE_CHECKING:
    from s3prl_gendistiller.host.students import build_student, load_student

__all__ = ["__version__", "build_student", "load_student"]


def __getattr__(name: str) -> Any:  # torch is imported with the first student, not with the package
    if name in ("build_student", "load_student"):
        from s3prl_gendistiller.host import students

        return getattr(students, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
