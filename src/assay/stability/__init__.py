"""Would the answer survive what happens to files on their way? Measured on this very file.

Not in here: weighing, wording, the first analysis.
"""

from __future__ import annotations

from assay.stability.measure import stability

__all__ = ["stability"]
