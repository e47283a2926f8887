"""The room that imports s3prl, the host: finding it, supplying its libraries, joining it, reading its files."""
