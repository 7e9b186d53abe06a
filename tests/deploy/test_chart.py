"""The Helm chart: rendered by Helm's own library, its objects by the schemas of Kubernetes."""

import argparse
import json
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

import helm_python
import httpx
import kubernetes_validate
import pytest
import yaml

from asectl import loader
from asectl.deployer import run
from config import resolve
from config.source import parse_yaml
from deploy.file_sets import FILE_SETS, list_files
from deploy.shimlets.kubernetes_objects import DEPLOYMENT_LABEL
from tests.harness import Gateway, Process, make_envelope, run_asectl

# Every part of the chart that a value switches on.
EVERYTHING: dict[str, Any] = {
    "config": {"auth": "key", "gateway": {"deadline": 9}},
    "secret": {"existing": "ours"},
    "image": {"repository": "registry.example.com/ase", "tag": "9", "pullSecrets": ["pull"]},
    "gateway": {
        "autoscaling": {"enabled": True},
        "grpc": True,
        "tls": {"secret": "cert"},
        "keys": {"secret": "keys"},
        "ingress": {"enabled": True, "host": "api.example.com", "tlsSecret": "web"},
        "service": {"annotations": {"a": "b"}},
        "env": [{"name": "TZ", "value": "UTC"}],
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
    },
    "hub": {"replicas": 3},
    "loaders": [
        {
            "name": "ocr",
            "image": "registry.example.com/ocr:1",
            "wrapper": "ocr.py:Ocr",
            "args": ["--set", "model=/models/ocr"],
            "startupSeconds": 301,
            "resources": {"limits": {"nvidia.com/gpu": 1}},
            "autoscaling": {"min": 1, "max": 3, "running": 2},
            "env": [{"name": "A", "value": "b"}],
            "volumes": [{"name": "models", "emptyDir": {}}],
            "volumeMounts": [{"name": "models", "mountPath": "/models"}],
        }
    ],
    "deployer": {
        "enabled": True,
        "keys": {"secret": "keys"},
        "storageClass": "fast",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
    },
    "networkPolicy": {"clients": [{"podSelector": {"matchLabels": {"app": "kong"}}}]},
    "metrics": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "prom"}},
        "rules": {"enabled": True},
        "dashboard": {"enabled": True},
    },
}


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chart")
    for name, content in list_files(FILE_SETS["helm"], resources.files("deploy")).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder / "athena-serving"


def render(chart: Path, values: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the objects of a release by kind and name, without those that test it."""
    with helm_python.Chart.load(str(chart)) as loaded:
        manifests = loaded.render(values, name="demo", namespace="prod")
    objects = [
        document
        for name, text in manifests.items()
        if name.endswith(".yaml")
        for document in yaml.safe_load_all(text)
        if document is not None
    ]
    by_name = {(item["kind"], item["metadata"]["name"]): item for item in objects}
    assert len(by_name) == len(objects)
    return by_name


def container(item: dict[str, Any]) -> dict[str, Any]:
    (only,) = item["spec"]["template"]["spec"]["containers"]
    return dict(only)


def config_of(objects: dict[tuple[str, str], dict[str, Any]]) -> Any:
    text = objects["ConfigMap", "demo-config"]["data"]["ase.yaml"]
    return resolve.resolve(parse_yaml(text, "ase.yaml"), {}, {})


@pytest.mark.parametrize("values", [{}, EVERYTHING, {"loaders": []}], ids=["default", "all", "few"])
@pytest.mark.parametrize("kubernetes", ["1.27", "1.34"])
def test_objects_are_valid_by_the_schemas_of_kubernetes(
    chart: Path, values: dict[str, Any], kubernetes: str
) -> None:
    objects = render(chart, values)
    validated = 0
    for (kind, _), item in objects.items():
        if kind in ("PrometheusRule", "ServiceMonitor"):  # not of Kubernetes itself
            continue
        kubernetes_validate.validate(item, kubernetes, strict=True)
        validated += 1
    assert validated >= 12


def test_default_release_has_gateways_hubs_and_loaders(chart: Path) -> None:
    objects = render(chart, {})
    replicas = {
        name: item["spec"]["replicas"]
        for (kind, name), item in objects.items()
        if kind in ("Deployment", "StatefulSet")
    }
    assert replicas == {
        "demo-gateway": 2,
        "demo-hub": 2,
        "demo-loader-image": 2,
        "demo-loader-audio": 2,
    }
    budgets = {name for kind, name in objects if kind == "PodDisruptionBudget"}
    assert budgets == set(replicas)
    config = config_of(objects)
    assert config.lb.hub == "demo-hub-0.demo-hub:8220,demo-hub-1.demo-hub:8220"
    assert config.gateway.host == config.gateway.admin_host == config.lb.host == "0.0.0.0"
    image = f"athena-serving:{version('athena-serving')}"
    assert container(objects["Deployment", "demo-gateway"])["image"] == image


def test_every_pod_is_hardened_and_its_services_are_not_linked(chart: Path) -> None:
    pods = [
        item["spec"]["template"]["spec"]
        for (kind, _), item in render(chart, EVERYTHING).items()
        if kind in ("Deployment", "StatefulSet")
    ]
    assert len(pods) == 4
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["enableServiceLinks"] is False
        calls_kubernetes = pod["serviceAccountName"] == "demo-deployer"
        assert pod.get("automountServiceAccountToken", True) is calls_kubernetes
        for item in pod["containers"]:
            assert item["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_options_of_the_release_reach_the_gateway(chart: Path) -> None:
    objects = render(chart, EVERYTHING)
    config = config_of(objects)
    assert config.gateway.deadline == 9
    assert config.gateway.grpc
    assert config.gateway.tls_cert == "/etc/ase/tls/tls.crt"
    assert list(config.auth.methods) == ["key"]
    assert config.auth.keys == "/etc/ase/keys/keys.sqlite"
    gateway = objects["Deployment", "demo-gateway"]
    mounts = {mount["mountPath"] for mount in container(gateway)["volumeMounts"]}
    assert {"/etc/ase/config", "/etc/ase/tls", "/etc/ase/keys"} < mounts
    assert container(gateway)["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
    assert "replicas" not in gateway["spec"], "the autoscaler's"
    scaler = objects["HorizontalPodAutoscaler", "demo-gateway"]["spec"]["metrics"]
    assert scaler[0]["pods"]["metric"]["name"] == "ase_inflight"


@pytest.mark.parametrize("auth", ["key, hmac", ["key", "hmac"], {"methods": ["key", "hmac"]}])
def test_keys_are_those_of_the_secret_however_methods_are_given(chart: Path, auth: Any) -> None:
    keys = {"keys": {"secret": "keys"}}
    config = config_of(render(chart, {"config": {"auth": auth}, "gateway": keys}))
    assert list(config.auth.methods) == ["key", "hmac"]
    assert config.auth.keys == "/etc/ase/keys/keys.sqlite"


def test_no_replica_is_none(chart: Path) -> None:
    loaders = [{"name": "a", "wrapper": "a.py", "replicas": 0}, {"name": "b", "wrapper": "b.py"}]
    objects = render(chart, {"loaders": loaders})
    replicas = [objects["Deployment", f"demo-loader-{n}"]["spec"]["replicas"] for n in "ab"]
    assert replicas == [0, 1]


def test_pod_that_tests_the_release_may_call(chart: Path) -> None:
    objects = render(chart, EVERYTHING)
    labels = objects["Pod", "demo-test"]["metadata"]["labels"]
    peers = objects["NetworkPolicy", "demo-gateway"]["spec"]["ingress"][0]["from"]
    selectors = [peer["podSelector"]["matchLabels"] for peer in peers]
    assert {"app": "kong"} in selectors
    assert any(selector.items() <= labels.items() for selector in selectors)
    (arguments,) = [item["args"] for item in objects["Pod", "demo-test"]["spec"]["containers"]]
    assert run_asectl(*arguments[:-1], "https://127.0.0.1:1").returncode == 1


def test_a_changed_option_rolls_the_gateways(chart: Path) -> None:
    def checksum(values: dict[str, Any]) -> str:
        gateway = render(chart, values)["Deployment", "demo-gateway"]
        return str(gateway["spec"]["template"]["metadata"]["annotations"]["checksum/config"])

    assert checksum({}) == checksum({"gateway": {"replicas": 5}})
    assert checksum({}) != checksum({"config": {"lb": {"ttl": 9}}})


def test_gateway_drains_before_its_grace_period_ends(chart: Path) -> None:
    objects = render(chart, {})
    pod = objects["Deployment", "demo-gateway"]["spec"]["template"]["spec"]
    command = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert command == ["asectl", "drain", "--wait", "10"]
    options = config_of(objects).gateway
    assert pod["terminationGracePeriodSeconds"] > 10 + options.lame_duck + options.drain


def test_loader_reports_to_every_hub_with_the_address_of_its_pod(chart: Path) -> None:
    item = container(render(chart, EVERYTHING)["Deployment", "demo-loader-ocr"])
    parser = argparse.ArgumentParser()
    loader.add_arguments(parser)
    assert item["args"][:2] == ["loader", "run"]
    options = parser.parse_args(item["args"][2:])
    assert options.wrapper == "ocr.py:Ocr"
    assert options.set == [("model", "/models/ocr")]
    assert options.advertise == "$(POD_IP):8240"
    assert options.lb.split(",") == [f"demo-hub-{n}.demo-hub:8220" for n in range(3)]
    assert item["startupProbe"]["failureThreshold"] * item["startupProbe"]["periodSeconds"] >= 301
    assert item["resources"]["limits"] == {"nvidia.com/gpu": 1}


def test_loader_of_the_chart_serves_and_is_ready(chart: Path, tmp_path: Path) -> None:
    """Its arguments, in the image of `asectl loader dockerfile`, on free ports of this machine."""
    (tmp_path / "words.py").write_text(
        'from aseloader import service\n\n@service("greet")\ndef greet(text: str) -> str:\n'
        '    """Greet."""\n    return f"hello {text}"\n'
    )
    values = {"loaders": [{"name": "greet", "wrapper": "words.py:greet"}]}
    item = container(render(chart, values)["Deployment", "demo-loader-greet"])
    assert item["command"] == ["asectl"], "instead of the entrypoint of the image"
    with Gateway(env={"ASE_LB_TOKEN": "t"}) as gateway:
        free = {
            "--port=8240": "--port=0",
            "--metrics-port=9240": "--metrics-port=0",
            "--advertise=$(POD_IP):8240": "--advertise=127.0.0.1:0",
            "--lb=demo-hub-0.demo-hub:8220,demo-hub-1.demo-hub:8220": f"--lb={gateway.lb}",
        }
        arguments = [free.get(argument, argument) for argument in item["args"]]
        assert len({*item["args"]} - {*arguments}) == 4
        with Process(*arguments, cwd=tmp_path, env={"ASE_LB_TOKEN": "t"}) as loader:
            addr = gateway.wait_for_event("instance admitted", service="greet")["instance"]
            assert gateway.post(make_envelope("greet"), "greet").status_code == 200
            assert run_asectl("healthcheck", "--loader", addr).stdout == "serving\n"
            url = loader.wait_for_event("metrics")["url"].replace("0.0.0.0", "127.0.0.1")
            metrics = httpx.get(f"{url}/metrics", trust_env=False).text
            assert "ase_loader_running" in metrics, "what the autoscaler reads"
    assert all("grpc" in item[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness"))


def test_private_ports_are_reached_by_their_peers_alone(chart: Path) -> None:
    def peers(name: str) -> dict[str, list[str]]:
        rules = objects["NetworkPolicy", f"demo-{name}"]["spec"]["ingress"]
        return {
            port["port"]: [
                selector["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
                for selector in rule.get("from", ())
                if "podSelector" in selector
            ]
            for rule in rules
            for port in rule["ports"]
        }

    objects = render(chart, {})
    assert peers("gateway") == {"http": [], "admin": []}
    assert peers("hub") == {"reports": ["gateway", "loader"], "admin": []}
    assert peers("loader") == {"grpc": ["gateway"], "metrics": []}
    http, admin = objects["NetworkPolicy", "demo-gateway"]["spec"]["ingress"]
    assert "from" not in http
    assert "namespaceSelector" in admin["from"][0]
    assert not [kind for kind, _ in render(chart, {"networkPolicy": {"enabled": False}})
                if kind == "NetworkPolicy"]  # fmt: skip


def test_deployer_may_do_what_its_shimlet_does_and_no_more(chart: Path) -> None:
    objects = render(chart, EVERYTHING)
    rules = objects["Role", "demo-deployer"]["rules"]
    allowed = {
        (group, name.partition("/")[0], verb)
        for rule in rules
        for group in rule["apiGroups"]
        for name in rule["resources"]
        for verb in rule["verbs"]
    }
    assert {name for _, name, _ in allowed} == {"deployments", "services", "pods"}
    (subject,) = objects["RoleBinding", "demo-deployer"]["subjects"]
    assert subject == {"kind": "ServiceAccount", "name": "demo-deployer", "namespace": "prod"}
    pod = objects["StatefulSet", "demo-deployer"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "demo-deployer"
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    (item,) = pod["containers"]
    env = {entry["name"]: entry.get("value", "") for entry in item["env"]}
    flags = {
        name: value
        for name, value in vars(parser.parse_args(item["args"][1:])).items()
        if "." in name and value is not None
    }
    config = resolve.resolve(parse_yaml("", "ase.yaml"), env, flags)
    assert (config.deployer.shimlet, config.deployer.namespace) == ("k8s", "prod")
    assert (
        config.deployer.hubs
        == "demo-hub-0.demo-hub:8220,demo-hub-1.demo-hub:8220,demo-hub-2.demo-hub:8220"
    )
    assert (config.deployer.token_secret, config.deployer.auth) == ("ours", "key")
    assert config.auth.keys == "/etc/ase/keys/keys.sqlite"


def test_deployed_pods_report_and_are_called(chart: Path) -> None:
    objects = render(chart, EVERYTHING)
    deployed = {"matchExpressions": [{"key": DEPLOYMENT_LABEL, "operator": "Exists"}]}
    hub = objects["NetworkPolicy", "demo-hub"]["spec"]["ingress"][0]["from"]
    assert {"podSelector": deployed} in hub
    policy = objects["NetworkPolicy", "demo-deployed"]["spec"]
    assert policy["podSelector"] == deployed
    components = [
        peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
        for peer in policy["ingress"][0]["from"]
    ]
    assert components == ["gateway", "deployer"]
    api, activator = objects["NetworkPolicy", "demo-deployer"]["spec"]["ingress"]
    assert (api, activator["ports"]) == ({"ports": [{"port": "api"}]}, [{"port": "activator"}])
    assert [
        peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
        for peer in activator["from"]
    ] == ["gateway"]


def test_deployer_without_keys_is_refused(chart: Path) -> None:
    with pytest.raises(Exception, match=r"deployer\.keys\.secret: a Secret with keys\.sqlite"):
        render(chart, {"deployer": {"enabled": True}})


def test_prometheus_finds_the_jobs_that_the_alerts_name(chart: Path) -> None:
    objects = render(chart, EVERYTHING)
    jobs = {}
    for (kind, _), item in objects.items():
        if kind == "ServiceMonitor":
            (endpoint,) = item["spec"]["endpoints"]
            labels = item["spec"]["selector"]["matchLabels"]
            service = next(
                other["spec"]
                for (other_kind, _), other in objects.items()
                if other_kind == "Service" and labels.items() <= other["metadata"]["labels"].items()
            )
            assert endpoint["port"] in [port["name"] for port in service["ports"]]
            jobs[endpoint["relabelings"][0]["replacement"]] = endpoint
    assert set(jobs) == {"ase-gateway", "ase-hub", "ase-loader"}
    assert "authorization" not in jobs["ase-loader"]
    token = {"name": "ours", "key": "admin-token"}
    assert jobs["ase-gateway"]["authorization"]["credentials"] == token
    rules = objects["PrometheusRule", "demo"]["spec"]["groups"]
    assert "AseDown" in json.dumps(rules)
    dashboard = objects["ConfigMap", "demo-dashboard"]["data"]["athena-serving.json"]
    assert json.loads(dashboard)["panels"]


def test_token_is_made_unless_a_secret_is_named(chart: Path) -> None:
    objects = render(chart, {})
    tokens = objects["Secret", "demo-secret"]["data"]
    assert len(tokens["lb-token"]) == len(tokens["admin-token"]) > 40
    env = {
        entry["name"]: entry for entry in container(objects["Deployment", "demo-gateway"])["env"]
    }
    assert env["ASE_GATEWAY_ADMIN_TOKEN"]["valueFrom"] == env["ASE_ADMIN_TOKEN"]["valueFrom"]
    named = render(chart, EVERYTHING)
    assert not [kind for kind, _ in named if kind == "Secret"]
    env = container(named["StatefulSet", "demo-hub"])["env"]
    assert env[0]["valueFrom"]["secretKeyRef"] == {"name": "ours", "key": "lb-token"}


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"gatway": {}}, "'gatway'"),
        ({"gateway": {"replicas": 0}}, "/gateway/replicas"),
        ({"loaders": [{"name": "OCR", "wrapper": "ocr.py"}]}, "/loaders/0/name"),
        ({"loaders": [{"name": "ocr"}]}, "/loaders/0"),
        ({"config": {"lb": {"hub": "elsewhere:8220"}}}, "/config/lb/hub"),
        ({"config": {"lb": {"token": "secret"}}}, "/config/lb/token"),
        ({"config": {"gateway": {"port": 80}}}, "/config/gateway/port"),
        ({"gateway": {"autoscaling": {"inflight": 0, "cpu": 0}}}, "/gateway/autoscaling"),
        ({"metrics": {"serviceMonitor": {"interval": "10"}}}, "/metrics/serviceMonitor/interval"),
    ],
)
def test_wrong_value_is_refused_with_its_place(
    chart: Path, values: dict[str, Any], place: str
) -> None:
    with pytest.raises(helm_python.HelmError, match=place):
        render(chart, values)


def test_versions_are_those_of_the_package(chart: Path) -> None:
    metadata = yaml.safe_load((chart / "Chart.yaml").read_text())
    assert metadata["version"] == metadata["appVersion"] == version("athena-serving")
