from __future__ import annotations

import pytest

from hubert.recipe import HubertRecipe
from s3prl_gendistiller.errors import ConfigError
from s3prl_gendistiller.schema import from_dict, read_yaml
from s3prl_gendistiller.shipped import shipped_folder


def test_the_shipped_recipe_is_read() -> None:
    path = shipped_folder("teachers") / "hubert_mini" / "recipe.yaml"
    recipe = from_dict(HubertRecipe, read_yaml(path), str(path))
    assert recipe.shape.num_hidden_layers == 6 and [round_.layer for round_ in recipe.rounds] == [None, 4, 4, 4]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"rounds": []}, "at least one"),
        ({"rounds": [{"steps": 1, "layer": 2}]}, "expected null"),
        ({"rounds": [{"steps": 1}, {"steps": 1}]}, "found null"),
        ({"rounds": [{"steps": 1}, {"steps": 1, "layer": 9}]}, "expected 1 to 6"),
        ({"rounds": [{"steps": 1}], "crop_seconds": 90}, "at most batch_seconds"),
        ({"rounds": [{"steps": 1}], "shape": {"num_attention_heads": 3}}, "divisor of hidden_size"),
        ({"rounds": [{"steps": 1, "frozen_cnn": True}]}, "no trained CNN yet"),
        (
            {"rounds": [{"steps": 1}, {"steps": 1, "layer": 1, "frozen_cnn": True}], "fresh": True},
            "frozen_cnn: found true, expected false with `fresh`",
        ),
        ({"rounds": [{"step": 1}]}, "step: unknown key"),
    ],
)
def test_what_does_not_fit_is_named(content: dict, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        from_dict(HubertRecipe, content, "x.yaml")
