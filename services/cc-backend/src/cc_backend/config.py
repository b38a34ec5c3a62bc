"""`config.json` of cc-backend: sections main, nats, auth, cron, archive, metric-store, metric-store-external, ui.

All keys of all rooms are typed here, also those of features this version does not have: `-check-config` judges the whole
file, and `not_in_this_version` names at start what is configured but missing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

import msgspec
from ccdaemon.config.types import Duration, Problem, Secret
from ccdaemon.config.walk import Loaded, Section, load
from ccdaemon.net.nats import NatsConfig
from ccstore.server.config import StoreConfig
from msgspec import Meta, field

Wrong = tuple[str, str, str]


class Resampling(msgspec.Struct, rename="kebab", kw_only=True):
    """`main.resampling`: plots of long jobs are thinned out on the server."""

    minimum_points: Annotated[int, Meta(description="Series shorter than this are never thinned; ≤ 0 = 1000.")] = 1000
    trigger: Annotated[int, Meta(ge=1, description="Points in view below which the browser asks for the next finer resolution.")]
    resolutions: Annotated[list[int], Meta(min_length=1, description="Resolutions in seconds that the browser may ask for.")]


class ApiSubjects(msgspec.Struct, rename="kebab", kw_only=True):
    """`main.api-subjects`: job and node events over NATS, beside REST."""

    subject_job_event: Annotated[str, Meta(min_length=1, description="Subject of start and stop events.")]
    subject_node_state: Annotated[str, Meta(min_length=1, description="Subject of node states.")]
    job_concurrency: Annotated[int, Meta(description="Job events handled at once; ≤ 0 = 8. Events of one job keep their order.")] = 8
    node_concurrency: Annotated[int, Meta(description="Node state messages handled at once; ≤ 0 = 2.")] = 2


class Target(msgspec.Struct, rename="kebab", kw_only=True):
    """Keys of a retention target (files or S3)."""

    target_kind: Literal["file", "s3"] = "file"
    target_path: str = ""
    target_endpoint: str = ""
    target_bucket: str = ""
    target_access_key: str = ""
    target_secret_key: Secret = Secret("")
    target_region: str = "us-east-1"
    target_use_path_style: bool = False


class NodestateRetention(Target, rename="kebab", kw_only=True):
    """`main.nodestate-retention`: old node states are deleted or moved to Parquet."""

    policy: Literal["delete", "move"]
    age: Annotated[int, Meta(description="Hours; ≤ 0 = 24.")] = 24
    max_file_size_mb: int = 128


class DbConfig(msgspec.Struct, rename="kebab", kw_only=True):
    """`main.db-config`: SQLite; values ≤ 0 mean the default."""

    cache_size_mb: Annotated[int, Meta(description="Page cache per connection in MB; default 64.")] = 0
    soft_heap_limit_mb: Annotated[int, Meta(description="Accepted; memory is bounded by the caches.")] = 0
    max_open_connections: Annotated[int, Meta(description="Reader threads; default 4.")] = 0
    max_idle_connections: Annotated[int, Meta(description="Accepted, without effect.")] = 0
    max_idle_time_minutes: Annotated[int, Meta(description="Accepted, without effect.")] = 0
    busy_timeout_ms: Annotated[int, Meta(description="How long to wait for another process's lock; default 60000.")] = 0


class Main(msgspec.Struct, rename="kebab", kw_only=True):
    """`main`."""

    addr: Annotated[str, Meta(description="Address to listen on, host:port.")] = "localhost:8080"
    api_allowed_ips: Annotated[
        list[str] | None, Meta(description="Addresses or networks (CIDR) that may use /api; absent or `*` = all.", extra={"strict": True})
    ] = None
    trusted_proxies: Annotated[
        list[str],
        Meta(description="Addresses or networks whose X-Real-Ip and X-Forwarded-For headers are believed.", extra={"strict": True}),
    ] = field(default_factory=lambda: ["127.0.0.0/8", "::1"])
    user: Annotated[str, Meta(description="User to become once the ports are taken.", extra={"strict": True})] = ""
    group: Annotated[str, Meta(description="Group to become once the ports are taken.", extra={"strict": True})] = ""
    disable_authentication: Annotated[
        bool, Meta(description="Everybody is administrator. Only on a loopback address.", extra={"strict": True})
    ] = False
    allow_remote_without_authentication: Annotated[
        bool, Meta(description="Confirms disable-authentication on an address that is not loopback.", extra={"strict": True})
    ] = False
    embed_static_files: Annotated[bool, Meta(description="Serve the built-in assets.")] = True
    static_files: Annotated[str, Meta(description="Folder of assets if they are not the built-in ones.")] = ""
    db: Annotated[str, Meta(description="SQLite file.")] = "./var/job.db"
    enable_job_taggers: Annotated[bool, Meta(description="Tag jobs by the rules in ./var/tagger.")] = False
    validate: Annotated[bool, Meta(description="Check documents of the archive against the schemas.")] = False
    session_max_age: Annotated[Duration, Meta(description="How long a login lasts; 0 = 30 days.")] = Duration(168 * 3600)
    https_cert_file: Annotated[str, Meta(description="Certificate chain (PEM); together with https-key-file.", extra={"strict": True})] = ""
    https_key_file: Annotated[str, Meta(description="Private key (PEM).", extra={"strict": True})] = ""
    redirect_http_to: Annotated[str, Meta(description="URL to which port 80 redirects.")] = ""
    stop_jobs_exceeding_walltime: Annotated[
        int, Meta(ge=0, description="Seconds over the walltime after which a job is ended; 0 = never.")
    ] = 0
    short_running_jobs_duration: Annotated[int, Meta(ge=0, description="Seconds below which a job counts as short.")] = 300
    emission_constant: Annotated[int, Meta(ge=0, description="g CO2 per kWh; 0 = no estimate.")] = 0
    machine_state_dir: Annotated[str, Meta(description="Folder of machine states.")] = ""
    systemd_unit: Annotated[str, Meta(description="Unit whose log the log page shows.")] = "clustercockpit.service"
    resampling: Resampling | None = None
    api_subjects: ApiSubjects | None = None
    nodestate_retention: NodestateRetention | None = None
    db_config: DbConfig = field(default_factory=DbConfig)

    def check(self) -> Iterable[Wrong]:
        if bool(self.https_cert_file) != bool(self.https_key_file):
            lacks = "https_key_file" if self.https_cert_file else "https_cert_file"
            yield lacks, "is missing: certificate and key belong together", "give both, or none for plain HTTP"
        if self.disable_authentication and not self.allow_remote_without_authentication and not _loopback(self.addr):
            yield (
                "disable_authentication",
                f"everybody who reaches {self.addr} would be administrator",
                "listen on 127.0.0.1, or confirm with allow-remote-without-authentication",
            )
        for key in ("api_allowed_ips", "trusted_proxies"):
            for text in getattr(self, key) or ():
                if text != "*" and network(text) is None:
                    yield key, f"'{text}' is no IP address or network", "write 192.0.2.1 or 192.0.2.0/24"


class Jwts(msgspec.Struct, rename="kebab", kw_only=True):
    """`auth.jwts`."""

    strict: ClassVar[bool] = True
    max_age: Annotated[Duration | None, Meta(description="Lifetime of tokens issued here; absent = they never expire.")] = None
    cookie_name: Annotated[str, Meta(description="Cookie with a token of an external portal.")] = ""
    validate_user: Annotated[bool, Meta(description="Users of tokens must have an account; its roles count.")] = False
    trusted_issuer: Annotated[str, Meta(description="Issuer whose tokens open sessions.")] = ""
    sync_user_on_login: bool = False
    update_user_on_login: bool = False


class Ldap(msgspec.Struct, rename="kebab", kw_only=True):
    """`auth.ldap`."""

    strict: ClassVar[bool] = True
    url: str
    user_base: str
    search_dn: str
    user_bind: str
    user_filter: str
    username_attr: str = "gecos"
    uid_attr: str = "uid"
    sync_interval: Duration | None = None
    sync_del_old_users: bool = False
    sync_user_on_login: bool = False
    update_user_on_login: bool = False


class Oidc(msgspec.Struct, rename="kebab", kw_only=True):
    """`auth.oidc`."""

    strict: ClassVar[bool] = True
    provider: str
    sync_user_on_login: bool = False
    update_user_on_login: bool = False


class Auth(msgspec.Struct, rename="kebab", kw_only=True):
    """`auth`."""

    strict: ClassVar[bool] = True
    jwts: Jwts = field(default_factory=Jwts)
    ldap: Ldap | None = None
    oidc: Oidc | None = None


class Cron(msgspec.Struct, rename="kebab", kw_only=True):
    """`cron`: ≤ 0 switches a worker off."""

    commit_job_worker: Annotated[Duration, Meta(description="Accepted; there is nothing to commit.")] = Duration(120)
    duration_worker: Annotated[Duration, Meta(description="How often the duration of running jobs is stored.")] = Duration(300)
    footprint_worker: Annotated[Duration, Meta(description="How often the footprint of running jobs is computed.")] = Duration(600)


class Retention(Target, rename="kebab", kw_only=True):
    """`archive.retention`."""

    policy: Literal["none", "delete", "copy", "move"]
    age: Annotated[int, Meta(ge=1, description="Days since the start of a job.")] = 7
    format: Literal["json", "parquet"] = "json"
    include_db: Annotated[bool, Meta(extra={"removed": ("includeDB",)}, description="Delete the rows too.")] = True
    omit_tagged: Literal["none", "all", "user"] = "none"
    max_file_size_mb: int = 512

    removed_keys: ClassVar[dict[str, str]] = {"location": "the key is target-path now"}


class Archive(msgspec.Struct, rename="kebab", kw_only=True):
    """`archive`: where finished jobs are kept."""

    kind: Literal["file", "s3", "sqlite"]
    path: Annotated[str, Meta(description="Directory of the file archive.")] = ""
    db_path: str = ""
    endpoint: str = ""
    bucket: str = ""
    access_key: str = ""
    secret_key: Secret = Secret("")
    region: str = "us-east-1"
    use_path_style: bool = False
    compression: Annotated[int, Meta(description="Days after which data is compressed; ≤ 0 = 7.")] = 7
    retention: Retention | None = None

    def check(self) -> Iterable[Wrong]:
        needed = {"file": "path", "sqlite": "db_path", "s3": "bucket"}[self.kind]
        if not getattr(self, needed):
            yield needed, f"is needed with kind '{self.kind}'", "say where the archive is"


class External(msgspec.Struct, rename="kebab", kw_only=True):
    """One entry of `metric-store-external`."""

    scope: Annotated[str, Meta(min_length=1)]
    url: Annotated[str, Meta(min_length=1)]
    token: Secret


class UiLists(msgspec.Struct, rename="kebab", kw_only=True):
    """Metric lists of the pages."""

    job_list_metrics: list[str] | None = None
    job_view_plot_metrics: list[str] | None = None
    job_view_table_metrics: list[str] | None = None


class UiSubCluster(UiLists, rename="kebab", kw_only=True):
    name: str


class UiCluster(UiLists, rename="kebab", kw_only=True):
    name: str
    sub_clusters: list[UiSubCluster] = []


class UiMetrics(UiLists, rename="kebab", kw_only=True):
    clusters: list[UiCluster] = []


class UiJobList(msgspec.Struct, rename="kebab", kw_only=True):
    use_paging: bool = False
    show_footprint: bool = False


class UiNodeList(msgspec.Struct, rename="kebab", kw_only=True):
    use_paging: bool = False


class UiJobView(msgspec.Struct, rename="kebab", kw_only=True):
    show_polar_plot: bool = True
    show_footprint: bool = False
    show_roofline: bool = True
    show_stat_table: bool = True


class UiPlots(msgspec.Struct, rename="kebab", kw_only=True):
    color_background: bool = True
    plots_per_row: Annotated[int, Meta(ge=1)] = 3
    line_width: Annotated[int, Meta(ge=1)] = 3
    color_scheme: Annotated[list[str], Meta(description="Colours of curves; empty = the palette of the theme.")] = []


class Ui(msgspec.Struct, rename="kebab", kw_only=True):
    """`ui`: defaults of what users can set for themselves."""

    job_list: UiJobList = field(default_factory=UiJobList)
    node_list: UiNodeList = field(default_factory=UiNodeList)
    job_view: UiJobView = field(default_factory=UiJobView)
    metric_config: UiMetrics = field(default_factory=UiMetrics)
    plot_configuration: UiPlots = field(default_factory=UiPlots)


SECTIONS: Final = {
    "main": Section(Main),
    "nats": Section(NatsConfig),
    "auth": Section(Auth),
    "cron": Section(Cron),
    "archive": Section(Archive),
    "metric-store": Section(StoreConfig),
    "metric-store-external": Section(list[External]),
    "ui": Section(Ui, from_file="ui-file", missing_file_is_warning=True),
}


class Config(msgspec.Struct, kw_only=True):
    """The whole file with its defaults. `store` None: only external stores."""

    main: Main = field(default_factory=Main)
    nats: NatsConfig | None = None
    auth: Auth = field(default_factory=Auth)
    cron: Cron = field(default_factory=Cron)
    archive: Archive = field(default_factory=lambda: Archive(kind="file", path="./var/job-archive"))
    store: StoreConfig | None = None
    external: list[External] = []
    ui: Ui = field(default_factory=Ui)


def read_config(path: Path) -> tuple[Config, list[str]]:
    """The file, and its warnings. A missing section has its defaults. Raises ConfigErrors with all mistakes."""
    loaded = load(path, SECTIONS)
    return _config(loaded), [str(problem) for problem in _warnings(loaded)]


def _config(loaded: Loaded) -> Config:
    given = {name: value for name, value in loaded.sections.items() if value is not None}
    external = given.get("metric-store-external", [])
    store = given.get("metric-store")
    if store is None and not external:
        store = StoreConfig(retention_in_memory=Duration(48 * 3600), memory_cap=0)
    config = Config(external=external, store=store)
    for name in ("main", "nats", "auth", "cron", "archive", "ui"):
        if name in given:
            setattr(config, name, given[name])
    return config


def _warnings(loaded: Loaded) -> Iterator[Problem]:
    yield from loaded.warnings
    auth = loaded.sections["auth"]
    if auth is None:
        yield Problem("auth", None, "the section is missing", "local accounts and tokens work with default settings", fatal=False)
    if auth is None or auth.jwts.max_age is None:
        yield Problem("auth.jwts.max-age", None, "is missing: tokens issued here never expire", 'for example "2000h"', fatal=False)


def not_in_this_version(config: Config) -> list[Wrong]:
    """(key, what is missing, what to do) for every configured feature that this version does not have."""
    missing: list[Wrong] = []
    if config.auth.ldap is not None:
        missing.append(("auth.ldap", "login by LDAP", "remove the section and add local accounts with -add-user"))
    if config.auth.oidc is not None:
        missing.append(("auth.oidc", "login by OpenID Connect", "remove the section and add local accounts with -add-user"))
    if config.auth.jwts.cookie_name:
        missing.append(("auth.jwts.cookie-name", "login by an external token", "remove the key"))
    if config.archive.kind != "file":
        missing.append(("archive.kind", f"a job archive of kind '{config.archive.kind}'", 'use "kind": "file" with "path"'))
    if config.archive.retention is not None and config.archive.retention.policy != "none":
        policy = config.archive.retention.policy
        if policy in ("copy", "move"):
            missing.append(("archive.retention.policy", f"retention by '{policy}'", 'use "delete", or "none" to keep everything'))
    if config.external:
        missing.append(("metric-store-external", "reading from external metric stores", "use the section metric-store"))
    if config.main.nodestate_retention is not None and config.main.nodestate_retention.policy == "move":
        missing.append(("main.nodestate-retention.policy", "moving node states to Parquet", 'use "delete"'))
    if config.main.enable_job_taggers:
        missing.append(("main.enable-job-taggers", "automatic taggers", "set it to false"))
    if config.main.machine_state_dir:
        missing.append(("main.machine-state-dir", "machine states", "remove the key"))
    if config.main.validate:
        missing.append(("main.validate", "schema validation of the archive", "set it to false"))
    return missing


def network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """An address or network in any spelling; None where it is neither."""
    try:
        return ipaddress.ip_network(text.strip("[]"), strict=False)
    except ValueError:
        return None


def _loopback(addr: str) -> bool:
    host = addr.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
