"""The room that imports s3prl, the host. It finds s3prl, supplies names, adds our tasks and reads s3prl's files."""
