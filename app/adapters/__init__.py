"""One foreign thing each; its exceptions are translated here, once."""
