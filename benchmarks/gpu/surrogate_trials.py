"""Raw measurements to judge surrogates by: joules at a load and saturated throughput of fixed configurations, on a GPU.

    python -m benchmarks.gpu.surrogate_trials --session training --output training.json
    python -m benchmarks.gpu.surrogate_trials --session held_out --output held_out.json     # at another time

A Mistral-Small-24B shape with random weights under the whole daemon: hot knobs are set and read back as `reconfigure
apply` would, cores change as in any switch. `benchmarks/gpu/trial_design.py` fixes what is measured: 36 configurations
in two cores for training, 6 of them twice; 24 others held out, three times each, interleaved. A trial takes about 10 s:

    0.8 s  the load begins as if it had been there for long (`under_way`): requests of 512 + 64 tokens, one in
           each interval of 1/rate, at a random moment of it
    3.6 s  window: joules by the GPU's counter, output tokens and latencies by the engine's own records
    2.4 s  a closed loop of more requests than may run at once, until all that it began with have ended
    2.9 s  window of whole rounds: saturated throughput, and the joules it takes

With two boots of one to two minutes each training takes about 11 minutes and the held-out session, whose kernels are
compiled by then, about 15. Both stop by themselves before `--budget` seconds are over, and write `--output` after every
trial: the same command goes on where it stopped (in fresh cores, which the file records). `--resume FILE` goes on from
a file that lies elsewhere. Both sessions should be of one card, whose UUID each run records: docs/decisions/0014.

Without a GPU it runs on vLLM for CPUs (`--stretch 10 --quick`), or with `--engine emulated`, to see that it works;
those files say so, and block_size is then the knob that needs a new core.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from benchmarks.gpu.random_model import MISTRAL_SMALL_24B, write_random_model
from benchmarks.gpu.server import SHORT_REQUESTS, use_environment
from benchmarks.gpu.trial_design import (
    COLD_KNOB,
    MEASURED_IN,
    OUTPUT_TOKENS,
    PROMPT_TOKENS,
    VARIED,
    WIDEST,
    Trial,
    design,
    settings_of,
)
from benchmarks.harness.command import allow_many_streams, until
from benchmarks.harness.daemon import Daemon
from benchmarks.harness.energy_track import EnergyTrack
from benchmarks.harness.machine import commit, describe_machine, gpus, versions
from benchmarks.harness.processes import ServerFailed
from reconfigure_daemon.actuation.client import PrivateSocketClient
from reconfigure_daemon.clock import SystemClock
from reconfigure_daemon.errors import ReconfigureError
from reconfigure_daemon.load_generation.event_loop import run_on_fast_loop
from reconfigure_daemon.load_generation.load_source import under_way, whole
from reconfigure_daemon.load_generation.offered_load import LoadTally, offered_load
from reconfigure_daemon.load_generation.plan import PlannedRequest
from reconfigure_daemon.load_generation.target import Target
from reconfigure_daemon.metering import build_emulated_meter, build_meter
from reconfigure_daemon.monitoring.partial_window import PartialWindow
from reconfigure_daemon.private_socket import socket_path
from reconfigure_daemon.settings.model import MeteringSettings
from reconfigure_daemon.tuning.rounds import NO_RECORDS, steady, whole_rounds
from reconfigure_policies.domain.objective import ServiceLevelObjective

LENGTHS = [(PROMPT_TOKENS, OUTPUT_TOKENS)]
RATE_RAMP_S, RATE_WINDOW_S = 0.8, 3.6
SATURATED_WINDOW_S = 2.0  # at least: it ends with a round, or when three times as long
STEADY_WITHIN_S = 30.0
LOOK_S = 0.05  # how often it is asked whether a round has ended
TRIAL_S = RATE_RAMP_S + RATE_WINDOW_S + 2.4 + 2.9 + 0.6  # with the mean time to be steady, and to end a round
MORE_THAN_MAY_RUN, MORE_AT_LEAST = 1.25, 8
STEP_S = 0.02  # roughly: only to begin near the steady state
BOOTS_S = (90.0, 90.0)
WARM_UP = {**WIDEST, "max_num_seqs": max(VARIED["max_num_seqs"])}
ARGUMENTS = {**SHORT_REQUESTS, "served_model_name": "mistral-small-24b-shape"}
SMALL_SPACE: dict[str, list[Any]] = {"block_size": [32, 64]}


class Session:
    """The trials of one session, measured one after another into a file."""

    def __init__(self, arguments: argparse.Namespace, console: Console) -> None:
        self.began_s = time.monotonic()
        self.arguments = arguments
        self.console = console
        self.cold_knob = COLD_KNOB if gpus() else SMALL_SPACE
        self.trials = design(arguments.session, self.cold_knob)
        if arguments.quick:
            self.trials = [trial for _, group in groupby(self.trials, lambda t: t.cold) for trial in islice(group, 2)]
        self.record = self._opened()
        self.left = [trial for trial in self.trials if trial.key not in self.measured]

    @property
    def measured(self) -> set[str]:
        """Keys of the trials that are in the file."""
        return {trial["key"] for trial in self.record["trials"]}

    def _opened(self) -> dict[str, Any]:
        seconds = {"rate_window": RATE_WINDOW_S, "saturated_window": SATURATED_WINDOW_S}
        of = {
            "session": self.arguments.session,
            "engine": self.arguments.engine,
            "model": ARGUMENTS["served_model_name"] if gpus() else self.arguments.model,
            "prompt_tokens": PROMPT_TOKENS,
            "output_tokens": OUTPUT_TOKENS,
            "seconds": seconds,
            "stretch": self.arguments.stretch,
        }
        earlier = self.arguments.resume or self.arguments.output
        return continued(earlier, of) if earlier.is_file() else {**of, "runs": [], "trials": []}

    def begin_run(self, energy_source: str) -> None:
        """Note what the trials from here on depend on."""
        run = {"began": datetime.now(UTC).isoformat(timespec="seconds"), "energy_source": energy_source,
               "machine": describe_machine(), "versions": versions(), "commit": commit(), "boots_s": []}  # fmt: skip
        self.record["runs"].append(run)

    def keep(self, trial: Trial, measured: dict[str, Any]) -> None:
        """Write a trial down; the file is whole at any moment."""
        run = len(self.record["runs"]) - 1
        self.record["trials"].append({"key": trial.key, "run": run, **asdict(trial), **measured})
        self.arguments.output.parent.mkdir(parents=True, exist_ok=True)
        draft = self.arguments.output.with_suffix(".part")
        draft.write_text(json.dumps(self.record, indent=1) + "\n")
        draft.replace(self.arguments.output)

    def has_time(self) -> bool:
        """Whether another trial fits into the budget."""
        return time.monotonic() - self.began_s + TRIAL_S * self.arguments.stretch + 10.0 < self.arguments.budget

    def say(self, text: str) -> None:
        """A line with the seconds so far."""
        self.console.print(f"{time.monotonic() - self.began_s:6.1f} s  {text}")


def continued(file: Path, of: Mapping[str, Any]) -> dict[str, Any]:
    """The trials of a file to go on with.

    Args:
        file: an earlier session's `--output`.
        of: what its trials must have been measured with.

    Raises:
        ServerFailed: if it is something else, or was measured with something else.
    """
    try:
        record: dict[str, Any] = json.loads(file.read_text())
        _ = record["runs"], record["trials"]
    except (ValueError, TypeError, KeyError):
        raise ServerFailed(f"{file} holds no trials of this benchmark; name another --output") from None
    differs = [
        f"{name} is {record.get(name)!r} there, {value!r} here"
        for name, value in of.items()
        if record.get(name) != value
    ]
    if differs:
        raise ServerFailed(f"{file} cannot be continued: {'; '.join(differs)}; name another --output")
    return record


class Bench:
    """The daemon under test, its engine's own records, and the joules."""

    def __init__(
        self, daemon: Daemon, host: PrivateSocketClient, energy: EnergyTrack, target: Target, stretch: float
    ) -> None:
        self.stretch = stretch
        self.daemon = daemon
        self.host = host
        self.energy = energy
        self.target = target
        self._requests = 0

    async def measure(self, trial: Trial) -> dict[str, Any]:
        """Both windows of a trial."""
        await self.daemon.move_to(trial.hot)
        at_once = min(self._steady(trial), trial.hot["max_num_seqs"])
        paced = chain(self._begun(at_once), self._arrivals(trial))
        async with offered_load(paced, self.target) as tally:
            await asyncio.sleep(RATE_RAMP_S * self.stretch)
            rate = await self.window(RATE_WINDOW_S * self.stretch, tally)
        saturated = await self._saturated(trial)
        return {"at_rate": rate, "saturated": saturated}

    async def _saturated(self, trial: Trial) -> dict[str, Any]:
        """A window of a full engine in its steady state, and then an empty one."""
        places = trial.hot["max_num_seqs"]
        at_once = max(places + MORE_AT_LEAST, round(MORE_THAN_MAY_RUN * places))
        flood = chain(self._begun(at_once), whole(LENGTHS, self._next(100_000)))
        before = (await self.host.telemetry(NO_RECORDS)).totals
        async with offered_load(flood, self.target, concurrency=at_once) as tally:
            await steady(self.host, before, at_once, tally, STEADY_WITHIN_S * self.stretch, SystemClock())
            saturated = await self.window(SATURATED_WINDOW_S * self.stretch, tally, ends_a_round=True)
        await self.empty()
        return saturated

    async def window(self, seconds: float, tally: LoadTally, *, ends_a_round: bool = False) -> dict[str, Any]:
        """What the engine's counters and the meter say of the next seconds, and of those until a round ends."""
        start = await self.host.telemetry(0)
        start = await self.host.telemetry(start.next_after)
        partial = PartialWindow(start, None, ServiceLevelObjective())
        began_s, processors = time.monotonic(), processor_seconds()
        await asyncio.sleep(seconds)
        end = await self.host.telemetry(start.next_after)
        partial.extend(end, None)
        ended, latest_s = whole_rounds(start.totals, end.totals), began_s + 3 * seconds
        while ends_a_round and whole_rounds(start.totals, end.totals) == ended and time.monotonic() < latest_s:
            await asyncio.sleep(LOOK_S)
            end = await self.host.telemetry(end.next_after)
            partial.extend(end, None)
        busy_s, stolen_s = (now - then for now, then in zip(processor_seconds(), processors, strict=True))
        window = partial.window()
        shift_s = began_s - start.totals.at_s
        from_s, to_s = start.totals.at_s + shift_s, end.totals.at_s + shift_s
        moved = time.monotonic() + 0.5
        while not self.energy.settled(to_s) and time.monotonic() < moved:  # noqa: ASYNC110  # a thread sets it
            await asyncio.sleep(0.01)
        joules = self.energy.joules_between(from_s, to_s)
        tokens = window.output_tokens
        return {
            "duration_s": round(window.duration_s, 5),
            "output_tokens": tokens,
            "output_tps": round(tokens / window.duration_s, 3),
            "busy_cores": round(busy_s / window.duration_s, 4),
            "stolen_cores": round(stolen_s / window.duration_s, 4),
            "energy_j": round(joules, 4),
            "power_w": round(joules / window.duration_s, 3),
            "energy_per_output_token_j": round(joules / tokens, 6) if tokens else None,
            "arrivals": window.arrivals,
            "finished": window.finished,
            "running": (start.totals.running, end.totals.running),
            "waiting": (start.totals.waiting, end.totals.waiting),
            "preemptions": window.preemptions,
            "ttft_s": asdict(window.ttft_s),
            "tpot_s": asdict(window.tpot_s),
            "itl_s": asdict(window.itl_s),
            "failed": tally.failed,
            "fault": tally.fault,
        }

    async def empty(self) -> None:
        """Wait until nothing runs any more."""

        async def idle() -> bool:
            state = await self.host.state()
            return state.live_requests == 0

        await until(idle, 30.0, "the engine to be idle")

    def _steady(self, trial: Trial) -> int:
        """About how many requests run at once under the trial's arrival rate."""
        return max(1, round(trial.arrival_rate_rps * OUTPUT_TOKENS * max(STEP_S, trial.hot["pacing_interval_s"])))

    def _begun(self, running: int) -> list[PlannedRequest]:
        """Requests that were already under way, with prompts that were never sent before."""
        first = self._next(running)
        planned = under_way(LENGTHS, running)
        return [PlannedRequest(first + r.index, 0.0, r.prompt_tokens, r.output_tokens) for r in planned]

    def _arrivals(self, trial: Trial) -> Iterator[PlannedRequest]:
        """One in each interval of 1/rate, at a random moment of it: irregular, and never more or less."""
        draws = random.Random(trial.key)
        first = self._next(10_000)
        for number in range(10_000):
            due_s = (number + draws.random()) / trial.arrival_rate_rps * self.stretch
            yield PlannedRequest(first + number, due_s, PROMPT_TOKENS, OUTPUT_TOKENS)

    def _next(self, count: int) -> int:
        first, self._requests = self._requests, self._requests + count
        return first


def processor_seconds() -> tuple[float, float]:
    """This machine's so far: those that its processes took, and those that its host gave to others, where it tells."""
    times = psutil.cpu_times()
    return float(times.user + times.system), float(getattr(times, "steal", 0.0))


async def run(session: Session) -> int:
    """Measure what is left, as far as the time reaches."""
    boots_s = sum(BOOTS_S[: len({tuple(trial.cold.items()) for trial in session.left})])
    session.say(
        f"{session.arguments.session}: {len(session.left)} of {len(session.trials)} trials of {TRIAL_S:.1f} s left: "
        f"about {len(session.left) * TRIAL_S + boots_s:.0f} s with boots, of {session.arguments.budget:.0f} s"
    )
    if not session.left:
        return 0
    async with bench(session) as laboratory:
        for _, group in groupby(session.left, lambda trial: tuple(trial.cold.items())):
            trials = list(group)
            if not session.has_time():
                break
            await boot(session, laboratory, trials[0])
            for trial in trials:
                if not session.has_time():
                    break
                measured = await laboratory.measure(trial)
                session.keep(trial, measured)
                session.say(in_words(trial, measured, len(session.measured), len(session.trials)))
    left = len(session.trials) - len(session.measured)
    session.say(f"{left} trials are left; the same command goes on" if left else "all trials are measured")
    return 0 if not left else 1


async def boot(session: Session, laboratory: Bench, trial: Trial) -> None:
    """Move to the core of a trial and let it run warm."""
    began_s = time.monotonic()
    await laboratory.daemon.move_to(trial.cold)
    host = await laboratory.daemon.host()
    boot_s = host.deployment.boot_s if host.deployment else None
    session.record["runs"][-1]["boots_s"].append({"cold": trial.cold, "boot_s": boot_s})
    session.say(f"core {trial.cold} after {time.monotonic() - began_s:.1f} s (its boot took {boot_s:.1f} s)")
    await laboratory.measure(Trial("warm-up", 0, trial.cold, WARM_UP, 6.0))


def in_words(trial: Trial, measured: dict[str, Any], number: int, of: int) -> str:
    """One line of progress."""
    rate, saturated = measured["at_rate"], measured["saturated"]
    return (
        f"{number:3d}/{of} {trial.key} {' '.join(map(str, trial.hot.values()))}: {trial.arrival_rate_rps:5.1f}/s "
        f"{rate['energy_per_output_token_j'] or float('nan'):.4f} J/token {rate['power_w']:5.0f} W, "
        f"saturated {saturated['output_tps']:6.0f} tokens/s {saturated['power_w']:5.0f} W"
        + (f"  failed: {rate['failed'] + saturated['failed']}" if rate["failed"] or saturated["failed"] else "")
    )


@asynccontextmanager
async def bench(session: Session) -> AsyncIterator[Bench]:
    """The daemon on its first core, with the knobs of the design as its space."""
    changes = {
        **settings_of(session.cold_knob, session.left[0].cold, MEASURED_IN),
        "engine": {"arguments": ARGUMENTS if gpus() else {}},
        "governor": {"enabled": False},
    }
    folder = Path(tempfile.mkdtemp(prefix="reconfigure-trials-"))
    model = str(write_random_model(folder / "model", MISTRAL_SMALL_24B)) if gpus() else session.arguments.model
    daemon = Daemon(session.arguments.engine, model, changes)
    async with daemon:
        session.say("the daemon serves")
        client = PrivateSocketClient(socket_path(daemon.runtime))
        emulated = session.arguments.engine == "emulated"
        meter = (
            build_emulated_meter(client.path) if emulated else build_meter(MeteringSettings(rapl="off"), lambda: 1.0)
        )
        with EnergyTrack(meter, 0.05 if emulated else 0.005) as energy:
            session.begin_run(energy.source)
            try:
                target = await daemon.target(seed=int(time.time()))
                yield Bench(daemon, client, energy, target, session.arguments.stretch)
            finally:
                await client.close()


def main() -> int:
    """The command."""
    words = (__doc__ or "").strip()
    parser = argparse.ArgumentParser(
        description=words.splitlines()[0], epilog=words, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--session", choices=["training", "held_out"], required=True)
    parser.add_argument(
        "--output", type=Path, required=True, help="the file of raw measurements; continued if it is there"
    )
    parser.add_argument("--resume", type=Path, help="continue this file, and write to --output")
    parser.add_argument("--budget", type=float, default=900.0, help="end within so many seconds (default: 900)")
    parser.add_argument("--engine", choices=["vllm", "emulated"], default="vllm", help="emulated: no measurement")
    parser.add_argument("--model", default="auto", help="without a GPU, as engine.model in config.yaml")
    parser.add_argument(
        "--stretch", type=float, default=1.0, help="times so much longer, arrivals so much rarer: for slow machines"
    )
    parser.add_argument("--quick", action="store_true", help="two trials per core, to see that it works")
    arguments = parser.parse_args()
    allow_many_streams()
    use_environment()
    try:
        return run_on_fast_loop(run(Session(arguments, Console(highlight=False))))
    except ReconfigureError as fault:
        print(f"benchmarks.gpu.surrogate_trials: {fault}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
