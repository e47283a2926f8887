"""The leaderboard's score and its published rows."""
