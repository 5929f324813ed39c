/* What the load and the upstream agree on: the spec an app's request carries, and the answer it asks for.
 *
 * A request bears its spec in front of its message, where every proxy leaves it alone: @NONCE INTERVAL ANSWER CHUNKS UNIQUE@,
 * the nonce in hexadecimal. The nonce is the moment of sending (CLOCK_MONOTONIC, ns), so it is unique and tells the
 * upstream when the app asked. Both ends run on one machine, so one clock serves them.
 */
#ifndef SPEC_H
#define SPEC_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SPEC_FORMAT "@%016llx %06u %07u %04u %u@"
#define SPEC_LENGTH 40
#define EVENT_FORMAT "@%016llx %04u %016llx@" /* nonce, number of the event from 1, moment of its writing */
#define EVENT_MARK_LENGTH 40

struct spec {
    unsigned long long nonce;
    unsigned interval_us; /* between two events of a stream */
    unsigned answer;      /* bytes of padding in an answer that is no stream */
    unsigned chunks;      /* events of a stream */
    unsigned unique;      /* the answer's head bears the nonce, so that no two heads are alike */
};

static inline uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void fatal(const char *what) {
    perror(what);
    exit(1);
}

static inline void *must(void *memory) {
    if (memory == NULL) fatal("memory");
    return memory;
}

/* Writes the hexadecimal digits of a nonce over those of a template. */
static inline void put_nonce(char *at, unsigned long long nonce) {
    for (int i = 15; i >= 0; i--, nonce >>= 4) at[i] = "0123456789abcdef"[nonce & 15];
}

/* The answer that is no stream, as JSON; `nonce_at` is where its nonce begins. */
static inline size_t make_answer(char **answer, size_t *nonce_at, unsigned padding) {
    static const char before[] =
        "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,"
        "\"message\":{\"role\":\"assistant\",\"content\":\"hello @";
    static const char after[] =
        "\"},\"logprobs\":null,\"finish_reason\":\"stop\"}],"
        "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5,\"total_tokens\":8}}";
    size_t start = sizeof before - 1, length = start + 17 + padding + sizeof after - 1;
    char *p = *answer = must(malloc(length));
    memcpy(p, before, start);
    memset(p + start, '@', 17);
    memset(p + start + 17, 'x', padding);
    memcpy(p + start + 17 + padding, after, sizeof after - 1);
    *nonce_at = start;
    return length;
}

#endif
