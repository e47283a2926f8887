"""Everything that knows s3prl, the host: finding it, fitting libraries to it, joining it, its files."""
