/* The backend of the gateway bench: gRPC over cleartext HTTP/2 with one fixed answer, as little work as
 * can be, so that what is measured is the arm before it. One thread, epoll. It keeps to the flow control
 * of both sides; it does not decode header blocks, since every path gets the same answer.
 * Usage: backend PORT ANSWER_FILE ADDRESSES  (the file holds the message; 0 chooses a port, which is
 * printed; it listens at 127.0.0.1, 127.0.0.2, ..., ADDRESSES of them) */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DATA = 0, HEADERS = 1, SETTINGS = 4, PING = 6, WINDOW_UPDATE = 8 };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };
enum { READ = 1 << 18, WINDOW = 1 << 30 };

struct buffer { uint8_t *data; size_t size, room; };

struct connection {
    int fd, greeted, listens;
    struct buffer in, out;
    int64_t window;          /* what the peer lets us send on the connection */
    uint32_t *waiting;       /* streams whose answer awaits window */
    size_t waits, waits_room;
    uint32_t unacknowledged; /* bytes received since the last WINDOW_UPDATE */
};

static uint8_t *answer;      /* grpc-framed message */
static size_t answer_size;

static void *need(void *p) {
    if (!p) { perror("memory"); exit(1); }
    return p;
}

static void put(struct buffer *b, const void *data, size_t size) {
    if (b->size + size > b->room) {
        b->room = (b->size + size) * 2;
        b->data = need(realloc(b->data, b->room));
    }
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

static void frame(struct buffer *b, uint32_t size, uint8_t type, uint8_t flags, uint32_t stream) {
    uint8_t head[9] = {size >> 16, size >> 8, size, type, flags, stream >> 24, stream >> 16, stream >> 8, stream};
    put(b, head, 9);
}

static void window_update(struct buffer *b, uint32_t stream, uint32_t bytes) {
    uint8_t body[4] = {bytes >> 24, bytes >> 16, bytes >> 8, bytes};
    frame(b, 4, WINDOW_UPDATE, 0, stream);
    put(b, body, 4);
}

static void reply(struct connection *c, uint32_t stream) {
    static const uint8_t head[] = "\x88\x0f\x10\x10" "application/grpc";
    static const uint8_t tail[] = "\x00\x0b" "grpc-status" "\x01" "0";
    if (c->window < (int64_t)answer_size) {
        if (c->waits == c->waits_room) {
            c->waits_room = c->waits_room * 2 + 16;
            c->waiting = need(realloc(c->waiting, c->waits_room * sizeof *c->waiting));
        }
        c->waiting[c->waits++] = stream;
        return;
    }
    c->window -= answer_size;
    frame(&c->out, sizeof head - 1, HEADERS, END_HEADERS, stream);
    put(&c->out, head, sizeof head - 1);
    frame(&c->out, answer_size, DATA, 0, stream);
    put(&c->out, answer, answer_size);
    frame(&c->out, sizeof tail - 1, HEADERS, END_HEADERS | END_STREAM, stream);
    put(&c->out, tail, sizeof tail - 1);
}

static uint32_t number(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

static void take(struct connection *c, const uint8_t *head, const uint8_t *body, uint32_t size) {
    uint8_t type = head[3], flags = head[4];
    uint32_t stream = number(head + 5) & 0x7fffffff;
    if (type == DATA) {
        c->unacknowledged += size;
        if (c->unacknowledged > 1 << 24) {
            window_update(&c->out, 0, c->unacknowledged);
            c->unacknowledged = 0;
        }
    }
    if ((type == DATA || type == HEADERS) && flags & END_STREAM) reply(c, stream);
    else if (type == SETTINGS && !(flags & ACK)) frame(&c->out, 0, SETTINGS, ACK, 0);
    else if (type == PING && !(flags & ACK)) {
        frame(&c->out, 8, PING, ACK, 0);
        put(&c->out, body, 8);
    } else if (type == WINDOW_UPDATE && stream == 0) {
        c->window += number(body) & 0x7fffffff;
        size_t waits = c->waits;
        c->waits = 0;
        for (size_t i = 0; i < waits; i++) reply(c, c->waiting[i]);
    }
}

/* Take every whole frame that is there; -1 for a peer that does not speak HTTP/2. */
static int parse(struct connection *c) {
    size_t at = 0;
    if (!c->greeted) {
        if (c->in.size < 24) return 0;
        if (memcmp(c->in.data, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24)) return -1;
        /* MAX_CONCURRENT_STREAMS 10000, INITIAL_WINDOW_SIZE 2^30; and the same for the connection */
        static const uint8_t settings[] = {0, 3, 0, 0, 0x27, 0x10, 0, 4, 0x40, 0, 0, 0};
        frame(&c->out, sizeof settings, SETTINGS, 0, 0);
        put(&c->out, settings, sizeof settings);
        window_update(&c->out, 0, WINDOW - 65535);
        c->greeted = 1;
        at = 24;
    }
    while (c->in.size - at >= 9) {
        uint8_t *head = c->in.data + at;
        uint32_t size = (uint32_t)head[0] << 16 | head[1] << 8 | head[2];
        if (c->in.size - at < 9 + (size_t)size) break;
        take(c, head, head + 9, size);
        at += 9 + size;
    }
    c->in.size -= at;
    memmove(c->in.data, c->in.data + at, c->in.size);
    return 0;
}

static int flush(struct connection *c, int epoll) {
    size_t at = 0;
    while (at < c->out.size) {
        ssize_t sent = write(c->fd, c->out.data + at, c->out.size - at);
        if (sent < 0 && errno != EAGAIN) return -1;
        if (sent < 0) break;
        at += sent;
    }
    c->out.size -= at;
    memmove(c->out.data, c->out.data + at, c->out.size);
    struct epoll_event event = {.events = EPOLLIN | (c->out.size ? EPOLLOUT : 0), .data.ptr = c};
    return epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
}

static int serve(struct connection *c, int epoll) {
    static uint8_t bytes[READ];
    ssize_t got = read(c->fd, bytes, READ);
    if (got == 0 || (got < 0 && errno != EAGAIN)) return -1;
    if (got > 0) put(&c->in, bytes, got);
    return parse(c) < 0 ? -1 : flush(c, epoll);
}

static void load_answer(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) { perror(path); exit(1); }
    answer = need(malloc(5 + (1 << 14)));
    size_t size = fread(answer + 5, 1, 1 << 14, file);
    fclose(file);
    uint8_t head[5] = {0, size >> 24, size >> 16, size >> 8, size};
    memcpy(answer, head, 5);
    answer_size = 5 + size;
}

/* Listen at 127.0.0.NUMBER; return the port. */
static int listen_at(int number, int port, int epoll) {
    int one = 1;
    struct connection *door = need(calloc(1, sizeof *door));
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl((127 << 24) + number)};
    socklen_t size = sizeof at;
    door->fd = socket(AF_INET, SOCK_STREAM, 0);
    door->listens = 1;
    setsockopt(door->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(door->fd, (struct sockaddr *)&at, size) || listen(door->fd, 1024)) { perror("listen"); exit(1); }
    getsockname(door->fd, (struct sockaddr *)&at, &size);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = door};
    epoll_ctl(epoll, EPOLL_CTL_ADD, door->fd, &event);
    return ntohs(at.sin_port);
}

int main(int count, char **words) {
    if (count != 4) return fprintf(stderr, "usage: backend PORT ANSWER_FILE ADDRESSES\n"), 2;
    load_answer(words[2]);
    int one = 1, epoll = epoll_create1(0), port = atoi(words[1]);
    for (int number = 1; number <= atoi(words[3]); number++) port = listen_at(number, port, epoll);
    printf("%d\n", port);
    fflush(stdout);
    struct epoll_event event, events[64];
    for (;;) {
        int ready = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (c->listens) {
                int fd = accept4(c->fd, NULL, NULL, SOCK_NONBLOCK);
                if (fd < 0) continue;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                c = need(calloc(1, sizeof *c));
                c->fd = fd;
                c->window = 65535;
                event = (struct epoll_event){.events = EPOLLIN, .data.ptr = c};
                epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
            } else if (((events[i].events & EPOLLOUT) && flush(c, epoll)) || ((events[i].events & ~EPOLLOUT) && serve(c, epoll))) {
                close(c->fd);
                free(c->in.data); free(c->out.data); free(c->waiting); free(c);
            }
        }
    }
}
