"""The database as SQLAlchemy Core tables. `db.migrations` makes exactly this (a test compares the two).

A job is two tables: `job` holds what is filtered, sorted and grouped, `job_detail` the rest as JSON text; `job_node` and
`job_footprint` are the many-valued facts one can filter by. Times are seconds since the epoch, UTC.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, CheckConstraint, Column, Float, ForeignKey, Index, Integer, MetaData, Table, Text, UniqueConstraint, text

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

JOB_STATES: Final = (
    "boot_fail", "cancelled", "completed", "deadline", "failed", "node_fail",
    "out_of_memory", "pending", "preempted", "running", "suspended", "timeout",
)  # fmt: skip
SHARED: Final = ("none", "single_user", "multi_user")
NODE_STATES: Final = ("allocated", "reserved", "idle", "mixed", "down", "unknown")
HEALTH_STATES: Final = ("full", "partial", "failed")


def _one_of(column: str, words: tuple[str, ...]) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(repr(word) for word in words)})", name=column)


# SQLite aliases only INTEGER primary keys to the row id; PostgreSQL wants 64 bits.
_Id = BigInteger().with_variant(Integer, "sqlite")

job: Final = Table(
    "job",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("job_id", BigInteger, nullable=False),
    Column("cluster", Text, nullable=False),
    Column("subcluster", Text, nullable=False),
    Column("submit_time", BigInteger, nullable=False, server_default="0"),
    Column("start_time", BigInteger, nullable=False),
    Column("hpc_user", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("cluster_partition", Text, nullable=False, server_default=""),
    Column("array_job_id", BigInteger, nullable=False, server_default="0"),
    Column("job_name", Text),  # metaData.jobName, because it is searched; NULL = none
    Column("duration", Integer, nullable=False),  # seconds; of running jobs as old as the last run of the duration worker
    Column("walltime", BigInteger, nullable=False, server_default="0"),
    Column("job_state", Text, nullable=False),
    Column("num_nodes", Integer, nullable=False),
    Column("num_hwthreads", Integer, nullable=False, server_default="0"),
    Column("num_acc", Integer, nullable=False, server_default="0"),
    Column("smt", Integer, nullable=False, server_default="1"),
    Column("requested_memory", BigInteger, nullable=False, server_default="0"),  # MB
    Column("shared", Text, nullable=False, server_default="none"),
    # 0 disabled, 1 running or to be archived (this row is the archiver's queue), 2 archiving failed, 3 archived
    Column("monitoring_status", Integer, nullable=False, server_default="1"),
    Column("archive_tries", Integer, nullable=False, server_default="0"),
    Column("archive_after", BigInteger, nullable=False, server_default="0"),  # not before this time: back-off
    Column("energy", Float, nullable=False, server_default="0"),  # kWh
    UniqueConstraint("job_id", "cluster", "start_time"),
    _one_of("job_state", JOB_STATES),
    _one_of("shared", SHARED),
    CheckConstraint("monitoring_status BETWEEN 0 AND 3", name="monitoring_status"),
    Index("ix_job_start_time", "start_time", "id"),
    Index("ix_job_hpc_user", "hpc_user", "start_time"),
    Index("ix_job_project", "project", "start_time"),
    Index("ix_job_cluster", "cluster", "start_time"),
    # Partial: few jobs run or wait for the archiver, whatever the size of the table.
    Index(
        "ix_job_running",
        "cluster",
        "start_time",
        sqlite_where=text("job_state = 'running'"),
        postgresql_where=text("job_state = 'running'"),
    ),
    Index(
        "ix_job_unarchived",
        "archive_after",
        sqlite_where=text("monitoring_status = 1 AND job_state <> 'running'"),
        postgresql_where=text("monitoring_status = 1 AND job_state <> 'running'"),
    ),
    sqlite_autoincrement=True,  # an id of a deleted job is never given to another: it stands in links
)

job_detail: Final = Table(
    "job_detail",
    metadata,
    Column("job", _Id, ForeignKey("job.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("resources", Text, nullable=False),  # JSON array as in meta.json
    Column("meta_data", Text),  # JSON object string → string
    Column("energy_footprint", Text),  # JSON object metric → kWh
)

job_node: Final = Table(
    "job_node",
    metadata,
    Column("job", _Id, ForeignKey("job.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("hostname", Text, primary_key=True),
    Index("ix_job_node_hostname", "hostname"),
    sqlite_with_rowid=False,
)

job_footprint: Final = Table(
    "job_footprint",
    metadata,
    Column("job", _Id, ForeignKey("job.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),  # <metric>_<avg|min|max>
    Column("value", Float, nullable=False),
    sqlite_with_rowid=False,
)

tag: Final = Table(
    "tag",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("tag_type", Text, nullable=False),
    Column("tag_name", Text, nullable=False),
    Column("tag_scope", Text, nullable=False, server_default="global"),
    Column("insert_ts", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("tag_type", "tag_name", "tag_scope"),  # with the scope: a private tag blocks nobody else's
)

jobtag: Final = Table(
    "jobtag",
    metadata,
    Column("job_id", _Id, ForeignKey("job.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("tag_id", _Id, ForeignKey("tag.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("insert_ts", BigInteger, nullable=False, server_default="0"),
    Index("ix_jobtag_tag_id", "tag_id"),
    sqlite_with_rowid=False,
)

hpc_user: Final = Table(
    "hpc_user",
    metadata,
    Column("username", Text, primary_key=True),
    Column("password", Text),  # bcrypt; NULL: no local password
    Column("auth_source", Integer, nullable=False, server_default="0"),  # access.AuthSource
    Column("name", Text, nullable=False, server_default=""),
    Column("email", Text, nullable=False, server_default=""),
    Column("roles", Text, nullable=False, server_default="[]"),  # JSON arrays
    Column("projects", Text, nullable=False, server_default="[]"),
    Column("tokens_valid_from", BigInteger, nullable=False, server_default="0"),  # tokens issued before are refused
)

session: Final = Table(
    "session",
    metadata,
    Column("id_hash", Text, primary_key=True),  # SHA-256 of the cookie's value: the table is no list of keys
    Column("username", Text, nullable=False),
    Column("auth_source", Integer, nullable=False),
    Column("claims", Text, nullable=False),  # JSON: what the login said, used where the user has no row
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Index("ix_session_expires", "expires"),
    Index("ix_session_username", "username"),
)

configuration: Final = Table(
    "configuration",
    metadata,
    Column("username", Text, primary_key=True),  # no foreign key: users of tokens have settings without a row
    Column("confkey", Text, primary_key=True),
    Column("value", Text, nullable=False),  # JSON text
)

node: Final = Table(
    "node",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("hostname", Text, nullable=False),
    Column("cluster", Text, nullable=False),
    Column("subcluster", Text, nullable=False),
    UniqueConstraint("cluster", "hostname"),
)

node_state: Final = Table(
    "node_state",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("node_id", _Id, ForeignKey("node.id", ondelete="CASCADE"), nullable=False),
    Column("time_stamp", BigInteger, nullable=False),
    Column("jobs_running", Integer, nullable=False, server_default="0"),
    Column("cpus_allocated", Integer, nullable=False, server_default="0"),
    Column("memory_allocated", BigInteger, nullable=False, server_default="0"),  # MB
    Column("gpus_allocated", Integer, nullable=False, server_default="0"),
    Column("node_state", Text, nullable=False),
    Column("health_state", Text, nullable=False),
    Column("health_metrics", Text, nullable=False, server_default=""),  # {"missing": […], "degraded": […]} or empty
    _one_of("node_state", NODE_STATES),
    _one_of("health_state", HEALTH_STATES),
    Index("ix_node_state_node_id", "node_id", "time_stamp"),
    Index("ix_node_state_time_stamp", "time_stamp"),
)
