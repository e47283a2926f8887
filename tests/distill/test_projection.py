"""Projections between the widths of student and teacher."""

from __future__ import annotations

import pytest
import torch

from s3prl_gendistiller.distill.projection import Projection, build_projection, count_parameters
from tests.replicas import replicate

NAMES = ("layer2", "layer4", "layer6")


def test_each_layer_has_its_own_map_and_fewer_layers_take_the_first_ones(seeded: None) -> None:
    maps, layers = Projection(NAMES, 4, 6), torch.randn(2, 3, 5, 4)
    found = maps(layers)
    for index, name in enumerate(NAMES):
        linear = maps.maps[name]
        torch.testing.assert_close(found[:, index], layers[:, index] @ linear.weight.T + linear.bias)
    assert torch.equal(maps(layers[:, :2]), found[:, :2])
    assert not torch.equal(*maps(layers[:, [0, 0]]).unbind(1))
    torch.testing.assert_close(replicate(maps)(layers), found)  # as DataParallel copies it


def test_one_map_serves_all_layers(seeded: None) -> None:
    maps, layers = Projection(("shared",), 4, 6), torch.randn(2, 3, 5, 4)
    assert maps(layers).shape == (2, 3, 5, 6)
    assert torch.equal(maps(layers[:, [1, 1]]), maps(layers)[:, [1, 1]])


@pytest.mark.parametrize(("names", "count"), [(NAMES, 3 * 5 * 6), (("shared",), 5 * 6)])
def test_its_parameters_are_counted_without_a_weight(names: tuple[str, ...], count: int) -> None:
    maps = build_projection(names, 4, 6)
    assert maps is not None and sum(parameter.numel() for parameter in maps.parameters()) == count
    state = torch.get_rng_state()
    assert count_parameters(names, 4, 6) == count
    assert torch.equal(torch.get_rng_state(), state)


def test_equal_widths_have_none_and_draw_no_random_number() -> None:
    state = torch.get_rng_state()
    assert build_projection(NAMES, 6, 6) is None and build_projection(NAMES, None, 6) is None
    assert count_parameters(NAMES, 6, 6) == 0 and torch.equal(torch.get_rng_state(), state)
