"""`make replay`: plays prompts and answers of JSONL files through a running service, as its callers would.

A client of the HTTP contract and of nothing else: it imports no other part of the application. It prints no
prompt, no answer and no other value of a row: only line numbers, counts, and names of fields and detectors.
"""
