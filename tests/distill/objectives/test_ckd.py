"""CKD's four terms against loops from the definition, and what each of them can and cannot see."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from s3prl_gendistiller.config_objectives import CkdConfig
from s3prl_gendistiller.distill.objectives.ckd import Ckd

TERMS = ("ckd_word_pair", "ckd_word_angle", "ckd_layer_pair", "ckd_layer_angle")
LAYERS, FRAMES, WIDTH, WIDER = 4, 14, 12, 20
TINY = 1e-15  # so small a floor that scales differ by nothing that shows
EVERYTHING = torch.ones(2, FRAMES, dtype=torch.bool)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def teacher() -> Tensor:
    return randn(2, LAYERS, FRAMES, WIDTH)


def student(width: int = WIDER) -> Tensor:
    return randn(2, LAYERS, FRAMES, width, seed=1)


def losses(given: Tensor, made: Tensor, mask: Tensor = EVERYTHING, **changes: object) -> dict[str, Tensor]:
    found = Ckd(CkdConfig(**{"floor": TINY, "window": 3, **changes}))(given, made, mask)
    return {name: total / count.clamp(min=1) for name, (total, count) in found.items()}


def rotation(*batch: int, seed: int = 5) -> Tensor:
    """Orthonormal rows, (..., WIDTH, WIDER)."""
    return torch.linalg.qr(randn(*batch, WIDER, WIDTH, seed=seed)).Q.transpose(-1, -2)


def divergence(of_teacher: list[Tensor], of_student: list[Tensor], temperature: float) -> Tensor:
    """Sum over rows of KL(softmax of the teacher's cosines to the others || the student's)."""
    total = torch.zeros((), dtype=torch.float64)
    for i in range(len(of_teacher)):
        rows = []
        for states in (of_teacher, of_student):
            cosines = [torch.cosine_similarity(states[i], states[j], dim=0) for j in range(len(states)) if j != i]
            rows.append(torch.log_softmax(torch.stack(cosines) / temperature, 0) if cosines else torch.zeros(0))
        total = total + (rows[0].exp() * (rows[0] - rows[1])).sum()
    return total


def angle(states: list[Tensor], i: int, j: int, k: int) -> Tensor:
    return torch.cosine_similarity(states[j] - states[i], states[k] - states[i], dim=0)


def by_loops(given: Tensor, made: Tensor, mask: Tensor, window: int, dilation: int, temperature: float) -> dict:
    totals = {name: torch.zeros((), dtype=torch.float64) for name in TERMS}
    counts = dict.fromkeys(TERMS, 0)
    for item in range(len(given)):
        real = mask[item].nonzero().flatten().tolist()
        for layer in range(given.shape[1]):
            of_teacher, of_student = ([stack[item, layer, t] for t in real] for stack in (given, made))
            totals["ckd_word_pair"] += divergence(of_teacher, of_student, temperature)
            counts["ckd_word_pair"] += len(real) * (len(real) - 1)
            at = {t: n for n, t in enumerate(real)}
            near = [o * dilation for o in range(-window, window + 1) if o]
            for i, a, b in itertools.product(real, near, near):
                if a != b and i + a in at and i + b in at:
                    psi = [angle(s, at[i], at[i + a], at[i + b]) for s in (of_teacher, of_student)]
                    totals["ckd_word_angle"] += (psi[1] - psi[0]) ** 2
                    counts["ckd_word_angle"] += 1
        for t in real:
            of_teacher, of_student = (list(stack[item, :, t]) for stack in (given, made))
            totals["ckd_layer_pair"] += divergence(of_teacher, of_student, temperature)
            counts["ckd_layer_pair"] += len(of_teacher) * (len(of_teacher) - 1)
            for i, j, k in itertools.permutations(range(len(of_teacher)), 3):
                psi = [angle(s, i, j, k) for s in (of_teacher, of_student)]
                totals["ckd_layer_angle"] += (psi[1] - psi[0]) ** 2
                counts["ckd_layer_angle"] += 1
    return {name: (totals[name], counts[name]) for name in TERMS}


@pytest.mark.parametrize(("window", "dilation", "temperature"), [(3, 1, 1.0), (2, 2, 0.1), (40, 1, 0.5), (1, 4, 1.0)])
def test_equals_loops_from_the_definition(window: int, dilation: int, temperature: float) -> None:
    given, made = randn(2, 3, 9, 5), randn(2, 3, 9, 7, seed=1).requires_grad_()
    mask = torch.arange(9) < torch.tensor([[9], [6]])
    config = CkdConfig(window=window, dilation=dilation, relation_temperature=temperature, floor=TINY)
    found = Ckd(config)(given, made, mask)
    expected = by_loops(given, made, mask, window, dilation, temperature)
    for name in TERMS:
        torch.testing.assert_close(found[name][0], expected[name][0], atol=1e-12, rtol=1e-11)
        assert int(found[name][1]) == expected[name][1]
        ours, loops = (torch.autograd.grad(sums[name][0], made, retain_graph=True)[0] for sums in (found, expected))
        torch.testing.assert_close(ours, loops, atol=1e-10, rtol=1e-9)


def same(x: Tensor) -> Tensor:
    return x


def turned(x: Tensor) -> Tensor:
    return -1.7 * x @ rotation()


def turned_by_layer(x: Tensor) -> Tensor:
    return x @ rotation(1, LAYERS) * torch.tensor([0.5, 1.0, 2.0, 3.0]).view(1, -1, 1, 1)


def turned_by_frame(x: Tensor) -> Tensor:
    turns = rotation(FRAMES) * (1 + torch.arange(FRAMES)).view(-1, 1, 1)
    return torch.einsum("bltd,tde->blte", x, turns)


def scaled_each(x: Tensor) -> Tensor:
    return x * (0.5 + randn(2, LAYERS, FRAMES, 1, seed=3).abs())


def moved(x: Tensor) -> Tensor:
    return x + randn(1, 1, 1, WIDTH, seed=3)


def moved_by_layer(x: Tensor) -> Tensor:
    return x + randn(1, LAYERS, 1, WIDTH, seed=3)


def moved_by_frame(x: Tensor) -> Tensor:
    return x + randn(1, 1, FRAMES, WIDTH, seed=3)


def stretched(x: Tensor) -> Tensor:
    return x * torch.linspace(0.2, 3.0, WIDTH, dtype=torch.float64)


def shuffled(x: Tensor) -> Tensor:
    return x[:, :, torch.randperm(FRAMES, generator=torch.Generator().manual_seed(2))]


SEEN = [
    (same, "0000"),
    (turned, "0000"),
    (turned_by_layer, "00++"),
    (turned_by_frame, "++00"),
    (scaled_each, "0+0+"),
    (moved, "+0+0"),
    (moved_by_layer, "+0++"),
    (moved_by_frame, "+++0"),
    (stretched, "++++"),
    (shuffled, "++++"),
]


@pytest.mark.parametrize(("change", "expected"), SEEN, ids=[change.__name__ for change, _ in SEEN])
def test_each_term_sees_what_it_should_and_nothing_else(change, expected: str) -> None:
    made = change(teacher()).requires_grad_()
    found = losses(teacher(), made)
    for name, wanted in zip(TERMS, expected, strict=True):
        (gradient,) = torch.autograd.grad(found[name], made, retain_graph=True)
        if wanted == "0":
            assert abs(float(found[name])) < 1e-14 and float(gradient.abs().max()) < 1e-8, name
        else:
            assert float(found[name]) > 1e-6 and float(gradient.abs().max()) > 1e-7, name


def test_order_matters_only_to_the_window() -> None:
    order = torch.randperm(FRAMES, generator=torch.Generator().manual_seed(2))
    layers = torch.tensor([2, 0, 3, 1])
    before = losses(teacher(), student())
    for name, value in losses(teacher()[:, :, order], student()[:, :, order]).items():
        assert torch.isclose(value, before[name], rtol=1e-12) == (name != "ckd_word_angle"), name
    wide = losses(teacher(), student(), window=FRAMES)
    torch.testing.assert_close(losses(teacher()[:, :, order], student()[:, :, order], window=FRAMES), wide)
    torch.testing.assert_close(losses(teacher().flip(2), student().flip(2)), before)
    torch.testing.assert_close(losses(teacher()[:, layers], student()[:, layers]), before)
    torch.testing.assert_close(losses(teacher().flip(0), student().flip(0)), before)
    twice = torch.ones(4, FRAMES, dtype=torch.bool)
    torch.testing.assert_close(losses(teacher().repeat(2, 1, 1, 1), student().repeat(2, 1, 1, 1), twice), before)


def test_an_anchors_angles_depend_on_its_window_alone() -> None:
    made = student().requires_grad_()
    other = student()
    other[:, :, 11:] = randn(2, LAYERS, 3, WIDER, seed=9)
    gradients = []
    for stack in (made, other.requires_grad_()):
        found = losses(teacher(), stack, window=2, floor=TINY)["ckd_word_angle"]
        gradients.append(torch.autograd.grad(found, stack)[0])
    torch.testing.assert_close(gradients[0][:, :, :7], gradients[1][:, :, :7], atol=1e-14, rtol=1e-10)
    assert not torch.allclose(gradients[0][:, :, 7:11], gradients[1][:, :, 7:11], atol=1e-6)


def test_padding_changes_no_value_and_gets_no_gradient() -> None:
    mask = torch.arange(FRAMES) < torch.tensor([[FRAMES], [9]])
    made = student()
    before = losses(teacher(), made, mask, floor=1e-6)
    padded = (~mask)[:, None, :, None]
    given, dirty = teacher().masked_fill(padded, 1e4), made.masked_fill(padded, float("inf")).requires_grad_()
    torch.testing.assert_close(losses(given, dirty, mask, floor=1e-6), before, atol=1e-17, rtol=1e-12)
    (gradient,) = torch.autograd.grad(sum(losses(given, dirty, mask).values()), dirty)
    assert gradient.isfinite().all() and not gradient[1, :, 9:].any() and gradient[1, :, :9].any()
    longer = [torch.nn.functional.pad(x, (0, 0, 0, 7), value=-3e4) for x in (teacher(), made)]
    more = torch.nn.functional.pad(mask, (0, 7))
    torch.testing.assert_close(losses(*longer, more, floor=1e-6), before, atol=1e-17, rtol=1e-12)


@pytest.mark.parametrize("real", [0, 1, 2])
def test_too_few_frames_give_nothing_and_no_nan(real: int) -> None:
    made = student().requires_grad_()
    found = losses(teacher(), made, torch.arange(FRAMES).expand(2, -1) < real)
    assert float(found["ckd_word_pair"]) == pytest.approx(0, abs=1e-15) and float(found["ckd_word_angle"]) == 0.0
    assert (float(found["ckd_layer_pair"]) > 0) == (float(found["ckd_layer_angle"]) > 0) == (real > 0)
    (gradient,) = torch.autograd.grad(sum(found.values()), made)
    assert gradient.isfinite().all() and gradient.any() == (real > 0)


@pytest.mark.parametrize("layers", [1, 2])
def test_too_few_layers_relate_nothing(layers: int) -> None:
    found = losses(teacher()[:, :layers], student()[:, :layers])
    assert float(found["ckd_layer_pair"]) == pytest.approx(0, abs=1e-15) and float(found["ckd_layer_angle"]) == 0.0


def silent(x: Tensor) -> Tensor:
    x = x.clone()
    x[:, :, 3:9] = x[:, :, 3:4]  # frames at one place
    x[:, 1] = x[:, 0]  # and layers
    return x


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (silent(teacher()), student()),
        (teacher(), silent(student())),
        (silent(teacher()), silent(student())),
        (teacher(), torch.zeros_like(student())),
        (torch.zeros_like(teacher()), student()),
    ],
    ids=["teacher", "student", "both", "student all zero", "teacher all zero"],
)
def test_coincident_frames_keep_the_gradient_finite_and_small(given: Tensor, made: Tensor) -> None:
    typical = student().float().requires_grad_()
    (usual,) = torch.autograd.grad(sum(losses(teacher().float(), typical, floor=1e-6).values()), typical)
    made = made.float().requires_grad_()
    found = losses(given.float(), made, floor=1e-6)
    (gradient,) = torch.autograd.grad(sum(found.values()), made)
    assert all(value.isfinite() and value >= -1e-6 for value in found.values())
    assert gradient.isfinite().all() and gradient.abs().max() < 3000 * usual.abs().max()


def test_triples_without_a_direction_in_the_teacher_do_not_count() -> None:
    given = teacher()
    given[:, :, 4] = given[:, :, 3]
    whole, fewer = (Ckd(CkdConfig(window=2))(x, student(), EVERYTHING)["ckd_word_angle"][1] for x in (teacher(), given))
    # at 3 and at 4 the other of them is no neighbour with a direction: 2 * 3 of the 4 * 3 triples of each are left out
    assert int(whole) - int(fewer) == 2 * LAYERS * 2 * 6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_lower_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    offset = 300.0 if dtype == torch.float32 else 3.0  # what float32 loses without centring
    given, made = ((x + offset).to(dtype) for x in (teacher(), student()))
    found, exact = losses(given, made, floor=1e-6), losses(given.double(), made.double(), floor=1e-6)
    for name, value in found.items():
        # cosines of words far from the origin are all nearly 1: rounding, in the definition itself
        if dtype != torch.float32 or "angle" in name:
            assert float(value) == pytest.approx(float(exact[name]), rel=1e-3, abs=1e-7), name
        assert value.dtype == torch.float32


def test_the_teacher_gets_no_gradient() -> None:
    given = teacher().requires_grad_()
    sum(losses(given, student().requires_grad_()).values()).backward()
    assert given.grad is None


def test_only_terms_with_a_weight_are_computed() -> None:
    objective = Ckd(CkdConfig(weight=2.0, word_pair=3.0, word_angle=0.0, layer_pair=0.0, layer_angle=0.5))
    assert objective.terms == {"ckd_word_pair": 6.0, "ckd_layer_angle": 1.0}
    assert objective(teacher(), student(), EVERYTHING).keys() == objective.terms.keys()


def test_rows_are_divided_by_rows() -> None:
    mask = torch.arange(FRAMES) < torch.tensor([[FRAMES], [9]])
    pairs, rows = (Ckd(CkdConfig(reduction=name))(teacher(), student(), mask) for name in ("pairs", "rows"))
    assert int(rows["ckd_word_pair"][1]) == LAYERS * (14 + 9) and int(rows["ckd_layer_pair"][1]) == LAYERS * (14 + 9)
    assert int(pairs["ckd_word_pair"][1]) == LAYERS * (14 * 13 + 9 * 8)
    assert int(pairs["ckd_layer_pair"][1]) == (14 + 9) * LAYERS * 3
    assert all(torch.equal(rows[name][0], pairs[name][0]) for name in TERMS)


def test_stacks_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in B, L or T"):
        Ckd(CkdConfig())(teacher(), student()[:, :3], EVERYTHING)
