from __future__ import annotations

import pytest

from reconfigure_daemon.control_api.listener import is_loopback

TOKEN = "b7c1d2e3f4a5968778695a4b3c2d1e0f"
PAUSE = {"kind": "pause"}


async def test_a_token_is_asked_of_everything_but_probes(running_api):
    """Status, metrics and intents need it; liveness tells nothing that would."""
    async with running_api(token=TOKEN) as api:
        for path in ("/v1/status", "/metrics", "/v1/nothing"):
            assert (await api.get(path))[0] == 401
        assert (await api.post(PAUSE))[0] == 401
        assert (await api.get("/healthz"))[0] == 200
        assert (await api.get("/readyz"))[0] == 200


@pytest.mark.parametrize("header", [f"Bearer {TOKEN}x", "Bearer ", TOKEN, f"Basic {TOKEN}", "Bearer ümlaut"])
async def test_a_wrong_token_is_refused(running_api, header):
    """Only the whole token under the right scheme opens."""
    async with running_api(token=TOKEN) as api:
        status, body = await api.get("/v1/status", headers={"Authorization": header})
    assert (status, body["error"]["kind"]) == (401, "unauthorised")
    assert body["error"]["message"].startswith("found a wrong token")


async def test_the_right_token_opens(running_api):
    """The scheme's name is not case-sensitive, the token is."""
    async with running_api(token=TOKEN) as api:
        for scheme in ("Bearer", "bearer"):
            assert (await api.get("/v1/status", headers={"Authorization": f"{scheme} {TOKEN}"}))[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9400", "127.0.0.1.evil.example", "", "[::1", "a]b"])
async def test_a_foreign_name_for_this_machine_is_refused(api, host):
    """A page whose name was made to resolve to 127.0.0.1 still carries that name."""
    status, body = await api.get("/v1/status", headers={"Host": host})
    assert (status, body["error"]["kind"]) == (403, "origin_refused")


@pytest.mark.parametrize("host", ["localhost:9400", "127.0.0.1", "[::1]:9400"])
async def test_names_of_this_machine_are_accepted(api, host):
    """However a client on this machine writes the address."""
    assert (await api.get("/v1/status", headers={"Host": host}))[0] == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://localhost", "http://[::1", "//", ""]
)
async def test_a_page_of_another_origin_cannot_command(api, origin):
    """Another port is another origin, too."""
    status, body = await api.post(PAUSE, headers={"Origin": origin})
    assert (status, body["error"]["kind"]) == (403, "origin_refused")
    assert not api.controller.loop.orders.state.paused


async def test_its_own_page_can_command(api):
    """The page that the daemon itself serves has its origin, and says that it is the page."""
    origin = {"Origin": str(api.session._base_url.origin()), "Sec-Fetch-Site": "same-origin"}
    assert (await api.post(PAUSE, headers={**origin, "X-Reconfigure": "page"}))[0] == 200
    assert api.controller.loop.orders.state.paused


async def test_a_browser_without_the_page_s_header_cannot_command(api):
    """What another site may send without asking first never has a header of one's own."""
    for header in ({"Origin": str(api.session._base_url.origin())}, {"Sec-Fetch-Site": "same-origin"}):
        status, body = await api.post(PAUSE, headers=header)
        assert (status, body["error"]["kind"]) == (403, "origin_refused")
        assert "X-Reconfigure" in body["error"]["message"]


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
async def test_what_a_browser_calls_another_site_cannot_command(api, site):
    """Even with the page's header, and without an Origin."""
    status, body = await api.post(PAUSE, headers={"Sec-Fetch-Site": site, "X-Reconfigure": "page"})
    assert (status, body["error"]["kind"]) == (403, "origin_refused")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded"])
async def test_what_a_form_can_send_is_refused(api, content_type):
    """A browser sends these across origins without asking; JSON it does not."""
    status, body = await api.post(b'{"kind": "pause"}', headers={"Content-Type": content_type})
    assert status == 400
    assert content_type in body["error"]["message"]


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *((host, True) for host in ("127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "LOCALHOST")),
        *((host, False) for host in ("0.0.0.0", "10.0.0.1", "example.org", "")),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(host, loopback):
    """Addresses by their range, names only if they are `localhost`."""
    assert is_loopback(host) is loopback
