"""Checks of domains and augmentations."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from domtrans.data.domains import load_domain
from domtrans.data.image_set import ImageSet
from domtrans.data.render_worker import render_block
from domtrans.data.rendered import RenderedDomain
from domtrans.registry.parts import Part
from domtrans.registry.registry import HOLDOUT
from domtrans.testing.contracts import Subject, check_pickle, examine, seeded
from domtrans.testing.engines import check_engine_of

__tracebackhide__ = True  # pytest shows the caller of a check that fails, not the check


def check_domain(where: Any, name: str | None = None, /, **options: Any) -> None:
    """Check a domain against its contracts: ``check_domain(registry, "mine", root="data")`` or ``check_domain(mine)``.

    Args:
        where: A registry or ``Plugins``, or the class or function itself.
        name: The name in the registry.
        options: Options of the domain. ``size``, 32 by default, is not an option: it is the side of the images.

    Raises:
        AssertionError: For the first contract that does not hold; it quotes the contract.
    """
    subject = examine("domain", where, name, options, ("size",))
    size = subject.arguments.get("size", 32)
    train, test = load(subject, "train", size, seed=1), load(subject, "test", size, seed=1)
    for split, images, again in (
        ("train", train, load(subject, "train", size, seed=2)),
        ("test", test, load(subject, "test", size, seed=2)),
    ):
        same = images.fingerprint() == again.fingerprint()
        subject.require(same, "domain-deterministic", f"two calls for its {split} split return different images")
        subject.require("\n" not in images.about, "domain-about", f"its about has more than one line: {images.about!r}")
        sample = images.some(1000).images
        alike = len(sample) > 1 and bool((sample == sample[:1]).all())
        subject.require(not alike, "domain-about", f"all images of its {split} split are equal")
        back = check_pickle(subject, images, "any-picklable")
        subject.require(back.fingerprint() == images.fingerprint(), "any-picklable", "its images differ after pickling")
    kinds = [(images.channels, images.classes) for images in (train, test)]
    subject.require(kinds[0] == kinds[1], "domain-splits", f"train and test have channels and classes {kinds}")
    subject.require(train.fingerprint() != test.fingerprint(), "domain-splits", "train and test have the same images")
    load(subject, "test", size // 2, seed=1)
    if isinstance(subject.entry.factory, RenderedDomain):
        check_rendered(subject, subject.entry.factory, size)
        check_engine_of(subject, subject.entry.factory, size)
    if HOLDOUT in type(subject.registry.options("domain", subject.part)).model_fields:
        other = Part(name=subject.part.name, options=subject.part.options | {HOLDOUT: 1.0})
        with subject.works("domain-holdout", f"its test split is loaded with {HOLDOUT}=1"):
            count = len(load_domain(subject.registry, other, "test", size))
        subject.require(count >= len(test), "domain-holdout", f"with {HOLDOUT}=1 its test split is smaller")
    if "seed" in type(subject.registry.options("domain", subject.part)).model_fields:
        other = Part(name=subject.part.name, options=subject.part.options | {"seed": 12345})
        found = load_domain(subject.registry, other, "train", size)
        subject.require(found.fingerprint() != train.fingerprint(), "domain-seed", "seed=12345 changes nothing")


def load(subject: Subject, split: str, size: int, *, seed: int) -> ImageSet:
    """Load a split, with the global generators seeded by ``seed``, which must not matter."""
    with subject.works("domain-gives", f"its {split} split is loaded at {size} pixels"):
        images = seeded(seed, lambda: subject.build(split, size))
    subject.require(isinstance(images, ImageSet), "domain-gives", f"it returns a {type(images).__name__}")
    shape = list(images.shape)
    subject.require(shape[2:] == [size, size], "domain-gives", f"for {size} pixels, it returns images of shape {shape}")
    return images


def check_rendered(subject: Subject, factory: RenderedDomain, size: int) -> None:
    """Check that an image and its labels depend only on its number, and that another process renders the same."""
    images = factory.rendered("train", size, **subject.registry.arguments("domain", subject.part))
    for index in (7, 0, 10**6):
        block, again = (render_block(partial(images.draw, **images.options), index, index + 1, files=False) for _ in range(2))
        subject.require(block == again, "domain-rendered", f"image {index} differs when it is rendered again")
        (shown,) = block.attributes
        known = all(value in images.vocabulary.get(name, ()) for name, value in shown.items())
        subject.require(known, "domain-rendered", f"image {index} has the labels {shown}, which are not all in its vocabulary")
    span = [(7, 8)]
    here, there = (next(images.blocks(span, files=True, workers=workers)) for workers in (1, 2))
    subject.require(here == there, "domain-rendered", "another process renders another image 7")


def check_augmentation(where: Any, name: str | None = None, /, **options: Any) -> None:
    """Check an augmentation against its contracts, on grey and on RGB images.

    Args:
        where: A registry or ``Plugins``, or the class or function itself.
        name: The name in the registry.
        options: Options of the augmentation.

    Raises:
        AssertionError: For the first contract that does not hold; it quotes the contract.
    """
    subject = examine("augmentation", where, name, options)
    augment = subject.build()
    devices = [torch.device("cpu")] + ([torch.device("cuda")] if torch.cuda.is_available() else [])
    for channels, device in [(channels, device) for channels in (1, 3) for device in devices]:

        def view(images: torch.Tensor, seed: int, device: torch.device = device) -> torch.Tensor:
            with subject.works("augmentation-shape", f"it is called with {list(images.shape)} on {device.type}"):
                return seeded(seed, lambda: augment(images, torch.Generator(device).manual_seed(7)))

        images = seeded(0, lambda channels=channels: torch.rand(4, channels, 32, 32) * 2 - 1)  # type: ignore[misc]
        images = images.to(device).contiguous(memory_format=torch.channels_last).requires_grad_(True)
        kept = images.detach().clone()
        found = view(images, 1)
        fits = found.shape == images.shape and found.dtype == torch.float32 and bool(torch.isfinite(found).all())
        subject.require(
            fits,
            "augmentation-shape",
            f"{list(images.shape)} becomes {found.dtype} {list(found.shape)}, or not finite",
        )
        subject.require(torch.equal(images, kept), "augmentation-shape", "it changes its input in place")
        subject.require(torch.equal(view(images, 2), found), "augmentation-random", "equal generators give different results")
        gradient = torch.autograd.grad(found.square().sum(), images, allow_unused=True)[0] if found.requires_grad else None
        reached = gradient is not None and bool(torch.isfinite(gradient).all()) and bool(gradient.abs().sum() > 0)
        subject.require(reached, "augmentation-gradient", "no gradient reaches the images")
