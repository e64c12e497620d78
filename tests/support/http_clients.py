"""Clients of the programs of examples/serve, in one process with them."""

import asyncio
import importlib
import io
import json
from collections.abc import AsyncIterable, Callable
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


class SendParts(Protocol):
    def __call__(
        self, body: bytes | AsyncIterable[bytes] | None, method: str = "POST", path: str = "/predict"
    ) -> Answer: ...


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
    assert method == "HEAD" or dict(headers)["Content-Length"] == str(len(content))
    return Answer(int(status[:3]), strict(content) if content else None, dict(headers))


def strict(content: bytes) -> Any:
    """Return JSON that was read without the extensions of Python, NaN and Infinity."""

    def refuse(word: str) -> None:
        msg = f"{word} is no JSON"
        raise AssertionError(msg)

    return json.loads(content, parse_constant=refuse)


def by_fastapi() -> SendParts:
    """Return a client of the FastAPI application, which raises what the application raises."""
    pytest.importorskip("fastapi")
    httpx = pytest.importorskip("httpx")
    transport = httpx.ASGITransport(importlib.import_module("fastapi_app").app)

    async def ask(body: bytes | AsyncIterable[bytes] | None, method: str, path: str) -> Answer:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            response = await client.request(method, path, content=body)
        content = strict(response.content) if method != "HEAD" else None  # a server sends none
        return Answer(response.status_code, content, dict(response.headers))

    def send(body: bytes | AsyncIterable[bytes] | None, method: str = "POST", path: str = "/predict") -> Answer:
        return asyncio.run(ask(body, method, path))

    return send


def unvalidated(changes: dict[str, str]) -> Answer:
    environ: dict[str, Any] = {"REQUEST_METHOD": "POST", "PATH_INFO": "/predict", "wsgi.input": io.BytesIO(b"[]")}
    begun: list[Any] = []
    parts = wsgi.application(environ | changes, lambda status, headers: begun.extend((status, headers)))
    return Answer(int(begun[0][:3]), strict(b"".join(parts)), dict(begun[1]))
