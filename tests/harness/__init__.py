"""What starts and ends real processes for tests; no test rules and no assertions here."""
