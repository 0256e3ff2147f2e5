"""Workers of Ray Train, on this machine or a cluster."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import TYPE_CHECKING, Any

from fuxictr_qnn.errors import FuxictrError, RequestError, RunError, last_line
from fuxictr_qnn.files import new_folder
from fuxictr_qnn.training.distributed.torchrun import RESTARTS

if TYPE_CHECKING:
    from fuxictr_qnn.training.distributed.worker import Call
    from fuxictr_qnn.training.run import RunResult

logger = logging.getLogger("fuxictr_qnn")

_LOOK_EVERY = 0.2  # seconds between looks at what the first worker logged


class _Post:
    """What the workers tell the process that started them; an actor of Ray."""

    def __init__(self):
        self.starts, self.lines, self.outcome = 0, [], None

    def start(self) -> bool:
        """Whether the workers were started before."""
        self.starts += 1
        return self.starts > 1

    def log(self, level: int, message: str) -> None:
        self.lines.append((level, message))

    def finish(self, outcome: list[RunResult] | FuxictrError) -> None:
        self.outcome = outcome

    def read(self) -> tuple[list[tuple[int, str]], Any]:
        """The lines since the last call, and the outcome if there is one."""
        lines, self.lines = self.lines, []
        return lines, self.outcome


class _ToPost(logging.Handler):
    def __init__(self, post: Any):
        super().__init__()
        self.post = post

    def emit(self, record: logging.LogRecord) -> None:
        self.post.log.remote(record.levelno, record.getMessage())


def launch(calls: Sequence[Call], workers: int, gpu: int | None) -> list[RunResult]:
    """Do the runs on `workers` workers of Ray Train: of the cluster at $RAY_ADDRESS, else of this machine.

    Raises:
        RequestError, RunError: as the runs do, and where Ray does not start.
    """
    out = Path(calls[0]["out"]).absolute()  # Ray wants a folder that all machines see
    with _ray(workers) as ray, new_folder(out), TemporaryDirectory(prefix=".ray-", dir=out) as storage:
        from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        use_gpu = _use_gpu(gpu, workers, int(ray.cluster_resources().get("GPU", 0)))
        post = ray.remote(num_cpus=0)(_Post).remote()
        trainer = TorchTrainer(
            _work,
            train_loop_config={
                "calls": list(calls),
                "post": post,
                "use_gpu": use_gpu,
                "folder": str(Path.cwd()),
                "threads": os.environ.get("OMP_NUM_THREADS"),
            },
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=use_gpu),
            run_config=RunConfig(
                storage_path=storage,
                failure_config=FailureConfig(max_failures=RESTARTS),
                logging_config=LoggingConfig(log_level="ERROR"),
            ),
        )
        try:
            found = _wait(ray, trainer, post)
        except ray.exceptions.RayError as error:
            raise RunError(f"--distributed ray: {last_line(error)}") from error
    if isinstance(found, FuxictrError):
        raise found
    return found


@contextmanager
def _ray(workers: int) -> Iterator[Any]:
    """Ray: the cluster at $RAY_ADDRESS, else one on this machine until we are done."""
    import ray

    # Ray counts the workers' CPUs as taken; the others are for what --engine ray starts.
    cluster = {} if "RAY_ADDRESS" in os.environ else {"num_cpus": workers + (os.cpu_count() or 1)}
    try:
        ray.init(logging_level="ERROR", log_to_driver=False, include_dashboard=False, **cluster)
    except Exception as error:  # Ray says by a bare Exception that it does not start
        raise RunError(f"--distributed ray: Ray does not start: {last_line(error)}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _use_gpu(gpu: int | None, workers: int, count: int) -> bool:
    """Whether each worker gets a GPU: if there are any, unless --gpu -1 says no."""
    if gpu == -1 or count == 0:
        return False
    if count < workers:
        raise RequestError(
            f"--workers {workers}: Ray has {count} GPUs: ask for as many workers as there are GPUs, or train "
            "on CPUs by --gpu -1"
        )
    return True


def _wait(ray: Any, trainer: Any, post: Any) -> list[RunResult] | FuxictrError:
    """Let the trainer work, show what the first worker logs, and return the outcome.

    The trainer runs in a thread, so that an interrupt comes to us; leaving Ray then ends its workers.
    """
    failures: list[Exception] = []

    def fit() -> None:
        try:
            trainer.fit()
        except Exception as error:
            failures.append(error)

    thread = Thread(target=fit, daemon=True)
    thread.start()
    while True:
        thread.join(_LOOK_EVERY)
        ended = not thread.is_alive()
        lines, found = ray.get(post.read.remote())
        for level, message in lines:
            logger.log(level, message)
        if ended:
            break
    if failures and found is None:
        raise RunError(f"--distributed ray: {_reason(failures[0])}; --resume goes on") from failures[0]
    return found


def _work(config: dict[str, Any]) -> None:
    """One worker of Ray Train, connected to the others already."""
    import ray
    import torch

    from fuxictr_qnn.training.distributed.group import WorkerGroup
    from fuxictr_qnn.training.distributed.worker import carry_out, outcome

    with suppress(OSError):  # on another machine
        os.chdir(config["folder"])
    post, workers = config["post"], WorkerGroup()
    if config["threads"] is None:
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // local))
    if workers.is_first:
        logger.addHandler(_ToPost(post))
        logger.setLevel(logging.INFO)
    gpu = torch.cuda.current_device() if config["use_gpu"] else -1
    restarted = workers.first_does(lambda: ray.get(post.start.remote()))
    found = outcome(lambda: carry_out(config["calls"], workers, gpu, restarted), workers)
    if workers.is_first:
        ray.get(post.finish.remote(found))


def _reason(error: Exception) -> str:
    """Why the last attempt failed: the first line of each worker's failure, without Ray's tracebacks."""
    failures = getattr(error, "worker_failures", None) or {0: error}
    failures = [getattr(failure, "_base_exc", failure) for _, failure in sorted(failures.items())]
    return "; ".join(dict.fromkeys(str(failure).strip().split("\n")[0] for failure in failures))
