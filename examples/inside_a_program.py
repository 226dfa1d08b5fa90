"""domtrans inside another program: train in a thread, follow the log, stop early, measure, transfer tensors.

python examples/inside_a_program.py [RUN_FOLDER] [path=value ...]
"""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import torch

import domtrans


class StopWhenSettled:
    """A listener that records a loss and stops the training once the loss has not fallen for a while."""

    def __init__(self, loss: str, patience: int, stop: threading.Event) -> None:
        self.loss, self.patience, self.stop = loss, patience, stop
        self.history: list[float] = []

    def __call__(self, progress: domtrans.Progress) -> None:
        """The training thread calls this for every log of every phase. It must not change the training."""
        if progress.phase != "train" or self.loss not in progress.values:
            return
        self.history.append(progress.values[self.loss])
        since_best = len(self.history) - 1 - self.history.index(min(self.history))
        if since_best >= self.patience:
            self.stop.set()


def main(out: str = "runs/inside-a-program", *overrides: str, patience: int = 5) -> None:
    """Train until the loss settles or all steps are done, and use the model."""
    registry = domtrans.load_plugins().registry  # load the plugins once
    stop = threading.Event()
    listener = StopWhenSettled("generator.const", patience, stop)

    def work() -> domtrans.Run:
        return domtrans.train("digits-dtn", out, overrides=list(overrides), registry=registry, listeners=listener, stop=stop)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)  # a server would continue to answer here, and could set `stop`
        try:
            run = future.result()
            print("trained to the end")
        except domtrans.Stopped as stopped:
            print(stopped)  # everything is saved; train(...) with the same folder would continue
            run = domtrans.load(out, registry=registry)
    print(f"{len(listener.history)} logs received")

    images = domtrans.load_domain(registry, run.recipe.source, "test", run.recipe.image_size).images[:16]
    as_float = run.transfer(domtrans.to_float(images))  # floats in [-1, 1] in, floats out
    as_bytes = run.transfer(images)  # uint8 in, uint8 out
    features = run.encode(images)
    print("transferred:", tuple(as_float.shape), as_float.dtype, tuple(as_bytes.shape), as_bytes.dtype)
    print("features of f:", tuple(features.shape), "finite" if bool(torch.isfinite(features).all()) else "not finite")
    print("measured:", {name: value for name, value in run.evaluate().items() if isinstance(value, float)})


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except domtrans.DomtransError as error:
        sys.exit(f"error: {error}")
