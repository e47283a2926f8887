"""Readers of the file formats that corpora and s3prl's runs consist of: one reader for each format."""
