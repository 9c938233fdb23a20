"""Tests of one module each, without a running service."""
