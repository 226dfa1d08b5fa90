"""Fit the members of an ensemble one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Annotated

from pydantic import Field

from domtrans import DomtransError, Encoder, FitOption, ImageSet, Progress, Session, positional_parameters


def each(
    encoder: Encoder,
    source: ImageSet,
    session: Session,
    target: ImageSet,
    *,
    fits: Annotated[list[FitOption], Field(min_length=1)],
) -> None:
    """Fit every member of an ensemble on its own, each with its own fit and with random numbers of its own.

    Members that learn apart make different errors, so that their mean prediction can be better than that of each member.

    Args:
        fits: A fit for each member of the encoder 'ensemble', in the same order; one fit is used for all of them.

    Raises:
        DomtransError: If there is neither one fit nor one for each member.
    """
    members = encoder.members
    if len(fits) not in (1, len(members)):
        raise DomtransError(f"the fit 'each' has {len(fits)} fits for {len(members)} members; give one, or one for each member")
    for number, member in enumerate(members):
        fit = fits[number % len(fits)]
        listeners = tuple(partial(report_part, listener, number, len(members)) for listener in session.listeners)
        arguments = (member, source, replace(session, seed=session.seed + number, listeners=listeners), target)
        fit(*arguments[: len(positional_parameters(fit))])


def report_part(listener: Callable[[Progress], None], part: int, parts: int, progress: Progress) -> None:
    """Report the progress of one of several equal parts of a phase as progress of the whole phase."""
    listener(replace(progress, step=part * progress.steps + progress.step, steps=parts * progress.steps))
