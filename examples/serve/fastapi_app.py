"""A network behind FastAPI: `uvicorn --app-dir examples/serve fastapi_app:app`."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from prediction import LOWER_CASE, MODEL, MOST_BYTES, Predictor, RefusedError

import rnn_backends as rb

predictor = Predictor(rb.load(MODEL), lower_case=LOWER_CASE)  # once a process
app = FastAPI(title="Predictions of a recurrent network", redirect_slashes=False)


@app.exception_handler(RefusedError)
async def refuse(request: Request, refused: RefusedError) -> JSONResponse:
    """Answer a request that is the client's fault; what else is raised becomes a 500."""
    return JSONResponse({"detail": str(refused)}, status_code=refused.status)


async def read(request: Request) -> bytes:
    """Return the body of a request, of which no more is read than it may have."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            msg = f"a request has at most {MOST_BYTES} bytes; this one has more."
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, msg)
    return bytes(body)


@app.post("/predict")
def predict(body: Annotated[bytes, Depends(read)]) -> list[dict[str, Any]]:
    """Answer a JSON list of texts or of sequences of features: in the thread pool, as a `def` without `async` is."""
    return predictor.answer(body)


@app.head("/health", include_in_schema=False)
@app.get("/health")
def health() -> dict[str, str]:
    """Say that the network is loaded."""
    return {"status": "ok"}
