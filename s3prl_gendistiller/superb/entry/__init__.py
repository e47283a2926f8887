"""An entry of the leaderboard: predictions, their expected ids, the archive."""
