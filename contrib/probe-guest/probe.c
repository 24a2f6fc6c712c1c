/* The probe: a UEFI program that prints what a guest can see, and then waits.
 *
 * Keys on the serial console: q or Enter powers off, r resets, c panics through the pvpanic device, i makes it deaf to the
 * power button; every other key is named. The power button of ACPI powers off. */
#include "machine.h"

enum { POWER_BUTTON = 1 << 8, ENABLE = 2, PVPANIC = 0x505, TICK_100_NS = 500000 };

system_table *efi;

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
    if (k == 'q' || k == '\r' || k == '\n')
        power_off();
    if (k == 'r') {
        text("qlaunch probe: resetting\r\n");
        efi->runtime->reset_system(RESET_COLD, 0, 0, 0);
    }
    if (k == 'c') {
        text("qlaunch probe: panicking\r\n");
        out8(PVPANIC, 1);
    }
    if (k == 'i') {
        *deaf = 1;
        text("qlaunch probe: the power button is ignored\r\n");
    } else if (k > ' ' && k <= '~') {
        text("qlaunch probe: key "), letter((char)k), line();
    }
}

static void wait(void)
{
    void *tick;
    u64 index;
    int deaf = 0, k;
    u16 events = power_button_port();
    if (events)
        out16(events + ENABLE, in16(events + ENABLE) | POWER_BUTTON);
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
    text("\r\nqlaunch probe: version 1\r\n");
    report_cpu();
    report_hypervisor();
    report_firmware();
    report_pci();
    text("qlaunch probe: end of report\r\n");
    wait();
    return 0;
}
