"""The names of the files of a run folder and of a packed run. ``domtrans/runs/folder.py`` says what each holds."""

RECIPE_FILE = "recipe.json"
DATA_FILE = "data.json"
METRICS_FILE = "metrics.jsonl"
MODEL_FILE = "model.safetensors"
BEST_FILE = "best.safetensors"
TRAINING_FILE = "training.safetensors"
RESULTS_FILE = "results.json"
EXAMPLES_FILE = "examples.safetensors"
REPORT_FILE = "report.html"
IDENTITY_FILE = "identity"
"""The identity that trackers get."""
SAMPLES_FOLDER = "samples"
EARLIER_FOLDER = "earlier"

RUN_FILES = (
    RECIPE_FILE, DATA_FILE, METRICS_FILE, MODEL_FILE, BEST_FILE, TRAINING_FILE, RESULTS_FILE, EXAMPLES_FILE, REPORT_FILE,
    IDENTITY_FILE,
)  # fmt: skip
"""All files of a run that are not in one of its folders."""

DISCRIMINATOR_FILE = "discriminator.safetensors"
"""Of a packed run: D of the last step."""

CONFIG_FILE = "config.json"
"""Of a packed run: what builds the networks again, as model hubs expect it."""
