"""The configuration file of Astron xmod-shim, as options of the deployer."""

from asectl.deployer.seed_config import is_seed_config, seed_options

SEED = {
    "service": {"port": 8080},
    "plugins": {"defaultShimlet": "k8s", "defaultPipeline": "opensourcellm"},
    "logging": {"level": "info"},
}


def test_the_file_of_the_seed_is_read() -> None:
    assert is_seed_config(SEED)
    assert seed_options(SEED) == (
        {
            "deployer.port": "8080",
            "deployer.shimlet": "k8s",
            "deployer.pipeline": "opensourcellm",
            "log_level": "info",
        },
        [],
    )


def test_ours_is_none() -> None:
    for tree in (None, {}, [], {"service": {}, "gateway": {}}, {"deployer": {}}):
        assert not is_seed_config(tree)


def test_what_means_nothing_here_is_said() -> None:
    tree = {"service": {"prot": 1}, "plugins": 3}
    assert seed_options(tree) == ({}, ["service.prot", "plugins"])
