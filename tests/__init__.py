"""Tests: unit (no process), contract (a running service), faults (one whose neighbours fail)."""
