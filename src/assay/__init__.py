"""Assay says whether an image, a video or a sound recording is authentic."""

__version__ = "0.1.0"
