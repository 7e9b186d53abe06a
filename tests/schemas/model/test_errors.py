"""The table: no row twice, and each code of the status table is there."""

from schemas.model import errors
from schemas.model.errors import ErrorDomain, ErrorSource, ErrorSpec


def test_error_specs_are_unique_by_domain_and_code() -> None:
    specs = [value for value in vars(errors).values() if isinstance(value, ErrorSpec)]
    assert len(errors.ERRORS_BY_CODE) == len(specs), "two rows share origin and code"
    assert {spec.name for spec in specs} == {spec.name for spec in errors.ERRORS_BY_CODE.values()}
    assert len({spec.name for spec in specs}) == len(specs)


def test_original_codes_are_kept() -> None:
    codes = {(spec.domain, spec.name): spec.code for spec in errors.ERRORS_BY_CODE.values()}
    assert codes[ErrorDomain.GATEWAY, "bad_request"] == 10163
    assert codes[ErrorDomain.GATEWAY, "bad_app"] == 10313
    assert codes[ErrorDomain.LOADER, "full"] == 10110
    assert codes[ErrorDomain.LOADER, "bad_output"] == 10106
    assert codes[ErrorDomain.LB, "no_instance"] == 20002


def test_only_requests_that_never_ran_are_retryable() -> None:
    assert {spec.name for spec in errors.ERRORS_BY_CODE.values() if spec.retryable} == {
        "unreachable",
        "full",
    }


def test_unknown_code_is_attributed_to_the_loader() -> None:
    spec = errors.loader_error_spec(777)
    assert (spec.code, spec.source, spec.retryable) == (777, ErrorSource.LOADER, False)
    assert errors.loader_error_spec(10107) is errors.INPUT_REFUSED


def test_error_text_is_its_message_or_the_default() -> None:
    assert str(errors.AseError(errors.DEADLINE)) == "deadline exceeded"
    assert str(errors.AseError(errors.DEADLINE, "after 5 s")) == "after 5 s"
