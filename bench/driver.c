/* What `bench/run` needs done without a language's weight on the scales: a process that measures another,
 * and whatever stands at the far end of the program that is measured.
 *
 *   driver measure REPORT PROGRAM ARG…                 its wall time, CPU time and peak memory
 *   driver make REPORT FILE SIZE                       noise, the same each time
 *   driver feed REPORT FILE                            a file to stdout, out of memory
 *   driver drain REPORT [FILE]                         stdin, counted, and compared with FILE
 *   driver match REPORT FILE SIZE                      stdin: pieces of FILE, in order, some of which may be missing
 *   driver echo REPORT PORT                            sends back what one client sends
 *   driver ping REPORT COUNT WARM-UP                   messages to stdout, each answered on stdin
 *   driver starts REPORT COUNT PROGRAM ARG…            runs it so often, for 1 second at most; PORT among its
 *                                                      arguments is a server's
 *   driver clients REPORT PORT COUNT                   so many clients of PORT, one after the other
 *   driver sink REPORT PORT SIZE FILE                  datagrams that are pieces of FILE, to an empty one or to silence
 *   driver flood REPORT PORT SIZE RATE COUNT MOST FILE so many datagrams, RATE a second, MOST in a call; pieces of FILE
 *
 * REPORT is a file, written as JSON when all has gone well. A failure is one line on stderr.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 256 << 10, DRAIN = 1 << 20, MESSAGE = 64, NUMBERED = 16, LARGEST = 1 << 16, BATCH = 64 };

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void refuse(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static ssize_t check(ssize_t result, const char *what)
{
    if (result < 0)
        die(what);
    return result;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static double seconds(struct timeval time)
{
    return time.tv_sec + time.tv_usec / 1e6;
}

/* The name is changed last, so that a report that is there is whole. */
static void report(const char *path, const char *text)
{
    char part[4096];
    snprintf(part, sizeof part, "%s.part", path);
    int fd = check(open(part, O_WRONLY | O_CREAT | O_TRUNC, 0600), "report");
    if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        die("report");
    close(fd);
    check(rename(part, path), "report");
}

static void write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = check(write(fd, bytes, size), "write");
        bytes += n;
        size -= n;
    }
}

struct file {
    const char *bytes;
    size_t size;
};

static struct file in_memory(const char *path)
{
    int fd = check(open(path, O_RDONLY), path);
    struct stat found;
    check(fstat(fd, &found), path);
    struct file file = { .size = found.st_size };
    file.bytes = mmap(NULL, file.size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (file.bytes == MAP_FAILED)
        die(path);
    close(fd);
    return file;
}

static struct sockaddr_in address(int port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
}

static int bound(int port, int type)
{
    struct sockaddr_in at = address(port);
    int fd = check(socket(AF_INET, type | SOCK_CLOEXEC, 0), "socket"), on = 1;
    check(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "SO_REUSEADDR");
    check(bind(fd, (struct sockaddr *)&at, sizeof at), "bind");
    if (type == SOCK_STREAM)
        check(listen(fd, 128), "listen");
    return fd;
}

static int dial(int port, int type)
{
    struct sockaddr_in to = address(port);
    int fd = check(socket(AF_INET, type, 0), "socket");
    check(connect(fd, (struct sockaddr *)&to, sizeof to), "connect");
    return fd;
}

/* ---- measure ---- */

static void nothing(int signal)
{
    (void)signal;
}

/* The largest resident set counts from before exec: what starts a program must be small itself. */
static void measure(const char *path, char **argv)
{
    /* SIGTERM is for the program, which stands in the same group; a handler, unlike SIG_IGN, is not inherited. */
    signal(SIGTERM, nothing);
    double started = now();
    pid_t child = check(fork(), "fork");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execvp(argv[0], argv);
        die(argv[0]);
    }
    int status;
    struct rusage used;
    while (wait4(child, &status, 0, &used) < 0)
        if (errno != EINTR)
            die("wait4");
    double ended = now();
    char text[512];
    snprintf(text, sizeof text,
             "{\"started\": %.9f, \"ended\": %.9f, \"user\": %.6f, \"system\": %.6f, \"memory\": %ld, "
             "\"status\": %d}\n",
             started, ended, seconds(used.ru_utime), seconds(used.ru_stime), used.ru_maxrss * 1024,
             WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
    report(path, text);
}

/* ---- files and pipes ---- */

/* splitmix64, so that no piece of a file is like another. */
static uint64_t noise(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static void make(const char *path, const char *name, size_t size)
{
    static uint64_t words[PIECE / 8];
    uint64_t state = 1;
    int fd = check(open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600), name);
    for (size_t left = size; left > 0;) {
        size_t piece = left < PIECE ? left : PIECE;
        for (size_t i = 0; i < PIECE / 8; i++)
            words[i] = noise(&state);
        write_all(fd, (char *)words, piece);
        left -= piece;
    }
    report(path, "{}\n");
}

static void feed(const char *path, const char *name)
{
    struct file file = in_memory(name);
    for (size_t at = 0; at < file.size; at += PIECE)
        write_all(1, file.bytes + at, file.size - at < PIECE ? file.size - at : PIECE);
    report(path, "{}\n");
}

static void drain(const char *path, const char *name)
{
    static char buffer[DRAIN];
    struct file file = name ? in_memory(name) : (struct file){ NULL, 0 };
    size_t at = 0;
    int same = 1;
    ssize_t n;
    while ((n = check(read(0, buffer, sizeof buffer), "read")) > 0) {
        same = same && name && at + n <= file.size && !memcmp(buffer, file.bytes + at, n);
        at += n;
    }
    char text[128];
    snprintf(text, sizeof text, "{\"bytes\": %zu, \"same\": %s}\n", at, same && at == file.size ? "true" : "false");
    report(path, text);
}

/* Where in the file a piece comes from: at the next place, or behind what was lost. Returns 0 if nowhere. */
static int follows(struct file file, size_t size, size_t *at, const char *piece, size_t length)
{
    for (; *at < file.size; *at += size)
        if (length <= file.size - *at && !memcmp(piece, file.bytes + *at, length)) {
            *at += size;
            return 1;
        }
    return 0;
}

static void match(const char *path, const char *name, size_t size)
{
    static char piece[LARGEST];
    struct file file = in_memory(name);
    size_t at = 0, count = 0, held = 0;
    for (;;) {
        ssize_t n = check(read(0, piece + held, size - held), "read");
        held += n;
        if (held == 0)
            break;
        if (held < size && n > 0)
            continue;
        if (!follows(file, size, &at, piece, held))
            refuse("what was received is not what was sent");
        count++;
        held = 0;
    }
    char text[64];
    snprintf(text, sizeof text, "{\"datagrams\": %zu}\n", count);
    report(path, text);
}

/* ---- TCP ---- */

static void echo(const char *path, int port)
{
    char buffer[4096];
    int fd = bound(port, SOCK_STREAM), client = check(accept(fd, NULL, NULL), "accept"), on = 1;
    check(setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "TCP_NODELAY");
    ssize_t n;
    while ((n = check(read(client, buffer, sizeof buffer), "read")) > 0)
        write_all(client, buffer, n);
    report(path, "{}\n");
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void ping(const char *path, int count, int warm_up)
{
    char sent[MESSAGE], answer[MESSAGE], text[128];
    double *took = calloc(count, sizeof *took);
    uint64_t state = 2;
    for (int i = -warm_up; i < count; i++) {
        for (int word = 0; word < MESSAGE / 8; word++)
            ((uint64_t *)sent)[word] = noise(&state);
        double started = now();
        write_all(1, sent, MESSAGE);
        for (int held = 0; held < MESSAGE;) {
            ssize_t n = check(read(0, answer + held, MESSAGE - held), "read");
            if (n == 0)
                refuse("the answers ended early");
            held += n;
        }
        if (i >= 0)
            took[i] = now() - started;
        if (memcmp(sent, answer, MESSAGE))
            refuse("the answer is not what was sent");
    }
    close(1);
    if (check(read(0, answer, MESSAGE), "read") != 0)
        refuse("more came than was sent");
    qsort(took, count, sizeof *took, ascending);
    snprintf(text, sizeof text, "{\"p50\": %.9f, \"p99\": %.9f}\n", took[count / 2], took[count * 99 / 100]);
    report(path, text);
}

/* Reads to the end and leaves, so that the client's end of file is passed on and answered. */
static void serve(int fd)
{
    char buffer[4096];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        int client = check(accept(fd, NULL, NULL), "accept");
        while (check(read(client, buffer, sizeof buffer), "read") > 0)
            ;
        close(client);
    }
}

static void starts(const char *path, int count, char **argv)
{
    extern char **environ;
    int fd = bound(0, SOCK_STREAM);
    struct sockaddr_in at;
    socklen_t size = sizeof at;
    check(getsockname(fd, (struct sockaddr *)&at, &size), "getsockname");
    char port[8];
    snprintf(port, sizeof port, "%d", ntohs(at.sin_port));
    for (char **word = argv; *word; word++) {
        char *place = strstr(*word, "PORT");
        if (place) {
            char *filled = malloc(strlen(*word) + sizeof port);
            sprintf(filled, "%.*s%s%s", (int)(place - *word), *word, port, place + 4);
            *word = filled;
        }
    }
    pid_t server = check(fork(), "fork");
    if (server == 0)
        serve(fd);
    double *took = calloc(count, sizeof *took), cpu = 0, first = now();
    long memory = 0;
    int runs = 0;
    for (; runs < count && now() < first + 1; runs++) {
        pid_t child;
        int status;
        struct rusage used;
        double started = now();
        if ((errno = posix_spawnp(&child, argv[0], NULL, NULL, argv, environ)) != 0)
            die(argv[0]);
        check(wait4(child, &status, 0, &used), "wait4");
        took[runs] = now() - started;
        cpu += seconds(used.ru_utime) + seconds(used.ru_stime);
        memory = used.ru_maxrss > memory ? used.ru_maxrss : memory;
        if (status != 0)
            refuse("it did not exit with status 0");
    }
    kill(server, SIGKILL);
    qsort(took, runs, sizeof *took, ascending);
    char text[256];
    snprintf(text, sizeof text, "{\"runs\": %d, \"median\": %.9f, \"cpu\": %.9f, \"memory\": %ld}\n", runs,
             took[runs / 2], cpu / runs, memory * 1024);
    report(path, text);
}

static void clients(const char *path, int port, int count)
{
    char message[NUMBERED + 1], text[64];
    struct timeval limit = { .tv_sec = 10 };
    double started = now();
    for (int i = 0; i < count; i++) {
        int fd = dial(port, SOCK_STREAM);
        check(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), "SO_RCVTIMEO");
        snprintf(message, sizeof message, "%0*d\n", NUMBERED - 1, i);
        write_all(fd, message, NUMBERED);
        check(shutdown(fd, SHUT_WR), "shutdown");
        if (check(read(fd, message, NUMBERED), "wait for the server's end of file") != 0)
            refuse("the server sent something");
        close(fd);
    }
    snprintf(text, sizeof text, "{\"seconds\": %.9f}\n", now() - started);
    report(path, text);
}

/* ---- UDP ---- */

static void sink(const char *path, int port, size_t size, const char *name)
{
    static char bytes[BATCH][LARGEST];
    static char control[BATCH][CMSG_SPACE(sizeof(int))];
    struct iovec parts[BATCH];
    struct mmsghdr messages[BATCH] = { 0 };
    struct file file = in_memory(name);
    int fd = bound(port, SOCK_DGRAM), on = 1, room = 1 << 29;
    check(setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof on), "UDP_GRO");
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) < 0)
        check(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room), "SO_RCVBUF");
    size_t at = 0, datagrams = 0, received = 0, odd = 0;
    for (int over = 0; !over;) {
        for (int i = 0; i < BATCH; i++) {
            parts[i] = (struct iovec){ bytes[i], LARGEST };
            messages[i].msg_hdr = (struct msghdr){ .msg_iov = &parts[i], .msg_iovlen = 1,
                .msg_control = control[i], .msg_controllen = sizeof control[i] };
        }
        int count = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
        /* Silence counts only after the first datagram; until then the caller's own limit does. */
        if (count < 0 && errno == EAGAIN)
            break;
        check(count, "recvmmsg");
        if (datagrams == 0) {
            struct timeval silence = { .tv_usec = 500000 };
            check(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof silence), "SO_RCVTIMEO");
        }
        for (int i = 0; i < count && !over; i++) {
            size_t length = messages[i].msg_len, segment = length;
            struct cmsghdr *note = CMSG_FIRSTHDR(&messages[i].msg_hdr);
            if (note && note->cmsg_level == IPPROTO_UDP && note->cmsg_type == UDP_GRO)
                segment = *(int *)CMSG_DATA(note);
            over = length == 0;
            for (size_t offset = 0; offset < length; offset += segment) {
                size_t piece = length - offset < segment ? length - offset : segment;
                if (!follows(file, size, &at, bytes[i] + offset, piece))
                    refuse("what was received is not what was sent");
                /* Only the last piece of the file may be shorter. */
                odd += piece != size && at < file.size;
                received += piece;
                datagrams++;
            }
        }
    }
    char text[128];
    snprintf(text, sizeof text, "{\"datagrams\": %zu, \"bytes\": %zu, \"odd\": %zu}\n", datagrams, received, odd);
    report(path, text);
}

static void pause_until(double due)
{
    struct timespec time = { .tv_sec = due, .tv_nsec = (due - (time_t)due) * 1e9 };
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
}

/* Every 100 microseconds what is due, one by one or, if `most` says so, many in one call (UDP_SEGMENT). */
static void flood(const char *path, int port, int size, int rate, long count, int most, struct file file)
{
    struct iovec parts[BATCH];
    struct mmsghdr messages[BATCH] = { 0 };
    int fd = dial(port, SOCK_DGRAM);
    int per_tick = rate / 10000 / most > 0 ? rate / 10000 / most : 1;
    double tick = (double)per_tick * most / rate;
    size_t pieces = file.size / size;
    if (most > 1)
        check(setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size), "UDP_SEGMENT");
    prctl(PR_SET_TIMERSLACK, 1);
    double started = now(), due = started;
    long sent = 0, calls = 0;
    while (sent < count) {
        int batch = 0;
        for (; batch < per_tick && batch < BATCH && sent < count; batch++) {
            size_t at = sent % pieces, many = most;
            many = many < pieces - at ? many : pieces - at;
            many = many < (size_t)(count - sent) ? many : (size_t)(count - sent);
            parts[batch] = (struct iovec){ (char *)file.bytes + at * size, many * size };
            messages[batch].msg_hdr = (struct msghdr){ .msg_iov = &parts[batch], .msg_iovlen = 1 };
            sent += many;
        }
        for (int done = 0; done < batch;)
            done += check(sendmmsg(fd, messages + done, batch - done, 0), "sendmmsg");
        calls += batch;
        due += tick;
        /* Who comes late does not make up for it: a burst would be another test. */
        if (now() > due + 0.001)
            due = now();
        pause_until(due);
    }
    char text[128];
    snprintf(text, sizeof text, "{\"datagrams\": %ld, \"calls\": %ld, \"seconds\": %.9f}\n", sent, calls,
             now() - started);
    report(path, text);
}

int main(int argc, char **argv)
{
    const char *job = argc > 2 ? argv[1] : "", *path = argc > 2 ? argv[2] : "";
    /* Nothing of a run outlives it, and whoever ends one of us ends what it has started too. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);
    if (argc > 3 && !strcmp(job, "measure"))
        measure(path, argv + 3);
    else if (argc == 5 && !strcmp(job, "make"))
        make(path, argv[3], strtoull(argv[4], NULL, 10));
    else if (argc == 4 && !strcmp(job, "feed"))
        feed(path, argv[3]);
    else if ((argc == 3 || argc == 4) && !strcmp(job, "drain"))
        drain(path, argv[3]);
    else if (argc == 5 && !strcmp(job, "match"))
        match(path, argv[3], strtoull(argv[4], NULL, 10));
    else if (argc == 4 && !strcmp(job, "echo"))
        echo(path, atoi(argv[3]));
    else if (argc == 5 && !strcmp(job, "ping"))
        ping(path, atoi(argv[3]), atoi(argv[4]));
    else if (argc > 4 && !strcmp(job, "starts"))
        starts(path, atoi(argv[3]), argv + 4);
    else if (argc == 5 && !strcmp(job, "clients"))
        clients(path, atoi(argv[3]), atoi(argv[4]));
    else if (argc == 6 && !strcmp(job, "sink"))
        sink(path, atoi(argv[3]), strtoull(argv[4], NULL, 10), argv[5]);
    else if (argc == 9 && !strcmp(job, "flood"))
        flood(path, atoi(argv[3]), atoi(argv[4]), atoi(argv[5]), atol(argv[6]), atoi(argv[7]), in_memory(argv[8]));
    else {
        fprintf(stderr, "driver: what to do is said at the top of driver.c\n");
        return 2;
    }
    return 0;
}
