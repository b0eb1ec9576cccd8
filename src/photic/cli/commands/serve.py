"""``photic serve``."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from photic.cli.parser import Parser
from photic.core.arguments import whole_number
from photic.core.extras import need

EXAMPLES = (
    ("photic serve model.photic", "a page with forms at http://127.0.0.1:8000, for this machine alone"),
    ("curl -F file=@strip.png http://127.0.0.1:8000/v1/models/model/predict", "ask it, from another terminal"),
    ("photic serve strips.photic lowlight rawdenoise --port 9000", "several models; those that come with Photic by their names"),
    ("photic serve model.photic --host 0.0.0.0 --token-file token", "for other machines, which need the token"),
    ("photic serve model.photic --max-upload-mb 20 --timeout 30 --queue 8", "with tighter limits"),
)
MODULES = ("starlette", "uvicorn", "python_multipart", "prometheus_client")


def parser() -> Parser:
    """Return the command's arguments."""
    made = Parser(
        "serve",
        "Serve models over HTTP: a file in, a file or JSON out; pages at / and /docs, health, Prometheus metrics. Stops "
        "gracefully at Ctrl-C or SIGTERM, at once at the second.",
        EXAMPLES,
        usage="MODEL [MODEL ...] [options]",
    )
    made.add_argument(
        "models", nargs="+", metavar="MODEL", help="a bundle (.photic), the folder of a run, or the name of a model (`photic models`)"
    )
    made.add_argument(
        "--host", default="127.0.0.1", help="address to listen at; others than this machine's own need a token (default: 127.0.0.1)"
    )
    made.add_argument("--port", type=whole_number(), default=8000, metavar="N", help="0 takes a free one (default: 8000)")
    made.add_argument(
        "--token-file", type=Path, metavar="FILE", help="file with the token that clients must send; or set PHOTIC_TOKEN in the environment"
    )
    made.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    made.add_argument(
        "--threads", type=whole_number(), default=0, metavar="N", help="processor threads for each model; 0 lets PyTorch choose"
    )
    limits = made.add_argument_group("limits")
    limits.add_argument("--max-upload-mb", type=_above_zero(), default=256.0, metavar="X", help="largest request (default: 256)")
    limits.add_argument(
        "--max-megapixels", type=_above_zero(), metavar="X", help="largest picture (default: what each model takes by itself)"
    )
    limits.add_argument(
        "--timeout", type=_above_zero(), default=300.0, metavar="S", help="seconds for an answer, waiting included (default: 300)"
    )
    limits.add_argument("--upload-timeout", type=_above_zero(), default=120.0, metavar="S", help="seconds for an upload (default: 120)")
    limits.add_argument(
        "--idle-timeout", type=_above_zero(), default=15.0, metavar="S", help="seconds of silence before a client is given up (default: 15)"
    )
    limits.add_argument("--concurrency", type=whole_number(1), default=64, metavar="N", help="predictions under way at once (default: 64)")
    limits.add_argument("--connections", type=whole_number(1), default=256, metavar="N", help="connections open at once (default: 256)")
    limits.add_argument("--queue", type=whole_number(1), default=32, metavar="N", help="files that may wait for a model (default: 32)")
    limits.add_argument(
        "--grace", type=_above_zero(), default=30.0, metavar="S", help="seconds to finish what is under way when stopped (default: 30)"
    )
    batching = made.add_argument_group("batches of small files (classifiers)")
    batching.add_argument("--max-batch", type=whole_number(1), default=8, metavar="N", help="most files at a time (default: 8)")
    batching.add_argument(
        "--batch-wait-ms", type=_number(0), default=5.0, metavar="MS", help="wait for others that are on their way (default: 5)"
    )
    batching.add_argument("--readers", type=whole_number(1), default=2, metavar="N", help="threads that decode files (default: 2)")
    made.add_argument("--quiet", action="store_true", help="no line in the log for each request")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the command; the status is 1 where something was cut off in the end."""
    options = parser().parse_intermixed_args(arguments)
    need("serve", MODULES, "photic serve")
    from photic.inference.serve.guarding import check_host, read_token
    from photic.inference.serve.server import serve
    from photic.inference.serve.settings import ServeConfig

    token = read_token(options.token_file)
    check_host(options.host, token)
    config = ServeConfig(
        host=options.host,
        port=options.port,
        device=options.device,
        threads=options.threads,
        max_upload_mb=options.max_upload_mb,
        max_megapixels=options.max_megapixels,
        timeout_s=options.timeout,
        upload_timeout_s=options.upload_timeout,
        idle_timeout_s=options.idle_timeout,
        concurrency=options.concurrency,
        connections=options.connections,
        queue=options.queue,
        max_batch=options.max_batch,
        batch_wait_ms=options.batch_wait_ms,
        readers=options.readers,
        grace_s=options.grace,
        access_log=not options.quiet,
    )

    def started(address: str, names: Sequence[str]) -> None:
        print(f"photic serve: {', '.join(names)} at {address}{'' if token is None else ' (token needed)'}; Ctrl-C stops", flush=True)

    return serve(options.models, config, token=token, started=started)


def _number(least: float) -> Callable[[str], float]:
    def parsed(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= least):
            raise argparse.ArgumentTypeError(f"expected a number from {least:g}, got '{text}'")
        return value

    return parsed


def _above_zero() -> Callable[[str], float]:
    return _number(0.001)
