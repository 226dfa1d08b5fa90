"""Identity of avatars: the retrieval experiment of the paper (section 5.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn.functional import normalize

from domtrans import (
    Encoder,
    EncoderOption,
    Evaluator,
    FrozenEncoder,
    ImageSet,
    MetricInput,
    MetricValue,
    NotMeasurableError,
    predict,
)
from domtrans_faces.spacing import evenly_spaced

VALUES = (
    MetricValue("identity_median_rank", "median rank of the person"),
    MetricValue("identity_top_{first}_accuracy", "person found by avatar"),
    MetricValue("identity_top_{first}_chance_accuracy", "chance", measures_g=False),
    MetricValue("photo_top_{first}_accuracy", "by photograph", measures_g=False),
)
"""How reports show the values of identity-retrieval."""


class Recogniser(Evaluator):
    """An encoder other than f, for evaluation only; its features are standardised over the given faces."""

    def __init__(self, encoder: FrozenEncoder, faces: ImageSet) -> None:
        super().__init__()
        self.encoder = encoder
        encoder.standardize(faces)

    @classmethod
    def of(cls, build: Callable[[int, int], Encoder], faces: ImageSet, device: torch.device) -> Recogniser:
        """A recogniser with its published weights, on the device; ``build`` is the value of an option."""
        encoder = build(faces.shape[-1], 0)
        encoder.load_pretrained()
        return cls(FrozenEncoder(encoder).to(device), faces)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] in [-1, 1] to features [B, F]; maps are flattened."""
        return self.encoder(images).flatten(1)


def identity_retrieval(
    inputs: MetricInput,
    *,
    people: Annotated[int, Field(ge=2)] = 100,
    probes: PositiveInt = 4,
    encoder: EncoderOption | None = None,
) -> dict[str, float | int]:
    """Whether a recogniser finds a person by an avatar: G of one photograph against a gallery of other photographs.

    The gallery has one photograph of each of N people of the source's test split. The probes are G of other photographs of
    the same people. For each probe the gallery is ranked by cosine similarity of standardised features; ties get the mean
    rank.

    Args:
        people: Largest N; people with only one photograph are left out.
        probes: Largest number of probes per person.
        encoder: Recogniser used instead of f, with its published weights. The paper also uses another network, because g is
            trained with f.

    Returns:
        - ``identity_median_rank``: median rank of the person; 1 is best
        - ``identity_median_rank_chance``: the same by chance
        - ``photo_median_rank``: the same with the photographs themselves as probes, an upper bound for the recogniser
        - ``identity_people``: N

        For the first 1 and the first 5 of the gallery, e.g. ``identity_top_5_accuracy``:

        - ``identity_top_{first}_accuracy``: share of the probes whose person is among them
        - ``identity_top_{first}_chance_accuracy``: the same by chance
        - ``photo_top_{first}_accuracy``: the same with the photographs themselves as probes

        And:

        - ``n``: number of probes

    Raises:
        NotMeasurableError: If the source has no labels, or fewer than two people with two photographs.
    """
    source, session = inputs.source, inputs.session
    if source.labels is None:
        raise NotMeasurableError("identity-retrieval needs the person as the class of the source's images")
    gallery, probe_index, person = gallery_and_probes(source.labels.cpu(), people, probes)
    if len(gallery) < 2:
        raise NotMeasurableError("identity-retrieval needs two people with two photographs each among the source's test images")
    recogniser: FrozenEncoder | Recogniser = inputs.transfer.encoder
    if encoder is not None:
        recogniser = Recogniser.of(encoder, source, session.device)
    gallery_features = predict(recogniser, source.take(gallery), session)
    results: dict[str, float | int] = {"n": len(probe_index), "identity_people": len(gallery)}
    for name, images in (("identity", inputs.transferred), ("photo", source)):
        ranks = ranks_of(person, predict(recogniser, images.take(probe_index), session), gallery_features)
        results[f"{name}_median_rank"] = float(ranks.median())
        results |= {f"{name}_top_{k}_accuracy": round(float((ranks <= k).double().mean()), 4) for k in (1, 5)}
    results["identity_median_rank_chance"] = (len(gallery) + 1) / 2
    return results | {f"identity_top_{k}_chance_accuracy": round(min(1.0, k / len(gallery)), 4) for k in (1, 5)}


def gallery_and_probes(labels: Tensor, people: int, probes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Image indices of the gallery [N] and of the probes [P], and the gallery index of each probe's person [P]."""
    groups = [torch.nonzero(labels == label)[:, 0] for label in labels.unique()]
    groups = evenly_spaced([group for group in groups if len(group) > 1], people)
    if not groups:
        return labels[:0], labels[:0], labels[:0]
    probe_groups = [group[1 : 1 + probes] for group in groups]
    person = torch.arange(len(groups)).repeat_interleave(torch.tensor([len(group) for group in probe_groups]))
    return torch.stack([group[0] for group in groups]), torch.cat(probe_groups), person


def ranks_of(person: Tensor, probes: Tensor, gallery: Tensor) -> Tensor:
    """Rank of each probe's person in the gallery, from 1; float64 [P], because ties get the mean rank."""
    similarity = (normalize(probes.flatten(1)) @ normalize(gallery.flatten(1)).T).double()
    own = similarity.gather(1, person[:, None])
    return (similarity > own).sum(1) + ((similarity == own).sum(1) + 1) / 2
