"""Transfer all images of a folder with a trained run. The output has the folder's structure.

python examples/transfer_a_folder.py RUN_FOLDER IMAGE_FOLDER OUTPUT_FOLDER
"""

import sys

import domtrans


def main(run_folder: str, images: str, output: str) -> None:
    """Transfer the readable images and list the others."""
    done = domtrans.transfer(domtrans.load(run_folder), images, output)
    print(f"wrote {len(done.written)} images to {output}")
    for path, reason in done.failed:
        print(f"skipped {path}: {reason}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except domtrans.DomtransError as error:
        sys.exit(f"error: {error}")
