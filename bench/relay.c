/* Clients of a relay, for `bench/relay`: they cost as little as they can, and check what arrives.
 *
 *   clients take PORT BYTES                    listens, and receives so many bytes from one client
 *   clients take PORT BYTES NAME               the same, as NAME at a relay
 *   clients give PORT SIZE COUNT               sends COUNT blocks of SIZE bytes
 *   clients give PORT SIZE COUNT NAME          the same, as messages to NAME at a relay
 *   clients pairs relay|nats PORT PAIRS COUNT  64-byte messages between so many pairs, COUNT each
 *   clients trips PORT IDLE COUNT              round trips of 64 bytes beside so many idle clients, and then COUNT
 *                                              messages one way
 *   clients fan PORT COUNT STALLED             64-byte messages to 100 receivers in turn, the first of which reads
 *                                              nothing while somebody floods it if STALLED is 1
 *
 * Prints one line of JSON.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 1 << 20, SMALL = 64 };

static char block[BLOCK * 2], room[BLOCK];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void fail(const char *why)
{
    fprintf(stderr, "clients: %s\n", why);
    exit(1);
}

static long check(long result, const char *what)
{
    if (result < 0)
        die(what);
    return result;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int dial(int port)
{
    struct sockaddr_in to = loopback(port);
    int fd = check(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"), on = 1;
    check(connect(fd, (struct sockaddr *)&to, sizeof to), "connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void put(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = check(send(fd, bytes, size, MSG_NOSIGNAL), "send");
        bytes += n;
        size -= n;
    }
}

static void get(int fd, char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = check(recv(fd, bytes, size, 0), "recv");
        if (n == 0)
            fail("the relay has closed the connection");
        bytes += n;
        size -= n;
    }
}

/* Registers, and waits until that was heard. */
static int member(int port, const char *name)
{
    char hello[600], back[2];
    int fd = dial(port), n = snprintf(hello, sizeof hello, "%s|%s|2|ok", name, name);
    put(fd, hello, n);
    get(fd, back, 2);
    return fd;
}

static void fill_block(void)
{
    uint64_t state = 0x9e3779b97f4a7c15;
    for (size_t at = 0; at < sizeof block / 2; at += 8) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        memcpy(block + at, &state, 8);
        memcpy(block + at + BLOCK, &state, 8);
    }
}

static void take(int port, uint64_t bytes, const char *name)
{
    int fd;
    if (name)
        fd = member(port, name);
    else {
        struct sockaddr_in at = loopback(port);
        int listener = check(socket(AF_INET, SOCK_STREAM, 0), "socket"), on = 1;
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        check(bind(listener, (struct sockaddr *)&at, sizeof at), "bind");
        check(listen(listener, 1), "listen");
        fprintf(stderr, "ready\n");
        fd = check(accept(listener, NULL, NULL), "accept");
    }
    if (name)
        fprintf(stderr, "ready\n");
    double start = 0;
    uint64_t got = 0;
    while (got < bytes) {
        ssize_t n = check(recv(fd, room, sizeof room, 0), "recv");
        if (n == 0)
            fail("it ended too soon");
        if (start == 0)
            start = now();
        if (memcmp(room, block + got % BLOCK, n) != 0)
            fail("something else came");
        got += n;
    }
    printf("{\"seconds\": %.6f}\n", now() - start);
}

static void give(int port, size_t size, int count, const char *name)
{
    int fd = name ? member(port, "giver") : dial(port);
    char header[300];
    int length = name ? snprintf(header, sizeof header, "%s|%zu|", name, size) : 0;
    for (int i = 0; i < count; i++) {
        if (length)
            put(fd, header, length);
        put(fd, block, size);
    }
    if (name) {
        /* All of it has been heard once this comes back. */
        char back[2];
        put(fd, "giver|2|ok", 10);
        get(fd, back, 2);
    } else {
        shutdown(fd, SHUT_WR);
        while (recv(fd, room, sizeof room, 0) > 0)
            ;
    }
    printf("{}\n");
}

static void pairs(int nats, int port, int count, int messages)
{
    int *from = calloc(count, sizeof *from), *to = calloc(count, sizeof *to);
    uint64_t *sent = calloc(count, sizeof *sent), *got = calloc(count, sizeof *got);
    uint64_t *out = calloc(count, sizeof *out), *in = calloc(count, sizeof *in);
    enum { BATCH = 64 };
    char (*batch)[BATCH * 128] = calloc(count, sizeof *batch);
    for (int i = 0; i < count; i++) {
        char name[32], line[128];
        snprintf(name, sizeof name, "to%d", i);
        if (nats) {
            for (int side = 0; side < 2; side++) {
                int fd = dial(port), n;
                while (recv(fd, room, 1, 0) == 1 && room[0] != '\n')
                    ;
                n = snprintf(line, sizeof line, "CONNECT {\"verbose\":false}\r\n%s%s%s", side ? "SUB " : "",
                             side ? name : "", side ? " 1\r\nPING\r\n" : "PING\r\n");
                put(fd, line, n);
                get(fd, room, 6);
                if (memcmp(room, "PONG\r\n", 6) != 0)
                    fail("no PONG");
                *(side ? &to[i] : &from[i]) = fd;
            }
            out[i] = snprintf(line, sizeof line, "PUB %s 64\r\n%.64s\r\n", name,
                              "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
            in[i] = snprintf(room, sizeof room, "MSG %s 1 64\r\n", name) + SMALL + 2;
        } else {
            char sender[32];
            snprintf(sender, sizeof sender, "from%d", i);
            to[i] = member(port, name);
            from[i] = member(port, sender);
            out[i] = snprintf(line, sizeof line, "%s|64|%.64s", name,
                              "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
            in[i] = SMALL;
        }
        for (int b = 0; b < BATCH; b++)
            memcpy(batch[i] + b * out[i], line, out[i]);
    }
    int poll = check(epoll_create1(0), "epoll_create1");
    for (int i = 0; i < count; i++) {
        struct epoll_event event = { .events = EPOLLIN, .data.u64 = i };
        check(epoll_ctl(poll, EPOLL_CTL_ADD, to[i], &event), "epoll_ctl");
        fcntl(from[i], F_SETFL, O_NONBLOCK);
    }
    fprintf(stderr, "ready\n");
    getchar();
    double start = now();
    uint64_t left = count;
    int next = 0;
    while (left > 0) {
        /* As much is under way as the relay takes, but no pair is far ahead of the others. */
        for (int k = 0; k < 64; k++, next = (next + 1) % count) {
            uint64_t all = out[next] * messages, step = out[next] * BATCH;
            if (sent[next] == all || sent[next] / out[next] > got[next] / in[next] + 4 * BATCH)
                continue;
            uint64_t at = sent[next] % step, size = step - at;
            if (size > all - sent[next])
                size = all - sent[next];
            ssize_t n = send(from[next], batch[next] + at, size, MSG_NOSIGNAL);
            if (n > 0)
                sent[next] += n;
            else if (errno != EAGAIN)
                die("send");
        }
        struct epoll_event events[256];
        int n = check(epoll_wait(poll, events, 256, 0), "epoll_wait");
        for (int e = 0; e < n; e++) {
            int i = events[e].data.u64;
            ssize_t came = check(recv(to[i], room, sizeof room, 0), "recv");
            if (came == 0)
                fail("the relay has closed the connection");
            /* A nats-server may say PING in between: a few bytes more. */
            uint64_t all = in[i] * messages;
            left -= got[i] < all && got[i] + came >= all;
            got[i] += came;
        }
    }
    printf("{\"seconds\": %.6f, \"messages\": %llu}\n", now() - start, (unsigned long long)count * messages);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void trips(int port, int idle, int count)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (int i = 0; i < idle; i++) {
        char name[32];
        int n = snprintf(name, sizeof name, "idle%d|", i);
        put(dial(port), name, n);
    }
    int a = member(port, "a"), b = member(port, "b");
    fprintf(stderr, "ready\n");
    getchar();
    double *took = calloc(count, sizeof *took);
    char back[SMALL];
    for (int i = 0; i < count; i++) {
        double start = now();
        put(a, "b|64|0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", 69);
        get(b, back, SMALL);
        put(b, "a|64|0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", 69);
        get(a, back, SMALL);
        took[i] = (now() - start) * 1e6;
    }
    qsort(took, count, sizeof *took, by_size);
    /* 16 KiB messages one way, as many as fit into half a second. */
    double start = now(), end = start + 0.5;
    uint64_t moved = 0;
    if (fork() == 0) {
        while (now() < end) {
            put(a, "b|16384|", 8);
            put(a, block, 16384);
        }
        put(a, "b|1|!", 5);
        _exit(0);
    }
    for (;;) {
        ssize_t n = check(recv(b, room, sizeof room, 0), "recv");
        moved += n;
        if (n == 0 || moved % 16384 == 1)
            if (recv(b, room, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && now() >= end)
                break;
    }
    printf("{\"p50\": %.2f, \"p99\": %.2f, \"rate\": %.4f}\n", took[count / 2], took[count * 99 / 100],
           moved / (now() - start) / 1e9);
}

static void fan(int port, int count, int stalled)
{
    enum { RECEIVERS = 100 };
    int to[RECEIVERS], from = member(port, "from");
    char name[32], message[128], back[SMALL];
    for (int i = 0; i < RECEIVERS; i++) {
        snprintf(name, sizeof name, "to%d", i);
        to[i] = member(port, name);
    }
    if (stalled) {
        int flood = member(port, "flood");
        fcntl(flood, F_SETFL, O_NONBLOCK);
        double end = now() + 0.3;
        /* Until neither the relay nor anybody's kernel takes more. */
        while (now() < end) {
            char header[] = "to0|16384|";
            if (send(flood, header, sizeof header - 1, MSG_NOSIGNAL) == sizeof header - 1)
                for (size_t sent = 0; sent < 16384;) {
                    ssize_t n = send(flood, block + sent, 16384 - sent, MSG_NOSIGNAL);
                    if (n > 0)
                        sent += n;
                    else if (now() > end)
                        break;
                }
        }
    }
    fprintf(stderr, "ready\n");
    getchar();
    double *took = calloc(count, sizeof *took);
    for (int i = 0; i < count; i++) {
        int whom = 1 + i % (RECEIVERS - 1);
        int n = snprintf(message, sizeof message, "to%d|64|0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", whom);
        double start = now();
        put(from, message, n);
        get(to[whom], back, SMALL);
        took[i] = (now() - start) * 1e6;
    }
    qsort(took, count, sizeof *took, by_size);
    printf("{\"p50\": %.2f, \"p99\": %.2f}\n", took[count / 2], took[count * 99 / 100]);
}

int main(int argc, char **argv)
{
    const char *job = argc > 1 ? argv[1] : "";
    fill_block();
    if ((argc == 4 || argc == 5) && !strcmp(job, "take"))
        take(atoi(argv[2]), strtoull(argv[3], NULL, 10), argc == 5 ? argv[4] : NULL);
    else if ((argc == 5 || argc == 6) && !strcmp(job, "give"))
        give(atoi(argv[2]), strtoull(argv[3], NULL, 10), atoi(argv[4]), argc == 6 ? argv[5] : NULL);
    else if (argc == 6 && !strcmp(job, "pairs"))
        pairs(!strcmp(argv[2], "nats"), atoi(argv[3]), atoi(argv[4]), atoi(argv[5]));
    else if (argc == 5 && !strcmp(job, "trips"))
        trips(atoi(argv[2]), atoi(argv[3]), atoi(argv[4]));
    else if (argc == 5 && !strcmp(job, "fan"))
        fan(atoi(argv[2]), atoi(argv[3]), atoi(argv[4]));
    else {
        fprintf(stderr, "clients: what to do is said at the top of relay.c\n");
        return 2;
    }
    return 0;
}
