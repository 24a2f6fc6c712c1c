/* PCI functions on all buses that bridges lead to, by the two configuration ports that q35 and pc both have.
 * Source: PCI Local Bus 3.0, 3.2.2.3 and chapter 6; PCI-to-PCI Bridge 1.2, 3.2. */
#include "machine.h"

static u32 config(u32 bus, u32 slot, u32 function, u32 offset)
{
    out32(0xcf8, 0x80000000u | bus << 16 | slot << 11 | function << 8 | offset);
    return in32(0xcfc);
}

static void report_function(u32 bus, u32 slot, u32 function, u32 id)
{
    u32 class = config(bus, slot, function, 8) >> 8, kind = config(bus, slot, function, 12) >> 16 & 0x7f;
    u32 subsystem = config(bus, slot, function, 0x2c);
    text("pci: "), hex(bus, 2), letter(':'), hex(slot, 2), letter('.'), number(function);
    text(" class "), hex(class, 6), text(" id "), hex(id & 0xffff, 4), letter(':'), hex(id >> 16, 4);
    if (kind == 1)
        text(" bridge-to "), hex(config(bus, slot, function, 0x18) >> 8 & 0xff, 2);
    else
        text(" subsystem "), hex(subsystem & 0xffff, 4), letter(':'), hex(subsystem >> 16, 4);
    text(" header "), hex(kind, 2);
    line();
}

static void report_bus(u32 bus)
{
    for (u32 slot = 0; slot < 32; slot++)
        for (u32 function = 0; function < 8; function++) {
            u32 id = config(bus, slot, function, 0);
            if ((id & 0xffff) == 0xffff) {
                if (!function)
                    break;
                continue;
            }
            report_function(bus, slot, function, id);
            u32 kind = config(bus, slot, function, 12) >> 16 & 0xff, behind = config(bus, slot, function, 0x18) >> 8 & 0xff;
            if ((kind & 0x7f) == 1 && behind > bus)
                report_bus(behind);
            if (!function && !(kind & 0x80))
                break;
        }
}

void report_pci(void) { report_bus(0); }
