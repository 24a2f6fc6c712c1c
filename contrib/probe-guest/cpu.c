/* What CPUID tells: the processor, how its threads are grouped, its caches and features.
 * Source: Intel SDM volume 2 (CPUID) and volume 3, 9.9 (topology); AMD APM volume 3, appendix E. */
#include "machine.h"

static u64 processors(void)
{
    mp_services *mp;
    u64 all = 1, enabled = 1;
    if (!efi->boot->locate_protocol(&MP_SERVICES, 0, (void **)&mp))
        mp->get_number(mp, &all, &enabled);
    return enabled;
}

typedef struct { u32 core, die, package; } threads; /* how many of them each holds */

/* Leaf 0x1f knows dies; leaf 0xb, where it is alone, knows none. Each level counts the threads of the domain above it. */
static int levels(u32 leaf, threads *t)
{
    u32 below = 0;
    if (cpuid(0, 0).a < leaf)
        return 0;
    for (u32 i = 0; i < 8; i++) {
        cpuid_regs r = cpuid(leaf, i);
        u32 level = r.c >> 8 & 0xff, count = r.b & 0xffff;
        if (!level || !count)
            break;
        if (level == 1)
            t->core = count;
        if (level == 5)
            t->die = below;
        t->package = below = count;
    }
    return below > 0;
}

static threads topology(void)
{
    threads t = {1, 0, 1};
    if (!levels(0x1f, &t) && !levels(0xb, &t)) {
        if (cpuid(1, 0).d & 1u << 28)
            t.package = cpuid(1, 0).b >> 16 & 0xff;
        if (cpuid(0x80000000, 0).a >= 0x8000001e && cpuid(0x80000001, 0).c & 1u << 22)
            t.core = (cpuid(0x8000001e, 0).b >> 8 & 0xff) + 1;
    }
    if (t.package < t.core)
        t.package = t.core;
    if (!t.die)
        t.die = t.package;
    return t;
}

/* Returns whether the leaf told of any. */
static int caches(u32 leaf)
{
    for (u32 i = 0; i < 8; i++) {
        cpuid_regs r = cpuid(leaf, i);
        u32 kind = r.a & 31;
        if (!kind)
            return i > 0;
        u64 size = (u64)((r.b >> 22) + 1) * ((r.b >> 12 & 0x3ff) + 1) * ((r.b & 0xfff) + 1) * ((u64)r.c + 1);
        text("cache: L");
        number(r.a >> 5 & 7);
        text(kind == 1 ? " data " : kind == 2 ? " instructions " : " unified ");
        number(size >> 10);
        text(" KiB, shared by ");
        number((r.a >> 14 & 0xfff) + 1);
        line();
    }
    return 1;
}

void feature(const char *name, u32 bit)
{
    if (bit) {
        letter(' ');
        text(name);
    }
}

static void cache(u32 level, const char *kind, u32 kib)
{
    if (kib)
        text("cache: L"), number(level), letter(' '), text(kind), letter(' '), number(kib), text(" KiB"), line();
}

/* AMD's older leaves tell sizes, and not who shares them. */
static void plain_caches(void)
{
    cpuid_regs first = cpuid(0x80000005, 0), more = cpuid(0x80000006, 0);
    cache(1, "data", first.c >> 24), cache(1, "instructions", first.d >> 24);
    cache(2, "unified", more.c >> 16), cache(3, "unified", (more.d >> 18) * 512);
}

static void report_signature(u32 signature)
{
    u32 family = signature >> 8 & 15, model = signature >> 4 & 15;
    key("cpu-signature"), hex(signature, 8), line();
    if (family == 6 || family == 15)
        model |= signature >> 12 & 0xf0;
    if (family == 15)
        family += signature >> 20 & 0xff;
    key("cpu-family-model-stepping"), number(family), letter('-'), number(model), letter('-'), number(signature & 15), line();
}

static void report_topology(void)
{
    threads t = topology();
    u64 all = processors(), sockets = all > t.package ? all / t.package : 1;
    key("processors"), number(all), line();
    key("sockets"), number(sockets), line();
    key("dies-per-socket"), number(t.package / t.die), line();
    key("cores-per-socket"), number(t.package / t.core), line();
    key("threads-per-core"), number(t.core), line();
    key("cores"), number(sockets * (t.package / t.core)), line();
}

static void report_features(void)
{
    cpuid_regs one = cpuid(1, 0), extended = cpuid(0x80000001, 0), seven = {0};
    u32 power = cpuid(0x80000000, 0).a >= 0x80000007 ? cpuid(0x80000007, 0).d : 0;
    if (cpuid(0, 0).a >= 7)
        seven = cpuid(7, 0);
    text("features:");
    feature("hypervisor", one.c >> 31 & 1), feature("x2apic", one.c >> 21 & 1);
    feature("tsc-deadline", one.c >> 24 & 1), feature("pcid", one.c >> 17 & 1), feature("aes", one.c >> 25 & 1);
    feature("avx", one.c >> 28 & 1), feature("avx2", seven.b >> 5 & 1), feature("avx512f", seven.b >> 16 & 1);
    feature("smep", seven.b >> 7 & 1), feature("smap", seven.b >> 20 & 1), feature("umip", seven.c >> 2 & 1);
    feature("pku", seven.c >> 3 & 1), feature("la57", seven.c >> 16 & 1), feature("nx", extended.d >> 20 & 1);
    feature("rdtscp", extended.d >> 27 & 1), feature("topoext", extended.c >> 22 & 1);
    feature("svm", extended.c >> 2 & 1), feature("vmx", one.c >> 5 & 1), feature("invtsc", power >> 8 & 1);
    line();
}

void report_cpu(void)
{
    cpuid_regs r = cpuid(0, 0);
    u32 name[3] = {r.b, r.d, r.c}, last = cpuid(0x80000000, 0).a;
    key("cpu-vendor"), letters(name, 12), line();
    if (last >= 0x80000004) {
        u32 brand[12];
        for (u32 i = 0; i < 3; i++) {
            cpuid_regs part = cpuid(0x80000002 + i, 0);
            brand[4 * i] = part.a, brand[4 * i + 1] = part.b, brand[4 * i + 2] = part.c, brand[4 * i + 3] = part.d;
        }
        key("cpu-brand"), letters(brand, 48), line();
    }
    report_signature(cpuid(1, 0).a);
    report_topology();
    int amd = last >= 0x8000001d && cpuid(0x80000001, 0).c & 1u << 22;
    if (!(amd && caches(0x8000001d)) && !(r.a >= 4 && caches(4)) && last >= 0x80000006)
        plain_caches();
    report_features();
}
