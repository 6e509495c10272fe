"""Signed, valid and trusted are three answers; an expired certificate is no tampering."""

from __future__ import annotations

import io
import socket
import wave
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import c2pa
import numpy as np
import pytest

from assay.analyzers.checks import check_analyzer, check_answer
from assay.analyzers.provenance import trust
from assay.analyzers.provenance.credentials import Credentials
from assay.analyzers.provenance.trust import NOBODY, TrustList
from assay.findings import Claim, Finding, Strength
from assay.media import decode

from .conftest import LATER, Authority, created, encoded, scene, sign

Write = Callable[[bytes, str], Path]


def findings(path: Path, trust: TrustList | None = None) -> dict[str, Finding]:
    analyzer = Credentials(trust)
    media = decode(path)
    answer = analyzer.analyze(media)
    check_answer(analyzer.info, media, answer)
    assert isinstance(answer, tuple)
    return {f.code: f for f in answer}


@pytest.fixture
def generated(authority: Authority) -> bytes:
    return sign(encoded(scene()), authority.signer(LATER), created("trainedAlgorithmicMedia"))


def _touch(data: bytes) -> bytes:
    """One bit near the end of the last scan: the picture looks the same."""
    changed = bytearray(data)
    changed[-40] ^= 1
    return bytes(changed)


def test_the_contract() -> None:
    check_analyzer(Credentials())


@pytest.mark.disable_socket
def test_trusted_signature_decides(authority: Authority, generated: bytes, write: Write) -> None:
    found = findings(write(generated, "a.jpg"), authority.trust)
    state = found["credentials.state"]
    assert state.data["c2pa_state"] == "trusted"
    assert state.data["library_state"] == "Trusted"
    assert state.data["signer"] == "Assay Test Authority"
    assert "2026-01-02" in state.because
    origin = found["credentials.generated"]
    assert (origin.claim, origin.strength) == (Claim.SYNTHETIC, Strength.DECISIVE)
    assert origin.data["generator"] == "Assay test 1"


def test_unknown_signer_is_valid_and_strong_only(generated: bytes, write: Write) -> None:
    found = findings(write(generated, "a.jpg"))
    state = found["credentials.state"]
    assert (state.data["c2pa_state"], state.data["trusted"]) == ("valid", False)
    assert "cannot be checked without a trust list" in state.because
    assert "None of this is a sign of tampering" in state.because
    origin = found["credentials.generated"]
    assert (origin.claim, origin.strength) == (Claim.SYNTHETIC, Strength.STRONG)


def test_expired_certificate_is_not_tampering(
    authority: Authority, expired: bytes, write: Write
) -> None:
    found = findings(write(expired, "a.jpg"), authority.trust)
    state = found["credentials.state"]
    assert state.data["library_state"] == "Invalid"
    assert state.data["c2pa_state"] == "valid"
    assert state.data["signature_holds"]
    assert state.data["content_hash_holds"]
    assert "had expired" in state.because
    assert "None of this is a sign of tampering" in state.because
    assert not any(f.claim is Claim.MANIPULATED for f in found.values())
    assert found["credentials.generated"].strength is Strength.STRONG


def test_malformed_action_is_not_tampering(authority: Authority, write: Write) -> None:
    """The library calls a manifest invalid whose actions do not begin with one it expects."""
    data = sign(encoded(scene()), authority.signer(LATER), {"action": "c2pa.color_adjustments"})
    found = findings(write(data, "a.jpg"), authority.trust)
    state = found["credentials.state"]
    assert state.data["library_state"] == "Invalid"
    assert "do not follow the standard's form" in state.because
    assert state.data["valid"] is True
    assert not any(f.claim is Claim.MANIPULATED for f in found.values())


def test_changed_after_signing_is_weak(
    authority: Authority, generated: bytes, write: Write
) -> None:
    found = findings(write(_touch(generated), "a.jpg"), authority.trust)
    assert found["credentials.state"].data["c2pa_state"] == "invalid"
    changed = found["credentials.changed"]
    assert (changed.claim, changed.strength) == (Claim.MANIPULATED, Strength.WEAK)
    assert found["credentials.generated"].strength is Strength.WEAK


def test_other_picture_under_the_signature_is_strong(
    authority: Authority, generated: bytes, write: Write
) -> None:
    """The credential of one picture transplanted before the scan of another."""
    other = encoded(scene(seed=9))
    end_of_credential = 2
    at = 2
    while generated[at] == 0xFF and generated[at + 1] in range(0xE0, 0xF0):
        at += 2 + int.from_bytes(generated[at + 2 : at + 4], "big")
        end_of_credential = at
    mixed = generated[:end_of_credential] + other[other.find(b"\xff\xdb") :]
    found = findings(write(mixed, "a.jpg"), authority.trust)
    changed = found["credentials.changed"]
    assert changed.strength is Strength.STRONG
    assert "different picture" in changed.because
    unknown = findings(write(mixed, "a.jpg"))["credentials.changed"]
    assert unknown.strength is Strength.WEAK


def test_altered_manifest_does_not_count(
    authority: Authority, generated: bytes, write: Write
) -> None:
    data = generated.replace(b"trainedAlgorithmicMedia", b"trainedAlgorithmicMedib", 1)
    assert data != generated
    found = findings(write(data, "a.jpg"), authority.trust)
    assert found["credentials.state"].data["c2pa_state"] == "invalid"
    assert found["credentials.broken"].strength is Strength.WEAK
    assert all(f.strength is not Strength.DECISIVE for f in found.values())


def test_capture_decides_only_when_trusted(authority: Authority, write: Write) -> None:
    path = write(
        sign(encoded(scene()), authority.signer(LATER), created("digitalCapture")), "a.jpg"
    )
    trusted = findings(path, authority.trust)["credentials.capture"]
    assert (trusted.claim, trusted.strength) == (Claim.AUTHENTIC, Strength.DECISIVE)
    own = findings(path)["credentials.capture"]
    assert (own.claim, own.strength) == (Claim.AUTHENTIC, Strength.WEAK)


def test_edited_capture_is_not_called_authentic(authority: Authority, write: Write) -> None:
    data = sign(
        encoded(scene()), authority.signer(LATER), created("digitalCapture"),
        {"action": "c2pa.drawing"},
    )  # fmt: skip
    found = findings(write(data, "a.jpg"), authority.trust)
    assert found["credentials.capture"].claim is Claim.NEUTRAL
    assert "drawing" in found["credentials.edits"].because


def test_composite_with_generated_parts(authority: Authority, write: Write) -> None:
    data = sign(
        encoded(scene()), authority.signer(LATER), created("compositeWithTrainedAlgorithmicMedia")
    )
    found = findings(write(data, "a.jpg"), authority.trust)["credentials.composite"]
    assert (found.claim, found.strength) == (Claim.MANIPULATED, Strength.DECISIVE)


def test_origin_is_inherited_from_the_parent(
    authority: Authority, generated: bytes, write: Write
) -> None:
    data = sign(
        encoded(scene()), authority.signer(LATER), {"action": "c2pa.edited"}, parent=generated
    )
    found = findings(write(data, "a.jpg"), authority.trust)
    origin = found["credentials.generated"]
    assert origin.data["inherited"] is True
    assert (origin.claim, origin.strength) == (Claim.SYNTHETIC, Strength.STRONG)


def test_authority_for_clocks_vouches_for_no_signer(
    authority: Authority, generated: bytes, write: Write
) -> None:
    other = Authority.make()
    clocks = replace(authority.trust, signers=other.pem, timestamps=authority.pem)
    path = write(generated, "a.jpg")
    assert findings(path, clocks)["credentials.state"].data["c2pa_state"] == "valid"
    both = replace(authority.trust, timestamps=authority.pem)
    assert findings(path, both)["credentials.state"].data["c2pa_state"] == "trusted"


def test_sound_can_be_signed(authority: Authority, write: Write) -> None:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(range(250)) * 64)
    data = sign(
        out.getvalue(), authority.signer(LATER), created("trainedAlgorithmicMedia"),
        mime="audio/wav",
    )  # fmt: skip
    found = findings(write(data, "a.wav"), authority.trust)
    assert found["credentials.generated"].strength is Strength.DECISIVE


def test_remote_manifest_is_named_and_not_fetched(authority: Authority, write: Write) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(0.3)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/manifest"
        data = sign(
            encoded(scene()), authority.signer(LATER), created("digitalCapture"), remote=address
        )
        found = findings(write(data, "a.jpg"))
        with pytest.raises(TimeoutError):
            server.accept()
    assert list(found) == ["credentials.remote"]
    assert address in found["credentials.remote"].because


def test_absence_says_nothing(write: Write) -> None:
    assert findings(write(encoded(scene()), "a.jpg")) == {}


def test_cut_credential_is_reported(generated: bytes, write: Write) -> None:
    start = generated.find(b"\xff\xeb")
    length = int.from_bytes(generated[start + 2 : start + 4], "big")
    damaged = bytearray(generated)
    damaged[start + 40 : start + 2 + length] = bytes(length - 38)
    found = findings(write(bytes(damaged), "a.jpg"))
    assert not any(f.claim is Claim.AUTHENTIC for f in found.values())
    assert all(f.strength is not Strength.DECISIVE for f in found.values())


def test_without_a_list_nobody_is_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, generated: bytes, write: Write
) -> None:
    monkeypatch.setattr(trust, "FOLDER", tmp_path / "none")
    trust.installed.cache_clear()
    assert trust.installed() is NOBODY
    answer = Credentials().analyze(decode(write(generated, "a.jpg")))
    trust.installed.cache_clear()
    assert isinstance(answer, tuple)
    state = answer[0]
    assert state.data["c2pa_state"] == "valid"
    assert "cannot be checked without a trust list" in state.because
    assert all(f.strength is not Strength.DECISIVE for f in answer)


def test_an_installed_list_is_used_and_a_broken_one_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authority: Authority
) -> None:
    monkeypatch.setattr(trust, "FOLDER", tmp_path)
    (tmp_path / "list.toml").write_text('name = "own"\ndate = 2026-02-03\nsigners = "a.pem"\n')
    trust.installed.cache_clear()
    with pytest.raises(ValueError, match="cannot be read"):
        trust.installed()
    (tmp_path / "a.pem").write_text(authority.pem)
    assert trust.installed().dated == date(2026, 2, 3)
    trust.installed.cache_clear()


def test_own_trust_list(tmp_path: Path, authority: Authority) -> None:
    (tmp_path / "list.toml").write_text('name = "own"\ndate = 2026-02-03\nsigners = "a.pem"\n')
    (tmp_path / "a.pem").write_text("a comment\n" + authority.pem)
    own = TrustList.load(tmp_path)
    assert (own.name, own.dated) == ("own", date(2026, 2, 3))
    assert own.signers.strip() == authority.pem.strip()
    for text in ('name = "own"\n', 'name = "o"\ndate = 2026-02-03\nsigners = "../a.pem"\n'):
        (tmp_path / "list.toml").write_text(text)
        with pytest.raises(ValueError, match=r"list\.toml"):
            TrustList.load(tmp_path)


def test_library_is_the_one_tried() -> None:
    """A newer library may name its results differently: look at `manifest.py` then."""
    assert tuple(int(p) for p in c2pa.sdk_version().split(".")[:2]) >= (0, 60)


def test_damaged_manifests_never_raise_and_never_convince(
    authority: Authority, generated: bytes, write: Write
) -> None:
    random = np.random.default_rng(0)
    start, end = generated.find(b"\xff\xeb"), generated.rfind(b"\xff\xdb")
    media = decode(write(generated, "a.jpg"))
    for _ in range(150):
        damaged = bytearray(generated)
        for place in random.integers(start, end, 4):
            damaged[place] = random.integers(256)
        if random.random() < 0.3:
            damaged = damaged[: random.integers(start, len(damaged))]
        media.source.path.write_bytes(bytes(damaged))
        answer = Credentials(authority.trust).analyze(media)
        assert isinstance(answer, tuple)
        # Bytes of padding may change without consequence; the library says so itself.
        if all(f.data.get("library_state") != "Trusted" for f in answer):
            assert all(f.strength is not Strength.DECISIVE for f in answer)
