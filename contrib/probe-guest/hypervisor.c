/* Who emulates this processor, and which Hyper-V enlightenments it offers, by the names of QEMU's hv-* flags.
 * Source: Hypervisor Top Level Functional Specification, chapter 2 (leaves 0x40000000 to 0x4000000a); QEMU's
 * docs/system/i386/hyperv.rst for the names, and for KVM's own leaves moving to 0x40000100. */
#include "machine.h"

enum { LEAVES = 0x40000000, BESIDE = 0x40000100, HV_1 = 0x31237648 /* "Hv#1" */ };

static void nested(u32 last)
{
    u32 a = last >= LEAVES + 0xa ? cpuid(LEAVES + 0xa, 0).a : 0;
    feature("tlbflush-direct", a >> 17 & 1), feature("emsr-bitmap", a >> 19 & 1);
}

static void enlightenments(u32 last)
{
    cpuid_regs rights = cpuid(LEAVES + 3, 0), advice = cpuid(LEAVES + 4, 0);
    u32 a = rights.a, d = rights.d, e = advice.a;
    text("hyperv:");
    feature("runtime", a & 1), feature("time", a >> 1 & 1), feature("synic", a >> 2 & 1);
    feature("stimer", a >> 3 & 1), feature("vapic", a >> 4 & 1), feature("vpindex", a >> 6 & 1);
    feature("reset", a >> 7 & 1), feature("frequencies", a >> 11 & 1), feature("reenlightenment", a >> 13 & 1);
    feature("xmm-input", d >> 4 & 1), feature("crash", d >> 10 & 1), feature("tlbflush-ext", d >> 14 & 1);
    feature("stimer-direct", d >> 19 & 1);
    feature("tlbflush", e >> 2 & 1), feature("relaxed", e >> 5 & 1), feature("avic", e >> 9 & 1);
    feature("ipi", e >> 10 & 1), feature("evmcs", e >> 14 & 1), feature("no-nonarch-coresharing", e >> 18 & 1);
    nested(last);
    if (advice.b != 0xffffffff) { /* all ones: never tell the hypervisor about a long wait */
        text(" spinlocks=");
        number(advice.b);
    }
    line();
}

static void identity(cpuid_regs first)
{
    cpuid_regs version = cpuid(LEAVES + 2, 0);
    key("hyperv-vendor"), letters(&first.b, 12), line();
    key("hyperv-version"), number(version.b >> 16), letter('.'), number(version.b & 0xffff);
    letter('.'), number(version.a), line();
    if (first.a >= LEAVES + 5) {
        u32 most = cpuid(LEAVES + 5, 0).a;
        key("hyperv-max-processors");
        if (most == 0xffffffff)
            text("unlimited");
        else
            number(most);
        line();
    }
}

void report_hypervisor(void)
{
    if (!(cpuid(1, 0).c >> 31)) {
        text("hypervisor: none\r\n");
        return;
    }
    for (u32 leaf = LEAVES; leaf <= BESIDE; leaf += BESIDE - LEAVES) {
        cpuid_regs r = cpuid(leaf, 0);
        /* Leaves beyond the last one answer with those of another, which name no last leaf of this range. */
        if (r.a < leaf || r.a > leaf + 0xff || (r.b & 0xff) < ' ' || (r.b & 0xff) > '~')
            continue;
        key("hypervisor"), hex(leaf, 8), letter(' '), letters(&r.b, 12), line();
    }
    if (cpuid(LEAVES + 1, 0).a == HV_1) {
        enlightenments(cpuid(LEAVES, 0).a);
        identity(cpuid(LEAVES, 0));
    }
}
