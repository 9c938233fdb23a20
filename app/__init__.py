"""Telemetry Cache: logs, caches and measures for every service of an LLM suite.

Nothing is imported here, so that `app.core` can be imported without Flask.
"""
