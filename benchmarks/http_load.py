"""Load the HTTP interface of the demo with many clients at once, on this machine (docs/demo.md).

python benchmarks/http_load.py RUN [--clients 64] [--requests 2000] [--device cpu]

RUN is any trained run. Every client sends one request after another, on one connection, and tries again after status 429 when
the answer says. It fails unless every request ends with an image. The clients share the machine with the server.
"""

from __future__ import annotations

import argparse
import http.client
import io
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from urllib.parse import urlsplit

import numpy as np
from PIL import Image


def picture(size: int) -> bytes:
    """A PNG of noise."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


class Clients:
    """Clients that share a number of requests."""

    def __init__(self, address: str, requests: int) -> None:
        self.address, self.requests, self.numbers = urlsplit(address).netloc, requests, count()
        self.lock = threading.Lock()
        self.seconds: list[float] = []
        self.refused = 0

    def work(self, body: bytes) -> None:
        """What one client does."""
        connection = http.client.HTTPConnection(self.address, timeout=600)
        while next(self.numbers) < self.requests:
            begun = time.perf_counter()
            while True:
                connection.request("POST", "/v1/transfer", body, {"Content-Type": "image/png"})
                answer = connection.getresponse()
                content = answer.read()
                if answer.status != 429:
                    break
                with self.lock:
                    self.refused += 1
                time.sleep(float(answer.headers["Retry-After"]))
            assert answer.status == 200 and content.startswith(b"\x89PNG"), (answer.status, content[:200])
            with self.lock:
                self.seconds.append(time.perf_counter() - begun)


def main() -> None:
    """Print a row of a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="a trained run")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    command = [sys.executable, "-m", "domtrans", "demo", options.run, "--no-browser", "--port", "0", "--device", options.device]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        clients = Clients(server.stdout.readline().split()[0], options.requests)
        body, begun = picture(options.image_size), time.perf_counter()
        with ThreadPoolExecutor(options.clients) as pool:
            for job in [pool.submit(clients.work, body) for _ in range(options.clients)]:
                job.result()
        whole = time.perf_counter() - begun
    finally:
        server.terminate()
        server.wait()
    lost = options.requests - len(clients.seconds)
    tail = statistics.quantiles(clients.seconds, n=100)
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"{platform.machine()}, {os.cpu_count()} cores, {load}, Python {platform.python_version()}, {options.device}\n")
    cells = [f"{options.clients}", f"{options.requests:,}", f"{lost}", f"{clients.refused}", f"{options.requests / whole:,.0f}"]
    print("| clients | requests | lost | answered 429 | images/s | median | p99 |\n|---|---|---|---|---|---|---|")
    print(f"| {' | '.join(cells)} | {1000 * tail[49]:,.0f} ms | {1000 * tail[98]:,.0f} ms |")
    assert not lost


if __name__ == "__main__":
    main()
