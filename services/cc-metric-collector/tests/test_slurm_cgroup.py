"""slurm_cgroup on recorded control groups."""

from __future__ import annotations

import pytest
from cc_metric_collector.base import SourceMissing
from cc_metric_collector.collectors.slurm_cgroup import JOB, Keys, SlurmCgroup

NOW = 1_700_000_000_123_456_789
BASE = "sys/fs/cgroup/system.slice/slurmstepd.scope"
FILES = {
    "memory.current": "8000\n",
    "memory.peak": "16000\n",
    "memory.max": "64000\n",
    "cpu.stat": "usage_usec 1000\nuser_usec 600\nsystem_usec 400\nnr_periods 0\n",
    "cpuset.cpus": "0-1\n",
    "cpuset.cpus.effective": "0-3\n",
}


@pytest.fixture
def job(node):
    """job(name, file=text …): a job's control group."""
    (node / "sys/devices/system/cpu/online").write_text("0-3\n")

    def make(name, **changes):
        directory = node / BASE / name
        directory.mkdir(parents=True)
        for file, text in {**FILES, **{k.replace("__", "."): v for k, v in changes.items()}}.items():
            if text is not None:
                (directory / file).write_text(text)
        return directory

    return make


def test_values_of_the_threads_of_a_job(opened, job, selected):
    job("job_42")
    job("system")
    messages = opened(SlurmCgroup).read(NOW, 0)
    assert selected(messages, type="hwthread", type_id="1") == {
        "job_mem_used": 4000.0,
        "job_max_mem_used": 8000.0,
        "job_mem_limit": 32000.0,
        "job_user_cpu": 30.0,
        "job_sys_cpu": 20.0,
    }
    assert {m.head.name: m.head.meta["unit"] for m in messages}["job_user_cpu"] == "%"
    assert dict(messages[0].head.meta) == {"source": "SlurmCgroupCollector", "group": "SLURM", "unit": "Bytes"}
    assert len(messages) == 4 * 5


def test_pitfall_threads_without_a_job_have_zero_of_the_same_kind(opened, job, selected):
    job("job_42")
    values = selected(opened(SlurmCgroup).read(NOW, 0), type_id="3")
    assert set(values.values()) == {0.0} and {type(v) for v in values.values()} == {float} and len(values) == 5


def test_pitfall_a_thread_of_several_jobs_has_one_value(opened, job, selected):
    job("job_1")
    job("job_2", cpuset__cpus="1-2\n")
    messages = opened(SlurmCgroup).read(NOW, 0)
    used = {cpu: selected(messages, type_id=cpu)["job_mem_used"] for cpu in "0123"}
    assert used == {"0": 4000.0, "1": 8000.0, "2": 4000.0, "3": 0.0}


def test_pitfall_an_empty_cpuset_falls_back_to_the_effective_one(opened, job, selected):
    job("job_1", cpuset__cpus="\n")
    assert selected(opened(SlurmCgroup).read(NOW, 0), type_id="3")["job_mem_used"] == 2000.0


def test_no_limit_no_time_and_a_missing_file_count_as_zero(opened, job, selected, log_text):
    job("job_1", memory__max="max\n", memory__peak=None, cpu__stat="usage_usec 0\nuser_usec 0\nsystem_usec 0\n")
    values = selected(opened(SlurmCgroup).read(NOW, 0), type_id="0")
    assert values == {"job_mem_used": 4000.0, "job_max_mem_used": 0.0, "job_mem_limit": 0.0, "job_user_cpu": 0.0, "job_sys_cpu": 0.0}
    assert "memory.peak" in log_text.getvalue()


def test_without_the_base_nothing_is_sent_and_the_next_round_tries_again(opened, job, node):
    collector = opened(SlurmCgroup)
    with pytest.raises(OSError):
        collector.read(NOW, 0)
    job("job_1")
    assert len(collector.read(NOW, 0)) == 20


def test_exclude_and_errors_of_open(opened, job, node, selected):
    job("job_1")
    names = ["job_mem_used", "job_max_mem_used", "job_mem_limit", "job_sys_cpu"]
    assert selected(opened(SlurmCgroup, exclude_metrics=names).read(NOW, 0), type_id="0") == {"job_user_cpu": 30.0}
    with pytest.raises(SourceMissing, match="excluded"):
        opened(SlurmCgroup, exclude_metrics=[*names, "job_user_cpu"])
    (node / "sys/devices/system/cpu/online").unlink()
    with pytest.raises(SourceMissing):
        opened(SlurmCgroup)


def test_with_sudo_every_file_is_read_by_cat(opened, job, selected, fake_command, tmp_path):
    fake_command("sudo", f'echo "$*" >> {tmp_path}/asked\nexec "$@"')
    job("job_7")
    values = selected(opened(SlurmCgroup, use_sudo=True).read(NOW, 0), type_id="0")
    assert values["job_mem_used"] == 4000.0
    asked = (tmp_path / "asked").read_text().splitlines()
    assert len(asked) == 5 and all("cat " in line and "/job_7/" in line for line in asked)


@pytest.mark.parametrize(
    ("name", "is_job"),
    [("job_1", True), ("s0123456789ABC", True), ("S0123456789abc", True), ("job_x", False), ("s0123456789abi", False), ("system", False)],
)
def test_names_of_jobs(name, is_job):
    assert bool(JOB.fullmatch(name)) is is_job


def test_default_base():
    assert Keys().cgroup_base == f"/{BASE}"
