"""`POST /v1/profile`: where the running configuration's time goes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from pydantic import Field, ValidationError

from reconfigure_daemon.control_api.faults import in_words
from reconfigure_daemon.control_api.messages import View
from reconfigure_daemon.control_loop import ControlLoop
from reconfigure_daemon.ports import MOST_PROFILED_S, DeviceProfile
from reconfigure_policies.domain.configuration import KnobValue

ReadProfiles = Callable[[Sequence[str]], Awaitable[list[DeviceProfile]]]


class ProfileWanted(View):
    """The body of the request."""

    seconds: float = Field(default=5.0, gt=0, le=MOST_PROFILED_S)


class ProfileView(View):
    """A profile of one configuration.

    Attributes:
        configuration: what was enforced while it was recorded.
        engine: its kind and version.
        seconds: how long it was recorded.
        writing_s: how long streams then stood still while the workers wrote it down.
        live_requests: when it began.
        devices: one for each GPU of each worker, or for each worker's processor.
    """

    configuration: dict[str, KnobValue]
    engine: str
    seconds: float
    writing_s: float
    live_requests: int
    devices: list[DeviceProfile]


class ProfileEndpoint:
    """Records through the control loop, reads elsewhere."""

    def __init__(self, loop: ControlLoop, read: ReadProfiles) -> None:
        self._loop = loop
        self._read = read

    async def profile(self, request: web.Request) -> web.Response:
        """Record, read, answer."""
        try:
            wanted = ProfileWanted.model_validate_json(await request.read() or b"{}")
        except ValidationError as invalid:
            raise in_words(invalid) from invalid
        state = self._loop.sampler.state
        traces = await self._loop.profile(wanted.seconds)
        view = ProfileView(
            configuration={} if state is None else state.enforced,
            engine="" if state is None else f"{state.engine} {state.engine_version}",
            seconds=traces.seconds,
            writing_s=traces.writing_s,
            live_requests=0 if state is None else state.live_requests,
            devices=await self._read(traces.files),
        )
        return web.json_response(text=view.model_dump_json())
