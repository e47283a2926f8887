"""Small speech corpora in the official on-disk layouts, spoken by a synthesiser."""
