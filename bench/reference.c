/* What the kernel itself costs: the system calls that each job needs, blocking, one thing at a time,
 * with nothing around them. `bench/run` builds it, and holds every program against it.
 *
 *   reference send HOST PORT          a file by sendfile, a pipe by splice; then the end of file, both ways
 *   reference receive PORT            one connection to stdout by splice
 *   reference exchange HOST PORT      stdin to the connection and the connection to stdout, a process each
 *   reference exchange -l PORT        the same, for whoever connects
 *   reference talk HOST PORT          both in one process with poll, read and write, for small messages
 *   reference serve PORT              one client after the other to stdout, for ever
 *   reference udp-send HOST PORT SIZE stdin as datagrams, 64 at most in one call (UDP_SEGMENT)
 *   reference udp-send-one HOST PORT SIZE
 *                                     the same, one datagram in a call
 *   reference udp-receive PORT        datagrams to stdout (recvmmsg, UDP_GRO), to an empty one
 *
 * The copy routes, by 256 KiB, are `send`, `receive` and `exchange` with COPY=1 in the environment.
 * Whoever listens says `listening` on stderr.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHUNK = 256 << 10, PIPE = 1 << 20, LARGEST = 65507, SEGMENTS = 64, BATCH = 32 };

static char buffer[CHUNK];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static ssize_t check(ssize_t result, const char *what)
{
    if (result < 0)
        die(what);
    return result;
}

static struct sockaddr_in address(const char *host, const char *port)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };
    if (inet_pton(AF_INET, host, &to.sin_addr) != 1) {
        fprintf(stderr, "%s: not an IPv4 address\n", host);
        exit(2);
    }
    return to;
}

static int dial(const char *host, const char *port, int type)
{
    struct sockaddr_in to = address(host, port);
    int fd = check(socket(AF_INET, type, 0), "socket");
    check(connect(fd, (struct sockaddr *)&to, sizeof to), "connect");
    return fd;
}

static int bound(const char *port, int type)
{
    struct sockaddr_in at = address("127.0.0.1", port);
    int fd = check(socket(AF_INET, type, 0), "socket"), on = 1;
    check(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "SO_REUSEADDR");
    check(bind(fd, (struct sockaddr *)&at, sizeof at), "bind");
    return fd;
}

static int listener(const char *port)
{
    int fd = bound(port, SOCK_STREAM);
    check(listen(fd, 128), "listen");
    fprintf(stderr, "listening\n");
    return fd;
}

static int welcome(const char *port)
{
    int fd = listener(port), client = check(accept(fd, NULL, NULL), "accept");
    close(fd);
    return client;
}

static mode_t kind(int fd)
{
    struct stat found;
    check(fstat(fd, &found), "fstat");
    return found.st_mode & S_IFMT;
}

static void write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = check(write(fd, bytes, size), "write");
        bytes += n;
        size -= n;
    }
}

static void copy(int from, int to)
{
    ssize_t n;
    while ((n = check(read(from, buffer, sizeof buffer), "read")) > 0)
        write_all(to, buffer, n);
}

/* One end of splice must be a pipe. */
static void splice_all(int from, int to)
{
    ssize_t n;
    while ((n = check(splice(from, NULL, to, NULL, PIPE, SPLICE_F_MOVE), "splice")) > 0)
        ;
}

static void splice_through(int from, int to)
{
    int pipes[2];
    check(pipe(pipes), "pipe");
    check(fcntl(pipes[1], F_SETPIPE_SZ, PIPE), "F_SETPIPE_SZ");
    ssize_t held;
    while ((held = check(splice(from, NULL, pipes[1], NULL, PIPE, SPLICE_F_MOVE), "splice")) > 0)
        while (held > 0)
            held -= check(splice(pipes[0], NULL, to, NULL, held, SPLICE_F_MOVE), "splice");
}

static void move(int from, int to)
{
    /* Nothing can be spliced out of /dev/null. */
    if (getenv("COPY") || kind(from) == S_IFCHR)
        copy(from, to);
    else if (kind(from) == S_IFREG && kind(to) == S_IFSOCK)
        while (check(sendfile(to, from, NULL, 1 << 30), "sendfile") > 0)
            ;
    else if (kind(from) == S_IFIFO || kind(to) == S_IFIFO)
        splice_all(from, to);
    else
        splice_through(from, to);
}

static void send_all(const char *host, const char *port)
{
    int fd = dial(host, port, SOCK_STREAM);
    move(0, fd);
    shutdown(fd, SHUT_WR);
    copy(fd, 1);
}

static void exchange(int fd)
{
    pid_t child = check(fork(), "fork");
    if (child == 0) {
        move(0, fd);
        shutdown(fd, SHUT_WR);
        _exit(0);
    }
    move(fd, 1);
    int status;
    check(waitpid(child, &status, 0), "waitpid");
    if (status != 0)
        exit(1);
}

static void talk(int fd)
{
    struct pollfd both[2] = { { .fd = 0, .events = POLLIN }, { .fd = fd, .events = POLLIN } };
    while (both[1].fd >= 0) {
        check(poll(both, 2, -1), "poll");
        for (int i = 0; i < 2; i++) {
            if (both[i].fd < 0 || both[i].revents == 0)
                continue;
            ssize_t n = check(read(both[i].fd, buffer, sizeof buffer), "read");
            write_all(i == 0 ? fd : 1, buffer, n);
            if (n == 0) {
                both[i].fd = -1;
                if (i == 0)
                    shutdown(fd, SHUT_WR);
            }
        }
    }
}

static void serve(const char *port)
{
    int fd = listener(port);
    for (;;) {
        int client = check(accept(fd, NULL, NULL), "accept");
        copy(client, 1);
        close(client);
    }
}

static void udp_send(const char *host, const char *port, int size, int most)
{
    int fd = dial(host, port, SOCK_DGRAM);
    if (most > LARGEST / size)
        most = LARGEST / size;
    if (most > 1)
        check(setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size), "UDP_SEGMENT");
    ssize_t n;
    while ((n = check(read(0, buffer, size * most), "read")) > 0)
        check(write(fd, buffer, n), "write");
    check(send(fd, "", 0, 0), "send");
}

static void udp_receive(const char *port)
{
    static char bytes[BATCH][1 << 16];
    struct iovec parts[BATCH];
    struct mmsghdr messages[BATCH];
    int fd = bound(port, SOCK_DGRAM), on = 1, room = 4 << 20;
    check(setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof on), "UDP_GRO");
    check(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room), "SO_RCVBUF");
    memset(messages, 0, sizeof messages);
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){ bytes[i], sizeof bytes[i] };
        messages[i].msg_hdr = (struct msghdr){ .msg_iov = &parts[i], .msg_iovlen = 1 };
    }
    fprintf(stderr, "listening\n");
    for (;;) {
        int count = check(recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL), "recvmmsg");
        for (int i = 0; i < count; i++) {
            if (messages[i].msg_len == 0)
                return;
            write_all(1, bytes[i], messages[i].msg_len);
        }
    }
}

int main(int argc, char **argv)
{
    const char *job = argc > 1 ? argv[1] : "";
    signal(SIGPIPE, SIG_IGN);
    if (argc == 4 && !strcmp(job, "send"))
        send_all(argv[2], argv[3]);
    else if (argc == 3 && !strcmp(job, "receive"))
        move(welcome(argv[2]), 1);
    else if (argc == 4 && !strcmp(job, "exchange") && !strcmp(argv[2], "-l"))
        exchange(welcome(argv[3]));
    else if (argc == 4 && !strcmp(job, "exchange"))
        exchange(dial(argv[2], argv[3], SOCK_STREAM));
    else if (argc == 4 && !strcmp(job, "talk"))
        talk(dial(argv[2], argv[3], SOCK_STREAM));
    else if (argc == 3 && !strcmp(job, "serve"))
        serve(argv[2]);
    else if (argc == 5 && !strcmp(job, "udp-send"))
        udp_send(argv[2], argv[3], atoi(argv[4]), SEGMENTS);
    else if (argc == 5 && !strcmp(job, "udp-send-one"))
        udp_send(argv[2], argv[3], atoi(argv[4]), 1);
    else if (argc == 3 && !strcmp(job, "udp-receive"))
        udp_receive(argv[2]);
    else {
        fprintf(stderr, "reference: what to do is said at the top of reference.c\n");
        return 2;
    }
    return 0;
}
