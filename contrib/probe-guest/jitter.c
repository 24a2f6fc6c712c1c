/* The calm probe: every processor reads its time-stamp counter in a loop and keeps a histogram of the gaps.
 *
 * It says `ready` once all of them wait, begins when it is sent a number of seconds and a return, prints what each saw,
 * and powers off. Two reads that are far apart are a time in which the processor did not run: the host had it do
 * something else. A gap of t ticks is counted in bucket t up to 31, and from there in one of 32 buckets to each power of
 * two. Source: Intel SDM volume 2 (RDTSC) and volume 3, 18.17; PI Specification 1.8, volume 2, 13.4 (MP services). */
#include "machine.h"

enum { SUB = 32, SUB_BITS = 5, BUCKETS = SUB * 60, LIMITS = 3, PAIRS_A_LINE = 12, LONGEST_RUN_S = 3600 };
enum { CALIBRATIONS = 32, CALIBRATION_US = 10000, WARM_MS = 50, PATIENCE_S = 30 };

static const u32 LIMIT_US[LIMITS] = {50, 1000, 16000};

typedef struct {
    u64 ran, longest, lost, above[LIMITS];
    u64 gaps[BUCKETS];
} record;

system_table *efi;
static mp_services *mp;
static record *records;
static u64 limits[LIMITS], warm_ticks, run_ticks;
static volatile u64 ready, started, done;

static inline u64 ticks(void)
{
    u32 low, high;
    __asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (u64)high << 32 | low;
}

static inline u32 bucket(u64 gap)
{
    if (gap < SUB)
        return (u32)gap;
    u32 power = 63 - (u32)__builtin_clzll(gap);
    return (power - SUB_BITS + 1) * SUB + (gap >> (power - SUB_BITS) & (SUB - 1));
}

static void clear(record *r)
{
    volatile u64 *words = (volatile u64 *)r; /* volatile: there is no memset to be called */
    for (u64 i = 0; i < sizeof *r / sizeof(u64); i++)
        words[i] = 0;
}

static void watch(record *r, u64 length)
{
    u64 begin = ticks(), last = begin;
    do {
        u64 now = ticks(), gap = now > last ? now - last : 0;
        last = now;
        r->gaps[bucket(gap)]++;
        if (gap > r->longest)
            r->longest = gap;
        if (gap > limits[0]) {
            r->lost += gap;
            for (u32 i = 0; i < LIMITS; i++)
                r->above[i] += gap > limits[i];
        }
    } while (last - begin < length);
    r->ran = last - begin;
}

/* Its first turn is thrown away: memory is touched and code is met for the first time in it. */
static void one(void *argument)
{
    u64 number = 0;
    (void)argument;
    if (mp)
        mp->who_am_i(mp, &number);
    record *r = &records[number];
    clear(r);
    watch(r, warm_ticks);
    clear(r);
    __atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
    while (!started)
        __asm__ volatile("pause");
    watch(r, run_ticks);
    __atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
}

/* The shortest of many waits: an interrupted one is too long, and none is too short. */
static u64 ticks_per_second(void)
{
    u64 best = ~0ull;
    for (int i = 0; i < CALIBRATIONS; i++) {
        u64 begin = ticks();
        efi->boot->stall(CALIBRATION_US);
        u64 length = ticks() - begin;
        best = length < best ? length : best;
    }
    return best * (1000000 / CALIBRATION_US);
}

/* Reads the number of seconds; anything that is none begins it again. */
static u64 asked_seconds(void)
{
    u64 seconds = 0;
    for (;;) {
        int k = serial_key();
        if (k >= '0' && k <= '9' && seconds <= LONGEST_RUN_S)
            seconds = seconds * 10 + (u64)(k - '0');
        else if (k == '\r' && seconds && seconds <= LONGEST_RUN_S)
            return seconds;
        else if (k >= 0)
            seconds = 0;
        __asm__ volatile("pause");
    }
}

static void report(u64 count)
{
    for (u64 v = 0; v < count; v++) {
        record *r = &records[v];
        u32 pairs = 0;
        text("vcpu: "), number(v), text(" ran "), number(r->ran), text(" longest "), number(r->longest);
        text(" lost "), number(r->lost), text(" above");
        for (u32 i = 0; i < LIMITS; i++)
            letter(' '), number(r->above[i]);
        for (u32 i = 0; i < BUCKETS; i++) {
            if (!r->gaps[i])
                continue;
            if (pairs++ % PAIRS_A_LINE == 0)
                line(), text("gaps: "), number(v);
            letter(' '), number(i), letter(':'), number(r->gaps[i]);
        }
        line();
    }
}

static void start_others(u64 count)
{
    void *finished;
    if (count < 2)
        return;
    efi->boot->create_event(0, 0, 0, 0, &finished);
    status failed = mp->startup_all(mp, one, 0, finished, 0, 0, 0);
    if (failed)
        text("qlaunch jitter: the other processors were refused with "), hex(failed, 16), line();
}

static void measure(u64 count, u64 rate)
{
    start_others(count);
    u64 begin = ticks(), others = count - 1;
    while (ready < others && ticks() - begin < PATIENCE_S * rate)
        __asm__ volatile("pause");
    /* Without interrupts: the firmware would read the serial line for its own console, and take the answer away. */
    u64 level = efi->boot->raise_tpl(HIGH_LEVEL);
    text("qlaunch jitter: ready "), number(ready + 1), text(" of "), number(count), line();
    u64 seconds = asked_seconds();
    run_ticks = seconds * rate;
    text("qlaunch jitter: runs for "), number(seconds), line();
    started = 1;
    one(0);
    while (done < count)
        __asm__ volatile("pause");
    efi->boot->restore_tpl(level);
    report(count);
}

status efi_main(handle image, system_table *table)
{
    u64 count = 1, enabled = 1;
    (void)image;
    efi = table;
    efi->boot->set_watchdog(0, 0, 0, 0);
    serial_start();
    text("\r\nqlaunch jitter: version 1\r\n");
    if (!efi->boot->locate_protocol(&MP_SERVICES, 0, (void **)&mp))
        mp->get_number(mp, &count, &enabled);
    u64 rate = ticks_per_second();
    for (u32 i = 0; i < LIMITS; i++)
        limits[i] = rate / 1000000 * LIMIT_US[i];
    warm_ticks = rate / 1000 * WARM_MS;
    key("processors"), number(count), line();
    key("ticks-per-second"), number(rate), line();
    if (efi->boot->allocate_pool(LOADER_DATA, count * sizeof(record), (void **)&records)) {
        text("qlaunch jitter: there is no memory for the histograms\r\n");
    } else {
        measure(count, rate);
        text("qlaunch jitter: end of report\r\n");
    }
    efi->runtime->reset_system(RESET_SHUTDOWN, 0, 0, 0);
    return 0;
}
