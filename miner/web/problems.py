"""Every error of the HTTP side, as a problem document (RFC 9457)."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp import web

log = logging.getLogger(__name__)

CONTENT_TYPE: Final = "application/problem+json"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FieldProblem(msgspec.Struct, frozen=True):
    """What is wrong with one parameter."""

    parameter: str
    detail: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A problem document; its type is `about:blank`, so its title is the status code's."""

    title: str
    status: int
    detail: str = ""
    instance: str = ""
    errors: tuple[FieldProblem, ...] = ()


class BadQueryError(Exception):
    """A query parameter is unknown or has a value that is not understood; all of them at once."""

    def __init__(self, errors: Sequence[FieldProblem]) -> None:
        super().__init__("; ".join(f"{error.parameter}: {error.detail}" for error in errors))
        self.errors = tuple(errors)


def problem(
    status: int,
    detail: str = "",
    *,
    instance: str = "",
    errors: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """A response with a problem document about `instance`, the path asked for."""
    document = Problem(
        title=HTTPStatus(status).phrase, status=status, detail=detail, instance=instance, errors=tuple(errors)
    )
    return web.Response(
        body=msgspec.json.encode(document), status=status, content_type=CONTENT_TYPE, headers=headers
    )


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer errors with problem documents; what went wrong inside is logged and not told."""
    try:
        return await handler(request)
    except BadQueryError as error:
        return problem(
            HTTPStatus.BAD_REQUEST, "query not understood", instance=request.path, errors=error.errors
        )
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        return problem(
            error.status, f"allowed here: {allowed}", instance=request.path, headers={"Allow": allowed}
        )
    except web.HTTPError as error:
        detail = "nothing is here" if error.status == HTTPStatus.NOT_FOUND else error.text or ""
        return problem(error.status, detail, instance=request.path)
    except web.HTTPException:
        raise  # an answer that is no error, such as a redirect
    except Exception:
        log.exception("request_failed", extra={"method": request.method, "path": request.path})
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "it is in the daemon's log", instance=request.path)
