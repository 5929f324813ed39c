/* The framing of an HTTP/1.1 body: counted or chunked, in pieces of any size. */
#ifndef WALK_H
#define WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum stage { COUNTED, SIZE, DATA, DATA_END, TRAILER };
enum walked { MORE, WHOLE, TOO_MUCH }; /* TOO_MUCH: whole, and something behind it */

struct walker {
    enum stage stage;
    uint64_t left;  /* of the body or of a chunk */
    uint64_t size;  /* of a chunk, as read so far */
    bool extension; /* what follows on the line of the size */
    bool blank;     /* nothing yet on this line of the trailer */
};

typedef void take(void *who, const char *data, size_t length);

static inline void walk_counted(struct walker *w, uint64_t length) { *w = (struct walker){.stage = COUNTED, .left = length}; }

static inline void walk_chunked(struct walker *w) { *w = (struct walker){.stage = SIZE}; }

static inline void walk_size(struct walker *w, char x) {
    if (x == '\n') {
        w->left = w->size;
        w->size = 0;
        w->extension = false;
        w->blank = true;
        w->stage = w->left ? DATA : TRAILER;
    } else if (x == ';') {
        w->extension = true;
    } else if (!w->extension && x != '\r') {
        w->size = w->size * 16 + (uint64_t)(x <= '9' ? x - '0' : (x | 32) - 'a' + 10);
    }
}

/* True: the trailer has ended. */
static inline bool walk_trailer(struct walker *w, char x) {
    if (x == '\n') {
        if (w->blank) return true;
        w->blank = true;
    } else if (x != '\r') {
        w->blank = false;
    }
    return false;
}

static inline enum walked walk(struct walker *w, const char *p, size_t n, take *deliver, void *who) {
    const char *end = p + n;
    for (;;) {
        if (w->stage == COUNTED || w->stage == DATA) {
            size_t some = (uint64_t)(end - p) < w->left ? (size_t)(end - p) : w->left;
            if (some) deliver(who, p, some);
            p += some;
            w->left -= some;
            if (w->left) return MORE;
            if (w->stage == COUNTED) return p == end ? WHOLE : TOO_MUCH;
            w->stage = DATA_END;
        }
        if (p == end) return MORE;
        char x = *p++;
        if (w->stage == SIZE) walk_size(w, x);
        else if (w->stage == DATA_END && x == '\n') w->stage = SIZE;
        else if (w->stage == TRAILER && walk_trailer(w, x)) return p == end ? WHOLE : TOO_MUCH;
    }
}

#endif
