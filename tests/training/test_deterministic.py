"""``train.deterministic`` on CUDA: docs/health.md names the parts whose gradients have no deterministic form there.

Checked without a GPU: a step on the CPU lists its operations, and torch documents which of them raise on CUDA.
"""

from torch.utils._python_dispatch import TorchDispatchMode

from domtrans import find_recipe, override
from tiny import SMALL_FOLDERS, registry, tiny_recipe, tiny_trainer, write_bars

NOT_DETERMINISTIC = {
    "_adaptive_avg_pool2d_backward",
    "_upsample_bicubic2d_aa_backward",
    "_upsample_bilinear2d_aa_backward",
    "adaptive_max_pool2d_backward",
    "grid_sampler_2d_backward",
    "grid_sampler_3d_backward",
    "histc",
    "nll_loss2d_forward",
    "reflection_pad2d_backward",
    "upsample_bicubic2d_backward",
    "upsample_bilinear2d_backward",
}
"""Operations of images for which torch.use_deterministic_algorithms documents an error on CUDA."""


class Operations(TorchDispatchMode):
    """The names of all operations, those of the backward pass too."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def operations_of_a_step(recipe):
    trainer = tiny_trainer(recipe)
    trainer.step_number = recipe.train.steps // 2
    with Operations() as operations:
        trainer.step()
    assert "convolution_backward" in operations.names
    return operations.names & NOT_DETERMINISTIC


def folders(folder, **changes):
    files = {
        name: {"name": "arrays", "path": write_bars(folder / f"{name}.npz"), "holdout": 0.25} for name in ("source", "target")
    }
    small = SMALL_FOLDERS | files | {"image_size": 32, "train.steps": 4}
    return override(find_recipe("folders-dtn", registry()), small | changes, registry())


def faces(**changes):
    small = {
        "source": {"name": "portraits", "count": 16, "test_count": 8},
        "target": {"name": "avatars", "count": 16, "test_count": 8},
        "image_size": 32,
        "encoder": {"name": "attributes", "width": 4, "features": 8},
        "fit": None,
        "generator.width": 4,
        "discriminator.width": 4,
        "metrics": {},
        "train.batch_size": 4,
    }
    return override(find_recipe("faces-dtn", registry()), small | changes, registry())


def test_the_recipe_of_the_paper_is_deterministic_on_cuda(tmp_path):
    assert operations_of_a_step(tiny_recipe(tmp_path, "digits-dtn-paper")) == set()


def test_only_the_views_of_digits_dtn_are_not_deterministic(tmp_path):
    assert operations_of_a_step(tiny_recipe(tmp_path, "digits-dtn")) == {"grid_sampler_2d_backward"}
    assert operations_of_a_step(tiny_recipe(tmp_path, "digits-dtn", view=None)) == set()


def test_only_the_views_of_folders_dtn_are_not_deterministic(tmp_path):
    assert operations_of_a_step(folders(tmp_path)) == {"grid_sampler_2d_backward"}


def test_f_the_views_and_resized_images_of_faces_dtn_are_not_deterministic():
    found = {"grid_sampler_2d_backward", "_adaptive_avg_pool2d_backward", "_upsample_bilinear2d_aa_backward"}
    assert operations_of_a_step(faces()) == found
    assert operations_of_a_step(faces(image_size=64, view=None)) == {"_adaptive_avg_pool2d_backward"}
