"""The table: no row twice, and each code of the status table is there."""

from schemas.model import errors
from schemas.model.errors import ErrorDomain, ErrorSource, ErrorSpec


def test_a_row_is_found_by_origin_and_code() -> None:
    rows = [value for value in vars(errors).values() if isinstance(value, ErrorSpec)]
    assert len(errors.ERRORS_BY_CODE) == len(rows), "two rows share origin and code"
    assert {row.name for row in rows} == {row.name for row in errors.ERRORS_BY_CODE.values()}
    assert len({row.name for row in rows}) == len(rows)


def test_numbers_of_the_original_are_kept() -> None:
    told = {(row.domain, row.name): row.code for row in errors.ERRORS_BY_CODE.values()}
    assert told[ErrorDomain.GATEWAY, "bad_request"] == 10163
    assert told[ErrorDomain.GATEWAY, "bad_app"] == 10313
    assert told[ErrorDomain.LOADER, "full"] == 10110
    assert told[ErrorDomain.LOADER, "bad_output"] == 10106
    assert told[ErrorDomain.LB, "no_instance"] == 20002


def test_only_what_never_ran_may_be_tried_elsewhere() -> None:
    assert {row.name for row in errors.ERRORS_BY_CODE.values() if row.retryable} == {
        "unreachable",
        "full",
    }


def test_an_unknown_code_is_the_loader_s_own() -> None:
    fault = errors.loader_error_spec(777)
    assert (fault.code, fault.source, fault.retryable) == (777, ErrorSource.LOADER, False)
    assert errors.loader_error_spec(10107) is errors.INPUT_REFUSED


def test_an_error_says_its_sentence_or_the_row_s_words() -> None:
    assert str(errors.AseError(errors.DEADLINE)) == "deadline exceeded"
    assert str(errors.AseError(errors.DEADLINE, "after 5 s")) == "after 5 s"
