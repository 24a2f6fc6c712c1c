/* Disks as the firmware knows them, each with its place; nothing is read from them.
 * Source: UEFI Specification 2.10, chapters 10.3 (device paths), 13.9 (block I/O) and 14.4 (PCI I/O). */
#include "machine.h"

enum { END = 0x7f, HARDWARE = 1, PCI = 1, MESSAGE = 3, SCSI = 2, USB = 5, SATA = 18, NVME = 23, STORAGE = 1 };

static const guid BLOCK_IO = {0x964e5b21, 0x6459, 0x11d2, {0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};
static const guid DEVICE_PATH = {0x09576e91, 0x6d3f, 0x11d2, {0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};
static const guid PCI_IO = {0x4cf5b200, 0x68b8, 0x4ca5, {0x9e, 0xec, 0xb2, 0x3e, 0x3f, 0x50, 0x02, 0x9a}};

/* A firmware that was told its boot disk looks at no other: have it look at each storage controller. */
static void connect_storage(void)
{
    u64 count = 0;
    handle *found;
    if (efi->boot->locate_handles(BY_PROTOCOL, &PCI_IO, 0, &count, &found))
        return;
    for (u64 i = 0; i < count; i++) {
        pci_io *function;
        u32 class = 0;
        if (!efi->boot->handle_protocol(found[i], &PCI_IO, (void **)&function) &&
            !function->read_config(function, WIDTH_32, 8, 1, &class) && class >> 24 == STORAGE)
            efi->boot->connect_controller(found[i], 0, 0, 1);
    }
    efi->boot->free_pool(found);
}

/* From the first bus down: slot.function of each PCI function on the way, then the place on the controller. */
static void place(const path_node *node)
{
    int first = 1;
    while (node->type != END) {
        u32 length = node->length[0] | node->length[1] << 8;
        if (length < sizeof *node) /* no node is shorter than its head: this path is broken */
            break;
        if (node->type == HARDWARE && node->subtype == PCI) {
            letter(first ? ' ' : '/'), hex(node->data[1], 2), letter('.'), number(node->data[0]);
            first = 0;
        } else if (node->type == MESSAGE && node->subtype == NVME) {
            text("/nvme"), number(node->data[0]);
        } else if (node->type == MESSAGE && node->subtype == SATA) {
            text("/sata"), number(node->data[0]);
        } else if (node->type == MESSAGE && node->subtype == USB) {
            text("/usb"), number(node->data[0]);
        } else if (node->type == MESSAGE && node->subtype == SCSI) {
            text("/scsi"), number(node->data[0]), letter('.'), number(node->data[2]);
        }
        node = (const path_node *)((const u8 *)node + length);
    }
    if (first)
        text(" nowhere");
}

static void report_disk(handle disk)
{
    block_io *io;
    path_node *path;
    if (efi->boot->handle_protocol(disk, &BLOCK_IO, (void **)&io) || io->media->partition)
        return;
    text("disk:");
    if (efi->boot->handle_protocol(disk, &DEVICE_PATH, (void **)&path))
        text(" nowhere");
    else
        place(path);
    if (io->media->present)
        text(" bytes "), number((io->media->last_block + 1) * io->media->block_size), text(" block "), number(io->media->block_size);
    else
        text(" empty");
    feature("read-only", io->media->read_only), feature("removable", io->media->removable);
    line();
}

void report_disks(void)
{
    u64 count = 0;
    handle *found;
    connect_storage();
    if (efi->boot->locate_handles(BY_PROTOCOL, &BLOCK_IO, 0, &count, &found))
        return;
    for (u64 i = 0; i < count; i++)
        report_disk(found[i]);
    efi->boot->free_pool(found);
}
