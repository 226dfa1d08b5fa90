"""Optional libraries: imported when needed, with the pip command in the error."""

import json
import sys

import pytest

import domtrans
from domtrans import DomtransError, require_extra, require_extra_file


def test_a_module_of_an_installed_library_is_returned():
    assert require_extra("json", "export", "a test") is json


def test_a_missing_library_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "missing.part", None)
    monkeypatch.setitem(sys.modules, "missing", None)
    with pytest.raises(DomtransError, match=r"^a test needs the library missing, .* pip install 'domtrans\[export\]'$"):
        require_extra("missing.part", "export", "a test")


def test_the_old_name_still_works_with_a_warning():
    with pytest.warns(DeprecationWarning, match=r"use domtrans\.require_extra"):
        assert domtrans.library("json", "export", "a test") is json


def test_a_file_of_an_installed_package_is_located():
    assert require_extra_file("domtrans", "py.typed", "faces", "a test").name == "py.typed"


@pytest.mark.parametrize(("package", "file"), [("missing_package", "net.dat"), ("domtrans", "net.dat"), ("pty", "net.dat")])
def test_a_missing_file_of_a_package_is_named_with_the_command_that_installs_it(package, file):
    with pytest.raises(DomtransError, match=rf"^a test needs the file {file} of the package {package}, .*'domtrans\[faces\]'$"):
        require_extra_file(package, file, "faces", "a test")
