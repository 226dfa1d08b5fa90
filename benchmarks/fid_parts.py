"""What the FID of a run of photo-avatars-dtn consists of: how often attributes occur, what f gets wrong, and what g does.

python benchmarks/fid_parts.py RUN lfw.zip

For every test photograph, real training avatars are taken that have its labelled attributes, or those that f predicts, as the
metric matched-realism does. The first line has how often attributes occur among the labels of the training photographs. The
first table has the FIDs between these avatars, real test avatars, and the drawings of the run. The second has how many
drawings have the value that f predicts.
"""

import argparse
from typing import Any

import torch
from torch import Tensor

import domtrans
from domtrans_faces.metrics import avatars as measures
from domtrans_faces.metrics.encoder_reading import head_logits
from domtrans_faces.metrics.evaluator import EVALUATOR_VIEW

SMALLEST_SHARE = 0.005


def label_shares(photographs: domtrans.ImageSet) -> dict[str, dict[str, float]]:
    """How often every value occurs among the labels."""
    shares = {}
    for name, one in photographs.attributes.items():
        counts = torch.bincount(one.index[one.index >= 0], minlength=len(one.values)).double()
        pairs = zip(one.values, (counts / counts.sum()).tolist(), strict=True)
        shares[name] = {value: round(share, 3) for value, share in pairs if share >= SMALLEST_SHARE}
    return shares


def matching(avatars: domtrans.ImageSet, names: list[str], wanted: Tensor, seed: int) -> domtrans.ImageSet:
    """For each row of wanted values [N, names], an avatar that has as many of them as any; one of those at random."""
    known = torch.stack([avatars.attributes[name].index for name in names], 1)
    ties = torch.rand(len(wanted), len(known), generator=torch.Generator().manual_seed(seed)) / 2
    return avatars.take((torch.stack([((known == row) & (row >= 0)).sum(1) for row in wanted]) + ties).argmax(1))


def main() -> None:
    """Print the shares of the labels, and two tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run of photo-avatars-dtn")
    parser.add_argument("zip", help="the copy of LFW")
    args = parser.parse_args()
    torch.set_num_threads(1)
    run = domtrans.load(args.run)
    registry, session = run.registry, domtrans.Session.start("cpu", precision="bfloat16")
    size, lfw, target = run.recipe.image_size, domtrans.use("lfw", path=args.zip), run.recipe.target
    print(f"{label_shares(domtrans.load_domain(registry, lfw, 'train', size))}\n")
    photographs = domtrans.load_domain(registry, lfw, "test", size)
    train, test = (domtrans.load_domain(registry, target, split, size) for split in ("train", "test"))
    inputs = domtrans.MetricInput(run.model, photographs, train, test, session)
    names = [name for name in train.attributes if name in photographs.attributes]
    labels = torch.stack([measures.target_indices(photographs.attributes[n], train.attributes[n]) for n in names], 1)
    heads, logits = run.model.encoder.encoder.heads, head_logits(inputs, photographs)
    read = {n: domtrans.Attribute(tuple(heads[n]), logits[n].argmax(1)) for n in names}
    predicted = torch.stack([measures.target_indices(read[n], train.attributes[n]) for n in names], 1)
    view: Any = registry.build("augmentation", domtrans.use(**EVALUATOR_VIEW))
    evaluator = measures.fit_avatar_evaluator(train, session, steps=measures.STEPS, batch_size=measures.BATCH_SIZE, view=view)
    sets = {
        "real": test,
        "real, with the labelled attributes": matching(train, names, labels, 0),
        "others of these": matching(train, names, labels, 1),
        "real, with the attributes that f predicts": matching(train, names, predicted, 2),
        "the drawings": inputs.transferred,
    }
    features = {name: measures.hidden_features(evaluator, images, session) for name, images in sets.items()}
    real, labelled, others, by_f, drawn = sets
    print("| FID between | and | |\n|---|---|---|")
    pairs = [(labelled, real), (labelled, others), (by_f, real), (by_f, labelled)]
    for a, b in [*pairs, *((drawn, one) for one in (real, labelled, by_f))]:
        print(f"| {a} | {b} | {domtrans.frechet_distance(features[a], features[b]):.1f} |")
    found = dict(zip(train.attributes, measures.predict_attributes(evaluator, inputs.transferred, session), strict=True))
    print("\n| | drawings with the value that f predicts | balanced accuracy by the labels | of the evaluator |")
    print("|---|---|---|---|")
    own = dict(zip(train.attributes, measures.predict_attributes(evaluator, test, session), strict=True))
    for k, name in enumerate(names):
        known, values = predicted[:, k] >= 0, len(train.attributes[name].values)
        agreement = float((found[name] == predicted[:, k])[known].double().mean())
        scores = (
            measures.balanced_accuracy(measures.confusion_matrix(true, guess[name], values))
            for true, guess in ((labels[:, k], found), (test.attributes[name].index, own))
        )
        print(f"| {name} | {' | '.join(f'{100 * value:.1f} %' for value in (agreement, *scores))} |")


if __name__ == "__main__":
    main()
