"""``python -m domtrans`` is ``domtrans``."""

from domtrans.cli.app import main

main()
