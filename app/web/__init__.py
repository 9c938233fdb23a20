"""HTTP: blueprints that read a request, call a handler, and send its reply. Nothing is decided here."""
