"""The benchmark: wrk against the running service, beside a floor measured in the same run (`python -m tests.bench`).

The floor is what gunicorn and gevent cost by themselves: the stock worker class, a bare WSGI callable, the same
request, an answer of as many bytes. That worker stays with one connection for as long as its client is quick to send
the next request, which is why the floor's p50 and p99 lie so far apart.

Beside the rows there is delivery (`--only delivery`): `/log` with and without fdatasync, `/log` while Loki is away, the
spool by itself, recovery of a backlog. Every row says what was accepted and what arrived.

Redaction is measured by itself as well (`--only redact,worst`): in this process, beside Presidio in one of its own.

Nothing here is a test, and no test may depend on a time.
"""
