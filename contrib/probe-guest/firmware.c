/* What firmware and board tell: memory, secure boot, SMBIOS, ACPI tables, and the clock.
 * Source: UEFI Specification 2.10, 7.2 and 3.3; SMBIOS 3.6, 5.2 and 7.2; ACPI 6.5, 5.2. */
#include "machine.h"

static const guid ACPI_20 = {0x8868e871, 0xe4f1, 0x11d3, {0xbc, 0x22, 0x00, 0x80, 0xc7, 0x3c, 0x88, 0x81}};
static const guid SMBIOS = {0xeb9d2d31, 0x2d88, 0x11d3, {0x9a, 0x16, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d}};
static const guid SMBIOS_3 = {0xf2fd1544, 0x9794, 0x4a2c, {0x99, 0x2e, 0xe5, 0xbb, 0xcf, 0x20, 0xe3, 0x94}};
static const guid GLOBAL = {0x8be4df61, 0x93ca, 0x11d2, {0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c}};

static u32 load32(const u8 *p) { return p[0] | p[1] << 8 | p[2] << 16 | (u32)p[3] << 24; }
static u64 load64(const u8 *p) { return load32(p) | (u64)load32(p + 4) << 32; }

static u8 *table(const guid *wanted)
{
    for (u64 i = 0; i < efi->table_count; i++) {
        const u64 *one = (const u64 *)&efi->tables[i].id, *other = (const u64 *)wanted;
        if (one[0] == other[0] && one[1] == other[1])
            return efi->tables[i].table;
    }
    return 0;
}

static u64 memory_pages(void)
{
    u64 size = 0, key_, each, pages = 0;
    u32 version;
    memory_descriptor *map;
    efi->boot->get_memory_map(&size, 0, &key_, &each, &version);
    size += 4096; /* the allocation itself may split an entry */
    if (efi->boot->allocate_pool(LOADER_DATA, size, (void **)&map) ||
        efi->boot->get_memory_map(&size, map, &key_, &each, &version))
        return 0;
    for (u64 at = 0; at < size; at += each) {
        memory_descriptor *entry = (memory_descriptor *)((u8 *)map + at);
        if (entry->type != 0 && entry->type < 11 && entry->type != 8) /* all RAM: not reserved, unusable or I/O */
            pages += entry->pages;
        else if (entry->type == 0 && entry->start < 0x100000000ull && entry->attribute & 8)
            pages += entry->pages; /* RAM that firmware keeps for itself */
    }
    return pages;
}

static void variable(const char *name, const u16 *wide)
{
    u8 value = 0;
    u64 size = 1;
    key(name);
    text(efi->runtime->get_variable(wide, &GLOBAL, 0, &size, &value) ? "unknown" : value ? "on" : "off");
    line();
}

static void smbios_string(const char *name, const u8 *structure, u8 index)
{
    const u8 *s = structure + structure[1];
    if (!index)
        return;
    while (--index && *s)
        while (*s++)
            ;
    key(name);
    int count = 0;
    while (s[count])
        count++;
    letters(s, count), line();
}

/* Type 1, the system. */
static void report_system(const u8 *s)
{
    smbios_string("system-manufacturer", s, s[4]);
    smbios_string("system-product", s, s[5]);
    smbios_string("system-version", s, s[6]);
    smbios_string("system-serial", s, s[7]);
    key("system-uuid"); /* the first three fields are little-endian */
    hex(load32(s + 8), 8), letter('-'), hex(s[12] | s[13] << 8, 4), letter('-'), hex(s[14] | s[15] << 8, 4);
    letter('-'), hex(s[16] << 8 | s[17], 4), letter('-');
    for (int i = 18; i < 24; i++)
        hex(s[i], 2);
    line();
    if (s[1] < 27)
        return;
    smbios_string("system-sku", s, s[25]);
    smbios_string("system-family", s, s[26]);
}

static void report_smbios(void)
{
    u8 *entry = table(&SMBIOS_3), *s = 0, *end = 0;
    if (entry)
        s = (u8 *)load64(entry + 16), end = s + load32(entry + 12);
    else if ((entry = table(&SMBIOS)))
        s = (u8 *)(u64)load32(entry + 24), end = s + (entry[22] | entry[23] << 8);
    while (s + 4 <= end && s[0] != 127 && s[1] >= 4) {
        if (s[0] == 1 && s[1] >= 24)
            report_system(s);
        u8 *next = s + s[1];
        while (next + 1 < end && (next[0] || next[1]))
            next++;
        s = next + 2;
    }
}

static u8 *acpi_table(u64 index)
{
    u8 *root = table(&ACPI_20), *xsdt = root ? (u8 *)load64(root + 24) : 0;
    if (!xsdt || index >= (load32(xsdt + 4) - 36) / 8)
        return 0;
    return (u8 *)load64(xsdt + 36 + 8 * index);
}

u16 power_button_port(void)
{
    u8 *found;
    for (u64 i = 0; (found = acpi_table(i)); i++)
        if (load32(found) == 0x50434146) /* FACP */
            return (u16)load32(found + 56);
    return 0;
}

void report_firmware(void)
{
    efi_time now;
    key("memory-mib"), number((memory_pages() + 128) >> 8), line();
    key("firmware");
    for (u16 *c = efi->vendor; c && *c; c++)
        letter(*c < 127 ? (char)*c : '?');
    letter(' '), hex(efi->vendor_revision, 8), line();
    variable("secure-boot", L"SecureBoot");
    variable("setup-mode", L"SetupMode");
    report_smbios();
    text("acpi:");
    u8 *found;
    for (u64 i = 0; (found = acpi_table(i)); i++)
        letter(' '), letters(found, 4);
    line();
    if (!efi->runtime->get_time(&now, 0)) {
        key("clock"), number(now.year), letter('-'), two(now.month), letter('-'), two(now.day), letter(' ');
        two(now.hour), letter(':'), two(now.minute), letter(':'), two(now.second), line();
    }
}
