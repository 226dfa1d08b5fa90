"""domtrans: unsupervised image domain transfer. ``__init__.pyi`` lists all that a program or a plugin may import.

Names are loaded on first use, so that ``import domtrans`` (and ``domtrans --help``) does not wait for torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"
