/* What the probe makes of a processor that a test describes: told_cpuid PROCESSORS LEAF:SUB:A:B:C:D..., all but the first
 * in hexadecimal. Built by tests/test_probe_report.py with the probe's own cpu.c, hypervisor.c and words.c. */
#include <stdio.h>
#include <stdlib.h>

#include "machine.h"

static char **leaves;
static u64 enabled;

cpuid_regs cpuid(u32 leaf, u32 sub)
{
    for (char **told = leaves; *told; told++) {
        unsigned found, below;
        cpuid_regs r;
        if (sscanf(*told, "%x:%x:%x:%x:%x:%x", &found, &below, &r.a, &r.b, &r.c, &r.d) == 6 && found == leaf && below == sub)
            return r;
    }
    return (cpuid_regs){0};
}

static status count(mp_services *mp, u64 *all, u64 *on)
{
    (void)mp;
    *all = *on = enabled;
    return 0;
}

static mp_services services = {count};

static status locate(const guid *wanted, void *registration, void **found)
{
    (void)wanted, (void)registration;
    *found = &services;
    return 0;
}

static boot_services boot = {.locate_protocol = locate};
static system_table table = {.boot = &boot};
system_table *efi = &table;

void letter(char c) { putchar(c); }

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    enabled = strtoull(argv[1], 0, 10);
    leaves = argv + 2;
    text("qlaunch probe: version 2\r\n");
    report_cpu();
    report_hypervisor();
    text("qlaunch probe: end of report\r\n");
    return 0;
}
