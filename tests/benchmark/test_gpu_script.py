"""benchmarks/gpu.py, tried on the CPU."""

from paths import ROOT
from processes import run


def gpu_script(*words):
    return run(ROOT / "benchmarks" / "gpu.py", *words)


def test_its_checks_work_and_end_in_a_page(tmp_path):
    page = tmp_path / "gpu.md"
    done = gpu_script("parity", "waits", "capture", "svhn", "--device", "cpu", "--quick", "--out", page)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ")[1] for line in page.read_text().splitlines() if line.startswith("| ")]
    assert rows[2:] == ["passed", "skipped", "skipped", "skipped"]


def test_without_a_gpu_it_says_so(tmp_path):
    done = gpu_script("--out", tmp_path / "gpu.md")
    assert done.returncode == 2 and "no GPU" in done.stderr and not list(tmp_path.iterdir())
