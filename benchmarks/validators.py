"""Compare measures that need no target labels by how they rank finished runs between the same two domains of digits.

python benchmarks/validators.py --judge RUN RUN RUN ...

All measures are computed on training images. The judge is a run with another seed, whose f is the second f. Printed is
Spearman's rank correlation of each measure with the transfer accuracy in results.json: over the runs with even and with odd
rank of accuracy, over all runs, and over those above 90 %; and Kendall's tau over all runs.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import kendalltau, spearmanr
from torch import Tensor

import domtrans
from domtrans import ImageSet, fit_evaluator, frechet_distance, kernel_distance, load_domain, predict, seeded, use
from domtrans.data.batches import evenly
from domtrans.evaluation.label_free_score import AGREEMENT, MARGIN, REALISM, SCORE, LabelFreeScore, energy_distance
from domtrans_digits.metrics.evaluators import HANDWRITING_VIEW
from domtrans_digits.networks.dtn import DigitEvaluator
from domtrans_dtn.metrics import MILD_VIEW, fit_turn_classifier

GOOD = 0.9
"""Accuracy above which models are compared once more."""


class Measures:
    """All measures of a run, each so that higher is better.

    Args:
        run: Any of the runs; it names the data.
        judge: A run with another seed.
    """

    def __init__(self, run: domtrans.Run, judge: domtrans.Run) -> None:
        build, recipe, self.session = run.registry.build, run.recipe, run.session.during("evaluate")
        source, target = (
            load_domain(run.registry, part, "train", recipe.image_size) for part in (recipe.source, recipe.target)
        )
        self.score = LabelFreeScore(source, target)
        self.judge = judge.model.encoder
        self.wanted = self.predicted(self.score.source).argmax(1)
        some = target.take(evenly(len(target), 4000)).unlabelled()
        labels = self.predicted(some).argmax(1)
        pseudo = ImageSet(some.images, labels, source.classes)
        build_evaluator = partial(DigitEvaluator, target.channels, len(source.classes))
        with seeded(0):
            untrained = build_evaluator()
        view = build("augmentation", use(**HANDWRITING_VIEW))

        def loss(logits: Tensor, index: Tensor) -> Tensor:
            return F.cross_entropy(logits, labels[index], label_smoothing=0.05)

        options = {"steps": 800, "batch_size": 128, "lr": 3e-3, "view": view, "seed": 1}
        self.evaluator = fit_evaluator(build_evaluator, pseudo, self.session, loss, **options)
        mild = build("augmentation", use(**MILD_VIEW))
        turns = fit_turn_classifier(some, self.session, steps=400, batch_size=64, lr=3e-3, view=mild)
        networks = {"turns": turns, "random": untrained.eval(), "pseudo-labels": self.evaluator}
        self.features = {name: partial(network, hidden=True) for name, network in networks.items()}
        self.real = {name: predict(network, self.score.target, self.session) for name, network in self.features.items()}

    @torch.no_grad()
    def predicted(self, images: ImageSet) -> Tensor:
        """The second f's logits [N, K]."""
        return self.judge.classify(self.judge.encode(images)).cpu()

    @torch.no_grad()
    def of(self, run: domtrans.Run) -> dict[str, float]:
        """The measures by name; ``votes`` has f's predictions for G(x)."""
        scores, f = self.score.score(run.model), run.model.encoder
        generated = ImageSet(run.model.apply_to(self.score.source))
        own, second = f.classify(f.encode(generated)).cpu(), self.predicted(generated)
        found: dict[str, Any] = {
            "agreement of f": scores[AGREEMENT],
            "realism": scores[REALISM],
            "agreement of f x realism (the score before)": scores[AGREEMENT] * scores[REALISM],
            "margin": scores[MARGIN],
            "margin x realism (the score)": scores[SCORE],
            "agreement of a second f": share_equal(second.argmax(1), self.wanted),
            "agreement of a second f x realism": share_equal(second.argmax(1), self.wanted) * scores[REALISM],
            "votes": own.argmax(1),
        }
        for name, logits in (("f", own), ("a second f", second)):
            p = logits.softmax(1)
            found[f"InfoMax, {name}"] = float(entropy(p.mean(0)) - entropy(p).mean())
            found[f"batch nuclear norm, {name}"] = float(torch.linalg.matrix_norm(p, "nuc"))
            found[f"SND, {name}"] = soft_neighbourhood_density(p)
        read = predict(self.evaluator, generated, self.session).argmax(1)
        found["accuracy by an evaluator of pseudo-labels"] = share_equal(read, self.wanted)
        for name, network in self.features.items():
            features, real = predict(network, generated, self.session), self.real[name]
            found[f"energy distance, {name}"] = -energy_distance(features, real)
            found[f"FID, {name}"] = -frechet_distance(features, real)
            found[f"KID, {name}"] = -kernel_distance(features, real)
            found[f"distance to the nearest real image, {name}"] = -float(torch.cdist(features, real).amin(1).mean())
        return found


def share_equal(a: Tensor, b: Tensor) -> float:
    """The share of equal entries."""
    return float((a == b).double().mean())


def entropy(p: Tensor) -> Tensor:
    """The entropy of distributions [..., K]."""
    return torch.special.entr(p).sum(-1)


def soft_neighbourhood_density(p: Tensor, temperature: float = 0.05) -> float:
    """The mean entropy of the similarities of each prediction to all others (Saito et al., 2021)."""
    directions = F.normalize(p, dim=1)
    similarity = (directions @ directions.T / temperature).fill_diagonal_(-1e9)
    return float(entropy(similarity.softmax(1)).mean())


def add_votes(measures: list[dict[str, Any]]) -> None:
    """The agreement of f on G(x) with the vote of all runs (EnsV, 2024), in place of the votes."""
    vote = torch.stack([one["votes"] for one in measures]).mode(0).values
    for one in measures:
        one["agreement with the vote of all runs"] = share_equal(one.pop("votes"), vote)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--judge", required=True)
    options = parser.parse_args()
    runs = [domtrans.load(path, device="cpu") for path in options.runs]
    of = Measures(runs[0], domtrans.load(options.judge, device="cpu"))
    measures = [of.of(run) for run in runs]
    add_votes(measures)
    accuracy = np.array([run.results["accuracy"] for run in runs])
    rank = accuracy.argsort(kind="stable").argsort()
    groups = [rank % 2 == 0, rank % 2 == 1, rank >= 0, accuracy > GOOD]
    print(f"{len(runs)} runs, {int((accuracy > GOOD).sum())} above {GOOD:.0%}\n")
    print("| measure | even | odd | all | above 90 % | tau |\n|---|---|---|---|---|---|")
    for name in measures[0]:
        values = np.array([one[name] for one in measures])
        cells = [spearmanr(values[group], accuracy[group]).statistic for group in groups]
        cells.append(kendalltau(values, accuracy).statistic)
        print(f"| {name} | {' | '.join(f'{cell:.2f}' for cell in cells)} |")


if __name__ == "__main__":
    main()
