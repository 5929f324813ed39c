/* Times, counted by size: little memory, and quantiles within 1.6 %. */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>
#include <stdio.h>

#define STEPS 64 /* to each doubling */
struct histogram {
    uint64_t counts[48 * STEPS], total, least, most;
};

static inline void note(struct histogram *h, uint64_t ns) {
    int shift = ns < STEPS ? 0 : 63 - __builtin_clzll(ns) - 6;
    size_t at = (size_t)shift * STEPS + (size_t)(ns >> shift);
    if (at >= sizeof h->counts / sizeof *h->counts) at = sizeof h->counts / sizeof *h->counts - 1;
    h->counts[at]++;
    h->total++;
    if (h->least == 0 || ns < h->least) h->least = ns;
    if (ns > h->most) h->most = ns;
}

static inline double quantile_us(const struct histogram *h, double share) {
    uint64_t want = (uint64_t)(share * (double)h->total), seen = 0;
    for (size_t at = 0; at < sizeof h->counts / sizeof *h->counts; at++) {
        seen += h->counts[at];
        if (seen > want) {
            size_t shift = at < 2 * STEPS ? 0 : at / STEPS - 1;
            return ((double)((at - shift * STEPS) << shift) + (double)(1ull << shift) / 2) / 1e3;
        }
    }
    return (double)h->most / 1e3;
}

static inline void print_times(const char *name, const struct histogram *h) {
    if (h->total == 0) return;
    printf(", \"%s\": {\"count\": %llu, \"min\": %.1f, \"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"p999\": %.1f, \"max\": %.1f}",
           name, (unsigned long long)h->total, (double)h->least / 1e3, quantile_us(h, 0.5), quantile_us(h, 0.9),
           quantile_us(h, 0.99), quantile_us(h, 0.999), (double)h->most / 1e3);
}

#endif
