"""Who may import whom. The picture of the program is this table; a change of it is a decision, not an accident."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "qlaunch"

# Each layer, and the layers of qlaunch that it may import.
MAY_IMPORT = {
    "errors": set(),
    "values": {"values"},
    "probe": {"probe"},
    "svg": set(),
    "jitter": {"jitter", "devices", "machine", "values", "errors", "svg"},
    "devices": {"devices", "values", "errors", "probe"},
    "machine": {"machine", "devices", "values", "errors"},
    "host": {"host", "values", "errors"},
    "argv": {"devices", "machine"},
    "capability": {"devices", "host", "errors"},
    "duty": {"machine"},
    "autopin": {"devices", "errors", "host", "machine", "values"},
    "found": {"capability", "devices", "errors", "host", "machine", "values"},
    "steps": {"steps", "host", "values", "errors"},
    "journal": {"journal", "steps", "values", "errors"},
    "preparation": {"preparation", "steps", "devices", "machine", "host", "values", "errors"},
    "audit": {"audit", "machine", "host", "values", "errors"},
    "check": {"check", "machine", "host", "values", "errors"},
    "capture": {"capability", "check", "errors", "found", "host", "machine", "plan", "selection"},
    "attachment": {"devices", "duty", "errors", "host", "machine", "preparation", "steps", "values"},
    "selection": {"devices", "errors", "host", "machine", "values"},
    "plan": {
        *("argv", "autopin", "capability", "devices", "errors", "found", "duty", "host", "machine", "values"),
        *("audit", "preparation", "steps"),
    },
    "console": {"console", "values", "errors"},
    "libvirt": {"libvirt", "argv", "devices", "machine", "values", "errors"},
    "run": {
        *("run", "console", "jitter", "attachment", "found", "plan", "selection", "journal", "steps", "duty"),
        *("devices", "machine", "host", "values", "errors"),
    },
    "cli": {
        "audit",
        "autopin",
        "capture",
        "check",
        "cli",
        "console",
        "jitter",
        "libvirt",
        "journal",
        "steps",
        "run",
        "plan",
        "selection",
        "duty",
        "found",
        "argv",
        "devices",
        "machine",
        "host",
        "values",
        "errors",
    },
}
ASYNC = {"trio", "asyncio", "trio_asyncio", "qemu", "outcome"}
EFFECTS = {"os", "subprocess", "socket", "shutil", "pathlib", "tempfile"}


def modules() -> list[Path]:
    return sorted(
        path for path in ROOT.rglob("*.py") if path.parent != ROOT or path.stem not in ("__init__", "__main__")
    )


def layer(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def module_name(path: Path) -> str:
    return ".".join(("qlaunch", *path.relative_to(ROOT).with_suffix("").parts))


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", modules(), ids=module_name)
def test_a_module_imports_only_the_layers_below_it(path: Path) -> None:
    own = layer(module_name(path))
    ours = {name for name in imports(path) if name.startswith("qlaunch.")}
    assert {layer(name) for name in ours} <= MAY_IMPORT[own] | ({"probe"} if own in ("cli", "run") else set())


@pytest.mark.parametrize("path", modules(), ids=module_name)
def test_only_run_imports_an_event_loop(path: Path) -> None:
    if layer(module_name(path)) != "run":
        assert not {name.split(".")[0] for name in imports(path)} & ASYNC


def test_only_one_module_imports_qemu_qmp_and_asyncio() -> None:
    users = {path.stem for path in modules() if {name.split(".")[0] for name in imports(path)} & (ASYNC - {"trio"})}
    assert users == {"qmp"}


@pytest.mark.parametrize(
    "path", [*(ROOT / "devices").glob("*.py"), *(ROOT / "values").glob("*.py"), ROOT / "argv.py"], ids=lambda p: p.stem
)
def test_devices_and_values_are_pure(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & EFFECTS


def test_nobody_imports_the_command_line() -> None:
    users = {module_name(path) for path in modules() if any(name.startswith("qlaunch.cli") for name in imports(path))}
    assert {layer(name) for name in users} <= {"cli"}


def test_the_command_line_alone_prints() -> None:
    for path in modules():
        if layer(module_name(path)) != "cli":
            calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
            names = {node.func.id for node in calls if isinstance(node.func, ast.Name)}
            assert not names & {"print", "exit", "input"}, path
