"""Forms: students as an ablation of pretrain_configs/ states them, or several ablations joined by +.

`history_all+teacher_forced` is such a form. Keys that a form does not state are those of the matched recipe.
"""

from __future__ import annotations

from pathlib import Path

from s3prl_gendistiller.cli.experiment import Contender
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.schema import merge, merge_layers, yaml_layers
from s3prl_gendistiller.shipped import shipped_folder
from s3prl_gendistiller.student_kinds import STUDENT_KINDS


def contender(form: str | Path) -> Contender:
    """The student of an ablation of pretrain_configs/, by name, or of a YAML file.

    Raises:
        UserError: there is no such ablation or file, or its base is no shipped model YAML.
    """
    ablations = shipped_folder("pretrain_configs") / "ablations"
    path = Path(form) if Path(form).suffix == ".yaml" else ablations / f"{form}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in ablations.glob("*.yaml")))
        raise UserError(f"form of a student: found {form}, expected a YAML file or one of {known}")
    *differences, (recipe, _) = yaml_layers(path)
    if not differences or recipe.parent.name not in STUDENT_KINDS:
        raise UserError(f"{recipe}: found no base in it, expected the configuration that it differs from")
    return Contender(recipe.parent.name, merge_layers(content for _, content in differences))


# The shipped configurations with two changes after the screening (docs/ablation.md): the teacher's second layer is the
# better start for GenDistiller's shared layer, and the baseline is better without dropout as well.
CONTENDERS = {
    "gendistiller": contender("warm_layer_2"),
    "distilhubert": contender("distilhubert_no_dropout"),
}


def form(text: str) -> Contender:
    """The student of a form: a name of `CONTENDERS`, or ablations and YAML files joined by +, of which later ones win.

    Raises:
        UserError: a part is unknown, or two parts are of different students.
    """
    if text in CONTENDERS:
        return CONTENDERS[text]
    stated = joined(text)
    return Contender(stated.task, merge(CONTENDERS[stated.task].difference, stated.difference))


def joined(text: str) -> Contender:
    """The student of ablations and YAML files joined by +, by what these alone state; errors as of `form`."""
    parts = [contender(part) for part in text.split("+")]
    tasks = sorted({part.task for part in parts})
    if len(tasks) > 1:
        raise UserError(f"form of a student: found {text}, parts of {' and '.join(tasks)}; expected those of one")
    return Contender(tasks[0], merge_layers([part.difference for part in reversed(parts)]))


def form_name(text: str) -> str:
    """Name of the runs of a form: its text without folders and suffixes."""
    return "+".join(Path(part).stem if part.endswith(".yaml") else part for part in text.split("+"))
