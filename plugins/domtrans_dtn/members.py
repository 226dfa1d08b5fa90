"""Fit the members of an ensemble one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from domtrans import DomtransError, Encoder, FitOption, ImageSet, Progress, Session, positional_parameters


def each(
    encoder: Encoder,
    source: ImageSet,
    session: Session,
    target: ImageSet,
    *,
    of: FitOption | None = None,
    fits: list[FitOption] = [],  # noqa: B006 - pydantic hands in a copy
) -> None:
    """Fit every member of an ensemble on its own, with random numbers of its own.

    Members that learn apart make different errors, so that their mean prediction can be better than that of each member.

    Args:
        of: The fit of all members of the encoder 'ensemble'.
        fits: Instead of ``of``, another fit for each member, in the same order.

    Raises:
        DomtransError: If there is neither a fit of all members nor one for each, or both.
    """
    members = encoder.members
    if (of is None) == (not fits):
        raise DomtransError(
            "the fit 'each' needs either 'of', the fit of all members, or 'fits', a list with one for each member"
        )
    if fits and len(fits) != len(members):
        raise DomtransError(
            f"the fit 'each' has {len(fits)} fits for {len(members)} members; give one for each, or the option 'of'"
        )
    for number, member in enumerate(members):
        fit = fits[number] if of is None else of
        listeners = tuple(partial(report_part, listener, number, len(members)) for listener in session.listeners)
        arguments = (member, source, replace(session, seed=session.seed + number, listeners=listeners), target)
        fit(*arguments[: len(positional_parameters(fit))])


def report_part(listener: Callable[[Progress], None], part: int, parts: int, progress: Progress) -> None:
    """Report the progress of one of several equal parts of a phase as progress of the whole phase."""
    listener(replace(progress, step=part * progress.steps + progress.step, steps=parts * progress.steps))
