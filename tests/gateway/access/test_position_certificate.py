"""Certificates of positions: what they cover, when they end, and what is none."""

from dataclasses import replace

import pytest

from gateway.access.identity import Identity
from gateway.access.key_table import StoredKey
from gateway.access.position_certificate import (
    InvalidCertificateError,
    PositionCertificate,
    sign,
    verify,
)

NOW = 1_796_040_000
KEY = StoredKey(Identity("battery", "k1", method="key"), key_hash=b"h" * 32)
CLAIM = PositionCertificate("battery", "uav-1", "north", "k1", NOW + 100)
SIGNED = replace(CLAIM, mac=sign(CLAIM, KEY))


def field(certificate: PositionCertificate = SIGNED, **others: str) -> str:
    members = {
        "app": certificate.app, "client": certificate.client, "position": certificate.position,
        "key": certificate.key_id, "value": certificate.value, **others,
    }  # fmt: skip
    return ", ".join(f'{name}="{text}"' for name, text in members.items())


def test_certificate_is_read_as_it_was_issued() -> None:
    assert PositionCertificate.parse(field()) == SIGNED
    assert len(SIGNED.mac) == 64
    assert SIGNED.value == f"{SIGNED.mac}{NOW + 100}"
    verify(SIGNED, KEY, NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"app": "other"}, {"client": "uav-2"}, {"position": "south"}, {"expires_at": NOW + 101},
        {"mac": "0" * 64}, {"key_id": "k2"},
    ],
)  # fmt: skip
def test_nothing_of_it_can_be_changed(change: dict[str, object]) -> None:
    with pytest.raises(InvalidCertificateError, match="of other names, or of a key"):
        verify(replace(SIGNED, **change), KEY, NOW)  # type: ignore[arg-type]


def test_names_cannot_be_moved_into_each_other() -> None:
    first = sign(replace(CLAIM, app="a", client="b c"), KEY)
    assert first != sign(replace(CLAIM, app="a b", client="c"), KEY)


def test_it_ends_with_its_time_and_with_its_key() -> None:
    with pytest.raises(InvalidCertificateError, match="has expired; ask for another"):
        verify(SIGNED, KEY, NOW + 100)
    for times, problem in (({"revoked_at": NOW}, "revoked"), ({"expires_at": NOW}, "expired")):
        with pytest.raises(InvalidCertificateError, match=problem):
            verify(SIGNED, replace(KEY, **times), NOW)


def test_only_a_key_that_the_gateway_alone_knows_signs() -> None:
    with pytest.raises(InvalidCertificateError, match="not known"):
        verify(SIGNED, None, NOW)
    pair = StoredKey(KEY.identity, secret="s3cret")
    with pytest.raises(InvalidCertificateError, match="not known"):
        verify(replace(CLAIM, mac=sign(CLAIM, pair)), pair, NOW)


@pytest.mark.parametrize(
    "text",
    [
        "", "Bearer", field(value="12"), field(value="g" * 64 + "1"), field(value="0" * 64),
        field().replace(", key=", ", kee="), field() + ', app="x"', field() + ", x", "x" + field(),
        field()[:-1], field(app="a" * 1000),
    ],
)  # fmt: skip
def test_what_is_no_certificate_is_refused(text: str) -> None:
    with pytest.raises(InvalidCertificateError) as refused:
        PositionCertificate.parse(text)
    assert SIGNED.mac not in str(refused.value)


@pytest.mark.parametrize("name", ["", "a" * 129, 'a"b', "a\nb", "a\\b", "ä"])
def test_names_that_no_header_can_have_are_not_signed(name: str) -> None:
    with pytest.raises(InvalidCertificateError, match="client: must be 1 to 128"):
        sign(replace(CLAIM, client=name), KEY)
