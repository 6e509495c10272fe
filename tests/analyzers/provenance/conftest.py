"""Media with real credentials: a chain of certificates made here, signed by the c2pa library."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import c2pa
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image as Pillow

from assay.analyzers.provenance.trust import TrustList

IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_PEM = serialization.Encoding.PEM


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Assay Test Authority"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _usage(*, signs: bool, certifies: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=certifies,
        crl_sign=certifies, encipher_only=False, decipher_only=False,
    )  # fmt: skip


@dataclass(frozen=True)
class Authority:
    """A root, and signers certified by it."""

    key: ec.EllipticCurvePrivateKey
    root: x509.Certificate

    @classmethod
    def make(cls) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("Root")
        root = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(datetime(2015, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(2045, 1, 1, tzinfo=UTC))
            .add_extension(x509.BasicConstraints(True, None), critical=True)
            .add_extension(_usage(signs=True, certifies=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .sign(key, hashes.SHA256())
        )
        return cls(key, root)

    @property
    def pem(self) -> str:
        return self.root.public_bytes(_PEM).decode()

    @property
    def trust(self) -> TrustList:
        return TrustList(name="test", dated=date(2026, 1, 2), signers=self.pem)

    def signer(self, until: datetime) -> c2pa.Signer:
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = (
            x509.CertificateBuilder()
            .subject_name(_name("Signer"))
            .issuer_name(self.root.subject)
            .public_key(key.public_key())
            .serial_number(2)
            .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(_usage(signs=True, certifies=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False
            )
            .sign(self.key, hashes.SHA256())
        )
        chain = leaf.public_bytes(_PEM) + self.root.public_bytes(_PEM)
        private = key.private_bytes(
            _PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", chain, private, None))


def scene(width: int = 160, height: int = 120, seed: int = 0) -> Pillow.Image:
    """Coarse blobs: two seeds show clearly different pictures."""
    random = np.random.default_rng(seed)
    coarse = Pillow.fromarray(random.integers(0, 255, (5, 6, 3), dtype=np.uint8))
    return coarse.resize((width, height), Pillow.Resampling.BICUBIC)


def encoded(picture: Pillow.Image, form: str = "JPEG", **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def sign(
    data: bytes,
    signer: c2pa.Signer,
    *actions: dict[str, Any],
    mime: str = "image/jpeg",
    parent: bytes | None = None,
    remote: str | None = None,
) -> bytes:
    manifest = {
        "claim_generator_info": [{"name": "Assay test", "version": "1"}],
        "title": "test",
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": list(actions)}}],
    }
    settings = {"verify": {"verify_after_sign": False, "remote_manifest_fetch": False}}
    out = io.BytesIO()
    with (
        c2pa.Context.from_dict(settings) as context,
        c2pa.Builder(json.dumps(manifest), context) as builder,
    ):
        if parent is not None:
            described = {"title": "parent", "relationship": "parentOf"}
            builder.add_ingredient(json.dumps(described), mime, io.BytesIO(parent))
        if remote is not None:
            builder.set_no_embed()
            builder.set_remote_url(remote)
        builder.sign(signer, mime, io.BytesIO(data), out)
    return out.getvalue()


def created(kind: str) -> dict[str, Any]:
    return {"action": "c2pa.created", "digitalSourceType": IPTC + kind}


LATER = datetime(2044, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority.make()


@pytest.fixture(scope="session")
def expired(authority: Authority) -> bytes:
    """Signed while the certificate was valid, which it no longer is."""
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
    data = sign(encoded(scene()), authority.signer(end), created("trainedAlgorithmicMedia"))
    time.sleep(max(0.0, (end - datetime.now(UTC)).total_seconds() + 1.1))
    return data


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes, str], Path]:
    def put(data: bytes, name: str) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return put
