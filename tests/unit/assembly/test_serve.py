"""`reconfigure serve` from start to end, with an emulated engine host in a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time

import yaml

from reconfigure_daemon.actuation import host_log
from reconfigure_daemon.actuation.processes import HostProcess


async def test_a_days_work(start_daemon):
    """Start, look, change hot and cold, move to an objective, go back: each is enforced, told and remembered."""
    daemon = await start_daemon()
    assert (await daemon.serving())["enforced"] == {"max_num_seqs": 64, "block_size": 16}
    _, hot = await daemon.intend("apply", changes={"max_num_seqs": 32})
    _, cold = await daemon.intend("apply", changes={"block_size": 32})
    _, objective = await daemon.intend("objective", objective="energy")
    _, back = await daemon.intend("rollback")
    kinds = [(r["decision"]["kind"], r["decision"]["outcome"]["kind"]) for r in (hot, cold, objective, back)]
    assert kinds == [("adjust", "applied"), ("redeploy", "applied"), ("adjust", "applied"), ("adjust", "applied")]
    assert (await daemon.status())["enforced"] == {"max_num_seqs": 32, "block_size": 32}
    _, history = await daemon.get("/v1/decisions")
    assert len(history["decisions"]) == 5


async def test_a_killed_controller_is_followed_by_one_that_adopts_the_host(start_daemon):
    """Within two seconds of its start the next controller has the same host, target, objective and history."""
    first = await start_daemon()
    host_id = (await first.serving())["engine"]["host_id"]
    await first.intend("objective", objective="energy", expires_in_s=3600)
    first.process.kill()
    await first.ended()
    second = await start_daemon()
    status = await second.serving()
    assert status["uptime_s"] < 2
    assert status["engine"]["host_id"] == host_id
    assert (status["objective"], status["enforced"]["max_num_seqs"]) == ("energy", 16)
    assert status["objective_until"] > time.time() + 3000


async def test_a_controller_killed_during_a_switch_leaves_no_doubt(start_daemon):
    """The host finishes the switch alone, and the next controller reads back that it was made."""
    first = await start_daemon(boot_s=1)
    await first.serving()
    applying = asyncio.create_task(first.intend("apply", changes={"block_size": 32}))
    await first.until(lambda status: status["engine"] and status["engine"]["phase"] == "switching")
    first.process.kill()
    await asyncio.gather(applying, return_exceptions=True)
    second = await start_daemon()
    await second.until(lambda status: status["target"]["block_size"] == 32)
    _, history = await second.get("/v1/decisions")
    redeploy = next(d for d in history["decisions"] if d["kind"] == "redeploy")
    assert redeploy["outcome"]["kind"] == "applied"
    assert redeploy["outcome"]["detail"].startswith("read back later")


async def test_sigterm_leaves_the_host_and_says_so(start_daemon, runtime):
    """An upgrade of the controller leaves traffic untouched."""
    daemon = await start_daemon()
    await daemon.serving()
    code, said = await daemon.end_with(signal.SIGTERM)
    assert code == 0
    assert "the engine host serves on and is adopted at the next start" in said
    assert HostProcess.read(runtime / "engine-host.pid").alive


async def test_the_log_of_a_running_host_is_set_aside_when_it_has_grown_long(start_daemon, runtime):
    """Under systemd it is in memory; the host is not asked, and goes on."""
    first = await start_daemon()
    host_id = (await first.serving())["engine"]["host_id"]
    first.process.kill()
    await first.ended()
    log, older = runtime / "engine-host.log", runtime / "engine-host.log.1"
    os.truncate(log, host_log.LIMIT_BYTES + 1)
    second = await start_daemon()
    assert (await second.serving())["engine"]["host_id"] == host_id
    await second.until(lambda _: log.stat().st_size < host_log.LIMIT_BYTES)
    assert older.stat().st_size > host_log.LIMIT_BYTES


async def test_ctrl_c_ends_the_host_too(start_daemon, runtime):
    """Who started both in the foreground ends both."""
    daemon = await start_daemon()
    await daemon.serving()
    host = HostProcess.read(runtime / "engine-host.pid")
    code, said = await daemon.end_with(signal.SIGINT)
    assert code == 0
    assert "Ctrl-C: the engine host ends too" in said
    assert not host.alive


async def test_ctrl_c_while_the_engine_boots_ends_both(start_daemon, runtime):
    """Nothing is left behind by somebody who does not want to wait for the first start."""
    daemon = await start_daemon(boot_s=60)
    await daemon.until(lambda status: status["engine"] and status["engine"]["phase"] == "booting")
    host = HostProcess.read(runtime / "engine-host.pid")
    code, _ = await daemon.end_with(signal.SIGINT)
    assert code == 0
    assert not host.alive


async def test_a_taken_control_port_ends_the_start_before_any_engine(start_daemon, config, runtime):
    """One clear sentence, exit code 1, and nothing was started."""
    with socket.create_server(("127.0.0.1", config["control_api"]["port"])):
        code, said = await (await start_daemon()).ended()
    assert code == 1
    assert said.startswith(f"reconfigure: another program listens on 127.0.0.1:{config['control_api']['port']}")
    assert "Traceback" not in said
    assert not (runtime / "engine-host.pid").exists()


async def test_a_second_daemon_is_refused_with_the_pid_of_the_first(start_daemon):
    """Two controllers never command one host."""
    first = await start_daemon()
    await first.serving()
    code, said = await (await start_daemon()).ended()
    assert code == 1
    assert f"a controller with pid {first.process.pid} already runs" in said


async def test_an_engine_that_cannot_start_ends_the_daemon_with_its_words(start_daemon, config):
    """A taken port for clients is found before the engine starts, and told with the key to change."""
    with socket.create_server(("127.0.0.1", config["engine"]["port"])):
        code, said = await (await start_daemon()).ended()
    assert code == 1
    assert "change engine.port" in said
    assert "Traceback" not in said


async def test_a_dead_host_is_replaced(start_daemon, runtime):
    """The fresh one enforces the last target, and the history tells of the loss."""
    daemon = await start_daemon()
    await daemon.serving()
    await daemon.intend("apply", changes={"block_size": 32})
    before = await daemon.status()
    os.kill(before["engine"]["pid"], signal.SIGKILL)
    after = await daemon.until(
        lambda status: status["engine"] and status["engine"]["host_id"] != before["engine"]["host_id"]
        and status["engine"]["phase"] == "serving" and status["engine_error"] is None
    )  # fmt: skip
    assert after["enforced"] == before["enforced"]
    _, history = await daemon.get("/v1/decisions")
    assert any(d["source"] == "daemon" and "died with 0 live requests" in d["reason"] for d in history["decisions"])


async def test_sighup_takes_over_what_is_hot_and_names_what_is_cold(start_daemon, config, tmp_path):
    """A new objective counts at once; a new port needs a restart and stays."""
    daemon = await start_daemon()
    await daemon.serving()
    config["objectives"]["balanced"] = {"max_num_seqs": 32}
    port, config["engine"]["port"] = config["engine"]["port"], 1
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    daemon.process.send_signal(signal.SIGHUP)
    async with asyncio.timeout(10):
        while (await daemon.intend("objective", objective="balanced"))[0] != 200:  # noqa: ASYNC110  # its log is a pipe
            await asyncio.sleep(0.02)
    status = await daemon.status()
    assert (status["objective"], status["enforced"]["max_num_seqs"]) == ("balanced", 32)
    assert status["engine"]["openai_url"].endswith(f":{port}")
    _, said = await daemon.end_with(signal.SIGTERM)
    assert "these keys need a restart and keep their values: engine.port" in said


async def test_a_faulty_file_is_not_reloaded(start_daemon, tmp_path):
    """What is in force stays, and every fault is in the log with its line."""
    daemon = await start_daemon()
    await daemon.serving()
    (tmp_path / "config.yaml").write_text("space: {block_size: {valeus: [16]}}\n")
    daemon.process.send_signal(signal.SIGHUP)
    await asyncio.sleep(0.2)
    assert (await daemon.intend("apply", changes={"max_num_seqs": 16}))[0] == 200
    _, said = await daemon.end_with(signal.SIGTERM)
    assert "the configuration was not reloaded" in said
    assert "valeus" in said


async def _listen(manager, heard):
    while True:
        heard.append((await asyncio.get_running_loop().sock_recv(manager, 4096)).decode())


async def test_systemd_hears_of_readiness_life_and_the_end(start_daemon, tmp_path):
    """READY=1 once the API answers, WATCHDOG=1 from the loop, STOPPING=1 at the end."""
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.setblocking(False)
        heard = []
        listening = asyncio.create_task(_listen(manager, heard))
        daemon = await start_daemon(environ={"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "30000000"})
        await daemon.serving()
        await asyncio.sleep(0.3)  # three ticks
        await daemon.end_with(signal.SIGTERM)
        await asyncio.sleep(0)  # what is in the socket's queue is read in one go
        listening.cancel()
    assert heard[0] == "READY=1"
    assert "WATCHDOG=1" in heard
    assert any(message.startswith("STATUS=serving: block_size=16") for message in heard)
    assert heard[-1] == "STOPPING=1"


async def test_at_rest_it_is_small(start_daemon):
    """Under 150 MB resident, and neither torch nor vLLM is imported."""
    daemon = await start_daemon()
    await daemon.serving()
    with open(f"/proc/{daemon.process.pid}/status") as status:  # noqa: ASYNC230, PTH123  # /proc answers at once
        resident_kb = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    with open(f"/proc/{daemon.process.pid}/maps") as maps:  # noqa: ASYNC230, PTH123  # /proc answers at once
        mapped = maps.read()
    assert resident_kb < 150_000
    assert "libtorch" not in mapped
