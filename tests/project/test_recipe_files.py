"""Every recipe file of the documentation is what its page says, and trains."""

import tomllib
from pathlib import Path

import pytest
from PIL import Image

from commands import in_process
from domtrans import find_recipe
from pages import PAGES, blocks
from paths import ROOT
from published_weights import published
from tiny import registry

FILES = [
    (page.relative_to(ROOT).as_posix(), code)
    for page in PAGES
    for code in blocks(page, "toml")
    if "project" not in tomllib.loads(code)
]
CLAIMS = {
    "docs/tutorials/your-photos.md": {
        "name": "photos",
        "description": "photos to drawings",
        "source": "folder photos",
        "target": "folder drawings",
        "encoder": "map-encoder",
        "fit": "self-supervised",
        "metrics": "realism, content",
        "image size": 64,
        "steps": 8000,
        "label-free score every": 500,
    },
    "docs/how-to/editors.md": {"name": "my-photos", "encoder": "map-encoder", "steps": 2000},
    "docs/encoders.md": {"encoder": "concat of dlib-resnet, timm resnet18"},
}
"""What the page of each file says of the recipe."""

SMALL = [
    "train.steps=2",
    "train.batch_size=2",
    "train.validate_every=0",
    "train.precision=float32",
    "generator.width=8",
    "discriminator.width=8",
]


def described(recipe):
    """A recipe in the words of CLAIMS."""

    def network(name, options):
        parts = [network(part["name"], part) for part in options.get("encoders", ())]
        words = [name, options.get("model", ""), "of" if parts else "", ", ".join(parts)]
        return " ".join(word for word in words if word)

    return {
        "name": recipe.name,
        "description": recipe.description,
        "source": f"{recipe.source.name} {recipe.source.options['path']}",
        "target": f"{recipe.target.name} {recipe.target.options['path']}",
        "encoder": network(recipe.encoder.name, recipe.encoder.options),
        "fit": "none" if recipe.fit is None else recipe.fit.name,
        "metrics": ", ".join(recipe.metrics) or "none",
        "image size": recipe.image_size,
        "steps": recipe.train.steps,
        "label-free score every": recipe.train.validate_every,
    }


@pytest.mark.parametrize(("page", "code"), FILES, ids=[page for page, _ in FILES])
def test_a_recipe_file_of_a_page_is_what_the_page_says_and_trains(page, code, tmp_path, monkeypatch, capsys):
    assert page in CLAIMS, "say in CLAIMS what the page says of its recipe"
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "drawings"):
        Path(folder).mkdir()
        for number in range(8):
            Image.new("RGB", (70, 64), (30 * number, 99, 7)).save(f"{folder}/{number}.png")
    is_whole = "extends" in tomllib.loads(code)
    Path("mine.toml").write_text(code if is_whole else f'extends = "folders-dtn"\n{code}')
    data = (
        ["fit.steps=1", "fit.batch_size=2"]
        if is_whole
        else ["source.path=photos", "target.path=drawings", "fit=none", "generator=image-generator"]
    )
    claims = CLAIMS[page]
    found = described(find_recipe("mine.toml", registry()))
    assert {name: found[name] for name in claims} == claims

    # Random weights stand in for those that a download or an extra brings.
    text = Path("mine.toml").read_text().replace("pretrained = true", "pretrained = false")
    text = text.replace('"dlib-resnet"', f'"dlib-resnet", path = "{published("dlib-resnet")}"')
    Path("mine.toml").write_text(text)
    data += ["encoder.pretrained=false"] if claims["encoder"].startswith("timm") else []
    exit_code, out, err = in_process(capsys, "train", "mine.toml", *data, *SMALL, "source.holdout=0.5", "--out", "run")
    assert exit_code == 0, err
    assert "training steps" in out
    trained = described(find_recipe("run", registry()))
    assert (trained["source"], trained["target"]) == ("folder photos", "folder drawings")
    for name in ("name", "description", "encoder", "metrics", "image size", *(["fit"] if is_whole else [])):
        assert trained[name] == found[name]
