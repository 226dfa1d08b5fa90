"""Train a recipe from Python, follow its progress, and use the result.

python examples/train_in_python.py [RUN_FOLDER] [path=value ...]
"""

import sys
import threading

import domtrans

stop = threading.Event()  # when it is set, training saves and raises domtrans.Stopped


def print_progress(progress: domtrans.Progress) -> None:
    """Called with every progress report; must not change the training."""
    if progress.phase == "train":
        losses = {name: value for name, value in progress.values.items() if name.startswith("generator.")}
        print(f"step {progress.step} of {progress.steps}: {losses}")


def main(out: str = "runs/from-python", *overrides: str) -> None:
    """Train, evaluate, and transfer one batch in memory."""
    run = domtrans.train("digits-dtn", out, overrides=list(overrides), progress=False, listeners=print_progress, stop=stop)
    print("transfer accuracy:", run.results["accuracy"])

    photos = domtrans.load_domain(run.registry, run.recipe.source, "test", run.recipe.image_size)
    digits = run.transfer(photos.images[:8])  # uint8 [8, 3, 32, 32] in, uint8 [8, 1, 32, 32] out
    print("transferred:", tuple(digits.shape), digits.dtype)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except domtrans.DomtransError as error:
        sys.exit(f"error: {error}")
