/* Words and numbers, letter by letter. */
#include "machine.h"

void text(const char *s)
{
    while (*s)
        letter(*s++);
}

void letters(const void *from, int count)
{
    const char *s = from;
    while (count && (s[count - 1] == ' ' || !s[count - 1]))
        count--;
    for (int i = 0; i < count && s[i]; i++)
        letter(s[i] >= ' ' && s[i] <= '~' ? s[i] : '?');
}

void number(u64 n)
{
    char digits[20];
    int count = 0;
    do
        digits[count++] = (char)('0' + n % 10);
    while (n /= 10);
    while (count)
        letter(digits[--count]);
}

void hex(u64 n, int digits)
{
    while (digits--)
        letter("0123456789abcdef"[n >> (4 * digits) & 15]);
}

void two(u32 n)
{
    letter((char)('0' + n / 10 % 10));
    letter((char)('0' + n % 10));
}

void line(void) { text("\r\n"); }

void key(const char *name)
{
    text(name);
    text(": ");
}
