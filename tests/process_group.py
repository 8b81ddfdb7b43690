"""Functions run by several real processes that are a process group, on the loopback interface."""

import multiprocessing
import traceback

import torch
import torch.distributed as dist

PATIENCE = 900  # seconds; a busy machine may be a hundred times slower than a quiet one


def run_processes(size, function, folder):
    """What ``function(rank)`` gives in each of ``size`` processes; what any of them raises is raised here.

    The processes are forks of this one, so they begin with all that it holds.
    """
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=_run, args=(rank, size, function, folder)) for rank in range(size)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
        if process.is_alive():
            process.kill()
    results = [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(size)]
    for file in [folder / "store", *(folder / f"{rank}.pt" for rank in range(size))]:
        file.unlink(missing_ok=True)
    failures = [f"process {rank}: {error}" for rank, (_, error) in enumerate(results) if error]
    if failures:
        raise RuntimeError("\n".join(failures))
    return [result for result, _ in results]


def _run(rank, size, function, folder):
    result, error = None, ""
    torch.set_num_threads(1)  # the threads of the forked process are not here, and OpenMP would wait for them
    try:
        dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=size)
        result = function(rank)
    except BaseException:
        error = traceback.format_exc()
    torch.save((result, error), folder / f"{rank}.pt")
