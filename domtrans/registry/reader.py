"""How a domain recognises its data, so that ``domtrans inspect PATH`` finds the domain that reads a path."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any


class DataReader(ABC):
    """Recognises the data that a domain reads.

    Register it with the domain: ``registry.domain("usps", usps, reader=UspsReader())``.
    """

    @abstractmethod
    def options(self, data: str) -> Mapping[str, Any] | None:
        """The options of the domain with which it reads some data.

        Args:
            data: A path, a pattern such as "{000..019}.tar", or an address such as ``https://``. There may be nothing there.

        Returns:
            The options, such as ``{"path": data}``; None if the domain does not read this.

        Raises:
            DomtransError: If it is the data of the domain, but in another form. The message says what to do.
        """

    def shape(self, options: Mapping[str, Any]) -> tuple[int, int] | None:
        """Height and width in pixels that all images read with some options have, from the header of a file.

        By default None: the images have their own sizes, or their size is not known without reading them. Errors of reading
        count as None, because the domain reports them.
        """
        return None
