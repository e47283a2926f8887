"""Where a teacher's own unit head is found."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from s3prl_gendistiller.config import TeacherConfig
from s3prl_gendistiller.distill.teacher import Teacher
from s3prl_gendistiller.host.teacher_units import teacher_head

UPSTREAM = TeacherConfig(upstream="hubert")


class Converted(nn.Module):
    """What s3prl makes of a HuBERT checkpoint, as far as its head goes."""

    def __init__(self, head: bool = True, gated: bool = False) -> None:
        super().__init__()
        self.model = nn.Module()
        self.model.encoder = nn.Linear(8, 8)
        if head:
            self.model.final_proj = nn.Linear(8, 5)
            self.model.label_embs_concat = nn.Parameter(torch.randn(11, 5))
        if gated:
            self.model.target_glu = nn.Sequential(nn.Linear(5, 10), nn.GLU())


def teacher(**parts: bool) -> Teacher:
    torch.manual_seed(0)
    return Teacher(
        "converted",
        Converted(**parts),
        lambda encoder, wavs, lengths, highest: [],
        num_layers=2,
        width=8,
        model_type="hubert",
        naming="fairseq",
        prefix="model.",
    )


def expected(model: nn.Module, states: Tensor, embeddings: Tensor) -> Tensor:
    frames = model.final_proj(states)
    return functional.cosine_similarity(frames[:, None], embeddings[None], dim=-1) / 0.1


def test_s3prls_hubert_brings_its_head() -> None:
    found, states = teacher(), torch.randn(4, 8)
    head = teacher_head(found, UPSTREAM)
    model = found.encoder.model
    torch.testing.assert_close(head(states), expected(model, states, model.label_embs_concat), atol=1e-5, rtol=1e-5)


def test_gated_embeddings_are_gated_once() -> None:
    found, states = teacher(gated=True), torch.randn(4, 8)
    model = found.encoder.model
    gated = model.target_glu(model.label_embs_concat)
    torch.testing.assert_close(
        teacher_head(found, UPSTREAM)(states), expected(model, states, gated), atol=1e-5, rtol=1e-5
    )


def test_a_teacher_without_one_has_none() -> None:
    assert teacher_head(teacher(head=False), UPSTREAM) is None
