/* What CPUID tells: the processor, how its threads are grouped, its caches, and the hypervisor behind it.
 * Source: Intel SDM volume 2 (CPUID), AMD APM volume 3 appendix E, and the Hypervisor Top Level Functional Specification, chapter 2. */
#include "machine.h"

static const guid MP_SERVICES = {0x3fdda605, 0xa76e, 0x4f46, {0xad, 0x29, 0x12, 0xf4, 0x53, 0x1b, 0x3d, 0x08}};

static u64 processors(void)
{
    mp_services *mp;
    u64 all = 1, enabled = 1;
    if (!efi->boot->locate_protocol(&MP_SERVICES, 0, (void **)&mp))
        mp->get_number(mp, &all, &enabled);
    return enabled;
}

/* Threads a core and threads a package, from the leaf that counts both, or else from the older ones. */
static void topology(u32 *core, u32 *package)
{
    *core = *package = 1;
    if (cpuid(0, 0).a >= 0xb && cpuid(0xb, 0).b) {
        *core = cpuid(0xb, 0).b & 0xffff;
        *package = cpuid(0xb, 1).b & 0xffff;
        return;
    }
    if (cpuid(1, 0).d & 1u << 28)
        *package = cpuid(1, 0).b >> 16 & 0xff;
    if (cpuid(0x80000000, 0).a >= 0x8000001e && cpuid(0x80000001, 0).c & 1u << 22)
        *core = (cpuid(0x8000001e, 0).b >> 8 & 0xff) + 1;
}

static void caches(u32 leaf)
{
    for (u32 i = 0; i < 8; i++) {
        cpuid_regs r = cpuid(leaf, i);
        u32 kind = r.a & 31;
        if (!kind)
            return;
        u64 size = (u64)((r.b >> 22) + 1) * ((r.b >> 12 & 0x3ff) + 1) * ((r.b & 0xfff) + 1) * ((u64)r.c + 1);
        text("cache: L");
        number(r.a >> 5 & 7);
        text(kind == 1 ? " data " : kind == 2 ? " instructions " : " unified ");
        number(size >> 10);
        text(" KiB, shared by ");
        number((r.a >> 14 & 0xfff) + 1);
        line();
    }
}

static void feature(const char *name, u32 bit)
{
    if (bit) {
        letter(' ');
        text(name);
    }
}

void report_cpu(void)
{
    cpuid_regs r = cpuid(0, 0), one = cpuid(1, 0), extended = cpuid(0x80000001, 0);
    u32 name[3] = {r.b, r.d, r.c}, core, package;
    key("cpu-vendor"), letters(name, 12), line();
    key("cpu-brand");
    for (u32 leaf = 0x80000002; leaf < 0x80000005; leaf++) {
        cpuid_regs part = cpuid(leaf, 0);
        letters(&part, 16);
    }
    line();
    key("cpu-signature"), hex(one.a, 8), line();
    topology(&core, &package);
    u64 all = processors();
    if (core > package)
        package = core;
    key("processors"), number(all), line();
    key("sockets"), number(package && all > package ? all / package : 1), line();
    key("cores-per-socket"), number(core ? package / core : package), line();
    key("threads-per-core"), number(core), line();
    caches(cpuid(0x80000000, 0).a >= 0x8000001d && extended.c & 1u << 22 ? 0x8000001d : 4);
    text("features:");
    feature("hypervisor", one.c >> 31 & 1), feature("x2apic", one.c >> 21 & 1);
    feature("avx", one.c >> 28 & 1), feature("smap", cpuid(7, 0).b >> 20 & 1);
    feature("topoext", extended.c >> 22 & 1), feature("svm", extended.c >> 2 & 1);
    feature("vmx", one.c >> 5 & 1), feature("invtsc", cpuid(0x80000007, 0).d >> 8 & 1);
    line();
}

static void enlightenments(void)
{
    cpuid_regs rights = cpuid(0x40000003, 0), advice = cpuid(0x40000004, 0);
    u32 a = rights.a, d = rights.d, e = advice.a;
    text("hyperv:");
    feature("runtime", a & 1), feature("time", a >> 1 & 1), feature("synic", a >> 2 & 1);
    feature("stimer", a >> 3 & 1), feature("vapic", a >> 4 & 1), feature("vpindex", a >> 6 & 1);
    feature("reset", a >> 7 & 1), feature("frequencies", a >> 11 & 1), feature("reenlightenment", a >> 13 & 1);
    feature("xmm-input", d >> 4 & 1), feature("stimer-direct", d >> 19 & 1), feature("tlbflush-ext", d >> 14 & 1);
    feature("tlbflush", e >> 2 & 1), feature("relaxed", e >> 5 & 1), feature("avic", e >> 9 & 1);
    feature("ipi", e >> 10 & 1), feature("evmcs", e >> 14 & 1), feature("no-nonarch-coresharing", e >> 18 & 1);
    if (advice.b != 0xffffffff) {
        text(" spinlocks=");
        number(advice.b);
    }
    line();
}

void report_hypervisor(void)
{
    if (!(cpuid(1, 0).c >> 31)) {
        text("hypervisor: none\r\n");
        return;
    }
    for (u32 base = 0x40000000; base <= 0x40000100; base += 0x100) {
        cpuid_regs r = cpuid(base, 0);
        /* Leaves beyond the last one answer with those of another; a signature begins with a letter. */
        if (r.a < base || r.a > base + 0xff || (r.b & 0xff) < 'A')
            continue;
        key("hypervisor"), hex(base, 8), letter(' '), letters(&r.b, 12), line();
    }
    if (cpuid(0x40000001, 0).a == 0x31237648) /* "Hv#1" */
        enlightenments();
}
