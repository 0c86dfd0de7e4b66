"""The API described in OpenAPI 3.1, from the types that are served; a test compares it with the routes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeAlias

import msgspec

from miner.ledger.rows import BlockRow, DecisionRow, OutcomeRow, PoolShareRow, ShareRow
from miner.web.bodies import JSON_TYPE, LONGEST_TEXT
from miner.web.commands import OverrideState, SignalState
from miner.web.problems import CONTENT_TYPE, Problem
from miner.web.queries import DEFAULT_LIMIT, MAX_LIMIT
from miner.web.status import PoolStatus, StatusDocument, UnitPage, UnitStatus

Schema: TypeAlias = dict[str, Any]

TYPES: Final = (
    *(StatusDocument, UnitPage, UnitStatus, PoolStatus, Problem, SignalState, OverrideState),
    *(BlockRow, DecisionRow, OutcomeRow, PoolShareRow, ShareRow),
)
REFERENCE: Final = "#/components/schemas/{name}"

_TEXT: Final[Schema] = {"type": "string", "maxLength": LONGEST_TEXT}
_UNTIL: Final[Schema] = {
    "description": "When it ends: UTC unix seconds or ISO 8601 with its offset; null: when it is ended by hand.",
    "type": ["number", "string", "null"],
}
_MINUTES: Final[Schema] = {
    "description": "Instead of until: so long after the start.",
    "type": "number",
    "exclusiveMinimum": 0,
}
SIGNAL_BODY: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "start": {
            "description": "When it begins, as until; absent or past: now.",
            "type": ["number", "string"],
        },
        "until": _UNTIL,
        "minutes": _MINUTES,
        "cap_kw": {
            "description": "For a cap: what it leaves the site; absent: as configured.",
            "type": "number",
            "minimum": 0,
        },
        "who": {"description": "Who sends it.", **_TEXT},
    },
    "oneOf": [{"required": ["until"]}, {"required": ["minutes"]}],
}
OVERRIDE_BODY: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "mode": {"description": "A mode of the unit.", **_TEXT},
        "until": _UNTIL,
        "minutes": _MINUTES,
        "who": {"description": "Who wants it.", **_TEXT},
        "why": {"description": "Why.", **_TEXT},
    },
    "required": ["mode", "who"],
    "oneOf": [{"required": ["until"]}, {"required": ["minutes"]}],
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path: what it does, what it takes, and what it answers when all is well.

    `answer` is a schema, of JSON unless `content` says otherwise, None for an answer without a body. `changes`: it needs the token.
    """

    method: str
    path: str
    summary: str
    answer: Schema | None
    content: str = JSON_TYPE
    parameters: tuple[Schema, ...] = ()
    body: Schema | None = None
    changes: bool = False
    problems: tuple[int, ...] = ()


def _ref(kind: type) -> Schema:
    return {"$ref": REFERENCE.format(name=kind.__name__)}


def _list_of(key: str, kind: type, *, also: Schema | None = None) -> Schema:
    item = _ref(kind) if also is None else {"allOf": [_ref(kind), {"type": "object", "properties": also}]}
    return {"type": "object", "properties": {key: {"type": "array", "items": item}}, "required": [key]}


def _query(name: str, description: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _path(name: str, description: str) -> Schema:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string"},
    }


_LIMIT: Final = _query(
    "limit",
    "How many at most.",
    {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
)
_SINCE: Final = _query("since", "Only from then on, UTC unix seconds.", {"type": "number", "minimum": 0})
_UNIT: Final = _query("unit", "Only of this unit, by its id.", {"type": "string"})
_POOL: Final = _query("pool", "Only of this pool, by its name.", {"type": "string"})
_AFTER: Final = _query("after", "Only units whose ids come after this one.", {"type": "string"})
_WHO: Final = _query("who", "Who ends it, for the record.", _TEXT)
_ID: Final = _path("id", "The unit's id; it may hold slashes.")
_NAME: Final = _path("name", "The signal's name, as configured.")
_STRING: Final[Schema] = {"type": "string"}
_REPORT: Final[Schema] = {
    "type": "object",
    "description": "Plain data, the unit in each key, times in UTC unix seconds; what the command of this name prints with --json.",
}
_PLAIN: Final = "text/plain"

OPERATIONS: Final = (
    Operation("get", "/", "A page with the status, for people.", _STRING, "text/html"),
    Operation("get", "/metrics", "Metrics, in the formats of Prometheus and OpenMetrics.", _STRING, _PLAIN),
    Operation("get", "/healthz", "Whether the process runs.", _STRING, _PLAIN),
    Operation("get", "/readyz", "Whether work is being served.", _STRING, _PLAIN, problems=(503,)),
    Operation("get", "/api/v1/openapi.json", "This description.", {"type": "object"}),
    Operation("get", "/api/v1/status", "The daemon at a glance.", _ref(StatusDocument)),
    Operation(
        "get",
        "/api/v1/hashprice",
        "Hashprice now and after the projected retarget, with its inputs.",
        _REPORT,
        problems=(404, 503),
    ),
    Operation(
        "get",
        "/api/v1/plan",
        "What every unit does now and over the horizon, why, and what would change it.",
        _REPORT,
        problems=(404, 503),
    ),
    Operation(
        "get",
        "/api/v1/fleet",
        "Merit order, breakevens, survival and cash of every unit with modes.",
        _REPORT,
        problems=(404, 503),
    ),
    Operation(
        "get",
        "/api/v1/events",
        "What happens, as it happens: server-sent events tick, decision, outcome, alert and block.",
        _STRING,
        "text/event-stream",
        problems=(503,),
    ),
    Operation(
        "get", "/api/v1/units", "Units, by id.", _ref(UnitPage), parameters=(_LIMIT, _AFTER), problems=(400,)
    ),
    Operation("get", "/api/v1/units/{id}", "One unit.", _ref(UnitStatus), parameters=(_ID,), problems=(404,)),
    Operation(
        "get",
        "/api/v1/decisions",
        "Decisions of the controller, the newest first, with what became of them.",
        _list_of("decisions", DecisionRow, also={"outcomes": {"type": "array", "items": _ref(OutcomeRow)}}),
        parameters=(_LIMIT, _SINCE, _UNIT),
        problems=(400,),
    ),
    Operation(
        "get",
        "/api/v1/blocks",
        "Blocks found, the newest first.",
        _list_of("blocks", BlockRow),
        parameters=(_LIMIT, _SINCE),
        problems=(400,),
    ),
    Operation(
        "get",
        "/api/v1/shares",
        "Accepted shares, the newest first.",
        _list_of("shares", ShareRow),
        parameters=(_LIMIT, _SINCE, _UNIT),
        problems=(400,),
    ),
    Operation("get", "/api/v1/pools", "Pools and where each stands.", _list_of("pools", PoolStatus)),
    Operation(
        "get",
        "/api/v1/pools/shares",
        "Shares handed to pools, the newest first, with the pools' word.",
        _list_of("shares", PoolShareRow),
        parameters=(_LIMIT, _SINCE, _POOL),
        problems=(400,),
    ),
    Operation(
        "get",
        "/api/v1/signals",
        "Signals, and when they hold from now on.",
        _list_of("signals", SignalState),
    ),
    Operation(
        "post",
        "/api/v1/signals/{name}",
        "Announce a signal; what it overlaps of what was posted of it before gives way.",
        _ref(SignalState),
        parameters=(_NAME,),
        body=SIGNAL_BODY,
        changes=True,
        problems=(400, 404, 413, 415, 503),
    ),
    Operation(
        "delete",
        "/api/v1/signals/{name}",
        "End what was posted of a signal; what its other sources say stays.",
        _ref(SignalState),
        parameters=(_NAME, _WHO),
        changes=True,
        problems=(404, 503),
    ),
    Operation(
        "get",
        "/api/v1/overrides",
        "Overrides in force, by unit.",
        _list_of("overrides", OverrideState),
    ),
    Operation(
        "post",
        "/api/v1/units/{id}/override",
        "Put a unit into a mode until a time, whatever it earns; signals and limits of safety go before.",
        _ref(OverrideState),
        parameters=(_ID,),
        body=OVERRIDE_BODY,
        changes=True,
        problems=(400, 404, 413, 415, 503),
    ),
    Operation(
        "delete",
        "/api/v1/units/{id}/override",
        "Take an override back.",
        None,
        parameters=(_ID, _WHO),
        changes=True,
        problems=(404, 503),
    ),
)

_PROBLEMS: Final = {
    400: "What was sent is not understood; errors names each field.",
    401: "The token is missing or wrong.",
    403: "Nothing can be changed over HTTP: no token is configured.",
    404: "There is none of that name.",
    413: "The body is too large.",
    415: "The body is not said to be JSON.",
    421: "This server is not known by the name it was asked under.",
    500: "A fault of the daemon; its log says which.",
    503: "Not now; detail says why.",
}


@cache
def openapi() -> Schema:
    """The whole document."""
    paths: dict[str, Schema] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Hashmill",
            "version": "1",
            "description": "Times are UTC unix seconds, hashes hex in display order; null is not known.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(TYPES),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The first line of the file [http] token_file.",
                }
            },
        },
    }


def _described(operation: Operation) -> Schema:
    answer: Schema = {"description": "It went well."}
    if operation.answer is not None:
        answer["content"] = {operation.content: {"schema": operation.answer}}
    codes = {*operation.problems, 421, 500} | ({401, 403} if operation.changes else set())
    told = {CONTENT_TYPE: {"schema": _ref(Problem)}}
    described: Schema = {
        "summary": operation.summary,
        "responses": {
            "204" if operation.answer is None else "200": answer,
            **{str(code): {"description": _PROBLEMS[code], "content": told} for code in sorted(codes)},
        },
    }
    if operation.parameters:
        described["parameters"] = list(operation.parameters)
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": {JSON_TYPE: {"schema": operation.body}}}
    if operation.changes:
        described["security"] = [{"token": []}]
    return described


def _schemas(kinds: Sequence[type]) -> Schema:
    """The types' schemas by name, as they are served."""
    _, schemas = msgspec.json.schema_components(kinds, ref_template=REFERENCE)
    # Blocks are told without their bytes, shares to pools by their unit's id.
    _drop(schemas["BlockRow"], "raw")
    _drop(schemas["PoolShareRow"], "unit_name")
    schemas["PoolShareRow"]["properties"]["unit"] = {"type": "string"}
    return schemas


def _drop(schema: Schema, name: str) -> None:
    del schema["properties"][name]
    if name in schema.get("required", ()):
        schema["required"].remove(name)
