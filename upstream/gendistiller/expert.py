"""Upstream for a git checkout of s3prl, under the module name that s3prl's guide to new upstreams requires."""

from s3prl_gendistiller.host.upstream_expert import UpstreamExpert

__all__ = ["UpstreamExpert"]
