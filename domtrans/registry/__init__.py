"""Parts and plugins: how a part is declared, described, checked and built, and how plugins bring parts. It knows no part
by name.
"""
