"""config.json: the tutorial's files load, mistakes are named all at once, what this version lacks is said with key and remedy."""

from __future__ import annotations

import json

import pytest
from cc_backend.commands.serve import refuse_what_is_missing
from cc_backend.config import not_in_this_version, read_config
from ccdaemon.errors import ConfigErrors, OperatorError

PRODUCTION = """\
// cc-backend config
{
  "main": {
    "addr": "0.0.0.0:443",
    "https-cert-file": "/etc/letsencrypt/live/url/fullchain.pem",
    "https-key-file": "/etc/letsencrypt/live/url/privkey.pem",
    "user": "clustercockpit",
    "group": "clustercockpit",
    "short-running-jobs-duration": 300,
    "enable-job-taggers": true,
    "resampling": { "minimum-points": 600, "trigger": 180, "resolutions": [240, 60] },
    "api-subjects": { "subject-job-event": "cc.job.event", "subject-node-state": "cc.node.state" }
  },
  "nats": { "address": "nats://x.x.x.x:4222", "username": "root", "password": "root" },
  "auth": {
    "jwts": { "max-age": "2000h" },
    "ldap": {
      "url": "ldaps://ldap.example.org", "user-base": "ou=people,dc=example,dc=org", "search-dn": "cn=search,dc=example,dc=org",
      "user-bind": "uid={username},ou=people,dc=example,dc=org", "user-filter": "(&(objectclass=posixAccount))", "sync-interval": "24h"
    }
  },
  "cron": { "commit-job-worker": "1m", "duration-worker": "5m", "footprint-worker": "10m" },
  "archive": {
    "kind": "s3", "endpoint": "http://x.x.x.x", "bucket": "jobarchive", "access-key": "xx", "secret-key": "xx",
    "retention": { "policy": "move", "age": 365, "target-path": "./var/archive" }
  },
  "metric-store": {
    "memory-cap": 100, "retention-in-memory": "48h",
    "cleanup": { "mode": "archive", "directory": "./var/archive" },
    "nats-subscriptions": [
      { "subscribe-to": "hpc-nats", "cluster-tag": "fritz" },
      { "subscribe-to": "hpc-nats", "cluster-tag": "alex" }
    ]
  },
  "ui-file": "ui-config.json"
}
"""


def read(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return read_config(path)


def test_production_example_of_the_tutorial(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config, warnings = read(tmp_path, PRODUCTION)
    assert config.main.addr == "0.0.0.0:443"
    assert config.auth.jwts.max_age == 2000 * 3600
    assert config.auth.ldap.sync_interval == 86400
    assert (config.archive.kind, config.archive.retention.policy, config.archive.retention.age) == ("s3", "move", 365)
    assert [s.cluster_tag for s in config.store.nats_subscriptions] == ["fritz", "alex"]
    assert config.ui.plot_configuration.plots_per_row == 3
    assert any("ui-config.json" in warning for warning in warnings)  # missing: a warning, and the defaults
    assert not any("commit-job-worker" in warning for warning in warnings)
    # Typed and accepted; a start names each of them with its key and what to do.
    with pytest.raises(OperatorError) as e:
        refuse_what_is_missing(config)
    for key in ("auth.ldap", "archive.kind", "archive.retention.policy", "main.enable-job-taggers"):
        assert f"{key}: " in str(e.value)


def test_store_section_alone(tmp_path):
    """The tutorial's small cluster."""
    config, warnings = read(tmp_path, '// cc-backend config\n{"metric-store": {"retention-in-memory": "48h", "memory-cap": 100,},}')
    assert config.store.memory_cap == 100
    assert (config.archive.kind, config.archive.path) == ("file", "./var/job-archive")
    assert not_in_this_version(config) == []
    assert any(warning.startswith("auth: ") for warning in warnings)


def test_empty_file_has_a_store(tmp_path):
    config, _ = read(tmp_path, {})
    assert config.store.retention_in_memory == 48 * 3600
    assert config.main.addr == "localhost:8080"


def test_external_store_only(tmp_path):
    config, _ = read(tmp_path, {"metric-store-external": [{"scope": "*", "url": "http://x", "token": "t"}]})
    assert config.store is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ({"main": {"https-cert-file": "x"}}, "main.https-key-file: is missing"),
        ({"main": {"resampling": {"trigger": 5, "resolutions": []}}}, "main.resampling.resolutions"),
        ({"main": {"resampling": {"resolutions": [60]}}}, "main.resampling"),
        ({"main": {"session-max-age": "7 days"}}, "main.session-max-age"),
        ({"main": {"api-allowed-ips": ["10.0.0.0/8", "nonsense"]}}, "'nonsense' is no IP address"),
        ({"main": {"addr": "0.0.0.0:80", "disable-authentication": True}}, "main.disable-authentication"),
        ({"main": {"api-subjects": {"subject-job-event": "a"}}}, "main.api-subjects"),
        ({"auth": {"jwts": {"max-aeg": "1h"}}}, "max-age"),  # unknown keys of strict structures, with the nearest
        ({"auth": {"ldap": {"url": "ldap://x"}}}, "auth.ldap"),
        ({"archive": {"kind": "tape"}}, "archive.kind"),
        ({"archive": {"kind": "file"}}, "archive.path"),
        ({"archive": {"kind": "file", "path": "x", "retention": {"policy": "delete", "age": 0}}}, "archive.retention.age"),
        ({"cron": {"duration-worker": "soon"}}, "cron.duration-worker"),
        ({"metric-store": {"memory-cap": 1}}, "metric-store.retention-in-memory"),
        ("{", "config.json:1:"),
        ({"main-file": "nowhere.json"}, "nowhere.json"),
    ],
)
def test_mistakes(tmp_path, text, says):
    with pytest.raises(ConfigErrors) as e:
        read(tmp_path, text)
    assert says in str(e.value)


def test_all_mistakes_at_once(tmp_path):
    with pytest.raises(ConfigErrors) as e:
        read(tmp_path, {"main": {"addr": 5, "emission-constant": -1}, "cron": {"duration-worker": 7}, "archive": {}})
    assert len(e.value.problems) >= 4


def test_unknown_keys_are_warnings_elsewhere(tmp_path):
    _, warnings = read(tmp_path, {"main": {"emision-constant": 5}, "archive": {"kind": "file", "path": "x", "location": "y"}})
    assert any("emision-constant" in warning and "emission-constant" in warning for warning in warnings)


def test_retention_default_is_a_week(tmp_path):
    """Pitfall: 0 days, which means everything."""
    config, _ = read(tmp_path, {"archive": {"kind": "file", "path": "x", "retention": {"policy": "delete"}}})
    assert config.archive.retention.age == 7


def test_secrets_do_not_show(tmp_path):
    config, _ = read(tmp_path, PRODUCTION)
    assert "'root'" not in repr(config.nats.password)
    assert str(config.archive.secret_key) == "***"
