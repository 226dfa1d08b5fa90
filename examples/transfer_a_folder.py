"""Transfer every picture under a folder with a trained run; the folder's structure is kept.

python examples/transfer_a_folder.py RUN_FOLDER PICTURES_FOLDER OUTPUT_FOLDER
"""

import sys

import domtrans


def main(run_folder: str, pictures: str, output: str) -> None:
    """Transfer what can be read and say what could not."""
    done = domtrans.transfer(domtrans.load(run_folder), pictures, output)
    print(f"{len(done.written)} pictures written to {output}")
    for path, reason in done.failed:
        print(f"passed over {path}: {reason}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except domtrans.DomtransError as error:
        sys.exit(f"error: {error}")
