"""The HTTP contract, asked of the running service: what a caller sees, and nothing of how it is made."""
