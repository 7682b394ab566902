"""A web service whose model lives in a process of its own.

Shows: an actor that starts and ends with the server; requests that await it, while the event loop
serves others; a crash of the actor, after which it is restarted, and requests wait for it.

Watch for: what surely has not been executed is asked again. What may have been is for the client
to decide: it gets a 503. SIGTERM, or Ctrl-C, ends the server within two seconds,
also with a request in hand. Try it: `python web_service.py 8000`, then open
http://127.0.0.1:8000/predict?x=3, and kill the process that http://127.0.0.1:8000/health names.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse

from remoteobj import ActorDiedError, remote


# A forked process would have the connections of the server as well, and keep them open.
@remote(start_method="forkserver", restart="on-failure", max_restarts=10)
class Model:
    def __init__(self) -> None:
        self.weight = 2.0  # stands for what is slow to load, and not safe to use by two threads

    def predict(self, x: float, seconds: float) -> float:
        time.sleep(seconds)
        return self.weight * x

    def steps(self, count: int) -> Iterator[str]:
        for number in range(count):
            yield f"{self.weight * number}\n"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with Model.options(wait=False, stop_timeout=1.0).spawn() as app.state.model:
        yield


app = FastAPI(lifespan=lifespan)


async def prediction(x: float, seconds: float) -> float:
    model = app.state.model
    while True:
        try:
            # Cancelled, or out of time, the call is interrupted over there too.
            return float(await model.with_(interrupt=True).async_.predict(x, seconds))
        except ActorDiedError as death:
            if death.maybe_executed or model.exited_.done():  # it has died too often
                raise


@app.exception_handler(ActorDiedError)
async def died(_: Request, death: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(death)}, 503, {"Retry-After": "1"})


@app.get("/predict")
async def predict(x: float, seconds: float = 0.0) -> float:
    try:
        async with asyncio.timeout(30):
            return await prediction(x, seconds)
    except TimeoutError:
        raise HTTPException(504, "the model took too long") from None
    except asyncio.CancelledError:  # by the server, which ends
        raise HTTPException(503, "the server is being stopped") from None


@app.get("/steps")
async def steps(count: int) -> StreamingResponse:
    return StreamingResponse(app.state.model.async_.steps(count), media_type="text/plain")


@app.get("/health")
async def health() -> dict[str, Any]:
    """Answers while the model computes: to ask for its status is no call."""
    model = app.state.model
    status = await asyncio.to_thread(model.status_)
    return {"restarts": model.restarts_, "pid": model.pid_, "running": status.call}


if __name__ == "__main__":
    # Requests in hand have a second to end; then their tasks are cancelled.
    uvicorn.run(app, port=int(sys.argv[1]), timeout_graceful_shutdown=1)
