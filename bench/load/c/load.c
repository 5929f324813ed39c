/* The apps of the benchmark: many connections, every answer checked, time measured at the socket.
 *
 * Closed loop: each connection asks again when it has its answer. With --rate: requests at random moments, whether
 * answers come or not, and latency counts from the moment a request was due.
 * It prints "begin" and "end" on lines of their own around the measured time, then one line of JSON.
 */
#define _GNU_SOURCE
#include "histogram.h"
#include "spec.h"
#include "walk.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

/* -- figures ----------------------------------------------------------------------------------------------------- */

static struct histogram whole, first_packet, hop;
static struct {
    uint64_t requests, chunks, bytes, wrong_status, wrong_body, lost;
} counts;

static void forget(void) {
    memset(&counts, 0, sizeof counts);
    memset(&whole, 0, sizeof whole);
    memset(&first_packet, 0, sizeof first_packet);
    memset(&hop, 0, sizeof hop);
}

/* -- what is asked for ------------------------------------------------------------------------------------------- */

static struct {
    const char *to, *path, *host, *model;
    unsigned connections, seconds_ms, warm_ms, rate, interval_us, answer, body, chunks, count, less_us;
    bool stream, unique, lenient, hold, until_first;
} asked = {.to = NULL, .path = "/v1/chat/completions", .host = "127.0.0.1:8800", .model = "m", .connections = 1,
           .seconds_ms = 2000, .warm_ms = 300, .chunks = 200};

#define AHEAD 2048 /* head and the front of the body; the padding behind them is shared */
static char *padding;
static size_t padding_length;
static char *expected;
static size_t expected_length, expected_nonce;
static struct sockaddr_storage address;
static socklen_t address_length;

struct connection {
    int fd;
    bool busy, writing, stream_ok;
    char ahead[AHEAD];
    size_t ahead_length, nonce_in_head, nonce_in_body, written;
    uint64_t nonce, due;
    char head[8192];
    size_t head_length;
    bool in_head;
    struct walker walker;
    uint64_t body; /* bytes of it so far */
    bool closes, good;
    unsigned chunks, wanted;
    char mark[64], tail[16];
    size_t mark_length;
};

static struct connection *connections;
static unsigned *idle, idle_first, idle_count; /* a ring of those that wait, longest first */
static int epoll, timer;
static uint64_t *due_ring, due_first, due_count;
#define DUE_MOST (1u << 20)
static uint64_t next_due, last_nonce;
static bool over;
static unsigned long long seed = 88172645463325252ull;

static double chance(void) {
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return ((double)(seed >> 11) + 0.5) / 9007199254740992.0;
}

/* How many events a stream has: about what was asked for, so that streams do not end together. */
static unsigned chunks_of(uint64_t number) {
    return asked.chunks / 2 + (unsigned)((number * 7919u) % (asked.chunks + 1));
}

static void prepare(struct connection *c) {
    char front[1024];
    size_t n = (size_t)sprintf(front,
                               "{\"model\":\"%s\",\"stream\":%s,\"max_tokens\":%u,"
                               "\"messages\":[{\"role\":\"user\",\"content\":\"" SPEC_FORMAT " ",
                               asked.model, asked.stream ? "true" : "false", 1000 + c->wanted, 0ull, asked.interval_us,
                               asked.answer, c->wanted, asked.unique);
    size_t h = (size_t)sprintf(
        c->ahead,
        "POST %s HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\nContent-Type: application/json\r\n"
        "User-Agent: OpenAI/Python 2.8.1\r\nX-Stainless-Lang: python\r\nX-Stainless-Package-Version: 2.8.1\r\n"
        "Authorization: Bearer sk-1234\r\nX-Stainless-Retry-Count: 0\r\nContent-Length: %zu\r\n%s\r\n",
        asked.path, asked.host, n + padding_length, asked.unique ? "X-Request-Id: @0123456789abcdef\r\n" : "");
    memcpy(c->ahead + h, front, n);
    c->ahead_length = h + n;
    c->nonce_in_head = asked.unique ? (size_t)((char *)memchr(c->ahead, '@', h) - c->ahead) + 1 : 0;
    c->nonce_in_body = h + (size_t)((char *)memchr(front, '@', n) - front) + 1;
}

static void make_padding(void) {
    static const char tail[] = "\"}]}";
    padding_length = 31 + asked.body + sizeof tail - 1;
    padding = must(malloc(padding_length));
    memcpy(padding, "hello there, how are you today?", 31);
    for (unsigned i = 0; i < asked.body; i++) padding[31 + i] = "the quick brown fox "[i % 20];
    memcpy(padding + 31 + asked.body, tail, sizeof tail - 1);
}

/* -- connections ------------------------------------------------------------------------------------------------- */

static void resolve(const char *to) {
    if (strncmp(to, "unix:", 5) == 0) {
        struct sockaddr_un *at = (struct sockaddr_un *)&address;
        at->sun_family = AF_UNIX;
        strncpy(at->sun_path, to + 5, sizeof at->sun_path - 1);
        address_length = sizeof *at;
        return;
    }
    struct sockaddr_in *at = (struct sockaddr_in *)&address;
    at->sin_family = AF_INET;
    at->sin_port = htons((uint16_t)atoi(strrchr(to, ':') + 1));
    at->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address_length = sizeof *at;
}

static int dial(void) {
    int on = 1, fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) fatal("socket");
    if (connect(fd, (struct sockaddr *)&address, address_length) < 0) {
        close(fd);
        return -1;
    }
    if (address.ss_family == AF_INET) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void watch(struct connection *c, int action, bool writing) {
    struct epoll_event e = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(epoll, action, c->fd, &e) < 0) fatal("epoll_ctl");
    c->writing = writing;
}

static void open_connection(struct connection *c) {
    c->fd = dial();
    if (c->fd < 0) fatal(asked.to);
    watch(c, EPOLL_CTL_ADD, false);
}

static void write_request(struct connection *c) {
    struct iovec parts[2];
    int n = 0;
    size_t at = c->written;
    if (at < c->ahead_length) parts[n++] = (struct iovec){c->ahead + at, c->ahead_length - at};
    size_t into = at > c->ahead_length ? at - c->ahead_length : 0;
    parts[n++] = (struct iovec){padding + into, padding_length - into};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)n};
    ssize_t sent = sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) c->written += (size_t)sent;
    bool unfinished = c->written < c->ahead_length + padding_length;
    if (unfinished != c->writing) watch(c, EPOLL_CTL_MOD, unfinished);
}

/* `due`: the moment this request should have been sent. */
static void ask(struct connection *c, uint64_t due) {
    uint64_t now = now_ns();
    static uint64_t number;
    if (c->fd < 0) open_connection(c);
    c->nonce = now > last_nonce ? now : last_nonce + 1;
    last_nonce = c->nonce;
    c->due = due ? due : now;
    c->busy = true;
    c->in_head = true;
    c->head_length = 0;
    c->body = 0;
    c->chunks = 0;
    c->mark_length = 0;
    c->good = true;
    if (asked.stream) {
        unsigned wanted = chunks_of(number++);
        if (wanted != c->wanted || c->ahead_length == 0) {
            c->wanted = wanted;
            prepare(c);
        }
    }
    put_nonce(c->ahead + c->nonce_in_body, c->nonce);
    if (c->nonce_in_head) put_nonce(c->ahead + c->nonce_in_head, c->nonce);
    c->written = 0;
    write_request(c);
}

static void rest(struct connection *c) {
    c->busy = false;
    idle[(idle_first + idle_count++) % asked.connections] = (unsigned)(c - connections);
}

static void ask_next(void) {
    while (idle_count && due_count) {
        struct connection *c = &connections[idle[idle_first]];
        uint64_t due = due_ring[due_first % DUE_MOST];
        idle_first = (idle_first + 1) % asked.connections;
        idle_count--;
        due_first++;
        due_count--;
        ask(c, due);
    }
}

static void finished(struct connection *c) {
    uint64_t now = now_ns();
    if (asked.stream && (c->chunks != c->wanted || memmem(c->tail, sizeof c->tail, "[DONE]", 6) == NULL)) c->good = false;
    if (!asked.stream && !asked.lenient && c->body != expected_length) c->good = false;
    if (!asked.stream && asked.lenient && c->chunks != 1) c->good = false;
    if (c->good) {
        counts.requests++;
        note(&whole, now - c->due);
    } else {
        counts.wrong_body++;
    }
    if (c->closes) {
        close(c->fd);
        c->fd = -1;
    }
    if (over || (asked.count && counts.requests >= asked.count)) {
        c->busy = false;
        if (!over) over = true;
    } else if (asked.rate) {
        rest(c);
        ask_next();
    } else {
        ask(c, 0);
    }
}

static void lost(struct connection *c) {
    close(c->fd);
    c->fd = -1;
    if (!c->busy) return; /* an idle connection may be closed at any time */
    counts.lost++;
    if (over) return;
    if (asked.rate) rest(c);
    else ask(c, 0);
}

/* -- answers ----------------------------------------------------------------------------------------------------- */

static void event_seen(struct connection *c) {
    unsigned long long nonce, at;
    unsigned number;
    uint64_t now = now_ns();
    if (sscanf(c->mark, "@%16llx %4u %16llx@", &nonce, &number, &at) != 3 || nonce != c->nonce || number != c->chunks + 1) {
        c->good = false;
        return;
    }
    if (c->chunks++ == 0) {
        uint64_t took = now - c->due, less = asked.less_us * 1000ull;
        note(&first_packet, took > less ? took - less : 1);
    }
    counts.chunks++;
    note(&hop, now > at ? now - at : 1);
}

/* Looks for marks between two @ in an answer of any form, in pieces of any size. */
static void look_for_marks(struct connection *c, const char *data, size_t length) {
    size_t mark = asked.stream ? EVENT_MARK_LENGTH : 18;
    while (length) {
        if (c->mark_length == 0) {
            const char *at = memchr(data, '@', length);
            if (at == NULL) return;
            length -= (size_t)(at - data);
            data = at;
        }
        size_t n = mark - c->mark_length < length ? mark - c->mark_length : length;
        memcpy(c->mark + c->mark_length, data, n);
        c->mark_length += n;
        data += n;
        length -= n;
        if (c->mark_length < mark) return;
        c->mark[mark] = 0;
        c->mark_length = 0;
        if (asked.stream) event_seen(c);
        else if (strtoull(c->mark + 1, NULL, 16) == c->nonce) c->chunks++;
    }
}

static void body(void *who, const char *data, size_t length) {
    struct connection *c = who;
    counts.bytes += length;
    if (asked.stream || asked.lenient) {
        look_for_marks(c, data, length);
        size_t keep = length < sizeof c->tail ? length : sizeof c->tail;
        memmove(c->tail, c->tail + keep, sizeof c->tail - keep);
        memcpy(c->tail + sizeof c->tail - keep, data + length - keep, keep);
    } else {
        put_nonce(expected + expected_nonce, c->nonce);
        if (c->body + length > expected_length || memcmp(data, expected + c->body, length) != 0) c->good = false;
    }
    c->body += length;
}

/* False: this is no answer that can be read on. */
static bool read_head(struct connection *c) {
    char *end = memmem(c->head, c->head_length, "\r\n\r\n", 4);
    if (end == NULL) return c->head_length < sizeof c->head - 1;
    end[2] = 0;
    if (memcmp(c->head, "HTTP/1.1 200", 12) != 0) {
        counts.wrong_status++;
        return false;
    }
    c->closes = strcasestr(c->head, "\r\nconnection: close") != NULL;
    char *length = strcasestr(c->head, "\r\ncontent-length:");
    if (length != NULL) {
        walk_counted(&c->walker, strtoull(length + 17, NULL, 10));
    } else if (strcasestr(c->head, "\r\ntransfer-encoding: chunked") != NULL) {
        walk_chunked(&c->walker);
    } else {
        counts.wrong_body++;
        return false;
    }
    c->in_head = false;
    return true;
}

static void received(struct connection *c) {
    static char buffer[262144];
    ssize_t n = recv(c->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0 || !c->busy) {
        lost(c);
        return;
    }
    const char *data = buffer;
    size_t length = (size_t)n;
    if (c->in_head) {
        size_t room = sizeof c->head - 1 - c->head_length, before = c->head_length;
        size_t take = length < room ? length : room;
        memcpy(c->head + before, data, take);
        c->head_length += take;
        c->head[c->head_length] = 0;
        if (!read_head(c)) {
            close(c->fd);
            c->fd = -1;
            c->busy = false;
            if (asked.rate) rest(c);
            else if (!over) ask(c, 0);
            return;
        }
        if (c->in_head) return;
        size_t head = strlen(c->head) + 2; /* the blank line's first CR was overwritten: see read_head */
        data += head - before;
        length -= head - before;
    }
    enum walked walked = walk(&c->walker, data, length, body, c);
    if (walked == TOO_MUCH) c->good = false;
    if (walked != MORE) finished(c);
}

/* -- the run ----------------------------------------------------------------------------------------------------- */

static void arm(uint64_t at) {
    static uint64_t armed;
    if (at == armed) return;
    armed = at;
    struct itimerspec when = {.it_value = {(time_t)(at / 1000000000u), (long)(at % 1000000000u)}};
    if (timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL) < 0) fatal("timerfd_settime");
}

static void requests_due(uint64_t now) {
    while (next_due <= now && due_count < DUE_MOST) {
        due_ring[(due_first + due_count++) % DUE_MOST] = next_due;
        next_due += (uint64_t)(-log(chance()) * 1e9 / asked.rate) + 1;
    }
    ask_next();
}

static void run(uint64_t until) {
    struct epoll_event events[512];
    while (!over) {
        uint64_t now = now_ns();
        if (now >= until) return;
        uint64_t wake = until;
        if (asked.rate) {
            requests_due(now);
            if (next_due < wake) wake = next_due;
        }
        arm(wake);
        int n = epoll_wait(epoll, events, 512, -1);
        for (int i = 0; i < n && !over; i++) {
            struct connection *c = events[i].data.ptr;
            if (c == NULL) {
                uint64_t expired;
                if (read(timer, &expired, sizeof expired) < 0 && errno != EAGAIN) fatal("timerfd");
                continue;
            }
            if (c->fd >= 0 && (events[i].events & EPOLLOUT)) write_request(c);
            if (c->fd >= 0 && (events[i].events & ~(uint32_t)EPOLLOUT)) received(c);
        }
    }
}

static void say(const char *word) {
    printf("%s\n", word);
    fflush(stdout);
}

static void begin_all(void) {
    uint64_t began = now_ns(), gap = asked.stream ? asked.interval_us * 1000ull / asked.connections : 0;
    for (unsigned i = 0; i < asked.connections; i++) {
        struct connection *c = &connections[i];
        if (asked.rate) {
            open_connection(c);
            rest(c);
            continue;
        }
        if (gap) run(began + i * gap); /* events of one stream fall between those of another */
        ask(c, 0);
    }
    next_due = now_ns();
}

static void report(double seconds) {
    printf("{\"seconds\": %.6f, \"requests\": %llu, \"chunks\": %llu, \"bytes\": %llu, \"wrong_status\": %llu, "
           "\"wrong_body\": %llu, \"lost\": %llu",
           seconds, (unsigned long long)counts.requests, (unsigned long long)counts.chunks, (unsigned long long)counts.bytes,
           (unsigned long long)counts.wrong_status, (unsigned long long)counts.wrong_body, (unsigned long long)counts.lost);
    print_times("whole_us", &whole);
    print_times("first_packet_us", &first_packet);
    print_times("hop_us", &hop);
    printf("}\n");
    fflush(stdout);
}

/* Tries until one request is served; its moment is what start-up is measured by. */
static void wait_for_first(void) {
    struct connection *c = connections;
    char buffer[65536];
    for (;;) {
        struct timespec pause = {0, 200000};
        if ((c->fd = dial()) >= 0) {
            struct iovec parts[2] = {{c->ahead, c->ahead_length}, {padding, padding_length}};
            put_nonce(c->ahead + c->nonce_in_body, now_ns());
            if (writev(c->fd, parts, 2) > 0 && recv(c->fd, buffer, sizeof buffer, 0) > 12 &&
                memcmp(buffer, "HTTP/1.1 200", 12) == 0) {
                printf("{\"served_at\": %.6f}\n", (double)now_ns() / 1e9);
                return;
            }
            close(c->fd);
        }
        nanosleep(&pause, NULL);
    }
}

static void read_words(int count, char **words) {
    static const struct option options[] = {
        {"to", 1, 0, 't'},       {"connections", 1, 0, 'c'}, {"ms", 1, 0, 's'},     {"warm-ms", 1, 0, 'w'},
        {"rate", 1, 0, 'r'},     {"stream", 0, 0, 'S'},      {"interval", 1, 0, 'i'}, {"answer", 1, 0, 'a'},
        {"body", 1, 0, 'b'},     {"chunks", 1, 0, 'k'},      {"count", 1, 0, 'n'},  {"unique", 0, 0, 'u'},
        {"lenient", 0, 0, 'l'},  {"hold", 0, 0, 'h'},        {"first", 0, 0, 'f'},  {"path", 1, 0, 'p'},
        {"model", 1, 0, 'm'},    {"host", 1, 0, 'H'},        {"less", 1, 0, 'L'},      {0, 0, 0, 0}};
    int got;
    while ((got = getopt_long(count, words, "", options, NULL)) != -1) {
        unsigned number = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;
        switch (got) {
        case 't': asked.to = optarg; break;
        case 'c': asked.connections = number; break;
        case 's': asked.seconds_ms = number; break;
        case 'w': asked.warm_ms = number; break;
        case 'r': asked.rate = number; break;
        case 'S': asked.stream = true; break;
        case 'i': asked.interval_us = number; break;
        case 'a': asked.answer = number; break;
        case 'b': asked.body = number; break;
        case 'k': asked.chunks = number; break;
        case 'n': asked.count = number; break;
        case 'u': asked.unique = true; break;
        case 'l': asked.lenient = true; break;
        case 'h': asked.hold = true; break;
        case 'f': asked.until_first = true; break;
        case 'p': asked.path = optarg; break;
        case 'm': asked.model = optarg; break;
        case 'H': asked.host = optarg; break;
        case 'L': asked.less_us = number; break; /* taken off the time of first packets */
        default: exit(2);
        }
    }
    if (asked.to == NULL || asked.connections == 0) {
        fprintf(stderr, "load --to ADDRESS [--connections N] [--ms N] [--rate N] [--stream] ...\n");
        exit(2);
    }
}

int main(int count, char **words) {
    read_words(count, words);
    resolve(asked.to);
    make_padding();
    expected_length = make_answer(&expected, &expected_nonce, asked.answer);
    connections = must(calloc(asked.connections, sizeof *connections));
    idle = must(calloc(asked.connections, sizeof *idle));
    due_ring = must(calloc(DUE_MOST, sizeof *due_ring));
    epoll = epoll_create1(EPOLL_CLOEXEC);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &e);
    for (unsigned i = 0; i < asked.connections; i++) {
        connections[i].fd = -1;
        prepare(&connections[i]);
    }
    if (asked.until_first) {
        wait_for_first();
        return 0;
    }
    begin_all();
    run(now_ns() + asked.warm_ms * 1000000ull);
    forget();
    uint64_t began = now_ns();
    say("begin");
    run(asked.count ? UINT64_MAX : began + asked.seconds_ms * 1000000ull);
    double seconds = (double)(now_ns() - began) / 1e9;
    over = true;
    say("end");
    report(seconds);
    if (asked.hold) while (getchar() != EOF) continue;
    return 0;
}
