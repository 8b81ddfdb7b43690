"""Training by several processes, each of which takes rows of every batch."""
