"""Which names a browser may call this server by: a page of another site cannot make its own name lead here (DNS rebinding)."""

import ipaddress
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from miner.web.problems import Handler, problem

LOCAL: Final = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})
PORT: Final = re.compile(r"(:[0-9]*)?")
ZONE: Final = re.compile(r"[a-z0-9]+")
"""Of a link-local address the interface, as browsers and the system write it; small letters, as the whole header is."""


def host_of(header: str) -> str:
    """The host of a Host header, without its port, its brackets and a dot at its end; in small letters.

    What follows the brackets and is no port makes a name of it that nobody has.
    """
    host = header.strip().lower()
    if host.startswith("["):
        address, _, rest = host[1:].partition("]")
        return address if PORT.fullmatch(rest) else host
    return host.rpartition(":")[0].removesuffix(".") if host.count(":") == 1 else host.removesuffix(".")


def is_allowed(header: str | None, allowed: frozenset[str]) -> bool:
    """Whether this Host header is one of ours: an address, a name of this machine for itself, or one that is allowed.

    A browser that was led here by a foreign name sends that name. Who sends none, or an address, was led by nobody.
    """
    if header is None:
        return True
    host = host_of(header)
    if host in LOCAL or host.endswith(".localhost") or host in allowed:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    zone = address.scope_id if isinstance(address, ipaddress.IPv6Address) else None
    return zone is None or (address.is_link_local and ZONE.fullmatch(zone) is not None)


def only_hosts(names: Iterable[str]) -> Middleware:
    """Refuses requests made under a foreign name; `names` are allowed besides addresses and localhost."""
    allowed = frozenset(host_of(name) for name in names)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if is_allowed(request.headers.get("Host"), allowed):
            return await handler(request)
        return problem(
            HTTPStatus.MISDIRECTED_REQUEST,
            "this server is not known by the name it was asked under; if it should be, add the name to [http] allowed_hosts",
            instance=request.path,
        )

    return check
