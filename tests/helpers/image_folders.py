"""Image files for tests, and a run that returns its input."""

from types import SimpleNamespace

from PIL import Image

from domtrans import Run


class Mirror(Run):
    """A run whose ``transfer`` returns its input, of 16 pixels."""

    draws_by_parameters = False

    def __init__(self):
        self.batches, self.recipe = [], SimpleNamespace(image_size=16, source=SimpleNamespace(options={}))

    def inference_engine(self, engine):
        return engine

    def transfer(self, images, engine="torch"):
        self.batches.append(len(images))
        return images


def photo(path, colour="red", size=(20, 14), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **options)
    return path


def colour_of(path):
    with Image.open(path) as image:
        return image.convert("RGB").getpixel((3, 3))


def opened(path):
    with Image.open(path) as image:
        image.load()
        return image


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def animate(path, colours=("red", "lime", "blue"), seconds=0.2, **options):
    frames = [Image.new("RGB", (20, 20), colour) for colour in colours]
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"duration": round(seconds * 1000), "save_all": True, "append_images": frames[1:], **options}
    frames[0].save(path, **options)
    return path
