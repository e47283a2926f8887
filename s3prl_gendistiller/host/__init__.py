"""The only room that imports s3prl, "the host": its place and version, compatible libraries, tasks, upstreams, files."""
