"""Checks of drawing engines."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np

from domtrans.data.domains import find_engine
from domtrans.data.engine import DrawingEngine
from domtrans.data.parameters import Choice, ParameterSpace
from domtrans.data.render_worker import Block, pixel_bytes, render_block
from domtrans.data.rendered import RenderedDomain, RenderedSet
from domtrans.data.svg import check_svg
from domtrans.errors import DomtransError
from domtrans.testing.contracts import Subject, check_pickle, examine, seeded

__tracebackhide__ = True  # pytest shows the caller of a check that fails, not the check

SAMPLE = 20
"""Images that are compared with the engine's drawings."""


def check_engine(where: Any, name: str | None = None, /, **options: Any) -> None:
    """Check the engine of a rendered domain against its contracts: ``check_engine(registry, "avatars", style="micah")``.

    ``check_domain`` does the same for a domain that has an engine.

    Args:
        where: A registry or ``Plugins``, or the domain itself.
        name: The name in the registry.
        options: Options of the domain. ``size``, 32 by default, is not an option: it is the side of the images.

    Raises:
        AssertionError: For the first contract that does not hold; it quotes the contract.
    """
    subject = examine("domain", where, name, options, ("size",))
    factory = subject.entry.factory
    has_engine = find_engine(subject.registry, subject.part) is not None
    subject.require(has_engine and isinstance(factory, RenderedDomain), "domain-engine", "it has no engine")
    assert isinstance(factory, RenderedDomain)
    check_engine_of(subject, factory, subject.arguments.get("size", 32))


def check_engine_of(subject: Subject, factory: RenderedDomain, size: int) -> None:
    """Check the engine of a domain, if it has one."""
    arguments = subject.registry.arguments("domain", subject.part)
    engine = factory.engine(**arguments)
    if engine is None:
        return
    rendered = factory.rendered("train", size, **arguments)
    block = render_block(partial(rendered.draw, **rendered.options), 0, min(SAMPLE, rendered.count), files=False)
    subject.require(
        len(block.parameters) == len(block.images),
        "domain-parameters",
        "its images come without parameters, but it has an engine",
    )
    check_space(subject, engine.space, block)
    check_drawings(subject, engine, rendered, block)
    again = factory.engine(**{**arguments, **engine.options})
    copies = [again, check_pickle(subject, engine, "any-picklable")]
    parameters = engine.space.check(block.parameters[0])
    subject.require(
        all(copy.to_svg(parameters) == engine.to_svg(parameters) for copy in copies),
        "domain-engine",
        "an engine made from its options, or from a pickle, gives another drawing",
    )


def check_space(subject: Subject, space: ParameterSpace, block: Block) -> None:
    """Check that the parameters of images are in the space, and that indices and JSON give them back."""
    for parameters in block.parameters:
        try:
            checked = space.check(parameters)
        except DomtransError as error:
            subject.require(False, "domain-parameters", str(error))
        again = space.check(json.loads(json.dumps(checked)))
        subject.require(again == checked, "domain-parameters", f"JSON turns {checked} into {again}")
        indices = space.indices(checked)
        subject.require(
            -1 not in indices and space.parameters(indices) == checked,
            "domain-parameters",
            f"{checked} has the indices {indices}, which stand for other parameters",
        )


def check_drawings(subject: Subject, engine: DrawingEngine, rendered: RenderedSet, block: Block) -> None:
    """Check that the engine draws the images of the domain, safely, with the same attributes, and nothing of hidden slots."""
    size = rendered.size
    for number, (image, attributes, given) in enumerate(zip(block.images, block.attributes, block.parameters, strict=True)):
        parameters = engine.space.check(given)
        with subject.works("domain-engine", f"its engine draws {parameters}"):
            pixels = engine.rasterise(parameters, size)
        fits = pixels.dtype == np.uint8 and pixels.shape == (size, size, 3)
        subject.require(fits, "domain-engine", f"its engine gives pixels {pixels.dtype} {list(pixels.shape)}")
        subject.require(pixel_bytes(pixels) == image, "domain-engine", f"its engine does not draw image {number} of the domain")
        shown = dict(engine.attributes(parameters))
        subject.require(
            shown == attributes, "domain-engine", f"its engine gives image {number} the attributes {shown}, not {attributes}"
        )
        svg = seeded(number, lambda parameters=parameters: engine.to_svg(parameters))  # type: ignore[misc]
        subject.require(svg == engine.to_svg(parameters), "domain-engine", "equal parameters give different drawings")
        try:
            check_svg(svg)
        except DomtransError as error:
            subject.require(False, "domain-svg", str(error))
        for name in engine.space.hidden(parameters):
            other = engine.to_svg(parameters | {name: other_value(engine.space, name, parameters[name])})
            subject.require(other == svg, "domain-parameters", f"its slot '{name}' changes a drawing in which it is hidden")
    parameters = engine.space.check(block.parameters[0])
    for name, slot in engine.space.slots.items():
        for extra in slot.extras if isinstance(slot, Choice) else ("#123456",):
            with subject.works("domain-engine", f"its engine draws {name}={extra}"):
                check_svg(engine.to_svg(engine.space.check(parameters | {name: extra})))


def other_value(space: ParameterSpace, name: str, value: str) -> str:
    """Another value of a slot."""
    slot = space.slots[name]
    values = (*slot.values, *slot.extras) if isinstance(slot, Choice) else ("#123456", "#654321")
    return next((other for other in values if other != value), value)
