/* The first serial port, by port I/O: firmware consoles wrap lines and paint, a report must not.
 * Source: the 16550 data sheet; QEMU's hw/char/serial.c. */
#include "machine.h"

enum { PORT = 0x3f8, DATA = 0, INTERRUPTS = 1, FIFO = 2, LINE = 3, MODEM = 4, STATUS = 5, SCRATCH = 7 };

static int present;

void serial_start(void)
{
    out8(PORT + SCRATCH, 0x5a); /* a port without a UART reads all ones */
    present = in8(PORT + SCRATCH) == 0x5a;
    out8(PORT + INTERRUPTS, 0);
    out8(PORT + LINE, 0x80); /* divisor latch: 115200 baud */
    out8(PORT + DATA, 1);
    out8(PORT + INTERRUPTS, 0);
    out8(PORT + LINE, 3); /* 8 bits, no parity, 1 stop bit */
    out8(PORT + FIFO, 1);
    out8(PORT + MODEM, 3);
}

int serial_key(void)
{
    return present && (in8(PORT + STATUS) & 1) ? in8(PORT + DATA) : -1;
}

void letter(char c)
{
    if (!present)
        return;
    for (int tries = 0; tries < 1000000 && !(in8(PORT + STATUS) & 0x20); tries++)
        ;
    out8(PORT + DATA, (u8)c);
}
