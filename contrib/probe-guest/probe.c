/* The probe: a UEFI program that prints what a guest can see, and then waits.
 *
 * Keys on the serial console: q or Enter powers off, r resets, c panics through the pvpanic device, i makes it deaf to the
 * power button, or heed it again; every other key is named. The power button of ACPI powers off. */
#include "machine.h"

enum { POWER_BUTTON = 1 << 8, ENABLE = 2, PVPANIC = 0x505, PANICKED = 1, TICK_100_NS = 500000 };

system_table *efi;

/* The port tells which events the device knows; without a device it reads all ones. Source: QEMU's docs/specs/pvpanic. */
static int panic_device(void)
{
    u8 known = in8(PVPANIC);
    return known != 0xff && known & PANICKED;
}

static void power_off(void)
{
    text("qlaunch probe: powering off\r\n");
    efi->runtime->reset_system(RESET_SHUTDOWN, 0, 0, 0);
}

static int pressed(void)
{
    key_stroke stroke;
    int from_serial = serial_key();
    if (from_serial >= 0)
        return from_serial;
    /* Firmware may have taken the byte from the serial line first, for its own console. */
    return efi->in && !efi->in->read_key(efi->in, &stroke) ? stroke.letter : -1;
}

static void heed(int k, int *deaf)
{
    if (k == 'q' || k == '\r' || k == '\n') {
        power_off();
    } else if (k == 'r') {
        text("qlaunch probe: resetting\r\n");
        efi->runtime->reset_system(RESET_COLD, 0, 0, 0);
    } else if (k == 'c' && panic_device()) {
        text("qlaunch probe: panicking\r\n");
        out8(PVPANIC, PANICKED);
    } else if (k == 'c') {
        text("qlaunch probe: there is no pvpanic device\r\n");
    } else if (k == 'i') {
        *deaf = !*deaf;
        text(*deaf ? "qlaunch probe: power button ignored\r\n" : "qlaunch probe: power button heeded\r\n");
    } else if (k > ' ' && k <= '~') {
        text("qlaunch probe: key "), letter((char)k), line();
    }
}

/* Listens to the button before the report ends: whoever has read the report may press it at once. */
static u16 power_button(void)
{
    u16 events = power_button_port();
    if (events)
        out16(events + ENABLE, in16(events + ENABLE) | POWER_BUTTON);
    return events;
}

static void wait(u16 events)
{
    void *tick;
    u64 index;
    int deaf = 0, k;
    efi->boot->create_event(EVENT_TIMER, 0, 0, 0, &tick);
    efi->boot->set_timer(tick, TIMER_PERIODIC, TICK_100_NS);
    for (;;) {
        while ((k = pressed()) >= 0)
            heed(k, &deaf);
        if (events && in16(events) & POWER_BUTTON) {
            out16(events, POWER_BUTTON); /* writing a one clears it */
            text("qlaunch probe: power button\r\n");
            if (!deaf)
                power_off();
        }
        efi->boot->wait_for_event(1, &tick, &index); /* halts the CPU until the tick */
    }
}

status efi_main(handle image, system_table *table)
{
    (void)image;
    efi = table;
    efi->boot->set_watchdog(0, 0, 0, 0);
    serial_start();
    text("\r\nqlaunch probe: version 2\r\n");
    report_cpu();
    report_hypervisor();
    report_firmware();
    key("pvpanic"), text(panic_device() ? "yes" : "no"), line();
    report_pci();
    report_disks();
    u16 events = power_button();
    text("qlaunch probe: end of report\r\n");
    wait(events);
    return 0;
}
