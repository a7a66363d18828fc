"""Every notebook in real JupyterLab: pictures before running, Run All, every control of every Explorer.

Run by `pytest tests/browser`.
"""

import ast
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from jupyter_client import BlockingKernelClient
from playwright.sync_api import Locator, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9A][0-9]_*.ipynb"))
RUN_SECONDS, MOVE_SECONDS = 300, 30
# Collects the pictures of widgets outside of an Explorer while a notebook runs: the curves of a training.
WATCH = """() => {
    window.curves = new Set();
    setInterval(() => document.querySelectorAll("img.widget-image").forEach(
        image => image.closest(".widget-vbox") || window.curves.add(image.src)), 200);
}"""
ERRORS = "[data-mime-type='application/vnd.jupyter.error'], [data-mime-type='application/vnd.jupyter.stderr']"

# Lab must neither ask about news nor leave out of the page what is not on the screen.
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """(address, folder, folder of connection files) of a JupyterLab with settings of its own and no data."""
    folder = tmp_path_factory.mktemp("lab")
    settings, runtime = folder / "settings", folder / "runtime"
    for name, values in SETTINGS.items():
        path = settings / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values), encoding="utf-8")
    for name in ("files", "data", "config"):
        (folder / name).mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {
        name: value for name, value in os.environ.items() if name not in ("VMRLIB_MIRROR", "VMRLIB_DATASET")
    }
    env |= {
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_RUNTIME_DIR": str(runtime),
        "JUPYTERLAB_SETTINGS_DIR": str(settings),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "VMRLIB_DATA": str(folder / "data"),
        "HF_HUB_OFFLINE": "1",
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"]
    command += [
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=",
        f"--ServerApp.root_dir={folder / 'files'}",
    ]
    log = (folder / "log.txt").open("wb")
    server = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        wait_for_server(f"http://127.0.0.1:{port}/api", server, folder / "log.txt")
        yield f"http://127.0.0.1:{port}", folder / "files", runtime
    finally:
        server.terminate()
        server.wait(timeout=30)
        log.close()


def wait_for_server(url: str, server: subprocess.Popen, log: Path) -> None:
    """Returns when the server answers; fails with its log when it ends or takes a minute."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.3)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text(errors='replace')[-3000:]}")


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def opened(request, lab, browser):
    """(page, stored notebook, runtime folder): a copy of the notebook, opened and not run."""
    address, files, runtime = lab
    shutil.copy(request.param, files)  # Lab rewrites what it opens
    page = browser.new_context(viewport={"width": 1300, "height": 1000}).new_page()
    page.goto(f"{address}/lab/tree/{request.param.name}?reset")
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
    yield page, json.loads(request.param.read_text(encoding="utf-8")), runtime
    cookie = next(c["value"] for c in page.context.cookies() if c["name"] == "_xsrf")
    for session in page.request.get(f"{address}/api/sessions").json():  # ends its kernel, too
        page.request.delete(f"{address}/api/sessions/{session['id']}", headers={"X-XSRFToken": cookie})
    page.context.close()


class Kernel:
    """A second client of the kernel that the notebook runs in."""

    SETUP = """
def __explorers():
    import gc, ipywidgets, vmrlib.viz
    order = list(ipywidgets.Widget.widgets) if hasattr(ipywidgets.Widget, "widgets") else []
    found = [o for o in gc.get_objects() if isinstance(o, vmrlib.viz.Explorer)]
    return sorted(found, key=lambda e: order.index(e.box.model_id))

def __redrawn(index):
    import hashlib, time, vmrlib.viz
    explorer = __explorers()[index]
    start = time.process_time()
    picture = vmrlib.viz.to_png(explorer.draw(**explorer.values))
    return hashlib.sha256(picture).hexdigest(), time.process_time() - start
"""

    def __init__(self, runtime: Path):
        newest = max(runtime.glob("kernel-*.json"), key=lambda path: path.stat().st_mtime)
        self.client = BlockingKernelClient(connection_file=str(newest))
        self.client.load_connection_file()
        self.client.start_channels()
        self.evaluate("None", self.SETUP)

    def evaluate(self, expression: str, code: str = ""):
        """The value of an expression of plain Python values in the kernel."""
        asked = self.client.execute(code, silent=True, user_expressions={"value": expression})
        while True:
            reply = self.client.get_shell_msg(timeout=60)
            if reply["parent_header"].get("msg_id") == asked:
                break
        assert reply["content"]["status"] == "ok", reply["content"]
        value = reply["content"]["user_expressions"]["value"]
        assert value["status"] == "ok", value
        return ast.literal_eval(value["data"]["text/plain"])


def stored_explorers(notebook: dict) -> int:
    """How many stored outputs are the first picture of an Explorer."""
    outputs = [o for cell in notebook["cells"] for o in cell.get("outputs", [])]
    texts = ["".join(o["data"].get("text/plain", "")) for o in outputs if "image/png" in o.get("data", {})]
    return sum(text.startswith("Explorer(") for text in texts)


def holds_a_training(notebook: dict) -> bool:
    """Does a cell show a live curve?"""
    outputs = [o for cell in notebook["cells"] for o in cell.get("outputs", [])]
    return any("".join(o.get("data", {}).get("text/plain", "")).startswith("LiveCurve(") for o in outputs)


def run_all(page: Page) -> None:
    """Run > Run All Cells, until no cell is waiting."""
    page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").wait_for(timeout=60_000)
    waiting = page.locator(".jp-CodeCell .jp-InputPrompt", has_text="[*]")
    for attempt in range(3):
        page.locator(".jp-Notebook .jp-Cell").first.click()  # the menu acts on what has the focus
        page.locator(".lm-MenuBar-item", has_text="Run").click()
        page.locator(".lm-Menu-item[data-command='runmenu:run-all']").click()
        try:
            waiting.first.wait_for(timeout=15_000)
            break
        except PlaywrightTimeout:  # Lab drops the command while it is still connecting to the kernel
            assert attempt < 2, "Run All Cells starts nothing"
    expect(waiting).to_have_count(0, timeout=1000 * RUN_SECONDS)


def picture(explorer: Locator) -> str:
    """The hash of the picture that the browser shows."""
    content = explorer.locator("img.widget-image").evaluate(
        "async img => Array.from(new Uint8Array(await (await fetch(img.src)).arrayBuffer()))"
    )
    return hashlib.sha256(bytes(content)).hexdigest()


def move(control: Locator) -> None:
    """Give a control another value, as a reader would: with mouse and keyboard."""
    handle, choice, text = (control.locator(kind) for kind in (".noUi-handle", "select", "input[type=text]"))
    if handle.count():
        at_end = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
        handle.focus()
        handle.press("Home" if at_end else "End")
    elif choice.count():
        last = choice.locator("option").count() - 1
        choice.select_option(index=0 if choice.evaluate("s => s.selectedIndex") == last else last)
    elif text.count():
        text.fill("a red star is on the left")
        text.press("Enter")
    else:
        control.locator("input[type=checkbox]").click()


def test_notebook_in_the_browser(opened):
    page, notebook, runtime = opened
    explorers = stored_explorers(notebook)
    assert explorers, "the notebook holds no Explorer"

    pictures = page.locator(".jp-OutputArea-output img[src^='data:image/png']")
    pictures.first.wait_for(timeout=30_000)
    stored = [
        o for cell in notebook["cells"] for o in cell.get("outputs", []) if "image/png" in o.get("data", {})
    ]
    assert pictures.count() == len(stored), "stored pictures are shown before anything is run"
    assert page.locator(".noUi-handle, .widget-dropdown, .widget-text").count() == 0

    page.evaluate(WATCH)
    run_all(page)
    assert page.locator(ERRORS).all_inner_texts() == []
    if holds_a_training(notebook):
        assert page.evaluate("window.curves.size") >= 3, "the curve of the training did not grow"
        assert page.locator("img.widget-image").count() == explorers, "the live curve stayed on the page"
    live = page.locator(".jp-OutputArea-output .widget-vbox:has(> img.widget-image)")
    live.last.wait_for(timeout=30_000)
    assert live.count() == explorers

    kernel = Kernel(runtime)
    for index in range(explorers):
        explorer = live.nth(index)
        explorer.scroll_into_view_if_needed()
        names = kernel.evaluate(f"list(__explorers()[{index}].controls)")
        controls = explorer.locator("> .widget-inline-hbox")
        assert controls.count() >= len(names)
        for number, name in enumerate(names):
            before = picture(explorer)
            move(controls.nth(number))
            deadline = time.monotonic() + MOVE_SECONDS
            while picture(explorer) == before and time.monotonic() < deadline:
                time.sleep(0.1)
            after, (drawn, seconds) = picture(explorer), kernel.evaluate(f"__redrawn({index})")
            where = f"Explorer {index}, control `{name}`"
            assert after != before, f"{where}: the picture did not change"
            assert after == drawn, f"{where}: the picture is not what the draw function draws"
            assert seconds < 1, f"{where}: redrawn in {seconds:.2f} CPU seconds"
    assert page.locator(ERRORS).all_inner_texts() == []
