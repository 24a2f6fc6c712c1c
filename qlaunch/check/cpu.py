"""Virtualization, /dev/kvm, and the parameters of KVM.

Source: the kernel's ``Documentation/virt/kvm/x86``; ``ignore_msrs`` lets guests read registers that KVM does not know.
"""

from collections.abc import Iterator

from qlaunch.check.question import Question
from qlaunch.check.result import Check, failed, passed, unknown
from qlaunch.host.permissions import may_open

TITLE = "Virtualization"
_MODULES = {"AuthenticAMD": "kvm_amd", "HygonGenuine": "kvm_amd", "GenuineIntel": "kvm_intel"}


def checks(question: Question) -> Iterator[Check]:
    """Yield the checks; a machine of plain emulation needs none of it."""
    machine = question.machine
    if machine and machine.machine.accel == "tcg":
        return
    kernel = question.facts.kernel
    kind = kernel.processor.virtualization
    if kind:
        yield passed("virtualization", f"the CPU has {kind}")
    elif kernel.processor.flags:
        hint = "switch SVM or VT-x on in the firmware setup"
        yield failed("virtualization", "the CPU shows neither AMD-V (svm) nor VT-x (vmx)", hint)
    else:
        yield unknown("virtualization", "/proc/cpuinfo does not tell the flags of the CPU")
    yield from _kvm(question)
    if machine and machine.cpu.hyperv.is_used() and machine.clock.base == "localtime":
        yield from _ignore_msrs(question)


def _kvm(question: Question) -> Iterator[Check]:
    kernel = question.facts.kernel
    if not kernel.kvm:
        module = _MODULES.get(kernel.processor.vendor or "", "kvm_amd, or kvm_intel")
        yield failed("kvm", "/dev/kvm is not there", f"run: modprobe {module}")
        return
    allowed = may_open(question.facts.tree, "/dev/kvm", question.user)
    if allowed is False:
        who = question.user or "you"
        hint = f"run: usermod -aG kvm {question.user or '$USER'}, and log in again"
        yield failed("kvm", f"/dev/kvm is there, and {who} may not open it", hint)
    else:
        yield passed("kvm", "/dev/kvm is there")


def _ignore_msrs(question: Question) -> Iterator[Check]:
    values = question.facts.kernel.parameters.get("kvm", {})
    machine = question.machine
    path = "/sys/module/kvm/parameters/ignore_msrs"
    if values.get("ignore_msrs") == "Y" or (machine and machine.host.sysfs.get(path) in ("Y", "1")):
        yield passed("kvm-msrs", "unknown registers of the CPU are ignored (kvm.ignore_msrs)")
    elif "ignore_msrs" in values:
        message = "kvm.ignore_msrs is N: some Windows programs stop the guest with a blue screen"
        yield failed("kvm-msrs", message, f'write sysfs = {{ "{path}" = "Y" }} in [host]', "info")
    else:
        yield unknown("kvm-msrs", f"{path} cannot be read")
