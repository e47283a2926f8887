"""The vocabulary of units: what is kept, where the rest goes, and the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from s3prl_gendistiller.distill.units import KmeansUnits, UnitHead, Units, choose_kept, nearest_kept
from s3prl_gendistiller.errors import UserError

COUNTS = torch.tensor([5, 9, 0, 5, 7, 1])


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def units(kind: str = "head", keep: int = 3) -> Units:
    torch.manual_seed(0)
    predict = UnitHead(8, 6, 4) if kind == "head" else KmeansUnits(randn(6, 8), 2.5)
    embeddings = predict.label_embs_concat if isinstance(predict, UnitHead) else predict.centroids
    kept = choose_kept(COUNTS, keep)
    facts = {"teacher": "mine", "fingerprint": "abc"}
    return Units(predict, 2, COUNTS, kept, nearest_kept(embeddings.detach(), kept, "cosine"), facts)


def test_frequent_units_are_kept_and_smaller_ids_first_where_equal() -> None:
    assert choose_kept(COUNTS, 4).tolist() == [1, 4, 0, 3]
    assert choose_kept(COUNTS, 3, forced=[2]).tolist() == [2, 1, 4]
    assert choose_kept(COUNTS, 6).tolist() == [1, 4, 0, 3, 5, 2]
    assert int(COUNTS[choose_kept(COUNTS, 3)].min()) >= 5


@pytest.mark.parametrize(
    ("keep", "forced", "message"),
    [
        (0, [], r"kept units: found 0, expected 1\.\.6"),
        (7, [], r"kept units: found 7, expected 1\.\.6"),
        (1, [2, 3], r"kept units: found 1, expected 2\.\.6"),
        (3, [6], r"forced units: found 6, expected some of 0\.\.5"),
    ],
)
def test_a_vocabulary_that_cannot_be_is_refused(keep: int, forced: list[int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        choose_kept(COUNTS, keep, forced)


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
def test_every_unit_has_a_kept_one_that_is_most_like_it(similarity: str) -> None:
    embeddings, kept = randn(20, 5), torch.tensor([7, 3, 11, 0])
    nearest = nearest_kept(embeddings, kept, similarity)
    assert nearest[kept].tolist() == [0, 1, 2, 3] and set(nearest.tolist()) == {0, 1, 2, 3}
    for unit in set(range(20)) - set(kept.tolist()):
        if similarity == "cosine":
            likeness = [float(functional.cosine_similarity(embeddings[unit], embeddings[k], dim=0)) for k in kept]
        else:
            likeness = [-float((embeddings[unit] - embeddings[k]).norm()) for k in kept]
        assert likeness[nearest[unit]] == pytest.approx(max(likeness))
    counts = torch.arange(20)
    new = torch.zeros(4, dtype=torch.long).index_add_(0, nearest, counts)
    assert new.sum() == counts.sum()


def test_a_kept_unit_stays_itself_even_beside_its_twin() -> None:
    embeddings = randn(4, 3)
    embeddings[2] = embeddings[1]
    assert nearest_kept(embeddings, torch.tensor([2, 1]), "cosine")[[2, 1]].tolist() == [0, 1]


def test_kmeans_logits_are_distances_over_their_mean() -> None:
    predict, x = KmeansUnits(randn(6, 8), 2.5), randn(3, 8, seed=1)
    expected = -torch.cdist(x, predict.centroids).square() / (0.1 * 2.5)
    torch.testing.assert_close(predict(x).log_softmax(-1), expected.log_softmax(-1), atol=1e-4, rtol=1e-4)
    assert torch.equal(predict(x).argmax(-1), torch.cdist(x, predict.centroids).argmin(-1))


@pytest.mark.parametrize("kind", ["head", "kmeans"])
def test_a_file_brings_everything_back(kind: str, tmp_path: Path) -> None:
    made, x = units(kind), randn(5, 8, seed=2)
    made.save(tmp_path / "u.safetensors")
    found = Units.load(tmp_path / "u.safetensors")
    assert torch.equal(found.predict(x), made.predict(x)) and type(found.predict) is type(made.predict)
    assert all(torch.equal(getattr(found, name), getattr(made, name)) for name in ("counts", "kept", "nearest"))
    assert (found.layer, found.facts) == (2, made.facts)
    assert not any(parameter.requires_grad for parameter in found.predict.parameters())


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none: no such file, expected the units of a teacher; make it with"):
        Units.load(tmp_path / "none")
    (tmp_path / "text").write_text("no units")
    with pytest.raises(UserError, match="text: not readable as units"):
        Units.load(tmp_path / "text")
    broken = units("kmeans")
    with torch.no_grad():
        broken.predict.centroids[0, 0] = float("nan")
    broken.save(tmp_path / "nan")
    with pytest.raises(UserError, match="not finite in predict.centroids"):
        Units.load(tmp_path / "nan")


def test_units_of_another_teacher_are_refused() -> None:
    made = units()
    made.check_teacher("mine", "abc", width=8, num_layers=2)
    with pytest.raises(UserError, match="found those of teacher mine, whose weights are not those of yours"):
        made.check_teacher("yours", "abd", width=8, num_layers=2)
    for width, layers in ((9, 2), (8, 1)):
        with pytest.raises(UserError, match=f"units of layer 2, 8 wide; teacher mine has {layers} layers of {width}"):
            made.check_teacher("mine", "abc", width=width, num_layers=layers)


def rewritten(path: Path, tensors: dict[str, object], metadata: dict[str, str]) -> Path:
    """The file with some of its parts replaced; None takes one out."""
    with safe_open(path, "pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()} | tensors  # noqa: SIM118 (no mapping)
        facts = {**file.metadata(), **metadata}
    save_file({name: value for name, value in stored.items() if value is not None}, path, facts)
    return path


BROKEN: list[tuple[dict[str, object], dict[str, str], str]] = [
    ({}, {"number": "0.0"}, "the number 0.0, expected a temperature or a distance above 0"),
    ({}, {"number": "-0.1"}, "the number -0.1"),
    ({}, {"number": "nan"}, "not finite in number"),
    ({}, {"number": "ten"}, "not readable as units"),
    ({}, {"kind": "other"}, "not readable as units"),
    ({}, {"layer": "-1"}, "layer -1 and facts of dict"),
    ({}, {"facts": "[1]"}, "facts of list, expected .* a mapping"),
    ({}, {"facts": "{"}, "not readable as units"),
    ({"counts": None}, {}, "not readable as units"),
    ({"counts": torch.tensor([3, -1, 2, 5])}, {}, "counts below 0, or of no frame at all"),
    ({"counts": torch.zeros(4, dtype=torch.long)}, {}, "counts below 0, or of no frame at all"),
    ({"counts": torch.ones(4)}, {}, "counts of torch.float32 .* expected a row of int64"),
    ({"counts": torch.ones(4, 1, dtype=torch.long)}, {}, r"counts of torch.int64 and shape \(4, 1\)"),
    ({"kept": torch.tensor([0, 0])}, {}, "a unit that is kept twice"),
    ({"kept": torch.tensor([-1, 0])}, {}, "kept units that are not among the 4"),
    ({"kept": torch.tensor([0.0, float("nan")])}, {}, "not finite in kept"),
    ({"predict.centroids": torch.ones(4)}, {}, "not readable as units .*expected a matrix of floats"),
    ({"predict.centroids": torch.ones(4, 8, dtype=torch.long)}, {}, "expected a matrix of floats"),
    ({"predict.other": torch.ones(1)}, {}, "found predict.other, expected"),
]


@pytest.mark.parametrize(("tensors", "metadata", "message"), BROKEN, ids=range(len(BROKEN)))
def test_a_file_with_numbers_that_cannot_be_is_refused(
    tensors: dict[str, object], metadata: dict[str, str], message: str, tmp_path: Path
) -> None:
    counts, kept = torch.tensor([9, 1, 5, 2]), torch.tensor([0, 2])
    source = KmeansUnits(randn(4, 8), 0.5)
    path = tmp_path / "u.safetensors"
    Units(source, 2, counts, kept, nearest_kept(source.embeddings.detach(), kept, "euclidean"), {"a": 1}).save(path)
    Units.load(path)
    with pytest.raises(UserError, match=f"u.safetensors: .*{message}.*; make it with `gendistiller units`"):
        Units.load(rewritten(path, tensors, metadata))
