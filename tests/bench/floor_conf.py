"""gunicorn's settings for the floor: the service's own, read from its file, with the stock worker class and logger.

Run in the repository's folder with the service's environment variables.
"""

import runpy

_SHARED = (
    *("bind", "workers", "keepalive", "timeout", "graceful_timeout", "backlog", "worker_connections"),
    *("limit_request_line", "limit_request_fields", "limit_request_field_size", "forwarder_headers"),
    *("control_socket_disable",),
)
_service = runpy.run_path("gunicorn.conf.py")

globals().update({name: _service[name] for name in _SHARED if name in _service})
worker_class = "gevent"
loglevel = "warning"
accesslog = None
