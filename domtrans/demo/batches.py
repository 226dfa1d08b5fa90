"""Dynamic batching: what waits while a function computes becomes its next batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from starlette.concurrency import run_in_threadpool

Input = TypeVar("Input")
Output = TypeVar("Output")


class RequestBatches(Generic[Input, Output]):
    """Calls a function of a batch for inputs that arrive one by one. One batch at a time is computed, in a thread.

    Args:
        function: Inputs to as many outputs.
        max_size: Inputs per batch, at most.
    """

    def __init__(self, function: Callable[[Sequence[Input]], Sequence[Output]], max_size: int) -> None:
        self.function, self.max_size = function, max_size
        self._waiting: deque[tuple[Input, asyncio.Future[Output]]] = deque()
        self._work: asyncio.Task[None] | None = None

    async def __call__(self, item: Input) -> Output:
        """The function's output for one input. Raises what the function raises for its batch."""
        future: asyncio.Future[Output] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._compute())
        return await future

    async def _compute(self) -> None:
        """Compute batches until nothing waits."""
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(self.max_size, len(self._waiting)))]
            try:
                outputs = await run_in_threadpool(self.function, [item for item, _ in batch])
            except Exception as error:  # noqa: BLE001 - the callers get it
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
            else:
                for (_, future), output in zip(batch, outputs, strict=True):
                    if not future.done():  # the client may have gone
                        future.set_result(output)
