/* The machine below UEFI: ports, CPUID, and the serial line that the report goes to. */
#pragma once
#include "uefi.h"

static inline void out8(u16 port, u8 value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static inline void out16(u16 port, u16 value) { __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port)); }
static inline void out32(u16 port, u32 value) { __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port)); }
static inline u8 in8(u16 port) { u8 value; __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port)); return value; }
static inline u16 in16(u16 port) { u16 value; __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port)); return value; }
static inline u32 in32(u16 port) { u32 value; __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port)); return value; }

typedef struct { u32 a, b, c, d; } cpuid_regs;

#ifdef TOLD_CPUID /* a test tells what the processor answers */
cpuid_regs cpuid(u32 leaf, u32 sub);
#else
static inline cpuid_regs cpuid(u32 leaf, u32 sub)
{
    cpuid_regs r;
    __asm__ volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(sub));
    return r;
}
#endif

void serial_start(void);
int serial_key(void);      /* the next byte received, or -1 */
void letter(char);
void text(const char *);   /* prints up to the zero */
void letters(const void *, int count); /* prints what can be printed of it, blanks trimmed at its end */
void number(u64);
void hex(u64, int digits);
void two(u32);             /* two decimal digits */
void line(void);           /* ends a line */
void key(const char *);    /* begins a line: "key: " */
void feature(const char *, u32 bit); /* a word of a list, when its bit is set */

void report_cpu(void);
void report_hypervisor(void);
void report_firmware(void);
void report_pci(void);
void report_disks(void);
u16 power_button_port(void); /* PM1a_EVT_BLK, or 0 */
