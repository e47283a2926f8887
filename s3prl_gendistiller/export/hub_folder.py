"""The folder of a student that s3prl's ``--hub huggingface`` loads: SUPERB's hidden-set submission.

s3prl (downstream/runner.py, Runner._get_upstream) downloads a repository, appends its folder to `sys.path`, prints
requirements.txt, and calls `UpstreamExpert` of expert.py with the path of model.pt (``--upstream_model_name``) in that
folder. The evaluating machine does not need this package: copies of the modules that a student needs lie beside
expert.py in a package `SUBPACKAGE`, and differ from the originals only in that name.
"""

from __future__ import annotations

from pathlib import Path

from s3prl_gendistiller._version import __version__
from s3prl_gendistiller.export.card import Card, render
from s3prl_gendistiller.export.code import HERE, needed_modules, packaged, renamed
from s3prl_gendistiller.export.student_files import README, as_json, read_student, write_folder
from s3prl_gendistiller.front_ends import FRONT_ENDS
from s3prl_gendistiller.models.upstream import CONFIG
from s3prl_gendistiller.student_kinds import STUDENT_KINDS

SUBPACKAGE = "gendistiller_student"
EXPERT = HERE / "expert.py"
REQUIREMENTS = "requirements.txt"
REQUIRED = ("torch>=2.1", "safetensors>=0.4", "pyyaml>=6.0")


def write_hub_folder(checkpoint: Path, folder: Path, card: Card, steps: int | None = None) -> list[Path]:
    """Writes expert.py and its modules, weights, configuration, requirements.txt and the model card.

    Args:
        folder: a new folder, which appears only when it is complete; the returned files are relative to it.
        steps: number of layers that are generated unless s3prl's ``-g`` gives another number; None for all.

    Raises:
        UserError: the folder exists, the checkpoint cannot be used, or the student generates fewer layers.
    """
    files = read_student(checkpoint, steps)
    builders = [kind.build.partition(":")[0] for kind in STUDENT_KINDS.values()]
    modules = needed_modules([EXPERT], [*builders, *(front_end.module for front_end in FRONT_ENDS.values())])
    texts = {
        "expert.py": renamed(EXPERT, SUBPACKAGE),
        **packaged(modules, SUBPACKAGE),
        CONFIG: as_json(files.settings("hub")),
        REQUIREMENTS: "\n".join([*REQUIRED, *files.kind.packages]) + "\n",
        README: render(card, files.model_config, steps, __version__),
    }
    return write_folder(folder, "the upstream", texts, files.weights)
