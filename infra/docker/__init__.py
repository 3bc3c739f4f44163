"""The compose stack: its image, its first job and its test."""
