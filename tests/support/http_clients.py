"""Clients of the programs of examples/serve, in one process with them."""

import importlib
import io
import json
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
import wsgi


class Answer(NamedTuple):
    status: int
    content: Any
    headers: dict[str, str]


class Send(Protocol):
    def __call__(self, body: bytes | None, method: str = "POST", path: str = "/predict") -> Answer: ...


def by_wsgi(body: bytes | None, method: str = "POST", path: str = "/predict", **changes: str) -> Answer:
    """Send a request to the WSGI application, while `wsgiref.validate` looks at both sides."""
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": "", "SCRIPT_NAME": ""}
    if body is not None:
        environ |= {"CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
    setup_testing_defaults(environ)
    environ |= changes
    begun: list[Any] = []

    def start(status: str, headers: list[tuple[str, str]], _: Any = None) -> Callable[[bytes], object]:
        begun.extend((status, headers))
        return begun.append

    parts: Any = validator(wsgi.application)(environ, start)
    content = b"".join(parts)
    parts.close()
    status, headers = begun
    assert dict(headers)["Content-Length"] == str(len(content))
    return Answer(int(status[:3]), strict(content), dict(headers))


def strict(content: bytes) -> Any:
    """Return JSON that was read without the extensions of Python, NaN and Infinity."""

    def refuse(word: str) -> None:
        msg = f"{word} is no JSON"
        raise AssertionError(msg)

    return json.loads(content, parse_constant=refuse)


def by_fastapi() -> Send:
    pytest.importorskip("fastapi")
    client = pytest.importorskip("fastapi.testclient").TestClient(importlib.import_module("fastapi_app").app)

    def send(body: bytes | None, method: str = "POST", path: str = "/predict") -> Answer:
        response = client.request(method, path, content=body)
        return Answer(response.status_code, strict(response.content), dict(response.headers))

    return send


def unvalidated(changes: dict[str, str]) -> Answer:
    environ: dict[str, Any] = {"REQUEST_METHOD": "POST", "PATH_INFO": "/predict", "wsgi.input": io.BytesIO(b"[]")}
    begun: list[Any] = []
    parts = wsgi.application(environ | changes, lambda status, headers: begun.extend((status, headers)))
    return Answer(int(begun[0][:3]), strict(b"".join(parts)), dict(begun[1]))
