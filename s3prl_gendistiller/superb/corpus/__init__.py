"""The corpora of SUPERB's tasks: sizes, checks, and the lists that s3prl needs."""
