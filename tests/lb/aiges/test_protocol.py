"""The original's interface by its tables: parameters, codes, formats; and its faults, mended."""

import json
from dataclasses import replace
from typing import Any

import pytest

from lb.aiges import protocol
from lb.endpoints.report import Instance, Load, Report, ReportMode, ServingState
from lb.endpoints.table import EndpointTable
from schemas.model.errors import AseError

VALID_PARAMS = {"svc": "ase", "subsvc": "ocr", "addr": "10.0.0.1:5090", "live": "1", "total": "8",
        "best": "6", "idle": "5"}  # fmt: skip


def error_code(params: dict[str, str]) -> int:
    try:
        list(protocol.parse_reports(params, 1))
    except AseError as error:
        return error.spec.code
    return 0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 0),
        ({"svc": None}, 2007),
        ({"svc": ""}, 0),
        ({"subsvc": None}, 2007),
        ({"subsvc": ""}, 2007),
        ({"subsvc": ","}, 2007),
        ({"subsvc": "a b"}, 2007),
        ({"addr": None}, 2007),
        ({"addr": ""}, 2007),
        ({"addr": "nowhere"}, 2007),
        ({"live": None}, 20014),
        ({"live": "up"}, 20014),
        ({"total": None}, 2008),
        ({"total": "x"}, 2008),
        ({"total": " 8"}, 2008),
        ({"total": "1_0"}, 2008),
        ({"total": "\N{ARABIC-INDIC DIGIT EIGHT}"}, 2008),
        ({"total": "-1"}, 0),
        ({"total": "+8"}, 0),
        ({"total": "10001"}, 0),
        ({"total": str(2**63)}, 2008),
        ({"best": None}, 2005),
        ({"best": ""}, 2005),
        ({"best": "10000"}, 0),
        ({"best": "-1"}, 0),
        ({"idle": None}, 2009),
        ({"idle": "1.5"}, 2009),
        ({"idle": "9"}, 0),
        ({"idle": str(-(2**63))}, 0),
        ({"idle": str(2**63 - 1)}, 0),
        ({"live": "2"}, 0),
        ({"cloud": "x", "extra": "{}", "type": "y"}, 0),
        ({"addr": None, "total": None}, 2007),
        ({"total": None, "idle": None, "best": None, "live": None}, 2008),
        ({"idle": None, "best": None, "live": None}, 2009),
        ({"best": None, "live": None}, 2005),
    ],
    ids=str,
)
def test_report_parameters(change: dict[str, str | None], expected: int) -> None:
    """What is None is absent. Codes and their order are those of a live hermes."""
    params = {name: value for name, value in (VALID_PARAMS | change).items() if value is not None}
    assert error_code(params) == expected


@pytest.mark.parametrize(
    ("change", "total", "best", "running", "queued"),
    [
        ({"best": "10000"}, 8, 8, 3, 0),
        ({"idle": "9"}, 8, 6, 0, 0),
        ({"total": "20000", "best": "20000", "idle": "20000"}, 10_000, 10_000, 0, 0),
        ({"total": "20000", "best": "20000", "idle": "15000"}, 10_000, 10_000, 5000, 0),
        ({"idle": str(-(2**63))}, 8, 6, 6, 19_994),
    ],
    ids=str,
)
def test_numbers_out_of_range_are_moved_into_it(
    change: dict[str, str], total: int, best: int, running: int, queued: int
) -> None:
    """The public default configuration of the original's loader reports best=10000."""
    (report,) = protocol.parse_reports(VALID_PARAMS | change, 1)
    assert (report.instance.total, report.instance.best) == (total, best)
    assert (report.load.running, report.load.queued) == (running, queued)
    assert report.load.serving_state is ServingState.UP


def test_slots_become_running_and_queued() -> None:
    (report,) = protocol.parse_reports(VALID_PARAMS | {"idle": "-2"}, 99)
    assert (report.instance.total, report.instance.best, report.instance.protocol) == (8, 6, "xsf")
    assert (report.instance.report_mode, report.load.requests_by_gateway) == (
        ReportMode.PERIODIC,
        None,
    )
    assert (report.load.running, report.load.queued, report.load.seq) == (6, 4, 99)


def test_each_listed_service_gets_a_report() -> None:
    reports = list(protocol.parse_reports(VALID_PARAMS | {"subsvc": "ocr,asr"}, 1))
    assert [report.instance.service for report in reports] == ["ocr", "asr"]


@pytest.mark.parametrize(
    ("change", "serving_state"),
    [
        ({}, ServingState.UP),
        ({"live": "0"}, ServingState.DOWN),
        ({"live": "0", "total": "0", "best": "0", "idle": "0"}, ServingState.DOWN),
        ({"total": "0", "best": "0", "idle": "0"}, ServingState.DRAINING),
        ({"best": "0"}, ServingState.DRAINING),
    ],
    ids=str,
)
def test_serving_state_of_a_report(change: dict[str, str], serving_state: ServingState) -> None:
    (report,) = protocol.parse_reports(VALID_PARAMS | change, 1)
    assert report.load.serving_state is serving_state


def test_first_report_of_down_adds_nothing() -> None:
    table = EndpointTable()
    (report,) = protocol.parse_reports(VALID_PARAMS | {"live": "0"}, 1)
    table.apply(report, 0.0)
    assert len(table) == 0


def make_table(**idle_by_name: int) -> EndpointTable:
    table = EndpointTable()
    for name, idle_slots in idle_by_name.items():
        instance = Instance("ase", "ocr", f"{name}:1", 1, "xsf", "", 8, 6, ReportMode.PERIODIC)
        table.apply(Report(instance, Load(1, running=8 - idle_slots, served=99)), 0.0)
    return table


def query(
    table: EndpointTable, policy: str = "load", start: int = 0, **changes: str | None
) -> list[str]:
    """Return the addresses of a query; a parameter that is None is absent."""
    params: dict[str, str | None] = {"svc": "ase", "subsvc": "ocr", "nbest": "1", **changes}
    query_params = {name: value for name, value in params.items() if value is not None}
    return [addr.decode() for addr in protocol.pick_servers(query_params, table, policy, start)]


def query_error_code(table: EndpointTable, policy: str = "load", **params: str | None) -> int:
    with pytest.raises(AseError) as error_info:
        query(table, policy, **params)
    return error_info.value.spec.code


def test_load_picks_most_idle_and_counts_only_the_first() -> None:
    table = make_table(a=3, b=5, c=4)
    assert query(table, nbest="2") == ["b:1", "c:1"]
    assert query(table) == ["b:1"], "four are left there, and it comes first"
    assert query(table) == ["c:1"]
    assert query(table, nbest="9") == ["a:1", "b:1", "c:1"], "all have three left"


def test_report_overwrites_the_local_count() -> None:
    table = make_table(a=4, b=4)
    assert [query(table)[0] for _ in range(4)] == ["a:1", "b:1", "a:1", "b:1"]
    (endpoint, _) = table
    table.apply(Report(endpoint.instance, Load(2, running=0, served=99)), 1.0)
    assert query(table) == ["a:1"]


def test_query_without_idle_slots_still_returns_a_server() -> None:
    table = make_table(a=-3, b=0)
    assert query(table) == ["b:1"]


def test_load_mini_returns_one_server() -> None:
    table = make_table(a=3, b=5)
    assert query(table, "loadMini", nbest="2") == ["b:1"]
    assert query(table, "loadMini", all="1") == ["b:1"], "it ignores both"


def test_poll_is_round_robin() -> None:
    table = make_table(a=1, b=1, c=1)
    assert query(table, "poll", 0, nbest="2") == ["a:1", "b:1"]
    assert query(table, "poll", 2, nbest="2") == ["c:1", "a:1"]
    assert query(table, "poll", 5, nbest="9") == ["c:1", "a:1", "b:1"]


def test_ours_orders_by_expected_delay() -> None:
    table = make_table(a=-3, b=5)
    assert query(table, "ours", nbest="2") == ["b:1", "a:1"]


def test_all_returns_one_item_with_all_counts() -> None:
    table = make_table(a=3, b=5)
    (item,) = query(table, all="1")
    assert [json.loads(part) for part in item.split(";")] == [
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
        ({"nbest": " 1"}, 2006),
        ({"svc": None}, 2007),
        ({"subsvc": None}, 2007),
        ({"nbest": "0", "svc": None}, 2006),
        ({"svc": "other"}, 2011),
        ({"svc": "other", "subsvc": "asr"}, 2011),
        ({"subsvc": "asr"}, 2012),
        ({"subsvc": ""}, 2012),
    ],
    ids=str,
)
@pytest.mark.parametrize("policy", ["load", "loadMini", "poll", "ours"])
def test_query_parameters(params: dict[str, str | None], expected: int, policy: str) -> None:
    assert query_error_code(make_table(a=3), policy, **params) == expected


@pytest.mark.parametrize("uid", ["12345", "user-abc", ""])
def test_uid_has_no_effect(uid: str) -> None:
    """The original's Go client sends the id of a user."""
    assert query(make_table(a=3), uid=uid, rp="1") == ["a:1"]


def test_loaders_without_capacity_are_returned_if_no_other_is_left() -> None:
    table = make_table(a=3, b=5)
    for endpoint in list(table):
        params = VALID_PARAMS | {"addr": endpoint.instance.addr, "total": "0", "best": "0"}
        (report,) = protocol.parse_reports(params, 2)
        table.apply(report, 1.0)
    assert query(table) == ["a:1", "b:1"], "all of them, whatever nbest"
    assert query(table, "loadMini") == ["b:1"], "the first counts a request more since then"
    assert query(table, "poll", 1) == ["b:1"]


def test_draining_server_is_not_returned() -> None:
    table = make_table(a=3)
    (endpoint,) = table
    instance = replace(endpoint.instance, report_mode=ReportMode.ON_CHANGE)
    table.apply(Report(instance, Load(2, ServingState.DRAINING)), 1.0)
    assert query_error_code(table) == 20002


@pytest.mark.parametrize(
    ("params", "expected", "blocked_after"),
    [
        ({"addr": "a:1", "forceOffline": "1"},
         (True, "successfully adding a:1 to blacklist([a:1 b:1])"), ["a:1", "b:1"]),
        ({"addr": "b:1", "forceOffline": "0"},
         (False, "successfully deleting b:1 from blacklist([])"), []),
        ({"addr": "a:1", "forceOffline": "yes"}, 20017, ["b:1"]),
        ({"addr": "a:1"}, 20016, ["b:1"]),
        ({"forceOffline": "1"}, 2007, ["b:1"]),
    ],
    ids=str,
)  # fmt: skip
def test_force_offline(params: dict[str, str], expected: Any, blocked_after: list[str]) -> None:
    blocked = {"b:1"}
    try:
        result: Any = protocol.set_offline(params, blocked)
    except AseError as error:
        result = error.spec.code
    assert result == expected
    assert sorted(blocked) == blocked_after


def test_monitor_json_format() -> None:
    table = make_table(a=3)
    address_map = {
        "AddrMap": {
            "a:1": {"Addr": "a:1", "Timestamp": 1, "BestInst": 6, "IdleInst": 3, "TotalInst": 8}
        }
    }
    of_all = {"SubSvcMap": {"ocr": address_map}}
    for query in ({}, {"svc": "ase"}, {"subsvc": "ocr"}):
        assert json.loads(protocol.monitor_json(query, table)) == of_all
    of_one = protocol.monitor_json({"svc": "ase", "subsvc": "ocr"}, table)
    assert json.loads(of_one) == address_map
    assert protocol.monitor_json({"svc": "x"}, table) == "no instance of svc 'x', subsvc ''"
    assert json.loads(protocol.monitor_json({}, EndpointTable())) == {"SubSvcMap": {}}
