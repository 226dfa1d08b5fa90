"""What f would allow on faces-dtn: the FID of real avatars that f finds most like the test portraits.

python benchmarks/nearest_by_f.py RUN

For each test portrait x, one of the 5 training avatars with the lowest L_CONST takes the place of G(x): a G that draws like
the target and satisfies f as well as a real avatar can. If its FID is much lower than that of G(x), f does not limit the FID.
"""

import argparse
from typing import Any

import torch
from torch import Tensor

import domtrans
from domtrans_faces.metrics.avatars import BATCH_SIZE, STEPS
from domtrans_faces.metrics.encoder_reading import head_logits
from domtrans_faces.metrics.evaluator import EVALUATOR_VIEW, fit_avatar_evaluator, hidden_features
from domtrans_faces.recipes import ATTRIBUTE_WEIGHTS

NEAREST = 5
SHARPEN = 2  # as in the recipe's L_CONST


def nearest_avatars(portraits: dict[str, Tensor], avatars: dict[str, Tensor]) -> Tensor:
    """For each portrait one of the avatars of lowest L_CONST, from the logits of f's heads: [portraits]."""
    costs = []
    for name, logits in portraits.items():
        wanted, found = (SHARPEN * logits).softmax(1), avatars[name].log_softmax(1)
        entropy = torch.special.entr(wanted).sum(1, keepdim=True)
        costs.append(ATTRIBUTE_WEIGHTS.get(name, 1.0) * (-entropy - wanted @ found.T))
    nearest = torch.stack(costs).sum(0).topk(NEAREST, largest=False).indices
    chosen = torch.randint(NEAREST, (len(nearest), 1), generator=torch.Generator().manual_seed(0))
    return nearest.gather(1, chosen).squeeze(1)


def main() -> None:
    """Print the FIDs, and how many of the faces have a beard."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run of faces-dtn")
    args = parser.parse_args()
    torch.set_num_threads(1)
    run = domtrans.load(args.run)
    registry, session, size = run.registry, domtrans.Session.start("cpu", precision="bf16"), run.recipe.image_size
    portraits = domtrans.load_domain(registry, run.recipe.source, "test", size)
    train, test = (domtrans.load_domain(registry, run.recipe.target, split, size) for split in ("train", "test"))
    inputs = domtrans.MetricInput(run.model, portraits, train, test, session)
    nearest = train.take(nearest_avatars(head_logits(inputs, portraits), head_logits(inputs, train)))
    view: Any = registry.build("augmentation", domtrans.use(**EVALUATOR_VIEW))
    evaluator = fit_avatar_evaluator(train, session, steps=STEPS, batch_size=BATCH_SIZE, view=view)
    real = hidden_features(evaluator, test, session)
    print("| FID to real test avatars | |\n|---|---|")
    for name, images in {"real avatars nearest by f": nearest, "G(x)": inputs.transferred}.items():
        print(f"| {name} | {domtrans.frechet_distance(hidden_features(evaluator, images, session), real):.1f} |")
    print("\n| with a beard | |\n|---|---|")
    for name, faces in {"test portraits": portraits, "real avatars": train, "real avatars nearest by f": nearest}.items():
        beard = faces.attributes["facial_hair"]
        known = beard.index[beard.index >= 0]
        print(f"| {name} | {100 * float((known == beard.values.index('yes')).double().mean()):.1f} % |")


if __name__ == "__main__":
    main()
