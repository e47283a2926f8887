"""Pretraining of a small HuBERT (arXiv 2106.07447) by masked prediction of units, for small teachers."""
