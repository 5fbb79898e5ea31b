// The load client for blobs: many connections, one thread, and bodies that end in the kernel (MSG_TRUNC), so that the
// server is what is measured. Writes one line of JSON when it is done, or when it is told to end (SIGTERM).
//
//   drain [-c connections] [-n requests] [-m drain|copy|verify] [-r bytes/s] [-p us] [-t ms] HOST PORT PATH... [, PATH...]
//
// -n  how many requests in all; the paths are asked for in turn, each once by default
// -m  copy: bodies are read into memory; verify: and hashed, and held against the digest that ends the path
// -r  each connection reads that fast and no faster
// -p  a connection has a request due every so many microseconds, and a late one counts from when it was due: what waits
//     behind a slow answer is slow too
// -t  give up what runs after so long, and say what there was
// ,   paths behind a comma are asked for when those before it are done, as a client asks for blobs after a manifest
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "sha256.h"

enum mode { DRAIN, COPY, VERIFY };
enum { HEADER_LIMIT = 16384, BUFFER = 1 << 20, TICK_US = 20000 };

struct connection {
  int fd, busy, in_body;
  long path;
  int64_t started, next_at, allowance_at;
  uint64_t left, taken, paid;
  size_t header_length;
  char header[HEADER_LIMIT];
  struct sha256 hash;
};

static struct sockaddr_in address;
static const char *host;
static char **paths;
static long path_count, asked, done, done_before, failed, wanted;
static uint64_t bytes, rate;
static enum mode mode = DRAIN;
static int64_t pace_us;
static double *first_byte;
static long first_bytes;
static volatile sig_atomic_t told_to_end;
static char buffer[BUFFER];
static int poll_fd;

static int64_t now_us(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return at.tv_sec * 1000000LL + at.tv_nsec / 1000;
}

static void end(int signal) { (void)signal, told_to_end = 1; }

static void die(const char *what) {
  fprintf(stderr, "drain: %s: %s\n", what, strerror(errno));
  exit(2);
}

static void hang_up(struct connection *c) {
  if (c->fd >= 0) close(c->fd);
  c->fd = -1;
}

static void dial(struct connection *c) {
  int on = 1;
  c->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (c->fd < 0) die("socket");
  if (connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0) die("connect");
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  fcntl(c->fd, F_SETFL, O_NONBLOCK);
  struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
  if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &event) != 0) die("epoll_ctl");
}

// A slow reader is looked at by the clock, not by what has come.
static void listen_to(struct connection *c, int on) {
  struct epoll_event event = { .events = on ? EPOLLIN : 0, .data.ptr = c };
  if (c->fd >= 0) epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &event);
}

static void ask(struct connection *c) {
  char request[2048];
  c->started = pace_us ? c->next_at : now_us();
  if (c->fd < 0) dial(c);
  c->path = asked++ % path_count;
  int length = snprintf(request, sizeof request,
    "GET %s HTTP/1.1\r\nHost: %s\r\nAccept: application/vnd.oci.image.manifest.v1+json, */*\r\n\r\n", paths[c->path], host);
  if (send(c->fd, request, length, MSG_NOSIGNAL) != length) die("send");
  c->busy = 1, c->in_body = 0, c->header_length = 0, c->taken = c->paid = 0;
  c->next_at = c->started + pace_us, c->allowance_at = now_us();
  if (rate) listen_to(c, 1);
  if (mode == VERIFY) sha256_start(&c->hash);
}

static void ended(struct connection *c, const char *problem) {
  if (!problem && mode == VERIFY) {
    const char *digest = strstr(paths[c->path], "/sha256:");
    if (digest && strncmp(sha256_end(&c->hash), digest + 8, 64) != 0) problem = "other bytes than its digest says";
  }
  if (problem) {
    if (failed++ == 0) fprintf(stderr, "drain: %s: %s\n", paths[c->path], problem);
    hang_up(c);
  }
  c->busy = 0, done++;
}

static void took(struct connection *c, const char *from, size_t length) {
  if (length && c->taken == 0) first_byte[first_bytes++] = (now_us() - c->started) / 1000.0;
  if (mode == VERIFY) sha256_add(&c->hash, from, length);
  c->taken += length, c->left -= length, bytes += length;
}

// Gives whether the header has come whole.
static int read_header(struct connection *c) {
  ssize_t got = recv(c->fd, c->header + c->header_length, HEADER_LIMIT - 1 - c->header_length, 0);
  if (got < 0 && errno == EAGAIN) return 0;
  if (got <= 0) return ended(c, got == 0 ? "closed before its header" : strerror(errno)), 0;
  c->header_length += got;
  c->header[c->header_length] = 0;
  char *rest = strstr(c->header, "\r\n\r\n");
  if (!rest) return c->header_length == HEADER_LIMIT - 1 ? ended(c, "a header without an end") : (void)0, 0;
  rest += 4;
  const char *length = strcasestr(c->header, "\r\ncontent-length:");
  int status = atoi(c->header + 9);
  if (status != 200 || !length) {
    c->header[strcspn(c->header, "\r")] = 0;
    return ended(c, status != 200 ? c->header : "no Content-Length"), 0;
  }
  c->left = strtoull(length + 17, NULL, 10);
  c->in_body = 1;
  took(c, rest, c->header + c->header_length - rest);
  if (c->left == 0) return ended(c, NULL), 0;
  return 1;
}

static uint64_t allowance(struct connection *c) {
  if (!rate) return UINT64_MAX;
  uint64_t due = (now_us() - c->allowance_at) * rate / 1000000;
  return due > c->paid ? due - c->paid : 0;
}

static void read_some(struct connection *c) {
  if (!c->in_body && !read_header(c)) return;
  uint64_t most = allowance(c);
  if (most > c->left) most = c->left;
  if (most == 0) return listen_to(c, 0);
  // What MSG_TRUNC discards needs no buffer, and may be more than one would hold.
  size_t length = mode == DRAIN ? (most > 1 << 30 ? 1 << 30 : most) : most > BUFFER ? BUFFER : most;
  ssize_t got = recv(c->fd, mode == DRAIN ? NULL : buffer, length, mode == DRAIN ? MSG_TRUNC : 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) return ended(c, got == 0 ? "cut off" : strerror(errno));
  took(c, buffer, got);
  c->paid += got;
  if (c->left == 0) ended(c, NULL);
  else if (rate) listen_to(c, 0);
}

// Asks what may be asked now. Gives how long the loop may wait, in microseconds.
static int64_t send_due(struct connection *all, int count) {
  int64_t wait = 100000;
  int64_t at = now_us();
  for (int i = 0; i < count; i++) {
    struct connection *c = &all[i];
    if (c->busy) {
      if (rate && allowance(c) > 0) listen_to(c, 1);
      if (rate) wait = TICK_US;
      continue;
    }
    if (asked >= wanted) continue;
    if (c->next_at <= at) ask(c);
    else if (c->next_at - at < wait) wait = c->next_at - at;
  }
  return wait;
}

static void run_phase(struct connection *all, int count, int64_t give_up_at) {
  struct epoll_event events[256];
  while (done < wanted && !told_to_end && now_us() < give_up_at) {
    struct timespec wait = { .tv_nsec = send_due(all, count) * 1000 };
    int ready = epoll_pwait2(poll_fd, events, 256, &wait, NULL);
    for (int i = 0; i < ready; i++) {
      struct connection *c = events[i].data.ptr;
      if (c->busy) read_some(c);
      else hang_up(c);
    }
  }
}

int main(int argc, char **argv) {
  int count = 1, option;
  long requests = 0;
  int64_t limit_ms = 600000;
  while ((option = getopt(argc, argv, "+c:n:m:r:p:t:")) != -1) {
    if (option == 'c') count = atoi(optarg);
    else if (option == 'n') requests = atol(optarg);
    else if (option == 'm') mode = *optarg == 'c' ? COPY : *optarg == 'v' ? VERIFY : DRAIN;
    else if (option == 'r') rate = strtoull(optarg, NULL, 10);
    else if (option == 'p') pace_us = atoll(optarg);
    else if (option == 't') limit_ms = atoll(optarg);
    else return 2;
  }
  if (argc - optind < 3 || count < 1) return fprintf(stderr, "drain: HOST PORT PATH...\n"), 2;
  host = argv[optind++];
  address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(atoi(argv[optind++])) };
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1) return fprintf(stderr, "drain: %s is no IPv4 address\n", host), 2;
  struct sigaction action = { .sa_handler = end };
  sigaction(SIGTERM, &action, NULL);
  poll_fd = epoll_create1(0);
  struct connection *all = calloc(count, sizeof *all);
  // Each group of paths is asked for as often as -n says, and there are fewer groups than arguments.
  first_byte = calloc((requests ? requests * (argc - optind) : argc) + 1, sizeof *first_byte);
  if (!all || !first_byte) die("calloc");
  int64_t from = now_us();
  // Connections with a pace take turns.
  for (int i = 0; i < count; i++) all[i].fd = -1, all[i].next_at = pace_us ? from + pace_us * i / count : 0;

  while (optind < argc) {
    paths = argv + optind;
    for (path_count = 0; optind < argc && strcmp(argv[optind], ",") != 0; optind++) path_count++;
    optind++;
    asked = 0, done_before += done, done = 0, wanted = requests ? requests : path_count;
    run_phase(all, count, from + limit_ms * 1000);
  }
  double wall = (now_us() - from) / 1000.0;
  printf("{\"wallMs\":%.3f,\"bytes\":%llu,\"requests\":%ld,\"failed\":%ld,\"firstByteMs\":[", wall, (unsigned long long)bytes,
    done_before + done, failed);
  for (long i = 0; i < first_bytes; i++) printf(i ? ",%.3f" : "%.3f", first_byte[i]);
  printf("]}\n");
  return failed ? 1 : 0;
}
