/*
 * Deterministic CSV for the benchmarks: ROWS rows of 10 columns (3 integers, 2 reals, a timestamp, 4 texts, a quarter of one of them
 * quoted, some with doubled quotes), about 96 bytes each. usage: gen ROWS [FIRST_ID]
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t state;

static uint64_t next(void) /* splitmix64, https://prng.di.unimi.it/splitmix64.c: the mixing constants */
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

int main(int argc, char **argv)
{
    static const char *const cities[] = { "Berlin", "Lisboa", "Oslo", "Porto Alegre", "San Juan", "Quito", "Lagos", "Hanoi" };
    static const char *const notes[] = { "paid in full", "open since May", "\"late, again\"", "\"said \"\"no\"\"\"", "ok", "new", "void", "sent" };
    static char buffer[1 << 20];
    uint64_t rows = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000, id = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    state = id * 1000003;
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    puts("id,customer,quantity,price,weight,placed,city,note,sku,channel");
    for (uint64_t last = id + rows; id < last; id++) {
        uint64_t a = next(), b = next();
        printf("%" PRIu64 ",%u,%u,%u.%02u,%u.%03u,2026-%02u-%02uT%02u:%02u:%02uZ,%s,%s,SKU-%07u-%04x,%s\n", id,
               (unsigned)(a % 1000000), (unsigned)(a >> 20 & 127), (unsigned)(b % 5000), (unsigned)(b >> 16 & 63) + 10,
               (unsigned)(b >> 24 & 255), (unsigned)(b >> 32 & 511) + 100, (unsigned)(a >> 28 & 7) + 1,
               (unsigned)(a >> 32 & 15) + 1, (unsigned)(a >> 36 & 15), (unsigned)(a >> 40 & 31), (unsigned)(a >> 45 & 31),
               cities[b >> 40 & 7], notes[b >> 43 & 7], (unsigned)(b >> 46 & 0xffff), (unsigned)(a >> 48), b >> 62 ? "web" : "store");
    }
    return ferror(stdout) != 0;
}
