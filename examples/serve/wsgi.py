"""A network behind a server of WSGI, with the standard library alone: `gunicorn --pythonpath examples/serve wsgi`.

`python examples/serve/wsgi.py` serves on port 8000 of this machine, for a try.
"""

import json
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any
from wsgiref.simple_server import make_server

from prediction import LOWER_CASE, MODEL, MOST_BYTES, Predictor, RefusedError

import rnn_backends as rb

predictor = Predictor(rb.load(MODEL), lower_case=LOWER_CASE)  # once a process
METHODS = {"/predict": ("POST",), "/health": ("GET", "HEAD")}


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer a request; an error that is not the client's is left to the server, which answers 500 and logs it."""
    path = environ.get("PATH_INFO", "")
    try:
        status, answer = HTTPStatus.OK, respond(path, environ)
    except RefusedError as refused:
        status, answer = refused.status, {"detail": str(refused)}
    body = json.dumps(answer, allow_nan=False).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append(("Allow", ", ".join(METHODS[path])))
    start_response(f"{status.value} {status.phrase}", headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def respond(path: str, environ: dict[str, Any]) -> Any:
    """Return the answer to a request, to be written in JSON."""
    if path not in METHODS:
        raise RefusedError(HTTPStatus.NOT_FOUND, f"the paths are {', '.join(METHODS)}.")
    if environ["REQUEST_METHOD"] not in METHODS[path]:
        raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, f"{path} takes {' and '.join(METHODS[path])}.")
    return {"status": "ok"} if path == "/health" else predictor.answer(read(environ))


def read(environ: dict[str, Any]) -> bytes:
    """Return the body of a request, if it is no larger than it may be."""
    given = environ.get("CONTENT_LENGTH", "")
    if not (given.isascii() and given.isdigit()):
        raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "the request must state its Content-Length.")
    if len(given) > 20 or int(given) > MOST_BYTES:
        msg = f"a request has at most {MOST_BYTES} bytes; this one has {given[:20]}."
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, msg)
    body: bytes = environ["wsgi.input"].read(int(given))
    return body


if __name__ == "__main__":
    with make_server("127.0.0.1", 8000, application) as server:
        print("""serving; try: curl --json '["Nakamura", "Rossi"]' http://127.0.0.1:8000/predict""")
        server.serve_forever()
