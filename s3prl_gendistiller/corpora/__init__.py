"""Small corpora of synthetic speech in the layouts of the official ones."""
