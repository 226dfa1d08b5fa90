"""results.json with other values than training measured."""

import json

from domtrans.evaluation.results import SECTIONS, in_sections


def change_results(file, **values):
    """Change values in the file, in its sections and beside them."""
    flat = {key: value for key, value in json.loads(file.read_text()).items() if key not in SECTIONS} | values
    file.write_text(json.dumps(flat | in_sections(flat)))
