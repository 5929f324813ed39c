/* The LLM service of the benchmark: answers at once or streams on time, at the cost of a C program.
 *
 * usage:   upstream PORT FAIL_PORT SILENT_PORT     (on 127.0.0.1)
 * PORT answers what the request's spec asks for; FAIL_PORT answers 503; SILENT_PORT begins a stream and sends no event.
 * It ends with its stdin, and then prints one line of JSON: requests, and when the silent streams were given up, counted
 * from the moment their app asked.
 */
#define _GNU_SOURCE
#include "spec.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum role { ANSWERING, FAILING, SILENT };

struct connection {
    int fd;
    enum role role;
    char *in;
    size_t in_length, in_size;
    size_t head, need; /* of the request being read: bytes of its head, of all; 0: not known yet */
    char *out;         /* what the socket has not taken yet */
    size_t out_length, out_sent, out_size;
    struct spec spec;
    bool streaming;
    unsigned sent; /* events so far */
    uint64_t due;
    struct connection *before, *after; /* in the queue of streams, by due time */
    uint64_t silent_since;             /* the app's moment of asking; 0: no silent stream */
};

static int epoll, timer;
static char *answer;
static size_t answer_length, answer_nonce;
static unsigned answer_padding = 0;
static struct connection *first, *last;
static uint64_t requests, bad;
static uint64_t cuts[1 << 20];
static size_t cut_count;
static char date[64];

/* -- streams in the order in which they are due: each has its own interval, most often the same one ------------- */

static void arm(void) {
    static uint64_t armed;
    uint64_t due = first ? first->due : 0;
    if (due == armed) return;
    armed = due;
    struct itimerspec when = {0};
    when.it_value.tv_sec = (time_t)(due / 1000000000u);
    when.it_value.tv_nsec = (long)(due % 1000000000u);
    if (timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL) < 0) fatal("timerfd_settime");
}

static void queue(struct connection *c) {
    struct connection *p = last;
    while (p != NULL && p->due > c->due) p = p->before;
    c->before = p;
    c->after = p ? p->after : first;
    if (c->after) c->after->before = c; else last = c;
    if (p) p->after = c; else first = c;
}

static void unqueue(struct connection *c) {
    if (c->before) c->before->after = c->after; else first = c->after;
    if (c->after) c->after->before = c->before; else last = c->before;
    c->before = c->after = NULL;
}

/* -- writing ---------------------------------------------------------------------------------------------------- */

static void drop(struct connection *c) {
    if (c->streaming) unqueue(c);
    if (c->silent_since && cut_count < sizeof cuts / sizeof *cuts) cuts[cut_count++] = now_ns() - c->silent_since;
    close(c->fd);
    free(c->in);
    free(c->out);
    free(c);
}

static void watch(struct connection *c, bool writing) {
    struct epoll_event e = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &e) < 0) fatal("epoll_ctl");
}

/* Sends, or keeps what does not go; false: the connection is gone (its end is read later). */
static bool put(struct connection *c, const char *data, size_t length) {
    if (c->out_length == 0) {
        ssize_t n = send(c->fd, data, length, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) return false;
        if (n > 0) data += n, length -= (size_t)n;
        if (length == 0) return true;
        watch(c, true);
    }
    if (c->out_size < c->out_length + length) {
        c->out_size = 2 * (c->out_length + length);
        c->out = must(realloc(c->out, c->out_size));
    }
    memcpy(c->out + c->out_length, data, length);
    c->out_length += length;
    return true;
}

static void flush(struct connection *c) {
    ssize_t n = send(c->fd, c->out + c->out_sent, c->out_length - c->out_sent, MSG_NOSIGNAL);
    if (n > 0) c->out_sent += (size_t)n;
    if (c->out_sent == c->out_length) {
        c->out_sent = c->out_length = 0;
        watch(c, false);
    }
}

static size_t head_of(char *at, const struct spec *spec, const char *status, const char *framing) {
    size_t n = (size_t)sprintf(at, "HTTP/1.1 %s\r\ndate: %s\r\nserver: uvicorn\r\n%s", status, date, framing);
    if (spec->unique) n += (size_t)sprintf(at + n, "x-request-id: req-%016llx\r\n", spec->nonce);
    return n + (size_t)sprintf(at + n, "\r\n");
}

static void answer_whole(struct connection *c) {
    char framing[96], small[4096], *all = small;
    if (c->spec.answer != answer_padding || answer == NULL) {
        free(answer);
        answer_padding = c->spec.answer;
        answer_length = make_answer(&answer, &answer_nonce, answer_padding);
    }
    put_nonce(answer + answer_nonce, c->spec.nonce);
    sprintf(framing, "content-length: %zu\r\ncontent-type: application/json\r\n", answer_length);
    if (answer_length > 2048) all = must(malloc(answer_length + 1024));
    size_t n = head_of(all, &c->spec, "200 OK", framing);
    memcpy(all + n, answer, answer_length);
    put(c, all, n + answer_length);
    if (all != small) free(all);
}

static void fail(struct connection *c, const char *status) {
    static const char body[] = "{\"error\":{\"message\":\"no room\",\"type\":\"server_error\",\"code\":null}}";
    char all[512], framing[96];
    sprintf(framing, "content-length: %zu\r\ncontent-type: application/json\r\n", sizeof body - 1);
    size_t n = head_of(all, &c->spec, status, framing);
    memcpy(all + n, body, sizeof body - 1);
    put(c, all, n + sizeof body - 1);
}

#define EVENT_HEAD                                                                                                     \
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":["      \
    "{\"index\":0,\"delta\":{"
#define EVENT_TAIL "},\"logprobs\":null,\"finish_reason\":%s}]}\n\n"

static size_t chunk(char *at, const char *payload, size_t length) {
    size_t n = (size_t)sprintf(at, "%zx\r\n", length);
    memcpy(at + n, payload, length);
    memcpy(at + n + length, "\r\n", 2);
    return n + length + 2;
}

static void begin_stream(struct connection *c, bool silent) {
    char all[1024], role[512];
    size_t n = head_of(all, &c->spec, "200 OK",
                       "content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n");
    if (!silent) {
        size_t r = (size_t)sprintf(role, EVENT_HEAD "\"role\":\"assistant\",\"content\":\"\"" EVENT_TAIL, "null");
        n += chunk(all + n, role, r);
    }
    put(c, all, n);
    if (silent) {
        c->silent_since = c->spec.nonce;
        return;
    }
    c->streaming = true;
    c->sent = 0;
    c->due = now_ns() + c->spec.interval_us * 1000ull;
    queue(c);
}

/* One event, or the end; the caller has taken the stream out of the queue. */
static void tick(struct connection *c, uint64_t now) {
    char all[1024], payload[512];
    size_t n, p;
    if (c->out_length == 0) {
        if (c->sent < c->spec.chunks) {
            c->sent++;
            p = (size_t)sprintf(payload, EVENT_HEAD "\"content\":\"" EVENT_FORMAT "\"" EVENT_TAIL, c->spec.nonce, c->sent,
                                (unsigned long long)now_ns(), "null");
            n = chunk(all, payload, p);
        } else {
            p = (size_t)sprintf(payload, EVENT_HEAD EVENT_TAIL "data: [DONE]\n\n", "\"stop\"");
            n = chunk(all, payload, p);
            n += (size_t)sprintf(all + n, "0\r\n\r\n");
            c->streaming = false;
        }
        if (!put(c, all, n)) c->streaming = false;
    }
    if (!c->streaming) return;
    c->due += c->spec.interval_us * 1000ull;
    if (c->due < now) c->due = now + 1; /* late: what was missed is not made up for */
    queue(c);
}

/* -- reading ---------------------------------------------------------------------------------------------------- */

static bool truth(const char *body, size_t length, const char *name) {
    char *at = memmem(body, length, name, strlen(name));
    if (at == NULL) return false;
    for (at += strlen(name); *at == ' '; at++) continue;
    return *at == 't';
}

static bool read_spec(struct spec *spec, const char *body, size_t length) {
    const char *at = body, *end = body + length;
    char word[SPEC_LENGTH + 1] = "";
    while ((at = memchr(at, '@', (size_t)(end - at))) != NULL && end - at >= SPEC_LENGTH) {
        memcpy(word, at, SPEC_LENGTH); /* sscanf would measure all of a long body first */
        if (sscanf(word, "@%16llx %6u %7u %4u %1u@", &spec->nonce, &spec->interval_us, &spec->answer, &spec->chunks,
                   &spec->unique) == 5)
            return true;
        at++;
    }
    return false;
}

static void serve(struct connection *c) {
    const char *body = c->in + c->head;
    size_t length = c->need - c->head;
    requests++;
    memset(&c->spec, 0, sizeof c->spec);
    if (length < 2 || body[0] != '{' || body[length - 1] != '}' || !read_spec(&c->spec, body, length)) {
        bad++;
        fail(c, "400 Bad Request");
    } else if (c->role == FAILING) {
        fail(c, "503 Service Unavailable");
    } else if (c->role == SILENT) {
        begin_stream(c, true);
    } else if (truth(body, length, "\"stream\":")) {
        begin_stream(c, false);
    } else {
        answer_whole(c);
    }
}

/* Finds head and length of the request at the front of the buffer. */
static bool measure(struct connection *c) {
    if (c->need) return true;
    char *blank = memmem(c->in, c->in_length, "\r\n\r\n", 4);
    if (blank == NULL) return false;
    c->head = (size_t)(blank - c->in) + 4;
    blank[2] = 0;
    char *field = strcasestr(c->in, "\r\ncontent-length:");
    blank[2] = '\r';
    c->need = c->head + (field ? strtoul(field + 17, NULL, 10) : 0);
    return true;
}

/* False: the connection is gone. */
static bool receive(struct connection *c) {
    if (c->in_size < (c->need ? c->need : c->in_length) + 16384) {
        c->in_size = (c->need ? c->need : 2 * c->in_length) + 65536;
        c->in = must(realloc(c->in, c->in_size));
    }
    ssize_t n = recv(c->fd, c->in + c->in_length, c->in_size - c->in_length - 1, 0);
    if (n < 0) return errno == EAGAIN;
    if (n == 0) return false;
    c->in_length += (size_t)n;
    while (measure(c) && c->in_length >= c->need) {
        c->in[c->in_length] = 0;
        serve(c);
        c->in_length -= c->need;
        memmove(c->in, c->in + c->need, c->in_length);
        c->need = 0;
    }
    return true;
}

/* -- the process ------------------------------------------------------------------------------------------------ */

struct door {
    struct connection self; /* first, so that one pointer type serves epoll; its fd listens */
};

static struct door *listen_at(int port, enum role role) {
    struct door *door = must(calloc(1, sizeof *door));
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0) fatal("bind");
    if (listen(fd, 4096) < 0) fatal("listen");
    door->self.fd = fd;
    door->self.role = role;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = door};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
    return door;
}

static void welcome(struct door *door) {
    int fd, on = 1;
    while ((fd = accept4(door->self.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *c = must(calloc(1, sizeof *c));
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        c->fd = fd;
        c->role = door->self.role;
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
    }
}

static void fire(void) {
    uint64_t expired, now = now_ns();
    if (read(timer, &expired, sizeof expired) < 0 && errno != EAGAIN) fatal("timerfd");
    while (first != NULL && first->due <= now) {
        struct connection *c = first;
        unqueue(c);
        tick(c, now);
    }
}

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void report(void) {
    qsort(cuts, cut_count, sizeof *cuts, by_size);
    printf("{\"requests\": %llu, \"bad\": %llu, \"cuts\": %zu", (unsigned long long)requests, (unsigned long long)bad,
           cut_count);
    if (cut_count)
        printf(", \"cut_ms\": {\"min\": %.3f, \"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f}", (double)cuts[0] / 1e6,
               (double)cuts[cut_count / 2] / 1e6, (double)cuts[cut_count * 99 / 100] / 1e6,
               (double)cuts[cut_count - 1] / 1e6);
    printf("}\n");
}

static void set_date(void) {
    static time_t told;
    time_t now = time(NULL);
    struct tm parts;
    if (now == told) return;
    told = now;
    gmtime_r(&now, &parts);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &parts);
}

int main(int count, char **words) {
    if (count != 4) {
        fprintf(stderr, "usage: upstream PORT FAIL_PORT SILENT_PORT\n");
        return 2;
    }
    epoll = epoll_create1(EPOLL_CLOEXEC);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct door *doors[3];
    for (int i = 0; i < 3; i++) doors[i] = listen_at(atoi(words[i + 1]), (enum role)i);
    struct epoll_event events[512], e = {.events = EPOLLIN, .data.ptr = &timer};
    epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &e);
    e.data.ptr = &epoll; /* stands for stdin */
    epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &e);
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        arm();
        int n = epoll_wait(epoll, events, 512, 1000);
        set_date();
        for (int i = 0; i < n; i++) {
            void *who = events[i].data.ptr;
            if (who == &epoll) {
                report();
                return 0;
            }
            if (who == &timer) {
                fire();
            } else if (who == doors[0] || who == doors[1] || who == doors[2]) {
                welcome(who);
            } else {
                struct connection *c = who;
                if (events[i].events & EPOLLOUT) flush(c);
                if ((events[i].events & ~(uint32_t)EPOLLOUT) && !receive(c)) drop(c);
            }
        }
    }
}
