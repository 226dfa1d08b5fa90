"""The HTTP interface for programs: an image file in, the transferred image out (docs/demo.md).

An image is sent as the body itself, not as a form: browsers let the page of any site send a form without asking this server.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence

import torch
from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from torch import Tensor

from domtrans.compute.launcher import cores
from domtrans.compute.memory import enough_memory
from domtrans.data.drawings import Drawing
from domtrans.data.image_files import decode_image, encode_image, to_pil
from domtrans.data.image_formats import READABLE_FORMATS
from domtrans.data.pixels import from_pil
from domtrans.demo.batches import RequestBatches
from domtrans.demo.bodies import MAX_IMAGE_BYTES, read_body, refuse_other_sites
from domtrans.demo.refusals import refuse
from domtrans.errors import DomtransError
from domtrans.runs.folder import versions
from domtrans.runs.run import Run

MAX_REQUESTS = 128
"""Transfers in progress, at most. A further one is answered with status 429."""
RETRY_SECONDS = 1
MAX_BATCH = 64
"""Images that one pass of the network transfers, at most."""
PNG, SVG, JSON = "image/png", "image/svg+xml", "application/json"
"""The answers: pixels, the drawing, or the file of its parameters."""

Output = Tensor | Drawing
"""uint8 [C, S, S], or a drawing."""


def create_api(run: Run) -> Starlette:
    """Create the application with ``GET /info`` and ``POST /transfer``. Every refusal is JSON: ``{"error": SENTENCE}``."""
    api = Api(run)
    routes = [Route("/info", api.info), Route("/transfer", api.transfer, methods=["POST"])]
    return Starlette(routes=routes, exception_handlers={HTTPException: refuse, DomtransError: _fail, Exception: _break})


class Api:
    """What the addresses answer.

    Args:
        run: The run that transfers.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.answers = (PNG, SVG, JSON) if run.draws_by_parameters else (PNG,)
        self.requests = 0
        """Transfers in progress."""
        self.network = RequestBatches(self._transfer, MAX_BATCH)
        self.codecs = asyncio.Semaphore(cores())
        """Images that are decoded or encoded at the same time; one may need much memory."""

    async def info(self, _: Request) -> Response:
        """What the run takes and gives, and the limits."""
        run = self.run
        return JSONResponse(
            {
                "domtrans": versions()["domtrans"],
                "recipe": run.recipe.name,
                "size": run.recipe.image_size,
                "aspect": run.aspect,
                "formats": READABLE_FORMATS,
                "answers": self.answers,
                "limits": {"bytes": MAX_IMAGE_BYTES, "pixels": Image.MAX_IMAGE_PIXELS, "requests": MAX_REQUESTS},
            }
        )

    async def transfer(self, request: Request) -> Response:
        """Transfer the image in the body."""
        refuse_other_sites(request)
        if request.query_params:
            raise HTTPException(400, f"the address takes no options; leave out {', '.join(request.query_params)}")
        answer = self._negotiate(request)
        if self.requests >= MAX_REQUESTS:
            sentence = f"{MAX_REQUESTS} transfers are in progress already; try again in {RETRY_SECONDS} s"
            raise HTTPException(429, sentence, {"Retry-After": str(RETRY_SECONDS)})
        self.requests += 1
        try:
            content = await read_body(request, MAX_IMAGE_BYTES)
            try:
                async with self.codecs:
                    pixels = await run_in_threadpool(self._decode, content)
            except DomtransError as error:
                raise HTTPException(400, str(error)) from None
            output = await self.network(pixels)
            async with self.codecs:
                body = await run_in_threadpool(self._encode, output, answer)
            return Response(body, media_type=answer)
        finally:
            self.requests -= 1

    def _negotiate(self, request: Request) -> str:
        """The type of the answer. Raises HTTPException if it is not offered, or if the body is not an image."""
        given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not given.startswith("image/") and given != "application/octet-stream":
            raise HTTPException(415, "send the image file as the body, with its type, e.g. Content-Type: image/jpeg")
        wanted = [part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "*/*").split(",")]
        for kind in wanted:
            for answer in self.answers:
                if kind in (answer, "*/*", f"{answer.partition('/')[0]}/*"):
                    return answer
        raise HTTPException(406, f"this run answers {' or '.join(self.answers)}, not {', '.join(wanted)}")

    def _decode(self, content: bytes) -> Tensor:
        """uint8 [3, S, S] of an image file."""
        image = decode_image(io.BytesIO(content), "the image")
        return from_pil(image, self.run.recipe.image_size, aspect=self.run.aspect)

    def _transfer(self, images: Sequence[Tensor]) -> list[Output]:
        """G of a batch."""
        batch = torch.stack(list(images))
        with enough_memory(f"{len(images)} images at a time", "send fewer requests at a time"):
            if self.run.draws_by_parameters:
                return [self.run.drawing(parameters) for parameters in self.run.parameters(batch)]
            return [*self.run.transfer(batch).cpu()]

    def _encode(self, output: Output, answer: str) -> bytes:
        """The body of an answer."""
        if isinstance(output, Drawing) and answer != PNG:
            return (output.to_svg() if answer == SVG else output.to_json()).encode()
        image = output.to_pil(self.run.recipe.image_size) if isinstance(output, Drawing) else to_pil(output[None])[0]
        return encode_image(image, "PNG", "the answer")


async def _fail(_: Request, error: Exception) -> Response:
    """This machine cannot do it now."""
    return JSONResponse({"error": str(error)}, 503)


async def _break(_: Request, error: Exception) -> Response:
    """There is a fault in the run; the server's log has the traceback."""
    return JSONResponse({"error": f"the transfer failed with {type(error).__name__}; the log of the server says why"}, 500)
