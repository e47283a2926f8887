from __future__ import annotations

import pytest

from hubert.recipe import PhasedRecipe
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.schema import from_dict, read_yaml
from s3prl_gendistiller.shipped import shipped_folder

SHAPE = {"num_attention_heads": 3}
GOOD = {"phases": [{"steps": 3, "imitate": [2, 4]}, {"steps": 2, "units_from": 4, "predicted_from": [5, 6]}]}


def test_a_recipe_names_the_guides_layers() -> None:
    recipe = from_dict(PhasedRecipe, GOOD, "recipe.yaml")
    assert [phase.layers for phase in recipe.phases] == [(2, 4), (4,)]
    both = {"steps": 1, "imitate": [6, 2], "units_from": 4, "predicted_from": [4]}
    assert from_dict(PhasedRecipe, {"phases": [both]}, "recipe.yaml").phases[0].layers == (2, 4, 6)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"phases": []}, "expected at least one"),
        ({"phases": [{"steps": 1}]}, "expected layers to regress"),
        ({"phases": [{"steps": 1, "guide": "self", "imitate": [1]}]}, "no model before"),
        ({"phases": [{"steps": 1, "units_from": 4}]}, "found one of the two"),
        ({"phases": [{"steps": 1, "imitate": [1], "mel_from": [7]}]}, "mel_from: found layer 7"),
        ({"phases": [{"steps": 1, "imitate": [1], "mix_db": [9, 3]}]}, "mix_db: found .* lower level first"),
        ({"phases": [{"steps": 1, "imitate": [7]}]}, "found layer 7, expected 1 to 6"),
        ({"phases": [{"steps": 1, "units_from": 9, "predicted_from": [6]}]}, "found layer 9"),
        ({"phases": [{"steps": 1, "units_from": 4, "predicted_from": [6], "seen_weight": 0}]}, "loss on some frame"),
        ({**GOOD, "shape": SHAPE}, "divisor of hidden_size"),
        ({**GOOD, "crop_seconds": [40]}, "0.5 to 30 seconds"),
        ({**GOOD, "batch_seconds": 3}, "at most batch_seconds"),
        ({**GOOD, "noise_db": [9, 3]}, "lower level first"),
    ],
)
def test_a_wrong_recipe_is_refused(wrong: dict[str, object], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        from_dict(PhasedRecipe, wrong, "recipe.yaml")


def test_the_shipped_recipe_is_read() -> None:
    path = shipped_folder("teachers") / "hubert_guided" / "recipe.yaml"
    recipe = from_dict(PhasedRecipe, read_yaml(path), str(path))
    assert [phase.guide for phase in recipe.phases] == ["whisper", "whisper", "whisper", "self"]
