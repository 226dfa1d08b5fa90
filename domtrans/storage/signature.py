"""Signatures with Ed25519 and ECDSA keys. A packed model is signed through the checksums of its files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from domtrans.errors import DomtransError
from domtrans.optional import require_extra
from domtrans.storage.address import check_local

CHECKSUMS_FILE = "SHA256SUMS"
"""The checksums of a packed model, as sha256sum writes them."""
SIGNATURE_FILE = "SHA256SUMS.sig"
"""The signature of the checksums file: 64 bytes of Ed25519, or ECDSA with SHA-256 in DER, as openssl writes them."""
PASSWORD_VARIABLE = "DOMTRANS_KEY_PASSWORD"
"""Environment variable with the password of a private key that has one."""
MAX_KEY_BYTES = 2**16
KINDS = "use an Ed25519 or ECDSA key, as PEM or OpenSSH write it"


def sign(content: bytes, key: Path) -> bytes:
    """Sign bytes with a private key.

    Args:
        content: What is signed.
        key: The file of the key; Ed25519 or ECDSA, in PEM or OpenSSH format.

    Raises:
        DomtransError: If the extra "signing" is not installed, or the key cannot be used.
    """
    text = _read(key)
    serialization = _part("serialization")
    load = serialization.load_ssh_private_key if b"OPENSSH" in text[:40] else serialization.load_pem_private_key
    password = os.environ.get(PASSWORD_VARIABLE)
    try:
        private = load(text, None if password is None else password.encode())
    except TypeError:  # with a password and not encrypted, or the other way round
        fault = "has a password; put it into" if password is None else "has no password; unset"
        raise DomtransError(f"the key {key} {fault} {PASSWORD_VARIABLE}") from None
    except Exception as error:  # noqa: BLE001 - the library has several
        raise DomtransError(f"{key} is not a private key, or its password is wrong ({error}); {KINDS}") from None
    signature: bytes = private.sign(content, *_how(private, "PrivateKey", key))
    return signature


def is_signed_by(content: bytes, signature: bytes, key: Path) -> bool:
    """Whether a signature of the content was made with the private key that belongs to a public one.

    Args:
        content: What is signed.
        signature: The signature.
        key: The file of the public key; Ed25519 or ECDSA, in PEM or OpenSSH format.

    Raises:
        DomtransError: If the extra "signing" is not installed, or the key cannot be used.
    """
    text = _read(key)
    serialization = _part("serialization")
    load = serialization.load_pem_public_key if text.startswith(b"-----") else serialization.load_ssh_public_key
    try:
        public = load(text)
    except Exception as error:  # noqa: BLE001 - the library has several
        raise DomtransError(f"{key} is not a public key ({error}); {KINDS}") from None
    how = _how(public, "PublicKey", key)
    try:
        public.verify(signature, content, *how)
    except require_extra("cryptography.exceptions", "signing", "a signature").InvalidSignature:
        return False
    return True


def _read(key: Path) -> bytes:
    try:
        check_local(key, "a key")
        with key.open("rb") as file:
            return file.read(MAX_KEY_BYTES)
    except OSError as error:
        raise DomtransError(f"the key {key} cannot be read: {error.strerror or error}") from None


def _how(key: Any, half: str, file: Path) -> tuple[Any, ...]:
    """The arguments of the key's methods beside content and signature; DomtransError for a key of another kind."""
    ec, ed25519 = _part("asymmetric.ec"), _part("asymmetric.ed25519")
    if isinstance(key, getattr(ed25519, f"Ed25519{half}")):
        return ()
    if isinstance(key, getattr(ec, f"EllipticCurve{half}")):
        return (ec.ECDSA(_part("hashes").SHA256()),)
    raise DomtransError(f"the key {file} is of another kind; {KINDS}")


def _part(name: str) -> Any:
    return require_extra(f"cryptography.hazmat.primitives.{name}", "signing", "a signature")
