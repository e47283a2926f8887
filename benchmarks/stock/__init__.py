"""s3prl's own models with random weights, to measure against."""
