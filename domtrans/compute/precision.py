"""The names of precisions, apart from torch: recipes are read without it."""

from typing import Literal

Precision = Literal["auto", "bf16", "float32"]
"""bf16: bfloat16 mixed precision. auto: bf16 where the hardware supports it natively, else float32."""
