/* The few parts of UEFI that the probe uses. Source: UEFI Specification 2.10, chapters 4, 7, 8 and 12;
 * chapters 10 (device paths), 13.9 (block I/O) and 14.4 (PCI I/O); PI Specification 1.8, volume 2, chapter 13 (MP services).
 * Slots that are not used are counted, not named. */
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
    u64 (*raise_tpl)(u64 level);
    void (*restore_tpl)(u64 level);
    SLOTS(before_map, 2);
    status (*get_memory_map)(u64 *size, memory_descriptor *, u64 *key, u64 *descriptor_size, u32 *version);
    status (*allocate_pool)(u32 type, u64 size, void **);
    status (*free_pool)(void *);
    status (*create_event)(u32 type, u64 level, void *notify, void *context, void **event);
    status (*set_timer)(void *event, u32 type, u64 hundred_ns);
    status (*wait_for_event)(u64 count, void **events, u64 *index);
    SLOTS(before_protocol, 6);
    status (*handle_protocol)(handle, const guid *, void **);
    SLOTS(before_stall, 11);
    status (*stall)(u64 microseconds);
    status (*set_watchdog)(u64 seconds, u64 code, u64 size, u16 *data);
    status (*connect_controller)(handle, handle *driver, void *path, u8 recursive);
    SLOTS(before_handles, 5);
    status (*locate_handles)(u32 search, const guid *, void *key, u64 *count, handle **);
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
    void *get_info;
    status (*startup_all)(struct mp_services *, void (*run)(void *), u8 in_turn, void *wait, u64 microseconds, void *, u64 **failed);
    SLOTS(before_who, 3);
    status (*who_am_i)(struct mp_services *, u64 *number);
} mp_services;

typedef struct {
    u32 id;
    u8 removable, present, partition, read_only, write_caching;
    u32 block_size, align;
    u64 last_block;
} block_media;

typedef struct { u64 revision; block_media *media; } block_io;

typedef struct pci_io {
    SLOTS(before_config, 6);
    status (*read_config)(struct pci_io *, u32 width, u32 offset, u64 count, void *);
} pci_io;

typedef struct { u8 type, subtype, length[2], data[]; } path_node;

enum { BY_PROTOCOL = 2, WIDTH_32 = 2 };
enum { RESET_COLD, RESET_WARM, RESET_SHUTDOWN };
enum { HIGH_LEVEL = 31 }; /* no interrupts */
enum { EVENT_TIMER = 0x80000000u, TIMER_PERIODIC = 1, LOADER_DATA = 2 };

static const guid MP_SERVICES = {0x3fdda605, 0xa76e, 0x4f46, {0xad, 0x29, 0x12, 0xf4, 0x53, 0x1b, 0x3d, 0x08}};

extern system_table *efi;
