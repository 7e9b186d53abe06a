"""The original's interface by its tables: parameters, codes, formats; and its faults, mended."""

import json
from typing import Any

import pytest

from lb.aiges import protocol
from lb.endpoints.report import Instance, Load, Report, ReportMode, ServingState
from lb.endpoints.table import EndpointTable
from schemas.model.errors import AseError

GOOD = {"svc": "ase", "subsvc": "ocr", "addr": "10.0.0.1:5090", "live": "1", "total": "8",
        "best": "6", "idle": "5"}  # fmt: skip


def code(params: dict[str, str]) -> int:
    try:
        list(protocol.parse_reports(params, 1))
    except AseError as error:
        return error.spec.code
    return 0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 0),
        ({"svc": ""}, 2007),
        ({"subsvc": ""}, 2007),
        ({"subsvc": ","}, 2007),
        ({"subsvc": "a b"}, 2007),
        ({"addr": ""}, 2007),
        ({"addr": "nowhere"}, 2007),
        ({"live": ""}, 20014),
        ({"live": "up"}, 20014),
        ({"total": ""}, 2008),
        ({"total": "x"}, 2008),
        ({"total": "-1"}, 2008),
        ({"total": "10001"}, 2008),
        ({"best": ""}, 2005),
        ({"best": "9"}, 2005),
        ({"best": "-1"}, 2005),
        ({"idle": ""}, 2009),
        ({"idle": "9"}, 2009),
        ({"idle": "-10001"}, 2009),
        ({"idle": str(2**63 - 1)}, 2009),
        ({"idle": "-3"}, 0),
        ({"live": "2"}, 0),
        ({"cloud": "x", "extra": "{}", "type": "y"}, 0),
    ],
    ids=str,
)
def test_a_report_s_parameters(change: dict[str, str], expected: int) -> None:
    assert code(GOOD | change) == expected


def test_an_absent_parameter_is_as_an_empty_one() -> None:
    for name, expected in (
        ("svc", 2007),
        ("subsvc", 2007),
        ("addr", 2007),
        ("live", 20014),
        ("total", 2008),
        ("best", 2005),
        ("idle", 2009),
    ):
        assert code({key: value for key, value in GOOD.items() if key != name}) == expected


def test_licences_become_what_runs_and_what_waits() -> None:
    (told,) = protocol.parse_reports(GOOD | {"idle": "-2"}, 99)
    assert (told.instance.total, told.instance.best, told.instance.protocol) == (8, 6, "xsf")
    assert (told.instance.report_mode, told.load.requests_by_gateway) == (ReportMode.PERIODIC, None)
    assert (told.load.running, told.load.queued, told.load.seq) == (6, 4, 99)


def test_each_service_of_a_list_is_reported() -> None:
    told = list(protocol.parse_reports(GOOD | {"subsvc": "ocr,asr"}, 1))
    assert [one.instance.service for one in told] == ["ocr", "asr"]


@pytest.mark.parametrize(
    ("change", "live"),
    [
        ({}, ServingState.UP),
        ({"live": "0"}, ServingState.DOWN),
        ({"live": "0", "total": "0", "best": "0", "idle": "0"}, ServingState.DOWN),
        ({"total": "0", "best": "0", "idle": "0"}, ServingState.DRAINING),
        ({"best": "0"}, ServingState.DRAINING),
    ],
    ids=str,
)
def test_what_it_says_of_its_life(change: dict[str, str], live: ServingState) -> None:
    (told,) = protocol.parse_reports(GOOD | change, 1)
    assert told.load.serving_state is live


def test_a_farewell_as_the_first_word_adds_nothing() -> None:
    table = EndpointTable()
    (told,) = protocol.parse_reports(GOOD | {"live": "0"}, 1)
    table.apply(told, 0.0)
    assert len(table) == 0


def fleet(**idle: int) -> EndpointTable:
    table = EndpointTable()
    for name, left in idle.items():
        instance = Instance("ase", "ocr", f"{name}:1", 1, "xsf", "", 8, 6, ReportMode.PERIODIC)
        table.apply(Report(instance, Load(1, running=8 - left, served=99)), 0.0)
    return table


def query(table: EndpointTable, policy: str = "load", turn: int = 0, **params: str) -> list[str]:
    wish = {"svc": "ase", "subsvc": "ocr", "nbest": "1"} | params
    return [one.decode() for one in protocol.pick_servers(wish, table, policy, turn)]


def refused(table: EndpointTable, policy: str = "load", **params: str) -> int:
    with pytest.raises(AseError) as caught:
        query(table, policy, **params)
    return caught.value.spec.code


def test_load_takes_the_most_idle_and_counts_the_first_alone() -> None:
    table = fleet(a=3, b=5, c=4)
    assert query(table, nbest="2") == ["b:1", "c:1"]
    assert query(table) == ["b:1"], "four are left there, and it comes first"
    assert query(table) == ["c:1"]
    assert query(table, nbest="9") == ["a:1", "b:1", "c:1"], "all have three left"


def test_a_report_takes_the_count_s_place() -> None:
    table = fleet(a=4, b=4)
    assert [query(table)[0] for _ in range(4)] == ["a:1", "b:1", "a:1", "b:1"]
    (entry, _) = table
    table.apply(Report(entry.instance, Load(2, running=0, served=99)), 1.0)
    assert query(table) == ["a:1"]


def test_none_idle_is_answered_all_the_same() -> None:
    table = fleet(a=-3, b=0)
    assert query(table) == ["b:1"]


def test_load_mini_answers_one() -> None:
    table = fleet(a=3, b=5)
    assert query(table, "loadMini", nbest="2") == ["b:1"]
    assert query(table, "loadMini", nbest="x", all="1") == ["b:1"], "it ignores both"


def test_poll_goes_round() -> None:
    table = fleet(a=1, b=1, c=1)
    assert query(table, "poll", 0, nbest="2") == ["a:1", "b:1"]
    assert query(table, "poll", 2, nbest="2") == ["c:1", "a:1"]
    assert query(table, "poll", 5, nbest="9") == ["c:1", "a:1", "b:1"]


def test_ours_is_by_expected_delay() -> None:
    table = fleet(a=-3, b=5)
    assert query(table, "ours", nbest="2") == ["b:1", "a:1"]


def test_all_is_one_item_with_every_figure() -> None:
    table = fleet(a=3, b=5)
    (told,) = query(table, all="1")
    assert [json.loads(one) for one in told.split(";")] == [
        {"addr": "a:1", "idleInst": 3, "bestInst": 6, "totalInst": 8},
        {"addr": "b:1", "idleInst": 5, "bestInst": 6, "totalInst": 8},
    ]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"nbest": "0"}, 2006),
        ({"nbest": "-1"}, 2006),
        ({"nbest": ""}, 2006),
        ({"nbest": "many"}, 2006),
        ({"uid": "x1"}, 2046),
        ({"svc": "other"}, 2011),
        ({"svc": "other", "subsvc": "asr"}, 2011),
        ({"subsvc": "asr"}, 2012),
        ({"subsvc": ""}, 2012),
    ],
    ids=str,
)
def test_a_query_s_parameters(params: dict[str, str], expected: int) -> None:
    assert refused(fleet(a=3), **params) == expected


def test_uid_may_be_a_number() -> None:
    assert query(fleet(a=3), uid="12345") == ["a:1"]


def test_who_drains_is_not_answered() -> None:
    table = fleet(a=3)
    (entry,) = table
    table.apply(Report(entry.instance, Load(2, ServingState.DRAINING)), 1.0)
    assert refused(table) == 20002


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"addr": "a:1", "forceOffline": "1"}, "offline"),
        ({"addr": "a:1", "forceOffline": "0"}, "online"),
        ({"addr": "a:1", "forceOffline": "yes"}, 20016),
        ({"addr": "a:1"}, 20016),
        ({"forceOffline": "1"}, 2007),
    ],
    ids=str,
)
def test_forcing_offline(params: dict[str, str], expected: Any) -> None:
    blocked = {"b:1"}
    try:
        found: Any = protocol.set_offline(params, blocked)
    except AseError as error:
        found = error.spec.code
    assert found == expected
    assert blocked == ({"a:1", "b:1"} if expected == "offline" else {"b:1"})


def test_the_monitor_has_its_form() -> None:
    told = json.loads(protocol.monitor_json({"subsvc": "ocr"}, fleet(a=3)))
    assert told == {
        "SubSvcMap": {
            "ocr": {
                "AddrMap": {
                    "a:1": {
                        "Addr": "a:1",
                        "Timestamp": 1,
                        "BestInst": 6,
                        "IdleInst": 3,
                        "TotalInst": 8,
                    }
                }
            }
        }
    }
    assert json.loads(protocol.monitor_json({"svc": "x"}, fleet(a=3))) == {"SubSvcMap": {}}
