/* The few parts of UEFI that the probe uses. Source: UEFI Specification 2.10, chapters 4, 7, 8 and 12;
 * PI Specification 1.8, volume 2, chapter 13 (MP services). Slots that are not used are counted, not named. */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef u64 status;
typedef void *handle;
typedef struct { u32 a; u16 b, c; u8 d[8]; } guid;

#define SLOTS(name, count) void *name[count]

typedef struct { u64 signature; u32 revision, size, crc, reserved; } table_header;
typedef struct { u16 year; u8 month, day, hour, minute, second, pad; u32 nanosecond; u16 zone; u8 daylight, pad2; } efi_time;
typedef struct { u32 type, pad; u64 start, virtual_start, pages, attribute; } memory_descriptor;
typedef struct { u16 scan, letter; } key_stroke;

typedef struct console_in {
    void *reset;
    status (*read_key)(struct console_in *, key_stroke *);
    void *wait_for_key;
} console_in;

typedef struct {
    table_header header;
    SLOTS(before_map, 4);
    status (*get_memory_map)(u64 *size, memory_descriptor *, u64 *key, u64 *descriptor_size, u32 *version);
    status (*allocate_pool)(u32 type, u64 size, void **);
    void *free_pool;
    status (*create_event)(u32 type, u64 level, void *notify, void *context, void **event);
    status (*set_timer)(void *event, u32 type, u64 hundred_ns);
    status (*wait_for_event)(u64 count, void **events, u64 *index);
    SLOTS(before_watchdog, 19);
    status (*set_watchdog)(u64 seconds, u64 code, u64 size, u16 *data);
    SLOTS(before_locate, 7);
    status (*locate_protocol)(const guid *, void *registration, void **);
} boot_services;

typedef struct {
    table_header header;
    status (*get_time)(efi_time *, void *capabilities);
    SLOTS(before_variable, 5);
    status (*get_variable)(const u16 *name, const guid *, u32 *attributes, u64 *size, void *data);
    SLOTS(before_reset, 3);
    void (*reset_system)(u32 type, status, u64 size, void *data);
} runtime_services;

typedef struct { guid id; void *table; } configuration_table;

typedef struct {
    table_header header;
    u16 *vendor;
    u32 vendor_revision;
    handle in_handle;
    console_in *in;
    SLOTS(consoles, 4);
    runtime_services *runtime;
    boot_services *boot;
    u64 table_count;
    configuration_table *tables;
} system_table;

typedef struct mp_services {
    status (*get_number)(struct mp_services *, u64 *all, u64 *enabled);
} mp_services;

enum { RESET_COLD, RESET_WARM, RESET_SHUTDOWN };
enum { EVENT_TIMER = 0x80000000u, TIMER_PERIODIC = 1, LOADER_DATA = 2 };

extern system_table *efi;
