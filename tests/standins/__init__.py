"""Stand-ins for the servers that the service talks to; no test rules and no assertions here."""
