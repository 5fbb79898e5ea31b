// A far link in user space: passes bytes to a server on loopback and back, after half a round trip each way, through a
// line of so many bytes a second that all connections share, and no faster than that on one connection. Bytes of a
// connection never overtake one another. Connecting costs nothing, and there is no slow start: what is late is late
// because of the line.
//
//   link ROUND_TRIP_US BYTES_PER_SECOND BYTES_PER_SECOND_OF_A_CONNECTION PORT     (0: no limit)
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 65536, MOST_CONNECTIONS = 2048 };
// A router holds so much and no more: then senders wait, each as long as the others.
static const int64_t router_ns = 4000000;
// This program may be woken late. A line that was full goes on from where it was, as a real one would have.
static const int64_t late_ns = 50000000;
static const int64_t shortest_wait_ns = 200000;

struct chunk {
  struct chunk *next;
  int64_t due;
  int length, sent;
  char bytes[CHUNK];
};

// One direction of a connection.
struct pipe {
  int from, to, blocked, read_all, ended, is_full;
  int64_t free_at;
  uint64_t waiting;
  struct chunk *first, **last;
};

struct connection {
  int client, server;
  struct pipe up, down;
};

static int64_t one_way_ns;
static uint64_t line_rate, connection_rate, most_waiting;

// The line in one direction.
struct line {
  int64_t free_at;
  int is_full;
};

static struct line lines[2];
static struct connection *connections[MOST_CONNECTIONS];
static int connection_count;
static struct chunk *spare;

static int64_t now_ns(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static void die(const char *what) {
  fprintf(stderr, "link: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t sooner(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t time_of(uint64_t bytes, uint64_t rate) { return rate ? (int64_t)(bytes * 1000000000.0 / rate) : 0; }

static struct chunk *take_chunk(void) {
  struct chunk *chunk = spare;
  if (chunk) spare = chunk->next;
  else if (!(chunk = malloc(sizeof *chunk))) die("malloc");
  chunk->next = NULL, chunk->length = chunk->sent = 0;
  return chunk;
}

static void give_chunk(struct pipe *pipe) {
  struct chunk *chunk = pipe->first;
  pipe->waiting -= chunk->length;
  pipe->first = chunk->next;
  if (!pipe->first) pipe->last = &pipe->first;
  chunk->next = spare, spare = chunk;
}

// When it may read again: at once, at an instant, or (INT64_MAX) when something has left.
static int64_t may_read_at(struct pipe *pipe, struct line *line, int64_t now) {
  if (pipe->read_all || pipe->waiting >= most_waiting) return INT64_MAX;
  int64_t at = later(line->free_at, pipe->free_at) - router_ns;
  if (at <= now) return 0;
  if (line->free_at - router_ns > now) line->is_full = 1;
  if (pipe->free_at - router_ns > now) pipe->is_full = 1;
  return at;
}

static int64_t start_at(int64_t free_at, int is_full, int64_t now) { return later(free_at, is_full ? now - late_ns : now); }

// Gives 0 when the connection is broken.
static int read_chunk(struct pipe *pipe, struct line *line, int64_t now) {
  struct chunk *chunk = take_chunk();
  ssize_t got = recv(pipe->from, chunk->bytes, CHUNK, 0);
  if (got < 0) {
    chunk->next = spare, spare = chunk;
    return errno == EAGAIN;
  }
  line->free_at = start_at(line->free_at, line->is_full, now) + time_of(got, line_rate);
  pipe->free_at = start_at(pipe->free_at, pipe->is_full, now) + time_of(got, connection_rate);
  chunk->length = got;
  chunk->due = later(line->free_at, pipe->free_at) + one_way_ns;
  pipe->read_all = got == 0;
  pipe->waiting += got;
  *pipe->last = chunk, pipe->last = &chunk->next;
  return 1;
}

// Gives 0 when the connection is broken.
static int write_due(struct pipe *pipe, int64_t now) {
  while (pipe->first && pipe->first->due <= now) {
    struct chunk *chunk = pipe->first;
    if (chunk->length == 0) {
      shutdown(pipe->to, SHUT_WR);
      pipe->ended = 1;
    }
    while (chunk->sent < chunk->length) {
      ssize_t sent = send(pipe->to, chunk->bytes + chunk->sent, chunk->length - chunk->sent, MSG_NOSIGNAL);
      if (sent < 0) return pipe->blocked = errno == EAGAIN;
      chunk->sent += sent;
    }
    give_chunk(pipe);
  }
  return 1;
}

static void start_pipe(struct pipe *pipe, int from, int to) {
  *pipe = (struct pipe){ .from = from, .to = to };
  pipe->last = &pipe->first;
}

static void ready(int fd) {
  int on = 1;
  fcntl(fd, F_SETFL, O_NONBLOCK);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void take_connection(int listener, struct sockaddr_in *target) {
  int client = accept(listener, NULL, NULL);
  if (client < 0) return;
  int server = socket(AF_INET, SOCK_STREAM, 0);
  if (server < 0) die("socket");
  if (connection_count == MOST_CONNECTIONS || connect(server, (struct sockaddr *)target, sizeof *target) != 0) {
    close(client), close(server);
    return;
  }
  ready(client), ready(server);
  struct connection *connection = calloc(1, sizeof *connection);
  if (!connection) die("calloc");
  connection->client = client, connection->server = server;
  start_pipe(&connection->up, client, server);
  start_pipe(&connection->down, server, client);
  connections[connection_count++] = connection;
}

static void drop(int index) {
  struct connection *connection = connections[index];
  while (connection->up.first) give_chunk(&connection->up);
  while (connection->down.first) give_chunk(&connection->down);
  close(connection->client), close(connection->server);
  free(connection);
  connections[index] = connections[--connection_count];
}

// What to wait for on the two ends of a direction. Gives when to look at it again.
static int64_t plan(struct pipe *pipe, struct line *line, int64_t now, struct pollfd *from, struct pollfd *to) {
  int64_t at = may_read_at(pipe, line, now);
  if (at == 0) from->events |= POLLIN, at = INT64_MAX;
  if (pipe->blocked) to->events |= POLLOUT;
  else if (pipe->first) at = sooner(at, pipe->first->due);
  return at;
}

static int serve(struct pipe *pipe, struct line *line, int64_t now, int readable, int writable) {
  if (writable) pipe->blocked = 0;
  if (readable && may_read_at(pipe, line, now) == 0 && !read_chunk(pipe, line, now)) return 0;
  return pipe->blocked || write_due(pipe, now);
}

// Whoever may send and does not leaves the line empty: what it could have carried is lost.
static void nobody_sends(struct pollfd *waits, int count) {
  for (int i = 0; i < count; i++) {
    if (waits[2 * i + 1].events & POLLIN) connections[i]->up.is_full = lines[0].is_full = 0;
    if (waits[2 * i + 2].events & POLLIN) connections[i]->down.is_full = lines[1].is_full = 0;
  }
}

static void turn(int listener, struct sockaddr_in *target) {
  static struct pollfd waits[2 * MOST_CONNECTIONS + 1];
  static int first_turn;
  int64_t now = now_ns(), wake = INT64_MAX;
  int count = connection_count;
  waits[0] = (struct pollfd){ .fd = listener, .events = POLLIN };
  for (int i = 0; i < count; i++) {
    struct connection *c = connections[i];
    struct pollfd *client = &waits[2 * i + 1], *server = client + 1;
    *client = (struct pollfd){ .fd = c->client };
    *server = (struct pollfd){ .fd = c->server };
    wake = sooner(wake, plan(&c->up, &lines[0], now, client, server));
    wake = sooner(wake, plan(&c->down, &lines[1], now, server, client));
  }
  int64_t wait = wake == INT64_MAX ? 1000000000 : later(wake - now, shortest_wait_ns);
  struct timespec timeout = { .tv_sec = wait / 1000000000, .tv_nsec = wait % 1000000000 }, none = { 0 };
  if (ppoll(waits, 2 * count + 1, &none, NULL) <= 0) {
    nobody_sends(waits, count);
    if (ppoll(waits, 2 * count + 1, &timeout, NULL) < 0 && errno != EINTR) die("ppoll");
  }
  now = now_ns();
  char broken[MOST_CONNECTIONS] = { 0 };
  // A full line is given to one after the other, beginning with who comes after the last that had it. Those that have
  // nothing to send are passed over: their turns are nobody's.
  int first = count ? first_turn % count : 0;
  for (int n = 0; n < count; n++) {
    int i = (n + first) % count;
    struct connection *c = connections[i];
    int64_t given = lines[1].free_at;
    int client = waits[2 * i + 1].revents, server = waits[2 * i + 2].revents, gone = POLLHUP | POLLERR;
    broken[i] = !serve(&c->up, &lines[0], now, client & (POLLIN | gone), server & (POLLOUT | gone)) ||
      !serve(&c->down, &lines[1], now, server & (POLLIN | gone), client & (POLLOUT | gone)) ||
      (client & POLLERR) || (c->up.ended && c->down.ended);
    if (lines[1].free_at != given) first_turn = i + 1;
  }
  for (int i = count - 1; i >= 0; i--) if (broken[i]) drop(i);
  if (waits[0].revents) take_connection(listener, target);
}

int main(int argc, char **argv) {
  if (argc != 5) return fprintf(stderr, "link: ROUND_TRIP_US BYTES_PER_SECOND BYTES_PER_SECOND_OF_A_CONNECTION PORT\n"), 2;
  one_way_ns = atoll(argv[1]) * 500;
  line_rate = strtoull(argv[2], NULL, 10), connection_rate = strtoull(argv[3], NULL, 10);
  // What is under way on a full line, twice: an end that reads slowly holds up its own connection.
  most_waiting = (uint64_t)(line_rate * (2 * one_way_ns / 1e9)) * 2 + (1 << 20);
  signal(SIGPIPE, SIG_IGN);
  struct sockaddr_in own = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, target = own;
  target.sin_port = htons(atoi(argv[4]));
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  socklen_t length = sizeof own;
  if (bind(listener, (struct sockaddr *)&own, sizeof own) != 0 || listen(listener, 1024) != 0) die("listen");
  getsockname(listener, (struct sockaddr *)&own, &length);
  fcntl(listener, F_SETFL, O_NONBLOCK);
  printf("listening on http://127.0.0.1:%d\n", ntohs(own.sin_port));
  fflush(stdout);
  for (;;) turn(listener, &target);
}
