"""Stage 4: the report document and its renderings.

The document is the product: frozen, versioned, lossless in JSON. Text, HTML and PDF are
rendered from the document alone, without the media. Not in here: analysis, thresholds.
"""
