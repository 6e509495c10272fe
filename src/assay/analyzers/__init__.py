"""Stage 2: analyzers turn media into findings.

Not in here: verdicts, likelihood ratios, thresholds on several findings (see
:mod:`assay.fusion`), reading files (see :mod:`assay.media`).
"""
