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

    minimum_points: Annotated[int, Meta(description="Series with fewer values than this are never thinned; 0 or less = 1000.")] = 1000
    trigger: Annotated[int, Meta(ge=1, description="Values in view below which the browser asks for the next finer resolution.")]
    resolutions: Annotated[
        list[int],
        Meta(
            min_length=1,
            description="Seconds per value that the browser may ask for; the largest is what an API answers when no resolution is asked for. A metric whose time step does not divide it gets the next finer one that fits, else its own.",
        ),
    ]


class ApiSubjects(msgspec.Struct, rename="kebab", kw_only=True):
    """`main.api-subjects`: job and node events over NATS, beside REST."""

    subject_job_event: Annotated[str, Meta(min_length=1, description="Subject of start and stop events.")]
    subject_node_state: Annotated[str, Meta(min_length=1, description="Subject of node states.")]
    job_concurrency: Annotated[
        int, Meta(description="Accepted, without effect: job events are handled in the order in which they come.")
    ] = 8
    node_concurrency: Annotated[
        int, Meta(description="Accepted, without effect: node states are handled in the order in which they come.")
    ] = 2


class Target(msgspec.Struct, rename="kebab", kw_only=True):
    """Keys of a retention target (files or S3)."""

    target_kind: Annotated[Literal["file", "s3"], Meta(description="Where to: a folder (`file`) or an S3 bucket (`s3`).")] = "file"
    target_path: Annotated[str, Meta(description="Folder, for kind `file`; made when it is missing.")] = ""
    target_endpoint: Annotated[str, Meta(description="URL of the S3 server, for kind `s3`; empty = AWS.")] = ""
    target_bucket: Annotated[str, Meta(description="Bucket, for kind `s3`; it must exist.")] = ""
    target_access_key: Annotated[str, Meta(description="Access key id of the S3 server.")] = ""
    target_secret_key: Annotated[Secret, Meta(description="Secret key of the S3 server; never written to the log.")] = Secret("")
    target_region: Annotated[str, Meta(description="Region of the bucket.")] = "us-east-1"
    target_use_path_style: Annotated[bool, Meta(description="Bucket in the path instead of in the host name, as MinIO wants it.")] = False


class NodestateRetention(Target, rename="kebab", kw_only=True):
    """`main.nodestate-retention`: old node states are deleted or moved to Parquet."""

    policy: Annotated[
        Literal["delete", "move"],
        Meta(description="`delete` = forget old states; `move` = write them to the target first (not in this version)."),
    ]
    age: Annotated[int, Meta(description="Hours that states are kept; 0 or less = 24. The newest state of each node always stays.")] = 24
    max_file_size_mb: Annotated[int, Meta(description="MB (10^6 bytes) at which a new Parquet file is begun.")] = 128


class DbConfig(msgspec.Struct, rename="kebab", kw_only=True):
    """`main.db-config`: SQLite; values ≤ 0 mean the default."""

    cache_size_mb: Annotated[int, Meta(description="Page cache of each connection in MB; 0 or less = 64.")] = 0
    soft_heap_limit_mb: Annotated[int, Meta(description="Accepted, without effect: memory is bounded by the caches.")] = 0
    max_open_connections: Annotated[
        int, Meta(description="Threads that read; 0 or less = 4. One more writes. When all are busy, reads wait.")
    ] = 0
    max_idle_connections: Annotated[int, Meta(description="Accepted, without effect.")] = 0
    max_idle_time_minutes: Annotated[int, Meta(description="Accepted, without effect.")] = 0
    busy_timeout_ms: Annotated[
        int, Meta(description="Milliseconds to wait for another process's lock before the operation fails; 0 or less = 60000.")
    ] = 0


class Main(msgspec.Struct, rename="kebab", kw_only=True):
    """`main`."""

    addr: Annotated[
        str, Meta(description="Address to listen on, `host:port`; port 0 = any free one. When it is taken the start fails.")
    ] = "localhost:8080"
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
        bool, Meta(description="Everybody is administrator, without login or token. Only on a loopback address.", extra={"strict": True})
    ] = False
    allow_remote_without_authentication: Annotated[
        bool, Meta(description="Confirms disable-authentication on an address that is not loopback.", extra={"strict": True})
    ] = False
    embed_static_files: Annotated[bool, Meta(description="Serve the built-in web interface; false = the one in static-files.")] = True
    static_files: Annotated[
        str, Meta(description="Folder of another build of the web interface, with its manifest.json; needs embed-static-files false.")
    ] = ""
    db: Annotated[str, Meta(description="SQLite file; its folder must exist.")] = "./var/job.db"
    enable_job_taggers: Annotated[bool, Meta(description="Tag jobs by the rules in ./var/tagger.")] = False
    validate: Annotated[bool, Meta(description="Check documents of the archive against the schemas.")] = False
    session_max_age: Annotated[Duration, Meta(description="How long a login lasts, whatever is done in it; 0 = 30 days.")] = Duration(
        168 * 3600
    )
    https_cert_file: Annotated[str, Meta(description="Certificate chain (PEM); together with https-key-file.", extra={"strict": True})] = ""
    https_key_file: Annotated[str, Meta(description="Private key (PEM).", extra={"strict": True})] = ""
    redirect_http_to: Annotated[
        str, Meta(description="URL to which plain HTTP on port 80 is redirected; empty = port 80 is left alone.")
    ] = ""
    stop_jobs_exceeding_walltime: Annotated[
        int, Meta(ge=0, description="Seconds over its walltime after which a running job is ended as `failed`; 0 = never.")
    ] = 0
    short_running_jobs_duration: Annotated[
        int, Meta(ge=0, description="Seconds; jobs shorter than this count as short, and lists can hide them.")
    ] = 300
    emission_constant: Annotated[int, Meta(ge=0, description="g CO2 per kWh, for the estimate on the job page; 0 = no estimate.")] = 0
    machine_state_dir: Annotated[str, Meta(description="Folder of machine states.")] = ""
    systemd_unit: Annotated[str, Meta(description="Unit whose log the log page shows.")] = "clustercockpit.service"
    resampling: Annotated[
        Resampling | None, Meta(description="Thinning of long series on the server; absent = every value is delivered.")
    ] = None
    api_subjects: Annotated[
        ApiSubjects | None,
        Meta(description="NATS subjects on which job and node events are taken, beside REST; absent = REST only. Needs the section nats."),
    ] = None
    nodestate_retention: Annotated[
        NodestateRetention | None, Meta(description="What happens to old node states; absent = they are kept for ever.")
    ] = None
    db_config: Annotated[DbConfig, Meta(description="Knobs of the database.")] = field(default_factory=DbConfig)

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
    sync_user_on_login: Annotated[
        bool, Meta(description="Whoever comes with an external token gets an account at the first login (with cookie-name).")
    ] = False
    update_user_on_login: Annotated[
        bool, Meta(description="Name and roles of the account are those of the external token at each login (with cookie-name).")
    ] = False


class Ldap(msgspec.Struct, rename="kebab", kw_only=True):
    """`auth.ldap`."""

    strict: ClassVar[bool] = True
    url: Annotated[str, Meta(description="URL of the server, `ldaps://host` or `ldap://host`.")]
    user_base: Annotated[str, Meta(description="Base of the search for users.")]
    search_dn: Annotated[str, Meta(description="Who searches; the password is `LDAP_ADMIN_PASSWORD` of the environment.")]
    user_bind: Annotated[str, Meta(description="Name with which a user logs in; `{username}` stands for what was typed.")]
    user_filter: Annotated[str, Meta(description="Filter that picks users.")]
    username_attr: Annotated[str, Meta(description="Attribute with a user's real name.")] = "gecos"
    uid_attr: Annotated[str, Meta(description="Attribute with the login name.")] = "uid"
    sync_interval: Annotated[
        Duration | None, Meta(description="How often all users are read from the server; absent = only at logins.")
    ] = None
    sync_del_old_users: Annotated[
        bool, Meta(description="Accounts from LDAP that the server does not have any more are deleted when all are read.")
    ] = False
    sync_user_on_login: Annotated[bool, Meta(description="Whoever the server knows gets an account at the first login.")] = False
    update_user_on_login: Annotated[bool, Meta(description="The name of the account is that of the server at each login.")] = False


class Oidc(msgspec.Struct, rename="kebab", kw_only=True):
    """`auth.oidc`."""

    strict: ClassVar[bool] = True
    provider: Annotated[str, Meta(description="URL of the issuer; `/.well-known/openid-configuration` below it is read at start.")]
    sync_user_on_login: Annotated[bool, Meta(description="Whoever the provider knows gets an account at the first login.")] = False
    update_user_on_login: Annotated[bool, Meta(description="Name and roles of the account are those of the provider at each login.")] = (
        False
    )


class Auth(msgspec.Struct, rename="kebab", kw_only=True):
    """`auth`."""

    strict: ClassVar[bool] = True
    jwts: Annotated[Jwts, Meta(description="API tokens.")] = field(default_factory=Jwts)
    ldap: Annotated[Ldap | None, Meta(description="Login by LDAP; absent = none.")] = None
    oidc: Annotated[Oidc | None, Meta(description="Login by OpenID Connect; absent = none.")] = None


class Cron(msgspec.Struct, rename="kebab", kw_only=True):
    """`cron`: ≤ 0 switches a worker off."""

    commit_job_worker: Annotated[Duration, Meta(description="Accepted, without effect: starts are in the job table at once.")] = Duration(
        120
    )
    duration_worker: Annotated[
        Duration, Meta(description="How often the stored duration of running jobs is brought up to date; 0 or less = never.")
    ] = Duration(300)
    footprint_worker: Annotated[Duration, Meta(description="How often the footprint of running jobs is computed; 0 or less = never.")] = (
        Duration(600)
    )


class Retention(Target, rename="kebab", kw_only=True):
    """`archive.retention`."""

    policy: Annotated[
        Literal["none", "delete", "copy", "move"],
        Meta(
            description="What happens to old jobs: `none` = nothing, `delete`, `copy` or `move` to the target (not in this version). Running jobs and such that wait for archiving are never touched."
        ),
    ]
    age: Annotated[int, Meta(ge=1, description="Days since the start of a job.")] = 7
    format: Annotated[Literal["json", "parquet"], Meta(description="Form of copied and moved jobs.")] = "json"
    include_db: Annotated[
        bool,
        Meta(
            extra={"removed": ("includeDB",)},
            description="Delete the rows of deleted and moved jobs too; false = they stay in lists, without data.",
        ),
    ] = True
    omit_tagged: Annotated[
        Literal["none", "all", "user"], Meta(description="Spare jobs with any tag (`all`), or with one that no tagger has set (`user`).")
    ] = "none"
    max_file_size_mb: Annotated[int, Meta(description="MB (10^6 bytes) at which a new Parquet file is begun.")] = 512

    removed_keys: ClassVar[dict[str, str]] = {"location": "the key is target-path now"}


class Archive(msgspec.Struct, rename="kebab", kw_only=True):
    """`archive`: where finished jobs are kept."""

    kind: Annotated[
        Literal["file", "s3", "sqlite"],
        Meta(description="How finished jobs are kept: folders (`file`), or a bucket or a database (not in this version)."),
    ]
    path: Annotated[
        str, Meta(description="Folder of the archive, for kind `file`. When the disk is full, jobs stay in the queue and are tried again.")
    ] = ""
    db_path: Annotated[str, Meta(description="SQLite file, for kind `sqlite`.")] = ""
    endpoint: Annotated[str, Meta(description="URL of the S3 server, for kind `s3`; empty = AWS.")] = ""
    bucket: Annotated[str, Meta(description="Bucket, for kind `s3`; it must exist.")] = ""
    access_key: Annotated[str, Meta(description="Access key id of the S3 server.")] = ""
    secret_key: Annotated[Secret, Meta(description="Secret key of the S3 server; never written to the log.")] = Secret("")
    region: Annotated[str, Meta(description="Region of the bucket.")] = "us-east-1"
    use_path_style: Annotated[bool, Meta(description="Bucket in the path instead of in the host name, as MinIO wants it.")] = False
    compression: Annotated[int, Meta(description="Days after which the data of a job is compressed; 0 or less = 7.")] = 7
    retention: Annotated[Retention | None, Meta(description="What happens to old jobs; absent = they are kept for ever.")] = None

    def check(self) -> Iterable[Wrong]:
        needed = {"file": "path", "sqlite": "db_path", "s3": "bucket"}[self.kind]
        if not getattr(self, needed):
            yield needed, f"is needed with kind '{self.kind}'", "say where the archive is"


class External(msgspec.Struct, rename="kebab", kw_only=True):
    """One entry of `metric-store-external`."""

    scope: Annotated[
        str,
        Meta(
            min_length=1,
            description="Whose data this store has: `<cluster>-<subcluster>`, `<cluster>` or `*`; the first that exists is asked, else the built-in store.",
        ),
    ]
    url: Annotated[str, Meta(min_length=1, description="URL of the store, without `/api`; requests give up after 10 s.")]
    token: Annotated[Secret, Meta(description="API token for the store; empty = none is sent. Never written to the log.")]


class UiLists(msgspec.Struct, rename="kebab", kw_only=True):
    """Metric lists of the pages."""

    job_list_metrics: Annotated[
        list[str] | None,
        Meta(
            description="Metrics in job lists, in this order; absent = of the next wider place, else cpu_load, flops_any, mem_bw, mem_used."
        ),
    ] = None
    job_view_plot_metrics: Annotated[
        list[str] | None,
        Meta(description="Metrics plotted on the job page; absent = of the next wider place, else cpu_load, flops_any, mem_bw, mem_used."),
    ] = None
    job_view_table_metrics: Annotated[
        list[str] | None,
        Meta(description="Metrics in the table of the job page; absent = of the next wider place, else flops_any, mem_bw, mem_used."),
    ] = None


class UiSubCluster(UiLists, rename="kebab", kw_only=True):
    name: Annotated[str, Meta(description="Name of the subcluster.")]


class UiCluster(UiLists, rename="kebab", kw_only=True):
    name: Annotated[str, Meta(description="Name of the cluster.")]
    sub_clusters: Annotated[list[UiSubCluster], Meta(description="Lists of single subclusters.")] = []


class UiMetrics(UiLists, rename="kebab", kw_only=True):
    clusters: Annotated[list[UiCluster], Meta(description="Lists of single clusters.")] = []


class UiJobList(msgspec.Struct, rename="kebab", kw_only=True):
    use_paging: Annotated[bool, Meta(description="Pages instead of a list that grows while one scrolls.")] = False
    show_footprint: Annotated[bool, Meta(description="Show the column with footprints.")] = False


class UiNodeList(msgspec.Struct, rename="kebab", kw_only=True):
    use_paging: Annotated[bool, Meta(description="Pages instead of a list that grows while one scrolls.")] = False


class UiJobView(msgspec.Struct, rename="kebab", kw_only=True):
    show_polar_plot: Annotated[bool, Meta(description="Show the polar plot of the footprint.")] = True
    show_footprint: Annotated[bool, Meta(description="Show the bars of the footprint.")] = False
    show_roofline: Annotated[bool, Meta(description="Show the roofline plot.")] = True
    show_stat_table: Annotated[bool, Meta(description="Show the table of statistics.")] = True


class UiPlots(msgspec.Struct, rename="kebab", kw_only=True):
    color_background: Annotated[bool, Meta(description="Shade plots beyond a threshold.")] = True
    plots_per_row: Annotated[int, Meta(ge=1)] = 3
    line_width: Annotated[int, Meta(ge=1)] = 3
    color_scheme: Annotated[list[str], Meta(description="Width of curves in pixels.")] = []


class Ui(msgspec.Struct, rename="kebab", kw_only=True):
    """`ui`: defaults of what users can set for themselves."""

    job_list: Annotated[UiJobList, Meta(description="Job lists.")] = field(default_factory=UiJobList)
    node_list: Annotated[UiNodeList, Meta(description="Node lists.")] = field(default_factory=UiNodeList)
    job_view: Annotated[UiJobView, Meta(description="Job page.")] = field(default_factory=UiJobView)
    metric_config: Annotated[UiMetrics, Meta(description="Which metrics are shown where.")] = field(default_factory=UiMetrics)
    plot_configuration: Annotated[UiPlots, Meta(description="Look of plots.")] = field(default_factory=UiPlots)


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
