"""Is a person still to be recognised in the avatar? The retrieval experiment of the paper (section 5.2)."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn.functional import normalize

from domtrans import EncoderOption, Evaluator, FrozenEncoder, ImageSet, MetricInput, NotMeasurableError, predict
from domtrans_faces.domains.photo_files import thinned


class Recogniser(Evaluator):
    """Another encoder than f, for measuring only; its features are standardised over the faces that it will see."""

    def __init__(self, encoder: FrozenEncoder, faces: ImageSet) -> None:
        super().__init__()
        self.encoder = encoder
        encoder.standardize(faces)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] in [-1, 1] to features [B, F]."""
        return self.encoder(images)


def identity_retrieval(
    inputs: MetricInput,
    *,
    people: Annotated[int, Field(ge=2)] = 100,
    probes: PositiveInt = 4,
    encoder: EncoderOption | None = None,
) -> dict[str, float | int]:
    """Whether f finds a person by an avatar: G of one photograph is looked for among other photographs of N people.

    The gallery is one photograph of each of N people of the source's test split; G of any other photograph of them is a
    probe, and the gallery is ranked by cosine similarity of standardised features. Equal similarities share their ranks.
    Gives ``identity_median_rank``, 1 at best; ``identity_top_1_accuracy``, ``identity_top_5_accuracy``: share of the probes
    whose person comes first, or among the first five; ``identity_median_rank_chance``, ``identity_top_1_chance_accuracy``,
    ``identity_top_5_chance_accuracy``: what guessing gets; ``photo_...``: with the photograph itself as the probe, which is as
    much as the encoder can. ``identity_people``: N. ``n``: number of probes.
    ``people``: N at most; people of one photograph do not count. ``probes``: photographs of a person, at most, that avatars
    are made from. ``encoder``: judges instead of f, with its published weights, as the paper has another network do it: g has
    learned to please f.
    Raises NotMeasurableError where it is not known who is on the source's images, or nobody is there twice.
    """
    source, session = inputs.source, inputs.session
    if source.labels is None:
        raise NotMeasurableError("identity-retrieval needs to know who is on the source's images: the person as their class")
    gallery, shown, who = arranged(source.labels.cpu(), people, probes)
    if len(gallery) < 2:
        raise NotMeasurableError("identity-retrieval needs two people with two photographs each among the source's test images")
    judge: FrozenEncoder | Recogniser = inputs.transfer.encoder
    if encoder is not None:
        other = encoder(source.shape[-1], 0)
        other.load_pretrained()
        judge = Recogniser(FrozenEncoder(other).to(session.device), source)
    known = predict(judge, source.take(gallery), session)
    results: dict[str, float | int] = {"n": len(shown), "identity_people": len(gallery)}
    for name, images in (("identity", inputs.transferred), ("photo", source)):
        ranks = ranks_of(who, predict(judge, images.take(shown), session), known)
        results[f"{name}_median_rank"] = float(ranks.median())
        results |= {f"{name}_top_{k}_accuracy": round(float((ranks <= k).double().mean()), 4) for k in (1, 5)}
    results["identity_median_rank_chance"] = (len(gallery) + 1) / 2
    return results | {f"identity_top_{k}_chance_accuracy": round(min(1.0, k / len(gallery)), 4) for k in (1, 5)}


def arranged(labels: Tensor, people: int, probes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of the gallery's images [N] and of the probes [P], and the place in the gallery of each probe's person [P]."""
    groups = [torch.nonzero(labels == label)[:, 0] for label in labels.unique()]
    groups = thinned([group for group in groups if len(group) > 1], people)
    if not groups:
        return labels[:0], labels[:0], labels[:0]
    shown = [group[1 : 1 + probes] for group in groups]
    who = torch.arange(len(groups)).repeat_interleave(torch.tensor([len(some) for some in shown]))
    return torch.stack([group[0] for group in groups]), torch.cat(shown), who


def ranks_of(who: Tensor, probes: Tensor, known: Tensor) -> Tensor:
    """At which place of the gallery each probe's person stands, 1 at best; float64 [P], for equal ones share their places."""
    alike = (normalize(probes) @ normalize(known).T).double()
    own = alike.gather(1, who[:, None])
    return (alike > own).sum(1) + ((alike == own).sum(1) + 1) / 2
