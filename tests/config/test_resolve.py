"""Options from file, environment and flags: who wins, and every fault at once."""

from collections.abc import Mapping
from dataclasses import fields

import pytest

from config import source
from config.options import SECTIONS, Config, InstanceOptions, ServiceOptions, meta_of, option_fields
from config.resolve import flag_name, resolve, resolve_with_origins, service_links
from config.source import ConfigError


def resolve_text(
    text: str = "", environ: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None
) -> Config:
    return resolve(source.parse_yaml(text, "ase.yaml"), environ or {}, flags or {})


def error_text(text: str = "", **sources: Mapping[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve_text(text, **sources)
    return str(caught.value)


def test_precedence_flag_environment_file_default() -> None:
    text, environ, flags = (
        "gateway: {port: 1}",
        {"ASE_GATEWAY_PORT": "2"},
        {"gateway.port": "3"},
    )
    assert resolve(None, {}, {}).gateway.port == 8200
    assert resolve_text(text).gateway.port == 1
    assert resolve_text(text, environ).gateway.port == 2
    assert resolve_text(text, environ, flags).gateway.port == 3


def test_services_and_instances() -> None:
    config = resolve_text(
        "services: {ocr: {deadline: 9}, asr: {}}\n"
        "instances: [{service: ocr, addr: 'h:1', protocol: xsf, total: 4}]"
    )
    assert config.services == {"ocr": ServiceOptions(deadline=9.0), "asr": ServiceOptions()}
    assert config.instances == [InstanceOptions("ocr", "h:1", "xsf", 4)]


def test_flag_and_environment_values_are_converted() -> None:
    config = resolve_text(
        environ={"ASE_LB_ACCEPT_SCHEMAS": "true", "ASE_KONG_GATEWAYS": "a:1,b:2"},
        flags={"gateway.deadline": "2.5", "log_level": "debug"},
    )
    assert config.lb.accept_schemas is True
    assert config.kong.gateways == ["a:1", "b:2"]
    assert config.gateway.deadline == 2.5
    assert config.log_level == "debug"


SERVICE_LINKS = {
    "ASE_GATEWAY_PORT": "tcp://10.152.183.152:8200",
    "ASE_GATEWAY_SERVICE_HOST": "10.152.183.152",
    "ASE_GATEWAY_SERVICE_PORT": "8200",
    "ASE_GATEWAY_SERVICE_PORT_HTTP": "8200",
    "ASE_GATEWAY_PORT_8200_TCP": "tcp://10.152.183.152:8200",
    "ASE_GATEWAY_PORT_8200_TCP_PROTO": "tcp",
    "ASE_GATEWAY_PORT_8200_TCP_PORT": "8200",
    "ASE_GATEWAY_PORT_8200_TCP_ADDR": "10.152.183.152",
    "ASE_GATEWAY_ADMIN_PORT": "tcp://10.152.183.153:8290",  # of a Service ase-gateway-admin
    "ASE_GATEWAY_ADMIN_SERVICE_HOST": "10.152.183.153",
    "ASE_LB_PORT": "udp://10.152.183.154:8220",
    "ASE_KONG_PORT_53_UDP": "udp://10.152.183.155:53",
}


def test_kubernetes_service_links_are_ignored() -> None:
    config = resolve_text(environ=SERVICE_LINKS)
    assert config == Config()
    assert service_links(SERVICE_LINKS | {"ASE_GATEWAY_HOST": "h", "HOME": "/"}) == frozenset(
        SERVICE_LINKS
    )


def test_options_beside_service_links_are_read() -> None:
    environ = SERVICE_LINKS | {"ASE_GATEWAY_PORT": "9000", "ASE_GATEWAY_HOST": "0.0.0.0"}
    assert resolve_text(environ=environ).gateway.port == 9000
    assert "unknown variable ASE_GATEWAY_PROT" in error_text(environ={"ASE_GATEWAY_PROT": "1"})


def test_file_is_yaml_of_version_1_2() -> None:
    config = resolve_text("gateway: {host: no, port: 010, once_lane: false}")
    assert (config.gateway.host, config.gateway.port) == ("no", 10)
    assert "gateway.once_lane must be true or false" in error_text("gateway: {once_lane: no}")


def test_blanks_in_lists_are_ignored() -> None:
    config = resolve_text(
        environ={"ASE_LB_ALLOW": "127.0.0.0/8, ::1/128", "ASE_SESSION_ORIGINS": "https://a.b ,,"}
    )
    assert config.lb.allow == ["127.0.0.0/8", "::1/128"] == Config().lb.allow
    assert config.session.origins == ["https://a.b"]


@pytest.mark.parametrize(
    "origin", ["https://app.example.com/", "https://*.example.org", "app.example.net", "https://"]
)
def test_origin_that_can_match_nothing_is_rejected(origin: str) -> None:
    assert "session.origins must be" in error_text(f"session: {{origins: ['{origin}']}}")


def test_typo_error_has_a_hint() -> None:
    assert error_text("gateway:\n  prot: 1\n") == (
        "ase.yaml:2:3: error: unknown key 'prot'\n    2 |   prot: 1\n      |   ^^^^\n"
        "  hint: did you mean 'port'?"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gateway: {port: 70000}", "gateway.port must be at most 65535 (got 70000)"),
        ("gateway: {port: -1}", "gateway.port must be at least 0 (got -1)"),
        ("gateway: {port: '8200'}", "gateway.port must be a whole number (got '8200')"),
        ("gateway: {port: true}", "gateway.port must be a whole number (got True)"),
        ("gateway: {deadline: x}", "gateway.deadline must be a number (got 'x')"),
        ("gateway: {deadline: .nan}", "gateway.deadline must be a number"),
        ("gateway: [1]", "gateway must be a mapping"),
        ("lb: {accept_schemas: 1}", "lb.accept_schemas must be true or false (got 1)"),
        ("kong: {gateways: a:1}", "kong.gateways must be a list of texts (got 'a:1')"),
        ("log_level: loud", "log_level must be one of debug, info, warning, error (got 'loud')"),
        ("schemas: 3", "schemas must be a text (got 3)"),
        ("instances: [{service: 'bad name!', addr: 'h:1'}]", "must be a service id"),
        ("instances: [{service: a, addr: '10.0.0.7'}]", "must be host:port, without a scheme"),
        ("instances: [{service: a, addr: 'h:99999'}]", "must be host:port"),
        ("instances: [{service: a, addr: 'http://h:1'}]", "must be host:port"),
        (
            "instances:\n- {service: a, addr: 'h:1'}\n- {service: a, addr: 'h:1'}",
            "ase.yaml:3:3: error: instances.1 occurs twice",
        ),
        ("services: {'bad name!': {}}", "services.bad name! must be a service id"),
        ("lb: {hub: nohost}", "lb.hub must be host:port"),
        ("services: [1]", "services must be a mapping from a service id"),
        ("services: {ocr: {deadlin: 1}}", "hint: did you mean 'deadline'?"),
        ("instances: {}", "instances must be a list"),
        ("instances: [{addr: 'h:1'}]", "instances.0.service is missing"),
        ("instances: [{service: a, addr: b, protocol: c}]", "must be one of native, xsf"),
        ("- 1", "the file must be a mapping"),
        ("zzz: 1", "hint: known: apps, auth, deployer, gateway, instances, kong, lb, "),
    ],
    ids=lambda value: value[:40],
)
def test_bad_value_is_an_error(text: str, message: str) -> None:
    assert message in error_text(text)


def test_all_errors_are_reported_from_every_source() -> None:
    error = error_text(
        "gateway: {port: x, keep: 1}",
        environ={"ASE_LB_PORT": "many"},
        flags={"gateway.max_body": "0"},
    )
    assert "gateway.port must be" in error
    assert "unknown key 'keep'" in error
    assert "ASE_LB_PORT must be a whole number (got 'many')" in error
    assert "--gateway-max-body must be at least 1 (got 0)" in error


def test_bad_file_value_is_an_error_even_if_a_flag_overrides_it() -> None:
    assert "gateway.port" in error_text("gateway: {port: x}", flags={"gateway.port": "0"})


def test_every_option_has_help() -> None:
    for section in (*SECTIONS.values(), Config, ServiceOptions, InstanceOptions):
        for option in option_fields(section):
            assert len(meta_of(option).help) > 5, option.name
    assert {option.name for option in fields(Config)} >= set(SECTIONS)


def test_flag_names() -> None:
    assert flag_name("gateway.max_body") == "--gateway-max-body"


def test_unknown_environment_variable_is_an_error() -> None:
    error = error_text(environ={"ASE_GATEWAY_PROT": "1", "ASE_TEST_TIMEOUT": "9"})
    assert error == (
        "ase.yaml: error: unknown variable ASE_GATEWAY_PROT\n"
        "  hint: did you mean 'ASE_GATEWAY_PORT'?"
    )


def test_errors_are_in_file_order() -> None:
    error = error_text("zzz: 1\nlb: {silence: x, port: y}\ngateway: {prot: 1}")
    locations = [line.split(":")[1:3] for line in error.splitlines() if "error:" in line]
    assert locations == [["1", "1"], ["2", "15"], ["2", "24"], ["3", "11"]]


@pytest.mark.parametrize("addr", ["h:1", "h:65535", "10.0.0.1:8200", "[::1]:80"])
def test_addresses(addr: str) -> None:
    assert resolve_text(f"lb: {{hub: '{addr}'}}").lb.hub == addr


SECRET_FILES = {"token.txt": "from a file\n", "empty.txt": "\n"}


def read_secret(text: str, environ: dict[str, str] | None = None) -> str:
    """Return `lb.token` of a config file with this value."""

    def read_file(name: str) -> str:
        if name not in SECRET_FILES:
            raise FileNotFoundError(2, "No such file or directory", name)
        return SECRET_FILES[name]

    parsed = source.parse_yaml(f"lb: {{token: '{text}'}}", "ase.yaml")
    return resolve_with_origins(parsed, environ or {}, {}, read_file)[0].lb.token


def test_secret_may_be_in_a_file_or_a_variable() -> None:
    assert read_secret("${file:token.txt}") == "from a file"
    assert read_secret("${env:LB_TOKEN}", {"LB_TOKEN": "from a variable"}) == "from a variable"
    assert read_secret("plain ${file:token.txt}") == "plain ${file:token.txt}"
    assert read_secret("x", {"ASE_LB_TOKEN": "${file:token.txt}"}) == "from a file"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("${file:missing.txt}", "ase.yaml:1:13: error: lb.token: [Errno 2] No such file"),
        ("${file:empty.txt}", "lb.token: empty.txt is empty"),
        ("${env:MISSING}", "lb.token: the variable MISSING is not set"),
    ],
)
def test_secret_that_is_not_there_is_an_error(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_secret(text)
    assert problem in str(caught.value)


def test_other_options_are_no_references() -> None:
    parsed = source.parse_yaml("schemas: '${env:HOME}'", "ase.yaml")
    assert resolve_with_origins(parsed, {"HOME": "/root"}, {})[0].schemas == "${env:HOME}"
