"""``python -m domtrans`` is ``domtrans``."""

from domtrans.cli import main

main()
