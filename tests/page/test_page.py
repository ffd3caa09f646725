"""The page in a real Chromium: what it shows, how it is operated, what it keeps to itself."""

from __future__ import annotations

import json
import urllib.request

import pytest

from reconfigure_daemon.control_api.learning_messages import EstimateView, ForecastView, ParetoView
from reconfigure_policies.domain.forecast import WorkloadContext
from tests.page.browser import chromium, complaints, seen
from tests.page.daemon import running_daemon

PATIENCE_S = 20
TOKEN = "a-token-that-no-page-may-keep-0123456789"


def until(driver, condition, what):
    """Wait until a script's answer is true."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, PATIENCE_S, 0.1).until(lambda at: at.execute_script(f"return {condition}"), what)


def opened(driver, url):
    driver.get(url)
    until(driver, "document.querySelector('#connection').dataset.state === 'live'", "the page to be live")
    until(driver, "document.querySelectorAll('#decisions li').length > 0", "the history")
    return driver


def text(driver, element_id):
    return driver.execute_script("return document.getElementById(arguments[0]).textContent", element_id)


def agree(driver, shown, told):
    """Wait until the page shows what the daemon tells: it may have decided since the page last asked."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, PATIENCE_S, 0.1).until(lambda _: shown() == told(), "the page to say what the daemon says")


def press(driver, *keys):
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(driver).send_keys(*keys).perform()


def tab_to(driver, condition):
    """Go on with the Tab key, as people without a mouse do, until the focus is on what is looked for."""
    from selenium.webdriver.common.keys import Keys

    for _ in range(60):
        press(driver, Keys.TAB)
        if driver.execute_script(f"const at = document.activeElement; return {condition}"):
            return
    raise AssertionError(f"the Tab key never came to {condition}")


def ask(url, body):
    data, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/intents", data, headers)) as answer:
        return json.load(answer)


def status(url):
    with urllib.request.urlopen(f"{url}/v1/status") as answer:
        return json.load(answer)


def test_it_shows_what_runs_and_why(browser, daemon):
    """Objective, reason, readings, calendar, configuration and history stand there in words."""
    opened(browser, daemon)
    now = status(daemon)
    purposes = {"energy": "for least energy", "throughput": "for most throughput", "balanced": "between"}
    assert text(browser, "headline").startswith(f"Serving {purposes[now['objective']]}")
    agree(browser, lambda: text(browser, "why"), lambda: status(daemon)["last_decision"]["reason"].replace("`", ""))
    assert text(browser, "served") == "An emulated engine: its figures are no measurements"
    until(browser, "document.querySelector('#power-more').textContent === 'an estimate, not measured'", "two readings")
    assert "by schedule quiet_hours" in text(browser, "next-change")
    assert "block_size" in text(browser, "knobs-table")
    history = text(browser, "decisions")
    for words in ("as schedule quiet_hours asked", "rolled back", "CUDA out of memory", "from the command line"):
        assert words in history


def test_time_is_drawn_and_told(browser, daemon):
    """Five strips with traces, limits and switches; each has its words, and all have a table."""
    opened(browser, daemon)
    until(browser, "document.querySelectorAll('#strips .trace').length >= 5", "the strips")
    drawn = {"svg[role=img]": 5, ".limit": 2, "line.switch.cold": 5}  # one cold switch through all strips
    for part, count in drawn.items():
        assert len(browser.find_elements("css selector", f"#strips {part}")) == count
    label = browser.execute_script("return document.querySelector('#strips svg').getAttribute('aria-label')")
    assert "Requests/s from" in label
    assert "Switches:" in label
    browser.find_element("css selector", "#windows-details summary").click()
    until(browser, "document.querySelectorAll('#windows-table tbody tr').length > 5", "the table")


def test_the_cursor_is_moved_by_keys_and_speaks(browser, daemon):
    """The arrow keys go back in time, and the slider's value is a sentence."""
    from selenium.webdriver.common.keys import Keys

    opened(browser, daemon)
    until(browser, "!document.querySelector('#cursor-row').hidden", "the cursor")
    tab_to(browser, "at.id === 'cursor'")
    latest = text(browser, "cursor-time")
    press(browser, Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert latest.endswith(", the latest")
    assert not text(browser, "cursor-time").endswith(", the latest")
    spoken = browser.execute_script("return document.getElementById('cursor').getAttribute('aria-valuetext')")
    assert "requests per second" in spoken
    assert "joules per token" in spoken


def test_an_objective_is_chosen_reviewed_and_applied_by_keys_alone(browser, daemon):
    """Radio, review, yes: the plan comes first, the outcome afterwards, and the focus is always somewhere sensible."""
    from selenium.webdriver.common.keys import Keys

    ask(daemon, {"kind": "objective", "objective": "energy"})
    opened(browser, daemon)
    until(browser, "document.querySelector('[value=energy]').checked", "the objective in force")
    tab_to(browser, "at.name === 'objective'")
    press(browser, Keys.ARROW_DOWN)
    tab_to(browser, "at.id === 'review'")
    press(browser, Keys.ENTER)
    until(browser, "document.querySelector('#plan').open", "the plan")
    assert "pacing_interval_s" in text(browser, "plan-body")
    assert status(daemon)["objective"] == "energy"
    assert browser.switch_to.active_element.get_attribute("id") == "plan-go"
    press(browser, Keys.ENTER)
    until(browser, "document.querySelector('#plan-outcome').textContent.startsWith('It is done: applied.')", "the end")
    assert browser.switch_to.active_element.get_attribute("id") == "plan-leave"
    press(browser, Keys.ENTER)
    until(browser, "document.querySelector('#headline').textContent.includes('between')", "the new objective")
    last = status(daemon)["last_decision"]
    assert (status(daemon)["objective"], last["source"]) == ("balanced", "page")


def test_escape_leaves_everything_as_it_is(browser, daemon):
    """A plan that is looked at and left changes nothing, and the focus is back where it was."""
    from selenium.webdriver.common.keys import Keys

    opened(browser, daemon)
    before = status(daemon)["last_decision"]["id"]
    tab_to(browser, "at.id === 'rollback'")
    press(browser, Keys.ENTER)
    until(browser, "document.querySelector('#plan').open", "the plan")
    press(browser, Keys.ESCAPE)
    until(browser, "!document.querySelector('#plan').open", "the end of the dialog")
    assert browser.switch_to.active_element.get_attribute("id") == "rollback"
    assert status(daemon)["last_decision"]["id"] == before


def test_pause_and_resume_at_once(browser, daemon):
    """Both are said in the headline, and the button says what it will do next."""
    opened(browser, daemon)
    browser.find_element("id", "pause").click()
    until(browser, "document.querySelector('#headline').textContent.includes('changes are paused')", "the pause")
    assert status(daemon)["paused"]
    assert text(browser, "pause") == "Resume automatic changes"
    browser.find_element("id", "pause").click()
    until(browser, "!document.querySelector('#headline').textContent.includes('paused')", "the end of the pause")
    assert not status(daemon)["paused"]


def test_it_is_live(browser, daemon):
    """What somebody else does appears by itself."""
    opened(browser, daemon)
    cap = 32 if status(daemon)["enforced"]["max_num_seqs"] != 32 else 64
    ask(daemon, {"kind": "apply", "changes": {"max_num_seqs": cap}, "source": "api"})
    until(browser, f"document.querySelector('#decisions').textContent.includes('to {cap} (hot), as api asked')", "it")


def test_it_says_that_the_daemon_is_gone_and_comes_back(browser, daemon):
    """Old figures are not passed off as live ones."""
    opened(browser, daemon)
    browser.execute_cdp_cmd("Network.enable", {})
    offline = {"latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": True, **offline})
    until(browser, "document.querySelector('#connection').textContent.startsWith('Not connected since')", "the loss")
    online = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": False, **online})
    until(browser, "document.querySelector('#connection').textContent === 'Live'", "the return")
    complaints(browser)  # those of the loss are meant


def test_without_anything_learned_the_front_says_why(browser, daemon):
    """An empty chart would be a riddle."""
    opened(browser, daemon)
    until(
        browser, "document.querySelector('#front-words').textContent.startsWith('Nothing has been learned yet:')", "it"
    )
    assert "let the engine serve for a while" in text(browser, "front-words")


def test_a_front_is_drawn_with_how_sure_it_is(browser, daemon):
    """Each configuration with its interval, the one in force marked, and the same in a table."""
    opened(browser, daemon)
    browser.execute_script(
        "import('/page/front.js').then((front) => front.takeFront(arguments[0], null))".replace(
            "arguments[0]", _front()
        )
    )
    until(browser, "document.querySelectorAll('#front .candidate').length === 3", "the front")
    assert browser.execute_script("return document.querySelectorAll('#front .sure').length") == 8
    assert browser.execute_script("return document.querySelector('#front .here').textContent") == "in force now"
    assert "3 of 40 configurations are beaten by no other" in text(browser, "front-words")
    assert "expected at 0.2 J per token" in text(browser, "front-words")
    assert "Not to be trusted yet: few trials." in text(browser, "front-words")
    assert "0.18–0.22" in text(browser, "front-table")


def _front():
    def forecast(cap, tokens, joules):
        return ForecastView(
            configuration={"max_num_seqs": cap},
            energy_per_output_token_j=EstimateView(median=joules, low=0.9 * joules, high=1.1 * joules),
            throughput_tps=EstimateView(median=tokens, low=0.8 * tokens, high=1.2 * tokens),
            ttft_p99_s=None,
            tpot_p99_s=None,
            feasibility=1.0,
            observations=2,
        )

    return ParetoView(
        context=WorkloadContext(4, 512, 128),
        basis="12 trials",
        warnings=["few trials"],
        front=[forecast(64, 3000, 0.5), forecast(32, 2000, 0.3), forecast(16, 1000, 0.2)],
        enforced=forecast(128, 3100, 0.7),
        measured=[],
        energy_source="estimated",
        candidates=40,
    ).model_dump_json()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_is_accessible(daemon, scheme, width):
    """Names, landmarks, headings, tables and contrast hold, by day and night, on a desk and on a phone."""
    with chromium(width, 800, scheme) as driver:
        opened(driver, daemon)
        until(driver, "document.querySelectorAll('#strips .trace').length >= 5", "the strips")
        for summary in driver.find_elements("css selector", "#windows-details summary"):
            summary.click()
        driver.find_element("id", "rollback").click()
        until(driver, "document.querySelector('#plan').open", "the plan")
        driver.execute_script("document.querySelector('#plan').close()")
        assert seen(driver, "faultsOfStructure") == []
        assert seen(driver, "paleTexts") == []
        operable = seen(driver, "operable")
        assert [each["html"] for each in operable if not each["name"]] == []
        assert [each["html"] for each in operable if min(each["width"], each["height"]) < 24] == []
        assert driver.execute_script("return document.scrollingElement.scrollWidth") <= width
        assert [line for line in complaints(driver) if "409 (Conflict)" not in line] == []


def test_motion_stops_where_it_is_not_wanted(daemon):
    """Whoever asked the system for less motion gets none."""
    moving = (
        "return [...document.querySelectorAll('*')].some((e) => parseFloat(getComputedStyle(e).transitionDuration) > 0)"
    )
    for reduced in (True, False):
        with chromium(reduced_motion=reduced) as driver:
            opened(driver, daemon)
            assert driver.execute_script(moving) is not reduced


def test_nothing_is_asked_of_any_other_place(browser, daemon):
    """Every request of the page goes to the daemon."""
    opened(browser, daemon)
    names = browser.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert len(names) > 5
    assert [name for name in names if not name.startswith(f"{daemon}/")] == []


def test_the_token_is_asked_for_and_kept_nowhere(tmp_path):
    """A wrong one is refused; the right one opens, works for commands, and is gone after a reload."""
    from selenium.webdriver.common.keys import Keys

    with running_daemon(tmp_path, 0, TOKEN) as url, chromium(360, 800) as driver:
        driver.get(url)
        until(driver, "document.activeElement.id === 'token'", "the question")
        assert not driver.find_element("id", "content").is_displayed()
        press(driver, "wrong", Keys.ENTER)
        until(driver, "document.querySelector('#token-fault').textContent.startsWith('That is not')", "the refusal")
        driver.find_element("id", "token").send_keys(TOKEN, Keys.ENTER)
        until(driver, "document.querySelector('#connection').textContent === 'Live'", "the page")
        driver.find_element("id", "pause").click()
        until(driver, "document.querySelector('#headline').textContent.includes('paused')", "the pause")
        kept = driver.execute_script(
            "return [document.cookie, location.href, document.documentElement.outerHTML,"
            " JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.querySelector('#token').value]"
        )
        assert not any(TOKEN in where for where in kept)
        driver.refresh()
        until(driver, "document.activeElement.id === 'token'", "the question again")
        left = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "token"]
        assert len(left) > 3
        assert [path.name for path in left if TOKEN.encode() in path.read_bytes()] == []
