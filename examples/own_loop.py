"""The losses of a recipe in a training loop of your own: f, g and D of a run, and the sums L_D and L_G of its recipe.

lightning_module.py and accelerate_loop.py train with it. It begins with a trained run, and keeps f as it is.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

import domtrans
from domtrans import Outputs


class Networks(nn.Module):
    """f, g and D of a run, with the losses of its recipe.

    Args:
        run: A run folder, or ``models:digits-dtn``. Its D is built anew, because a model file has none.
    """

    def __init__(self, run: str) -> None:
        super().__init__()
        registry = domtrans.load_plugins().registry
        trained = domtrans.load(run, device="cpu", registry=registry)
        recipe, channels = trained.recipe, int(trained.about["channels"])
        self.recipe, self.registry = recipe, registry
        self.f, self.g = trained.encoder, trained.generator.train().requires_grad_(True)
        self.D: domtrans.Discriminator = registry.build("discriminator", recipe.discriminator, channels, recipe.image_size)
        self.view = registry.build("augmentation", recipe.view) if recipe.view else None
        self.rng = torch.Generator()
        self.losses = nn.ModuleDict()
        self.weights = dict[str, float]()
        for field in ("generator_losses", "discriminator_losses"):
            for name, term in getattr(recipe, field).items():
                self.losses[f"{field}-{name}"] = registry.build("loss", term)
                self.weights[f"{field}-{name}"] = term.weight

    def images(self, domain: str, split: str = "train") -> Any:
        """The images of a domain of the recipe: an ImageSet, which a ``DataLoader`` takes. Its items are (image, label)."""
        return domtrans.load_domain(self.registry, getattr(self.recipe, domain), split, self.recipe.image_size)

    def generate(self, source: Tensor, target: Tensor) -> Outputs:
        """Features and G(x) of a batch [B, C, S, S] of each domain, in [-1, 1]."""
        with torch.no_grad():
            source_features, target_features = self.f(source), self.f(target)
        return Outputs(
            source=source,
            target=target,
            source_features=source_features,
            target_features=target_features,
            source_fake=self.g(source_features),
            target_fake=self.g(target_features),
            classify=self.f.classify if self.f.has_head() else None,
        )

    def discriminator_loss(self, outputs: Outputs) -> Tensor:
        """L_D: g is fixed, so the fakes are detached."""
        fakes = [fake.detach() for fake in (outputs.source_fake, outputs.target_fake) if fake is not None]
        judged = [self.D(images) for images in (*fakes, outputs.target)]
        names = ("source_fake_logits", "target_fake_logits", "target_logits")
        return self._sum("discriminator_losses", replace(outputs, **dict(zip(names, judged, strict=True))))

    def generator_loss(self, outputs: Outputs) -> Tensor:
        """L_G: D is fixed, so only the optimizer of g may step."""
        assert outputs.source_fake is not None
        seen = outputs.source_fake if self.view is None else self.view(outputs.source_fake, self.rng)
        complete = replace(
            outputs,
            source_fake_logits=self.D(outputs.source_fake),
            target_fake_logits=self.D(outputs.target_fake),
            source_fake_features=self.f(seen),
        )
        return self._sum("generator_losses", complete)

    def _sum(self, field: str, outputs: Outputs) -> Tensor:
        terms = [self.weights[name] * loss(outputs) for name, loss in self.losses.items() if name.startswith(field)]
        return torch.stack(terms).sum()
