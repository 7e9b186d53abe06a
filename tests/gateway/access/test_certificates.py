"""Which application a certificate speaks for."""

import pytest

from gateway.access.certificates import CallerCertificates, CertificateError
from gateway.access.identity import Identity
from rpc.client_certificate import ClientCertificate

END = 1_922_270_400.0
DECODED = {
    "subject": ((("commonName", "shop"),),),
    "serialNumber": "0AFF",
    "subjectAltName": (("URI", "spiffe://acme/a"), ("URI", "spiffe://acme/b")),
}
CERTIFICATE = ClientCertificate(DECODED, END)


def test_name_is_the_application() -> None:
    identity = CallerCertificates("common-name", {"other": []}).identify(CERTIFICATE, END - 1)
    assert identity == Identity("shop", "0aff", method="mtls", expires_at=END)
    assert CallerCertificates("uri", {}).identify(CERTIFICATE, 0).app_id == "spiffe://acme/a"


def test_listed_names_alone_speak_for_applications() -> None:
    certificates = CallerCertificates("uri", {"shop": ["spiffe://acme/b"], "x": ["spiffe://x"]})
    assert certificates.identify(CERTIFICATE, 0).app_id == "shop"
    stranger = ClientCertificate(DECODED | {"subjectAltName": (("URI", "spiffe://acme/c"),)}, END)
    with pytest.raises(CertificateError, match=r"no application .*uri: spiffe://acme/c"):
        certificates.identify(stranger, 0)


@pytest.mark.parametrize(("name", "shown"), [("", "none"), ("a\nb", "a"), ("x" * 257, "x" * 257)])
def test_name_that_cannot_be_an_application(name: str, shown: str) -> None:
    subject = ((("commonName", name),),) if name else ()
    certificate = ClientCertificate(DECODED | {"subject": subject}, END)
    with pytest.raises(CertificateError, match=f"no application has its name .*{shown}"):
        CallerCertificates("common-name", {}).identify(certificate, 0)


def test_connection_outlives_its_certificate() -> None:
    with pytest.raises(CertificateError, match="expired"):
        CallerCertificates("common-name", {}).identify(CERTIFICATE, END)
