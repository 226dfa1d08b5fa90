"""Text files that people write, in the encodings that editors and shells save them in."""

from __future__ import annotations

import codecs


def decode_text(content: bytes) -> str:
    """The text of a file that a person wrote.

    Args:
        content: The bytes of the file: UTF-8, also with a byte order mark as Notepad writes it, or UTF-16 with one, as
            PowerShell and Excel write it.

    Raises:
        UnicodeDecodeError: If it is in another encoding.
    """
    utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if utf_16 else "utf-8-sig")
