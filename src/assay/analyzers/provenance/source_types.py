"""The IPTC vocabulary "Digital Source Type": what a medium declares itself to be.

Source: IPTC NewsCodes, scheme http://cv.iptc.org/newscodes/digitalsourcetype, and the C2PA
technical specification, which uses the same terms.
"""

from __future__ import annotations

from dataclasses import dataclass

from assay.findings import Claim

__all__ = ["SourceType", "source_type"]


@dataclass(frozen=True, slots=True)
class SourceType:
    """One term: its ``key`` (the last part of its address), direction and meaning.

    ``suffix`` ends the code of a finding; ``meaning`` continues "says that it ...".
    """

    key: str
    claim: Claim
    suffix: str
    meaning: str


_A, _M, _N, _S = Claim.AUTHENTIC, Claim.MANIPULATED, Claim.NEUTRAL, Claim.SYNTHETIC

_TERMS = (
    ("trainedAlgorithmicMedia", _S, "generated", "was made by a generative model"),
    ("compositeWithTrainedAlgorithmicMedia", _M, "composite",
     "contains parts made by a generative model"),
    ("compositeSynthetic", _M, "composite", "is a composite with synthetic parts"),
    ("trainedAlgorithmicData", _S, "generated", "was made by a generative model"),
    ("digitalCapture", _A, "capture", "was captured from life by a digital camera or recorder"),
    ("computationalCapture", _A, "capture",
     "was captured from life and computed from several exposures"),
    ("negativeFilm", _A, "capture", "was scanned from a film negative"),
    ("positiveFilm", _A, "capture", "was scanned from a film positive"),
    ("print", _A, "capture", "was scanned from a print"),
    ("minorHumanEdits", _N, "edited", "was captured and lightly edited by a person"),
    ("humanEdits", _N, "edited", "was edited by a person"),
    ("algorithmicallyEnhanced", _N, "edited", "was enhanced by an algorithm"),
    ("compositeCapture", _N, "edited", "is a composite of several captures"),
    ("composite", _N, "edited", "is a composite of several elements"),
    ("algorithmicMedia", _N, "drawn",
     "was computed by an algorithm that was not trained on samples"),
    ("dataDrivenMedia", _N, "drawn", "was drawn from data"),
    ("digitalArt", _N, "drawn", "was drawn by a person with digital tools"),
    ("digitalCreation", _N, "drawn", "was made by a person with digital tools"),
    ("softwareImage", _N, "drawn", "was made by software"),
    ("virtualRecording", _N, "drawn", "was recorded from a virtual scene or event"),
    ("screenCapture", _N, "drawn", "is a capture of a screen"),
)  # fmt: skip

_BY_KEY = {key.lower(): SourceType(key, claim, suffix, say) for key, claim, suffix, say in _TERMS}


def source_type(value: object) -> SourceType | None:
    """The term meant by ``value`` (an address or a bare key), or ``None`` if unknown."""
    if not isinstance(value, str) or len(value) > 300:
        return None
    key = value.strip().rstrip("/").rsplit("/", 1)[-1].rsplit(":", 1)[-1]
    return _BY_KEY.get(key.lower())
