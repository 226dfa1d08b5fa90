"""Measure how fast street-digits are rendered on one core.

python benchmarks/render.py
"""

import platform
import statistics
import time

from domtrans_digits.domains.rendering import TRAIN_FONTS, render_digits

COUNT = 5_000


def main() -> None:
    """Render the same images five times and print the median rate. The fonts are loaded before."""
    render_digits(1, seed=0, fonts=TRAIN_FONTS)
    rates = []
    for _ in range(5):
        start = time.perf_counter()
        render_digits(COUNT, seed=0, fonts=TRAIN_FONTS, workers=1)
        rates.append(COUNT / (time.perf_counter() - start))
    low, high = min(rates), max(rates)
    print(f"{platform.machine()}, one thread: {statistics.median(rates):,.0f} images/s ({low:,.0f} to {high:,.0f})")


if __name__ == "__main__":
    main()
