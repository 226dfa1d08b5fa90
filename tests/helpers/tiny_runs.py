"""Runs of tiny recipes, and in what two of them differ."""

import json

import torch

from domtrans import Session, train
from domtrans.storage.tensors import read_tensors
from domtrans.training import experiment
from tiny import registry

TENSOR_FILES = ("model.safetensors", "training.safetensors")
TIMES = ("seconds", "images_per_second", "memory_mb")
"""What two runs of the same may differ in."""


def prepare(recipe, registry):
    return experiment.prepare(recipe, registry, Session.start("cpu", precision="float32", seed=recipe.seed))


def go(recipe, out, **options):
    return train(recipe, out, device="cpu", registry=registry(), **options)


def tensors(run):
    folder = getattr(run, "path", run)
    return {f"{file}:{key}": value for file in TENSOR_FILES for key, value in read_tensors(folder / file)[0].items()}


def unlike(one, other):
    """Names of tensors that differ in a bit."""
    a, b = tensors(one), tensors(other)
    assert a.keys() == b.keys()
    return [key for key in a if not torch.equal(a[key], b[key])]


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def losses(record):
    return {key: value for key, value in record.items() if key not in TIMES}


def stop_at(step, stop):
    def listen(progress):
        if progress.phase == "train" and progress.step == step:
            stop.set()

    return listen
