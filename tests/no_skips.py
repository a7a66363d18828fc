"""Hooks for conftest: with CI=true a skipped test fails the run, unless it needs a GPU or a cluster.

A test that was meant to run and did not is the quietest way for a suite to stop testing. What may be
missing in CI is said in the reason of the skip: it starts with "needs a GPU" or "needs a cluster".
"""

import os

ALLOWED = ("needs a GPU", "needs a cluster")


def unexpected_skips(config) -> list[str]:
    """Place and reason of every skip that CI does not allow."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") != "true" or reporter is None:
        return []
    found = []
    for report in reporter.stats.get("skipped", []):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith(ALLOWED):
            found.append(f"{report.nodeid}: {reason}")
    return found


def pytest_sessionfinish(session, exitstatus):
    """Makes the exit code 1 when the tests passed but some did not run."""
    if exitstatus == 0 and unexpected_skips(session.config):
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter):
    """Names the tests that should have run."""
    skips = unexpected_skips(terminalreporter.config)
    if skips:
        terminalreporter.section("skipped, but CI=true allows only GPU and cluster skips", red=True)
        for line in skips:
            terminalreporter.line(line)
