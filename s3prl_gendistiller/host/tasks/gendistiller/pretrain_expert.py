"""Pretrain task `gendistiller`: python run_pretrain.py -u gendistiller"""

from __future__ import annotations

from s3prl_gendistiller.host.pretrain_expert import PretrainExpert


class UpstreamPretrainExpert(PretrainExpert):
    task_name = "gendistiller"
