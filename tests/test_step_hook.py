"""Hooks: run without a shell, as a user, ended with all that they started, and their output kept."""

import os
import pwd
import select
import sys
import time
from pathlib import Path

import msgspec
import pytest

from qlaunch.errors import HostError
from qlaunch.host.facts import HostFacts
from qlaunch.host.tree import Tree
from qlaunch.preparation import hooks, sidecars
from qlaunch.preparation.wish import Wish
from qlaunch.steps.command import run_command, user_environment
from qlaunch.steps.hook import Commands, Hook
from qlaunch.steps.host import LocalHost
from tests.sites import machine

KEY = "hook 0 of ada"


def wish(**sections: object) -> Wish:
    files = {"/etc/passwd": "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh", "/usr/bin/xrandr": ""}
    facts = HostFacts(Tree.holding(files, {}))
    made = machine(**sections)
    return Wish(
        name="ada", uuid="", machine=made, facts=facts, runtime="/run/qlaunch/ada", state="/var/lib/qlaunch/ada"
    )


def test_a_word_of_a_hook_is_never_a_shell_word(tmp_path: Path) -> None:
    given = tmp_path / "given"
    hook = Commands(start=["sh", "-c", 'printf "%s" "$1" > "$2"', "sh", "$(id); `id` && x", str(given)])
    Hook().write(LocalHost(), KEY, Hook().merge(None, [hook.claim()]))
    assert given.read_text() == "$(id); `id` && x"


def test_a_hook_hears_its_machine_and_moment_and_its_output_is_kept(tmp_path: Path) -> None:
    show = ["sh", "-c", "echo $QLAUNCH_MACHINE $QLAUNCH_HOOK $MORE"]
    hook = Commands(start=show, stop=show, environment={"MORE": "more"}, log=str(tmp_path / "log"))
    kind = Hook()
    kind.write(LocalHost(), KEY, kind.merge(None, [hook.claim()]))
    kind.write(LocalHost(), KEY, kind.settle(None, None, hook.claim(), []))
    said = [line for line in (tmp_path / "log").read_text().splitlines() if not line.startswith("$ ")]
    assert said == ["ada start more", "ada stop more"]
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_a_hook_that_fails_says_its_last_line() -> None:
    with pytest.raises(HostError, match="^sh -c .*: no display$"):
        run_command(["sh", "-c", "echo first; echo no display >&2; exit 3"], timeout_s=10)
    with pytest.raises(HostError, match="exit status 3"):
        run_command(["sh", "-c", "exit 3"], timeout_s=10)
    with pytest.raises(HostError, match="ended by SIGTERM"):
        run_command(["sh", "-c", "kill $$"], timeout_s=10)
    with pytest.raises(HostError, match="nothing-like-it is not installed"):
        run_command(["nothing-like-it"], timeout_s=10)


def test_a_hook_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    began = time.monotonic()
    with pytest.raises(HostError, match="had not ended after 0.3 s, and was killed"):
        run_command(["sh", "-c", f"sleep 60 & echo $$ $! > {pids}; wait"], timeout_s=0.3)
    assert time.monotonic() - began < 10
    for pid in map(int, pids.read_text().split()):
        assert goes(pid), pid


def test_what_a_hook_leaves_running_holds_nobody_up() -> None:
    began = time.monotonic()
    said = run_command(["sh", "-c", "sleep 20 & echo $!"], timeout_s=15)
    os.kill(int(said), 9)
    assert time.monotonic() - began < 10


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_hook_of_a_user_runs_as_that_user_with_their_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "of root")
    account = pwd.getpwnam("nobody")
    said = run_command(["sh", "-c", "id -u; id -G; echo $HOME $USER $SECRET; pwd"], timeout_s=10, user="nobody")
    groups = " ".join(map(str, os.getgrouplist("nobody", account.pw_gid)))
    assert said.splitlines() == [str(account.pw_uid), groups, f"{account.pw_dir} nobody", "/"]


def test_a_user_who_does_not_exist_is_told() -> None:
    with pytest.raises(HostError, match="there is no user nobody-like-that"):
        run_command(["true"], timeout_s=10, user="nobody-like-that")


def test_a_users_environment_is_that_of_a_login() -> None:
    environment = user_environment(pwd.getpwuid(os.getuid()))
    assert environment["HOME"] == pwd.getpwuid(os.getuid()).pw_dir
    assert set(environment) <= {
        *("HOME", "LOGNAME", "PATH", "SHELL", "USER", "LANG", "LC_ALL"),
        *("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"),
    }


def test_the_output_of_a_hook_is_no_link_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("")
    (tmp_path / "log").symlink_to(tmp_path / "victim")
    run_command([sys.executable, "-c", "print(1)"], timeout_s=20, log=str(tmp_path / "log"))
    assert not (tmp_path / "victim").read_text()


def test_hooks_become_steps_in_the_order_of_the_file() -> None:
    made = wish(hook=[{"start": ["xrandr", "--off"]}, {"stop": ["xrandr", "--auto"], "user": "alice", "timeout_s": 3}])
    first, second = hooks.steps(made)
    assert (first.summary, first.needs_root) == ("xrandr --off first", False)
    assert (second.summary, second.needs_root) == ("xrandr --auto last (as alice)", True)
    assert list(first.claims) == ["hook 0 of ada"]
    claim = msgspec.json.decode(second.claims["hook 1 of ada"])
    assert claim == {
        "stop": ["xrandr", "--auto"],
        "user": "alice",
        "timeout_s": 3.0,
        "log": "/var/lib/qlaunch/ada/hooks.log",
    }
    assert not list(hooks.refusals(made))


def test_what_cannot_be_run_is_refused_before_anything_is_touched() -> None:
    made = wish(
        hook=[{"start": ["/opt/none"], "user": "bob"}, {"stop": ["perhaps-mine"]}],
        sidecar=[{"command": ["/opt/none"], "user": "eve"}],
    )
    found = [(one.key, one.code, one.severity) for theme in (hooks, sidecars) for one in theme.refusals(made)]
    assert found == [
        ("hook.0.user", "no-user", "error"),
        ("hook.0.start", "no-program", "error"),
        ("hook.1.stop", "no-program", "warning"),
        ("sidecar.0.user", "no-user", "error"),
        ("sidecar.0.command", "no-program", "error"),
    ]


def goes(pid: int) -> bool:
    """Whether a process that is no child of ours has ended, or does so in the time that a kill takes."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    with os.fdopen(descriptor):
        return bool(select.select([descriptor], [], [], 20)[0])
