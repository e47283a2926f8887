"""The score of the leaderboard, and its published rows."""
