"""From a sink's keys to its runner: encoder, own processor, spool."""

from __future__ import annotations

from pathlib import Path

import msgspec
from ccdaemon.errors import DaemonError
from ccdaemon.files import safe_name
from ccdaemon.ledger import Ledger
from ccdaemon.log import Log
from ccmessage.encode import Encoder
from ccmessage.processor import Processor
from ccmessage.processor.options import ProcessorOptions, SetRule

from ..base import Sink
from ..common_keys import PushConfig, SinkConfig
from .runner import Options, SinkRunner
from .spool import Spool


def make_runner(name: str, sink: Sink, config: SinkConfig, state_dir: Path, ledger: Ledger, log: Log) -> SinkRunner:
    """Sinks that send to a peer batch and spool; the others write what they get, in nanoseconds."""
    push = config if isinstance(config, PushConfig) else None
    return SinkRunner(
        name,
        sink,
        Options(push.flush_delay, push.batch_size) if push is not None else Options(0.0, 1000),
        encoder=Encoder(push.precision if push is not None else "ns"),
        processor=sink_processor(name, config, log),
        spool=open_spool(name, state_dir, push.spool_max_size, log) if push is not None and sink.spooled else None,
        ledger=ledger,
        log=log,
    )


def sink_processor(name: str, config: SinkConfig, log: Log) -> Processor | None:
    """`process_messages`, and for each entry of `meta_as_tags` a rule that moves it; None without either."""
    if config.process_messages is None and not config.meta_as_tags:
        return None
    options = config.process_messages or ProcessorOptions()
    moves = [SetRule(key=key, value=key, condition="true") for key in config.meta_as_tags]
    processor = Processor.compile(msgspec.structs.replace(options, move_meta_to_tag_if=[*options.move_meta_to_tag_if, *moves]))
    processor.on_failure = lambda failure: log.warning("rule.failed", sink=name, rule=failure.rule, error=failure.error)
    return processor


def open_spool(name: str, state_dir: Path, max_size: int, log: Log) -> Spool | None:
    """None, with a warning, where it cannot be: batches then wait in memory only."""
    if not max_size:
        return None
    try:
        spool = Spool(state_dir / "spool" / safe_name(name, "name of a sink"), max_size)
    except (OSError, DaemonError) as error:
        log.warning("sink.no_spool", sink=name, reason=str(error), remedy="without it, what does not fit into memory is lost")
        return None
    for file in spool.damaged:
        log.error("spool.damaged", sink=name, put_aside=str(file))
    if spool.lines:
        log.notice("spool.found", sink=name, lines=spool.lines)
    return spool
