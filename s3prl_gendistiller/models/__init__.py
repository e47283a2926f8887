"""The student's network in plain torch: front end, attention, encoder layer, GenDistiller.

Legend of all shapes: B batch, S samples at 16 kHz, C channels, T frames of 20 ms, N generated layers, D width.
Masks are (B, T) bool with True for a real frame.
"""
