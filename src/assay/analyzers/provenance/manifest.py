"""Reading C2PA manifests with the c2pa library, without a network.

The library folds everything into one state, ``Invalid``, ``Valid`` or ``Trusted``, and calls
a picture invalid whose certificate merely expired. Here its single results are sorted
into separate questions: does the signature hold, does the content hash hold, is the
certificate in order, does it lead to a known authority.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assay.analyzers.provenance.plain import clean
from assay.analyzers.provenance.source_types import SourceType, source_type
from assay.analyzers.provenance.trust import TrustList
from assay.media import Source

__all__ = ["Manifest", "Unreadable", "read_manifest"]

_CONTENT = re.compile(r"assertion\.(dataHash|bmffHash|boxesHash|collectionHash|multiAssetHash)\.")
_STATEMENTS = {
    "assertion.hashedURI.mismatch", "assertion.missing", "assertion.undeclared",
    "claim.missing", "assertion.inaccessible",
}  # fmt: skip
_MOST = 40  # actions, ingredients, failures kept
_MOST_PREVIEW = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """There is a manifest, but it is ``remote`` (an address) or cannot be read (``cause``)."""

    cause: str
    remote: str = ""


@dataclass(frozen=True, slots=True)
class Declaration:
    """A declared source type, the program it was declared for, and whether by an ancestor."""

    term: SourceType
    program: str
    inherited: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The active manifest and the single answers about it."""

    signature_holds: bool
    content_holds: bool
    content_changed: bool
    statements_changed: bool
    chain_trusted: bool
    expired: bool
    revoked: bool
    bad_certificate: bool
    malformed: bool
    signer: str
    common_name: str
    algorithm: str
    time_stamp: str
    time_stamp_trusted: bool
    generator: str
    actions: tuple[str, ...]
    ingredients: tuple[str, ...]
    sources: tuple[Declaration, ...]
    failures: tuple[str, ...]
    library_state: str
    thumbnail: bytes
    trust_list: TrustList

    @property
    def holds(self) -> bool:
        """Signature and hashes hold, whoever signed."""
        return self.signature_holds and self.content_holds and not self.statements_changed

    @property
    def state(self) -> str:
        """``invalid``, ``valid`` or ``trusted``."""
        if not self.holds:
            return "invalid"
        faults = self.expired or self.revoked or self.bad_certificate
        return "trusted" if self.chain_trusted and not faults else "valid"


def read_manifest(source: Source, trust: TrustList) -> Manifest | Unreadable | None:
    """The active manifest of ``source``, or ``None`` when there is none."""
    import c2pa

    settings: dict[str, object] = {
        "verify": {
            "remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True,
            "verify_timestamp_trust": True, "verify_after_reading": True,
        },
        # Authorities for clocks stand apart, so that one of them cannot vouch for a signer.
        "trust": {
            "trust_anchors": trust.signers or None,
            "user_anchors": trust.timestamps_only or None,
        },
    }  # fmt: skip
    try:
        with (
            c2pa.Context.from_dict(settings) as context,
            source.open() as file,
            c2pa.Reader(None, file, context=context) as reader,
        ):
            return _read(reader, trust)
    except c2pa.C2paError.ManifestNotFound:
        return None
    except c2pa.C2paError.NotSupported:
        return None
    except c2pa.C2paError as error:
        return _unreadable(source, str(error))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Unreadable(cause=clean(f"unexpected form: {type(error).__name__}"))


def _unreadable(source: Source, cause: str) -> Unreadable | None:
    if "remote manifest" in cause.lower():
        address = re.search(r"https?://\S+", cause)
        return Unreadable(cause="remote", remote=clean(address[0] if address else "unknown"))
    # The library also fails on damaged files without any manifest: those say nothing.
    with source.open() as file:
        while chunk := file.read(1 << 20):
            if b"jumb" in chunk or b"c2pa" in chunk:
                return Unreadable(cause=clean(cause))
            if len(chunk) == 1 << 20:
                file.seek(-3, io.SEEK_CUR)
    return None


def _read(reader: Any, trust: TrustList) -> Manifest:
    store = _mapping(json.loads(reader.json()))
    manifests = _mapping(store.get("manifests"))
    label = store.get("active_manifest")
    active = _mapping(manifests.get(label) if isinstance(label, str) else None)
    results = _mapping(_mapping(store.get("validation_results")).get("activeManifest"))
    passed, failed = _results(results.get("success")), _results(results.get("failure"))
    noted = _results(results.get("informational"))
    failures = [code for code, _ in failed]
    signature = _mapping(active.get("signature_info"))
    content_failed = [c for c in failures if _CONTENT.match(c)]
    known = {
        "signingCredential.expired", "signingCredential.untrusted", "signingCredential.revoked",
        "signingCredential.ocsp.revoked", "signingCredential.invalid",
        "claimSignature.mismatch", "claimSignature.missing", "claimSignature.outsideValidity",
        *_STATEMENTS, *content_failed,
    }  # fmt: skip
    return Manifest(
        signature_holds=_has(passed, "claimSignature.validated")
        and not any(
            c.startswith("claimSignature.") and c != "claimSignature.outsideValidity"
            for c in failures
        ),
        content_holds=any(_CONTENT.match(c) and c.endswith(".match") for c, _ in passed)
        and not content_failed,
        content_changed=any(c.endswith(".mismatch") for c in content_failed),
        statements_changed=any(c in _STATEMENTS for c in failures),
        chain_trusted=any(
            c == "signingCredential.trusted" and "user_anchors" not in why for c, why in passed
        ),
        expired=any(
            c in ("signingCredential.expired", "claimSignature.outsideValidity") for c in failures
        ),
        revoked=any(c.endswith(".revoked") for c in failures),
        bad_certificate="signingCredential.invalid" in failures,
        malformed=any(c not in known for c in failures),
        signer=clean(signature.get("issuer") or ""),
        common_name=clean(signature.get("common_name") or ""),
        algorithm=clean(signature.get("alg") or "", 40),
        time_stamp=clean(signature.get("time") or "", 60),
        time_stamp_trusted=_has(passed, "timeStamp.trusted")
        and not any(c == "timeStamp.mismatch" for c, _ in noted),
        generator=_generator(active),
        actions=tuple(clean(a.get("action"), 80) for a in _actions(active)),
        ingredients=tuple(
            clean(f"{_mapping(i).get('relationship')}: {_mapping(i).get('title')}", 120)
            for i in _list(active.get("ingredients"))
        ),
        sources=_sources(active, manifests),
        failures=tuple(clean(f"{code}: {why}") for code, why in failed),
        library_state=clean(store.get("validation_state") or "", 20),
        thumbnail=_thumbnail(reader, active),
        trust_list=trust,
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value[:_MOST] if isinstance(value, list) else []


def _results(value: object) -> list[tuple[str, str]]:
    """(code, explanation), all of them: a cut list could hide the one that matters."""
    rows = value if isinstance(value, list) else []
    return [(str(_mapping(r).get("code")), str(_mapping(r).get("explanation"))) for r in rows]


def _has(rows: list[tuple[str, str]], code: str) -> bool:
    return any(c == code for c, _ in rows)


def _actions(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = []
    for assertion in _list(manifest.get("assertions")):
        row = _mapping(assertion)
        if str(row.get("label", "")).startswith("c2pa.actions"):
            found += [_mapping(a) for a in _list(_mapping(row.get("data")).get("actions"))]
    return [a for a in found if isinstance(a.get("action"), str)][:_MOST]


def _generator(manifest: Mapping[str, Any]) -> str:
    for row in _list(manifest.get("claim_generator_info")):
        name = _mapping(row).get("name")
        if isinstance(name, str) and name.strip():
            return clean(f"{name} {_mapping(row).get('version') or ''}", 80)
    return clean(manifest.get("claim_generator") or "", 80)


def _program(action: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    """The agent of the action itself, else the program that wrote the manifest."""
    agent = action.get("softwareAgent")
    name = agent.get("name") if isinstance(agent, Mapping) else agent
    if isinstance(name, str) and name.strip():
        return clean(name, 80)
    return _generator(manifest)


def _sources(active: Mapping[str, Any], manifests: Mapping[str, Any]) -> tuple[Declaration, ...]:
    """Source types declared by the actions of the active manifest and of its ancestors.

    Only the line of parents counts: what was *placed* into a picture is not its origin.
    """
    found: list[Declaration] = []
    manifest, inherited = active, False
    visited: set[str] = set()
    while True:
        for action in _actions(manifest):
            term = source_type(action.get("digitalSourceType"))
            if term is not None:
                found.append(Declaration(term, _program(action, manifest), inherited))
        parent = next(
            (
                _mapping(i).get("active_manifest")
                for i in _list(manifest.get("ingredients"))
                if _mapping(i).get("relationship") == "parentOf"
            ),
            None,
        )
        if not isinstance(parent, str) or parent in visited or len(visited) >= _MOST:
            return tuple(found)
        visited.add(parent)
        manifest, inherited = _mapping(manifests.get(parent)), True


def _thumbnail(reader: Any, active: Mapping[str, Any]) -> bytes:
    import c2pa

    identifier = _mapping(active.get("thumbnail")).get("identifier")
    if not isinstance(identifier, str):
        return b""
    out = io.BytesIO()
    try:
        reader.resource_to_stream(identifier, out)
    except c2pa.C2paError:
        return b""
    return out.getvalue() if out.tell() <= _MOST_PREVIEW else b""
