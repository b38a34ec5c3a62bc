"""The first schema.

Revision: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "configuration",
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("confkey", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("username", "confkey", name="pk_configuration"),
    )
    op.create_table(
        "hpc_user",
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("password", sa.Text(), nullable=True),
        sa.Column("auth_source", sa.Integer(), server_default="0", nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("email", sa.Text(), server_default="", nullable=False),
        sa.Column("roles", sa.Text(), server_default="[]", nullable=False),
        sa.Column("projects", sa.Text(), server_default="[]", nullable=False),
        sa.Column("tokens_valid_from", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("username", name="pk_hpc_user"),
    )
    op.create_table(
        "job",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("subcluster", sa.Text(), nullable=False),
        sa.Column("submit_time", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("start_time", sa.BigInteger(), nullable=False),
        sa.Column("hpc_user", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("cluster_partition", sa.Text(), server_default="", nullable=False),
        sa.Column("array_job_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("job_name", sa.Text(), nullable=True),
        sa.Column("duration", sa.Integer(), nullable=False),
        sa.Column("walltime", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("job_state", sa.Text(), nullable=False),
        sa.Column("num_nodes", sa.Integer(), nullable=False),
        sa.Column("num_hwthreads", sa.Integer(), server_default="0", nullable=False),
        sa.Column("num_acc", sa.Integer(), server_default="0", nullable=False),
        sa.Column("smt", sa.Integer(), server_default="1", nullable=False),
        sa.Column("requested_memory", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("shared", sa.Text(), server_default="none", nullable=False),
        sa.Column("monitoring_status", sa.Integer(), server_default="1", nullable=False),
        sa.Column("archive_tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("archive_after", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("energy", sa.Float(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "job_state IN ('boot_fail', 'cancelled', 'completed', 'deadline', 'failed', 'node_fail', 'out_of_memory', 'pending', 'preempted', 'running', 'suspended', 'timeout')",
            name=op.f("ck_job_job_state"),
        ),
        sa.CheckConstraint("shared IN ('none', 'single_user', 'multi_user')", name=op.f("ck_job_shared")),
        sa.CheckConstraint("monitoring_status BETWEEN 0 AND 3", name=op.f("ck_job_monitoring_status")),
        sa.PrimaryKeyConstraint("id", name="pk_job"),
        sa.UniqueConstraint("job_id", "cluster", "start_time", name="uq_job_job_id_cluster_start_time"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_job_cluster", "job", ["cluster", "start_time"], unique=False)
    op.create_index("ix_job_hpc_user", "job", ["hpc_user", "start_time"], unique=False)
    op.create_index("ix_job_project", "job", ["project", "start_time"], unique=False)
    op.create_index(
        "ix_job_running",
        "job",
        ["cluster", "start_time"],
        unique=False,
        sqlite_where=sa.text("job_state = 'running'"),
        postgresql_where=sa.text("job_state = 'running'"),
    )
    op.create_index("ix_job_start_time", "job", ["start_time", "id"], unique=False)
    op.create_index(
        "ix_job_unarchived",
        "job",
        ["archive_after"],
        unique=False,
        sqlite_where=sa.text("monitoring_status = 1 AND job_state <> 'running'"),
        postgresql_where=sa.text("monitoring_status = 1 AND job_state <> 'running'"),
    )
    op.create_table(
        "node",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("hostname", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("subcluster", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_node"),
        sa.UniqueConstraint("cluster", "hostname", name="uq_node_cluster_hostname"),
    )
    op.create_table(
        "session",
        sa.Column("id_hash", sa.Text(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("auth_source", sa.Integer(), nullable=False),
        sa.Column("claims", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id_hash", name="pk_session"),
    )
    op.create_index("ix_session_expires", "session", ["expires"], unique=False)
    op.create_index("ix_session_username", "session", ["username"], unique=False)
    op.create_table(
        "tag",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("tag_type", sa.Text(), nullable=False),
        sa.Column("tag_name", sa.Text(), nullable=False),
        sa.Column("tag_scope", sa.Text(), server_default="global", nullable=False),
        sa.Column("insert_ts", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tag"),
        sa.UniqueConstraint("tag_type", "tag_name", "tag_scope", name="uq_tag_tag_type_tag_name_tag_scope"),
    )
    op.create_table(
        "job_detail",
        sa.Column("job", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("resources", sa.Text(), nullable=False),
        sa.Column("meta_data", sa.Text(), nullable=True),
        sa.Column("energy_footprint", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["job"], ["job.id"], name="fk_job_detail_job", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", name="pk_job_detail"),
    )
    op.create_table(
        "job_footprint",
        sa.Column("job", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["job.id"], name="fk_job_footprint_job", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "name", name="pk_job_footprint"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "job_node",
        sa.Column("job", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("hostname", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["job.id"], name="fk_job_node_job", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "hostname", name="pk_job_node"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_job_node_hostname", "job_node", ["hostname"], unique=False)
    op.create_table(
        "jobtag",
        sa.Column("job_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("tag_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("insert_ts", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_jobtag_job_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["tag_id"], ["tag.id"], name="fk_jobtag_tag_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "tag_id", name="pk_jobtag"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_jobtag_tag_id", "jobtag", ["tag_id"], unique=False)
    op.create_table(
        "node_state",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("node_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("time_stamp", sa.BigInteger(), nullable=False),
        sa.Column("jobs_running", sa.Integer(), server_default="0", nullable=False),
        sa.Column("cpus_allocated", sa.Integer(), server_default="0", nullable=False),
        sa.Column("memory_allocated", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("gpus_allocated", sa.Integer(), server_default="0", nullable=False),
        sa.Column("node_state", sa.Text(), nullable=False),
        sa.Column("health_state", sa.Text(), nullable=False),
        sa.Column("health_metrics", sa.Text(), server_default="", nullable=False),
        sa.CheckConstraint("health_state IN ('full', 'partial', 'failed')", name=op.f("ck_node_state_health_state")),
        sa.CheckConstraint(
            "node_state IN ('allocated', 'reserved', 'idle', 'mixed', 'down', 'unknown')", name=op.f("ck_node_state_node_state")
        ),
        sa.ForeignKeyConstraint(["node_id"], ["node.id"], name="fk_node_state_node_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_node_state"),
    )
    op.create_index("ix_node_state_node_id", "node_state", ["node_id", "time_stamp"], unique=False)
    op.create_index("ix_node_state_time_stamp", "node_state", ["time_stamp"], unique=False)
