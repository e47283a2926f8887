"""Students in use: features of recordings, of long recordings in parts, and of streams."""
