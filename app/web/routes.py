"""Which call a path is: Flask's routing, asked once for each path that has one."""

from typing import Any, Final

from flask import Request
from werkzeug.routing import Map, MapAdapter, Rule

Known = dict[tuple[str, str], Rule]
"""The rule by method and path: of each rule without variable parts, for its own path; callers cannot add to them."""

_ASKED: Final = {"return_rule": True}
"""How Flask asks where a request goes."""


class Routes(MapAdapter):
    """Where a request goes. No rule of ours asks for a host, so none is worked out (`Map.bind` encodes it)."""

    def __init__(self, url_map: Map, request: Request, known: Known) -> None:
        """`known` is shared by all requests and filled by them."""
        environ = request.environ
        super().__init__(
            url_map,
            server_name=environ.get("HTTP_HOST") or "localhost",
            script_name=environ["SCRIPT_NAME"],
            subdomain="",
            url_scheme=environ["wsgi.url_scheme"],
            path_info=request.path,
            default_method=request.method,
            query_args=environ["QUERY_STRING"],
        )
        self._known = known

    def match(self, *args: Any, **kwargs: Any) -> Any:
        """As werkzeug's."""
        if args or kwargs != _ASKED:
            return super().match(*args, **kwargs)
        asked = self.default_method, self.path_info
        rule = self._known.get(asked)
        if rule is not None:
            return rule, {}
        rule, values = super().match(return_rule=True)
        if not values:
            self._known[asked] = rule
        return rule, values
