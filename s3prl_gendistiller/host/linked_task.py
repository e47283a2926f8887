"""A pretraining task in a linked checkout of s3prl: ``pretrain/NAME/pretrain_expert.py`` is a link to this file."""

from __future__ import annotations

from s3prl_gendistiller.host.pretrain_expert import task_expert

UpstreamPretrainExpert = task_expert(__name__.split(".")[-2])  # s3prl imports pretrain.NAME.pretrain_expert
