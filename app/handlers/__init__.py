"""What each call does: a function from (bytes, caller) to a Reply. No Flask here; app.web only calls these."""
