"""`make redact`: what POST /redact does, for a file or a pipe: lines in, redacted lines out, in constant memory.

It shares the rules and the engine with the service and nothing else: it imports core, the reading of config/, and
the errors. It shows no value of a line: only line numbers, counts, redacted names, and names of detectors.
"""
