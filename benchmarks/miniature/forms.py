"""Forms: students as an ablation of pretrain_configs/ states them, or several ablations joined by +.

`history_all+teacher_forced` is such a form. The matched recipe decides what a form leaves open.
"""

from __future__ import annotations

from pathlib import Path

from s3prl_gendistiller.cli.experiment import UPSTREAMS, Contender
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.schema import merge, merge_layers, yaml_layers
from s3prl_gendistiller.shipped import shipped_folder


def contender(form: str | Path) -> Contender:
    """The student that an ablation of pretrain_configs/ states, by name, or that any YAML file states.

    Raises:
        UserError: it is neither, or what it is based on is no student.
    """
    ablations = shipped_folder("pretrain_configs") / "ablations"
    path = Path(form) if Path(form).suffix == ".yaml" else ablations / f"{form}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in ablations.glob("*.yaml")))
        raise UserError(f"form of a student: found {form}, expected a YAML file or one of {known}")
    *differences, (recipe, _) = yaml_layers(path)
    if not differences or recipe.parent.name not in UPSTREAMS:
        raise UserError(f"{recipe}: found no base in it, expected the configuration that it differs from")
    return Contender(recipe.parent.name, merge_layers(content for _, content in differences))


# The shipped configurations but for two things that the screening found (docs/ablation.md): the teacher's second
# layer is the better start for GenDistiller's shared one, and the baseline, too, is better without dropout.
CONTENDERS = {
    "gendistiller": contender("warm_layer_2"),
    "distilhubert": contender("distilhubert_no_dropout"),
}


def form(text: str) -> Contender:
    """A form by its text: a kind of `CONTENDERS`, ablations or YAML files joined by +, each over those before it.

    Raises:
        UserError: a part is neither, or two parts are of different students.
    """
    if text in CONTENDERS:
        return CONTENDERS[text]
    parts = [contender(part) for part in text.split("+")]
    tasks = sorted({part.task for part in parts})
    if len(tasks) > 1:
        raise UserError(f"form of a student: found {text}, parts of {' and '.join(tasks)}; expected those of one")
    difference = CONTENDERS[tasks[0]].difference
    for part in parts:
        difference = merge(difference, part.difference)
    return Contender(tasks[0], difference)


def form_name(text: str) -> str:
    """What the runs of a form are called: its text without folders and suffixes."""
    return "+".join(Path(part).stem if part.endswith(".yaml") else part for part in text.split("+"))
