"""Signatures: of every kind of key, and what is said of keys that cannot be used."""

import pytest

from domtrans import DomtransError
from domtrans.storage.signature import PASSWORD_VARIABLE, is_signed_by, sign

s = pytest.importorskip("cryptography.hazmat.primitives.serialization")
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: E402

NO_PASSWORD = s.NoEncryption()


@pytest.fixture
def write(tmp_path):
    """Write a private key and its public key into files."""

    def write_key(name, key, form="PEM", password=NO_PASSWORD):
        is_pem = form == "PEM"
        private, public = tmp_path / name, tmp_path / f"{name}.pub"
        kind = s.PrivateFormat.PKCS8 if is_pem else s.PrivateFormat.OpenSSH
        public_kind = s.PublicFormat.SubjectPublicKeyInfo if is_pem else s.PublicFormat.OpenSSH
        private.write_bytes(key.private_bytes(s.Encoding.PEM, kind, password))
        public.write_bytes(key.public_key().public_bytes(s.Encoding.PEM if is_pem else s.Encoding.OpenSSH, public_kind))
        return private, public

    return write_key


@pytest.mark.parametrize("make", [ed25519.Ed25519PrivateKey.generate, lambda: ec.generate_private_key(ec.SECP256R1())])
@pytest.mark.parametrize("form", ["PEM", "OpenSSH"])
def test_only_the_signature_of_this_content_with_this_key_is_right(write, make, form):
    (key, public), (_, other) = write("key", make(), form), write("other", make(), form)
    signature = sign(b"content", key)
    assert is_signed_by(b"content", signature, public)
    assert not is_signed_by(b"other content", signature, public)
    assert not is_signed_by(b"content", signature, other)
    assert not is_signed_by(b"content", b"-----BEGIN SSH SIGNATURE-----", public)


def test_keys_that_cannot_be_used(write, tmp_path):
    rsa_key = write("rsa", rsa.generate_private_key(65537, 2048))
    (tmp_path / "text").write_text("no key")
    for key, message in (
        (rsa_key[0], "rsa is of another kind; use an Ed25519 or ECDSA key"),
        (tmp_path / "text", "is not a private key"),
        (tmp_path / "gone", "cannot be read: No such file"),
    ):
        with pytest.raises(DomtransError, match=message):
            sign(b"content", key)
    for key, message in ((rsa_key[1], "is of another kind"), (tmp_path / "text", "is not a public key")):
        with pytest.raises(DomtransError, match=message):
            is_signed_by(b"content", b"", key)


def test_a_key_with_a_password(write, monkeypatch):
    key, public = write("key", ed25519.Ed25519PrivateKey.generate(), password=s.BestAvailableEncryption(b"hunter2"))
    with pytest.raises(DomtransError, match=f"has a password; put it into {PASSWORD_VARIABLE}"):
        sign(b"content", key)
    monkeypatch.setenv(PASSWORD_VARIABLE, "hunter3")
    with pytest.raises(DomtransError, match="its password is wrong"):
        sign(b"content", key)
    monkeypatch.setenv(PASSWORD_VARIABLE, "hunter2")
    assert is_signed_by(b"content", sign(b"content", key), public)
    with pytest.raises(DomtransError, match=f"has no password; unset {PASSWORD_VARIABLE}"):
        sign(b"content", write("open", ed25519.Ed25519PrivateKey.generate())[0])
