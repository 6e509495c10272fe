"""Does the file carry signed Content Credentials, do they hold, and what do they say?"""

from __future__ import annotations

from assay.analyzers.protocol import AnalyzerInfo, Answer
from assay.analyzers.provenance.manifest import (
    Declaration,
    Manifest,
    Unreadable,
    read_manifest,
)
from assay.analyzers.provenance.similarity import correlation, read_thumbnail
from assay.analyzers.provenance.trust import TrustList, installed
from assay.findings import Claim, Finding, Json, Kind, Strength
from assay.media import Image, Media, MediaKind

__all__ = ["Credentials"]

_DIFFERENT = 0.35  # correlation of brightness below which two pictures show different things

_LIMITS = (
    "A trusted signature says who signed and that nothing changed since; it does not make the "
    "signed statements true.",
    "Most authentic media carry no credentials, and most platforms remove them: absence says "
    "nothing.",
    "Checked without a network: a certificate revoked after the date of the trust list goes "
    "unnoticed.",
)
_PLANTED = "Anyone can sign with a certificate of their own making: only a trusted signer counts."
_SMALL = "Removing a speck with a generative tool is declared like an invented scene."
_HARMLESS = (
    "Saving again, resizing or adding a tag breaks the content hash as well as a forgery does.",
    "The credential may have been copied here from another file, or the file be damaged.",
)
_UNCHANGING = {
    "c2pa.created", "c2pa.opened", "c2pa.published", "c2pa.transcoded", "c2pa.repackaged",
    "c2pa.converted", "c2pa.managed", "c2pa.produced", "c2pa.saved", "c2pa.printed",
    "c2pa.watermarked", "c2pa.watermarked.bound", "c2pa.watermarked.unbound", "c2pa.unknown",
}  # fmt: skip


class Credentials:
    """C2PA manifests: *signed*, *valid* and *trusted* told apart, and what they declare.

    ``trust``: the offline list of authorities; by default the one that is installed.
    """

    def __init__(self, trust: TrustList | None = None) -> None:
        self._trust = trust

    @property
    def info(self) -> AnalyzerInfo:
        return AnalyzerInfo(
            name="provenance.credentials",
            version=1,
            question="Does the file carry signed Content Credentials, and do they hold?",
            media=frozenset(MediaKind),
            source="C2PA technical specification 2.x; IPTC Digital Source Type NewsCodes",
            limitations=_LIMITS,
        )

    def analyze(self, media: Media) -> Answer:
        """Findings ``credentials.*``; an empty tuple when the file carries no manifest."""
        found = read_manifest(media.source, self._trust or installed())
        if found is None:
            return ()
        if isinstance(found, Unreadable):
            return (_unreadable(found),)
        answer = [_state(found)]
        if found.content_changed and found.signature_holds:
            answer.append(_changed(found, media))
        elif not found.signature_holds or found.statements_changed:
            answer.append(_broken(found))
        answer += _sources(found)
        edits = [a for a in found.actions if a not in _UNCHANGING]
        if edits:
            answer.append(_edits(found, edits))
        return tuple(answer)


def _unreadable(found: Unreadable) -> Finding:
    if found.remote:
        because = (
            f"The file says that its Content Credentials are kept elsewhere ({found.remote}); "
            "they were not fetched."
        )
        return Finding(
            code="credentials.remote", kind=Kind.PROVENANCE, claim=Claim.NEUTRAL,
            because=because, limits=_LIMITS[1:2], data={"address": found.remote},
        )  # fmt: skip
    return Finding(
        code="credentials.unreadable", kind=Kind.PROVENANCE, claim=Claim.NEUTRAL,
        because="The file carries Content Credentials that cannot be read: damaged, cut or old.",
        limits=_LIMITS[1:2], data={"cause": found.cause},
    )  # fmt: skip


def _state(found: Manifest) -> Finding:
    """The three answers, apart: signed, valid, trusted."""
    who = f"'{found.signer}'" if found.signer else "an unnamed signer"
    trust = found.trust_list.title
    if found.state == "trusted":
        say = (
            f"The file is signed by {who}. The signature and the content hash hold, and the "
            f"signer's certificate leads to an authority on {trust}."
        )
        if found.malformed:
            say += " Some of the signed statements do not follow the standard's form."
    elif found.holds:
        doubts = []
        if found.expired:
            doubts.append("had expired when the signature was made or was checked")
        if found.revoked:
            doubts.append("was revoked")
        if not found.chain_trusted:
            listed = found.trust_list.signers
            doubts.append(
                f"is not on {trust}" if listed else "cannot be checked without a trust list"
            )
        if found.bad_certificate:
            doubts.append("breaks the rules for such certificates")
        say = f"The file is signed by {who}. The signature and the content hash hold"
        say += f"; the certificate {' and '.join(doubts)}." if doubts else "."
        if found.malformed:
            say += " Some of the signed statements do not follow the standard's form."
        say += " None of this is a sign of tampering"
        say += ", but the signer's name is not vouched for." if doubts else "."
    elif not found.signature_holds:
        say = f"The file carries a credential in the name of {who}, whose signature does not hold."
    elif found.content_changed:
        say = (
            f"The file was signed by {who} and the signature holds, but the content was changed "
            "after signing."
        )
    elif found.statements_changed:
        say = f"The file was signed by {who}, but signed statements were altered or removed."
    else:
        say = (
            f"The file is signed by {who} and the signature holds, but nothing ties it to this "
            "content."
        )
    return Finding(
        code="credentials.state", kind=Kind.PROVENANCE, claim=Claim.NEUTRAL, because=say,
        limits=_LIMITS, data=_data(found),
    )  # fmt: skip


def _data(found: Manifest) -> dict[str, Json]:
    return {
        "c2pa_state": found.state,
        "signed": True,
        "valid": found.holds,
        "trusted": found.state == "trusted",
        "signer": found.signer,
        "common_name": found.common_name,
        "certificate": {
            "on_trust_list": found.chain_trusted,
            "expired": found.expired,
            "revoked": found.revoked,
            "malformed": found.bad_certificate,
            "algorithm": found.algorithm,
        },
        "signature_holds": found.signature_holds,
        "content_hash_holds": found.content_holds,
        "time_stamp": found.time_stamp,
        "time_stamp_trusted": found.time_stamp_trusted,
        "claim_generator": found.generator,
        "actions": list(found.actions),
        "ingredients": list(found.ingredients),
        "failures": list(found.failures),
        "library_state": found.library_state,
        "trust_list": {
            "name": found.trust_list.name,
            "date": found.trust_list.dated.isoformat() if found.trust_list.dated else None,
            "sha256": found.trust_list.sha256,
        },
    }


def _changed(found: Manifest, media: Media) -> Finding:
    """Weak, as saving again does it too; strong if a trusted preview shows another picture."""
    likeness = None
    preview = read_thumbnail(found.thumbnail)
    if preview is not None and isinstance(media, Image) and media.time is None:
        likeness = correlation(preview, media)
    other = likeness is not None and likeness < _DIFFERENT and not found.statements_changed
    strong = other and found.chain_trusted
    say = "The content no longer matches its signed hash: it was changed after signing."
    if other:
        say += " The signed preview shows a different picture."
    elif likeness is not None:
        say += " The signed preview shows the same picture at a glance."
    return Finding(
        code="credentials.changed", kind=Kind.PROVENANCE, claim=Claim.MANIPULATED, because=say,
        strength=Strength.STRONG if strong else Strength.WEAK, group="credentials",
        limits=_HARMLESS, data={"preview_correlation": likeness, "failures": list(found.failures)},
    )  # fmt: skip


def _broken(found: Manifest) -> Finding:
    what = "signature does not hold" if not found.signature_holds else "statements were altered"
    return Finding(
        code="credentials.broken", kind=Kind.PROVENANCE, claim=Claim.MANIPULATED,
        because=f"The credential was damaged or altered: its {what}. What it says does not count.",
        strength=Strength.WEAK, group="credentials",
        limits=("Faulty software writes broken credentials too.", _HARMLESS[1]),
        data={"failures": list(found.failures)},
    )  # fmt: skip


def _sources(found: Manifest) -> list[Finding]:
    """What the manifest, or one it descends from, declares the content to be."""
    answer = []
    seen: set[str] = set()
    for declared in found.sources:
        if declared.term.key not in seen:
            seen.add(declared.term.key)
            answer.append(_source(found, declared))
    return answer


def _strength(found: Manifest, claim: Claim, inherited: bool) -> Strength:
    if claim is Claim.NEUTRAL or not found.signature_holds:
        return Strength.NONE
    clean = found.state == "trusted" and not found.malformed
    if claim is Claim.AUTHENTIC:
        # Whoever wants to deceive signs "captured" himself: only a trusted signer settles it.
        if not found.holds:
            return Strength.NONE
        return Strength.DECISIVE if clean and not inherited else Strength.WEAK
    if not found.holds:
        return Strength.WEAK
    return Strength.DECISIVE if clean and not inherited else Strength.STRONG


def _source(found: Manifest, declared: Declaration) -> Finding:
    term, inherited = declared.term, declared.inherited
    strength = _strength(found, term.claim, inherited)
    claim = term.claim
    edits = [a for a in found.actions if a not in _UNCHANGING]
    if claim is Claim.AUTHENTIC and (strength is Strength.NONE or edits):
        claim, strength = Claim.NEUTRAL, Strength.NONE
    if strength is Strength.NONE:
        claim = Claim.NEUTRAL
    if found.state == "trusted":
        who = "The trusted signer"
    elif found.holds:
        who = "The signer, who is not vouched for,"
    else:
        who = "The credential, which does not hold for this content,"
    what = "a file that this one was made from" if inherited else "the content"
    program = f" (with {declared.program.rstrip('.')})" if declared.program else ""
    say = f"{who} says that {what} {term.meaning}{program}."
    if term.claim is Claim.AUTHENTIC and edits:
        say += " The signed history lists edits since."
    data: dict[str, Json] = {
        "digital_source_type": term.key, "inherited": inherited, "signer": found.signer,
        "trusted": found.state == "trusted",
    }  # fmt: skip
    if claim is Claim.SYNTHETIC and declared.program:
        data["generator"] = declared.program
    limits: tuple[str, ...] = _LIMITS[:1] if found.state == "trusted" else (_PLANTED, *_LIMITS[:1])
    if term.suffix == "composite":
        limits = (_SMALL, *limits)
    return Finding(
        code=f"credentials.{term.suffix}", kind=Kind.PROVENANCE, claim=claim, because=say,
        strength=strength, group="declared_source", limits=limits, data=data,
    )  # fmt: skip


def _edits(found: Manifest, edits: list[str]) -> Finding:
    names = ", ".join(dict.fromkeys(a.removeprefix("c2pa.").replace("_", " ") for a in edits))
    return Finding(
        code="credentials.edits", kind=Kind.PROVENANCE, claim=Claim.NEUTRAL,
        because=f"The signed history lists these steps: {names}.",
        limits=("Ordinary retouching is listed the same way as an alteration of the content.",),
        data={"actions": list(edits), "valid": found.holds},
    )  # fmt: skip
