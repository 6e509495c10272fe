"""What the processor is fast at."""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["multiplies_bytes"]

_CPUINFO = Path("/proc/cpuinfo")
_FAST = {"avx512_vnni", "avx_vnni", "asimddp"}


@cache
def multiplies_bytes() -> bool:
    """Whether sums of products of eight-bit numbers come faster than those of floats.

    They do where the processor has instructions for them: VNNI on x86, dot products on ARM.
    Where that cannot be read, as outside Linux, the answer is yes.
    """
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return True
    named = [line.partition(":") for line in lines]
    able = [set(v.split()) for k, _, v in named if k.strip().lower() in ("flags", "features")]
    return not able or bool(able[0] & _FAST)
