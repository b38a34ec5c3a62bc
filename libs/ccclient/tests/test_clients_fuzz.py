"""What the clients read from a peer or from disk, against rubbish: a value or a PeerError, nothing else (`FUZZ_SECONDS=60` for a minute)."""

import contextlib
import json
import os
import random
import time

from ccclient.answers import body_of, reason
from ccclient.backend import BackendClient, parse_clusters
from ccclient.catalog import Catalog, metric_list
from ccdaemon.errors import PeerError
from ccdaemon.executors import Pool
from ccdaemon.log import make_log
from ccdaemon.net.http_client import Answer
from ccschema.api import NodeHealth, QueryResponse

METRIC = {"name": "m", "unit": {"base": "B/s", "prefix": "G"}, "scope": "node", "timestep": 60, "aggregation": "sum", "peak": 1e9}
CLUSTERS = {
    "clusters": [{"name": "a", "metricConfig": [METRIC], "subClusters": [{"name": "s", "nodes": "a[0-9]", "metricConfig": [METRIC]}]}]
}
SEEDS = [
    json.dumps(CLUSTERS).encode(),
    json.dumps({"format": 1, "source": "127.0.0.1:1", "cluster": "", "etag": '"x"', "body": CLUSTERS}).encode(),
    b'{"queries":[{"metric":"m","host":"h"}],"results":[[{"from":1,"to":2,"resolution":1,"data":[1,null,2.5],"avg":1}],[{"error":"x"}]]}',
    b'{"h":{"State":"full","HealthMetrics":"{}"}}',
    b'{"status":"Bad Request","error":"\\u00e9"}',
]
PIECES = [b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"null", b"1e999", b"-1", b"9" * 30, b"\xff", b"\\ud800", b"true", b"[[[["]


def mutated(rng, seed):
    for _ in range(rng.randint(1, 5)):
        a, b = sorted(rng.randint(0, len(seed)) for _ in range(2))
        piece = rng.choice(PIECES)
        seed = rng.choice([seed[:a] + seed[min(b, a + 9) :], seed[:a] + piece + seed[a + len(piece) :], seed[:b] + seed[a:b] + seed[b:]])
    return seed


async def test_answers_and_the_file_of_the_catalog(tmp_path):
    file, pool, log = tmp_path / "list.json", Pool("files", 1), make_log("t", level="crit")
    client = BackendClient("http://127.0.0.1:1")
    end, count, start = time.monotonic() + float(os.environ.get("FUZZ_SECONDS", "0")), 0, random.randrange(1 << 30)
    while count < 500 or time.monotonic() < end:
        body = mutated(random.Random(start + count), SEEDS[count % len(SEEDS)])
        count += 1
        answer = Answer(200, {"content-type": "application/json", "retry-after": body.decode("latin-1")}, body)
        try:
            assert isinstance(reason(answer), str)
            answer.retry_after()
            for type_ in (QueryResponse, dict[str, NodeHealth]):
                with contextlib.suppress(PeerError):
                    body_of("peer", "query", answer, type_)
            with contextlib.suppress(PeerError):
                for cluster in parse_clusters(body, "peer"):
                    metric_list(cluster)
            file.write_bytes(body)
            await Catalog(client, file, pool=pool, log=log).load()
        except Exception as error:
            raise AssertionError(f"seed {start + count - 1}: {body!r}") from error
    await client.close()
    await pool.stop(1)
