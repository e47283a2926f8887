"""Stand-ins for names that s3prl uses; `compat` and `mount` install them, importing changes nothing."""
