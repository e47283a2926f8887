"""For a git checkout of s3prl: the upstream under the name that its guide asks for."""

from s3prl_gendistiller.host.upstream_expert import UpstreamExpert

__all__ = ["UpstreamExpert"]
