"""The board: one page that shows results beside published rows, and asks the network for nothing."""
