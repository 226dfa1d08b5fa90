"""Parts and plugins: how a part is declared, described, checked and built, and how plugins register parts. No part is named
here.
"""
