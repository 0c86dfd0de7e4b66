/* session.c: one miner: its socket, its login, and the lines it gets. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

enum { CONFIGURE_ID = 1, SUBSCRIBE_ID, AUTHORIZE_ID, FIRST_SHARE_ID };
enum { RECEIVE = 256 * 1024, LONGEST_LINE = 1 << 20, MAX_REPLY = 256 };
#define AGENT "hashmill-load/1"
#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24 /* linux/in.h */
#endif

static char received[RECEIVE];

void session_odd(load *l, uint64_t *counter, const char *why, slice line)
{
    ++*counter;
    if (!*l->oddity)
        snprintf(l->oddity, sizeof l->oddity, "%s: %.*s", why, line.length > 160 ? 160 : (int)line.length,
                 line.at ? line.at : "");
}

/* ---- Socket ---- */

static void watch(load *l, connection *c, int operation)
{
    struct epoll_event event = {.events = EPOLLIN | (c->writing ? EPOLLOUT : 0), .data.ptr = c};

    if (epoll_ctl(l->epoll, operation, c->fd, &event) != 0)
        die("epoll_ctl");
}

static int connect_from(load *l, const connection *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET}, from = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

    if (fd < 0)
        die("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (l->stamps && setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) != 0)
        die("SO_TIMESTAMPNS");
    inet_pton(AF_INET, l->host, &to.sin_addr);
    to.sin_port = htons((uint16_t)atoi(l->port));
    if (l->sources) {
        /* Each address has ports of its own, so that neither their number nor those still closing set a limit. */
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        from.sin_addr.s_addr = htonl(l->source_base + (c->number - l->first) % l->sources);
        if (bind(fd, (struct sockaddr *)&from, sizeof from) != 0)
            die("bind to a loopback address");
    }
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

static void come_back_later(load *l, connection *c)
{
    c->stage = ABSENT;
    c->retry_at = 0;
    if (l->reconnect_s > 0 && !l->stopping) {
        c->retry_at = clock_now() + (int64_t)(random_share(l) * l->reconnect_s * NANO) + 1;
        l->absent++;
    }
}

void session_begin(load *l, connection *c)
{
    if (c->retry_at) {
        c->retry_at = 0;
        l->absent--;
    }
    c->began = clock_now();
    c->fd = connect_from(l, c);
    if (c->fd < 0) {
        l->connect_failures++;
        come_back_later(l, c);
        return;
    }
    c->stage = CONNECTING;
    c->writing = true; /* a socket takes data once it is connected */
    c->next_id = FIRST_SHARE_ID;
    c->mask = 0;
    c->tip = 0;
    l->logging_in++;
    watch(l, c, EPOLL_CTL_ADD);
}

void session_end(load *l, connection *c)
{
    bool was_whole = l->ready == l->connections;

    if (c->fd < 0)
        return;
    close(c->fd);
    c->fd = -1;
    if (c->stage == CONNECTING)
        l->connect_failures++;
    else
        l->disconnects++;
    if (c->ready)
        l->ready--;
    else
        l->logging_in--;
    l->lost += shares_forget(c);
    job_release(c->job);
    c->job = NULL;
    c->ready = c->authorized = c->writing = false;
    c->rest_length = c->unsent_length = 0;
    come_back_later(l, c);
    if (was_whole && l->ready < l->connections && !l->stopping)
        report_lost(l);
}

void session_send(load *l, connection *c, const char *text, size_t length)
{
    ssize_t taken = 0;

    if (c->fd < 0 || length == 0)
        return;
    if (c->unsent_length == 0) {
        taken = send(c->fd, text, length, MSG_NOSIGNAL);
        if (taken < 0 && errno != EAGAIN)
            return; /* what is wrong with it will be read from it */
        taken = taken < 0 ? 0 : taken;
    }
    length -= (size_t)taken;
    if (length == 0)
        return;
    if (c->unsent_length + length > c->unsent_room) {
        c->unsent_room = 2 * (c->unsent_length + length);
        c->unsent = resized(c->unsent, c->unsent_room);
    }
    memcpy(c->unsent + c->unsent_length, text + taken, length);
    c->unsent_length += length;
    if (!c->writing) {
        c->writing = true;
        watch(l, c, EPOLL_CTL_MOD);
    }
}

static void flush(load *l, connection *c)
{
    if (c->unsent_length > 0) {
        ssize_t taken = send(c->fd, c->unsent, c->unsent_length, MSG_NOSIGNAL);
        if (taken <= 0)
            return;
        c->unsent_length -= (size_t)taken;
        memmove(c->unsent, c->unsent + taken, c->unsent_length);
    }
    if (c->unsent_length == 0) {
        c->writing = false;
        watch(l, c, EPOLL_CTL_MOD);
    }
}

/* ---- Login: configure, subscribe, authorize, each after the other's answer or all at once ---- */

static void ask(load *l, connection *c, stage next)
{
    char text[3 * MAX_REPLY];
    int length = 0;
    size_t room = sizeof text;

    c->stage = next;
    if (next == CONFIGURING)
        length = snprintf(text, room,
                          "{\"id\":%d,\"method\":\"mining.configure\",\"params\":[[\"version-rolling\"],"
                          "{\"version-rolling.mask\":\"1fffe000\",\"version-rolling.min-bit-count\":2}]}\n",
                          CONFIGURE_ID);
    if (next == SUBSCRIBING || (l->together && next == CONFIGURING)) {
        const char *session = l->resume && *c->session ? c->session : NULL;
        length += snprintf(text + length, room - (size_t)length,
                           "{\"id\":%d,\"method\":\"mining.subscribe\",\"params\":[\"" AGENT "\"%s%s%s]}\n",
                           SUBSCRIBE_ID, session ? ",\"" : "", session ? session : "", session ? "\"" : "");
    }
    if (next == AUTHORIZING || l->together)
        length += snprintf(text + length, room - (size_t)length,
                           "{\"id\":%d,\"method\":\"mining.authorize\",\"params\":[\"%s%u\",\"x\"]}\n", AUTHORIZE_ID,
                           l->prefix, c->number);
    if (l->together)
        c->stage = AUTHORIZING;
    session_send(l, c, text, (size_t)length);
}

static void copy(char *to, size_t room, slice text)
{
    if (text.at && text.length < room) {
        memcpy(to, text.at, text.length);
        to[text.length] = 0;
    }
}

static uint32_t mask_of(slice text)
{
    char digits[9] = "";

    copy(digits, sizeof digits, text);
    return (uint32_t)strtoul(digits, NULL, 16);
}

static bool subscribed(connection *c, slice result)
{
    slice items[3], subscriptions[8], pair[2];
    slice extranonce1;
    int64_t size;
    int count;

    if (array_items(items, 3, result) != 3)
        return false;
    extranonce1 = string_inside(items[1]);
    size = whole_number(items[2]);
    if (!extranonce1.at || extranonce1.length >= sizeof c->extranonce1 || size < 1 || size > 16)
        return false;
    copy(c->extranonce1, sizeof c->extranonce1, extranonce1);
    c->extranonce2_size = (uint32_t)size;
    count = array_items(subscriptions, 8, items[0]);
    if (count > 0 && array_items(pair, 2, subscriptions[count - 1]) == 2)
        copy(c->session, sizeof c->session, string_inside(pair[1]));
    return true;
}

static void become_ready(load *l, connection *c)
{
    if (c->ready || !c->authorized || !c->job || !c->extranonce2_size)
        return;
    c->ready = true;
    c->stage = MINING;
    l->logging_in--;
    l->ready++;
    histogram_add(&l->login, clock_now() - c->began);
    if (l->ready == l->connections)
        report_ready(l);
}

static void login_answer(load *l, connection *c, int64_t id, const message *m, slice line)
{
    bool good = !m->error.at || slice_is(m->error, "null");

    if (id == CONFIGURE_ID) {
        /* A server that does not know it says so, and is mined without. */
        c->mask = good ? mask_of(string_inside(object_member(m->result, "version-rolling.mask"))) : 0;
        if (c->stage == CONFIGURING)
            ask(l, c, SUBSCRIBING);
        return;
    }
    if (id == SUBSCRIBE_ID && good && subscribed(c, m->result)) {
        if (c->stage == SUBSCRIBING)
            ask(l, c, AUTHORIZING);
        return;
    }
    if (id == AUTHORIZE_ID && good && slice_is(m->result, "true")) {
        c->authorized = true;
        become_ready(l, c);
        return;
    }
    session_odd(l, &l->malformed, "the login was refused", line);
    session_end(l, c);
}

/* ---- Lines ---- */

static void tip_told(load *l, connection *c)
{
    if (c->tip > l->tip) {
        if (l->tip_told > 0 && l->tip_told < l->tip_due)
            report_tip(l); /* some were never told of the one before */
        l->tip = c->tip;
        l->tip_told = 0;
        l->tip_due = l->ready;
        memcpy(l->tip_prev_hash, c->job->prev_hash, sizeof l->tip_prev_hash);
    }
    if (c->tip == l->tip && c->ready) {
        l->tip_at[l->tip_told++] = l->read_at;
        if (l->tip_told == l->tip_due)
            report_tip(l);
    }
}

static void notified(load *l, connection *c, slice line, slice params)
{
    bool fresh;
    job *j = job_of(&l->table, &fresh, line, params);
    uint64_t before = c->tip;

    if (!j) {
        session_odd(l, &l->malformed, "a notify that is none", line);
        return;
    }
    if (fresh)
        log_job(l, j);
    if (j != c->job)
        c->job_from = c->count;
    job_release(c->job);
    c->job = j;
    if (j->tip > before) {
        c->tip = j->tip;
        if (before)
            tip_told(l, c);
    }
    become_ready(l, c);
}

static void reply(load *l, connection *c, slice id, const char *result)
{
    char text[MAX_REPLY];

    if (!id.at || slice_is(id, "null") || id.length > 64)
        return;
    session_send(l, c, text,
                 (size_t)snprintf(text, sizeof text, "{\"id\":%.*s,\"result\":\"%s\",\"error\":null}\n",
                                  (int)id.length, id.at, result));
}

static void called(load *l, connection *c, const message *m, slice line)
{
    slice method = string_inside(m->method), items[2] = {{NULL, 0}, {NULL, 0}};
    int count = array_items(items, 2, m->params);

    if (slice_is(method, "mining.notify")) {
        notified(l, c, line, m->params);
    } else if (slice_is(method, "mining.set_difficulty") && count > 0) {
        c->difficulty = strtod(items[0].at, NULL);
    } else if (slice_is(method, "mining.set_extranonce") && count == 2) {
        copy(c->extranonce1, sizeof c->extranonce1, string_inside(items[0]));
        c->extranonce2_size = (uint32_t)whole_number(items[1]) & 15;
    } else if (slice_is(method, "mining.set_version_mask") && count > 0) {
        c->mask = c->mask ? mask_of(string_inside(items[0])) : 0;
    } else if (slice_is(method, "client.reconnect")) {
        l->asked_away++;
        session_end(l, c);
    } else if (slice_is(method, "client.get_version")) {
        reply(l, c, m->id, AGENT);
    } else if (slice_is(method, "mining.ping")) {
        reply(l, c, m->id, "pong");
    } else if (slice_is(method, "client.show_message")) {
        l->messages++;
    } else {
        session_odd(l, &l->malformed, "a call that no miner knows", line);
    }
}

static void take_line(load *l, connection *c, slice line)
{
    message m;
    int64_t id;

    if (!message_read(&m, line)) {
        session_odd(l, &l->malformed, "not a JSON object", line);
        return;
    }
    if (m.method.at) {
        called(l, c, &m, line);
        return;
    }
    id = whole_number(m.id);
    if (id >= CONFIGURE_ID && id <= AUTHORIZE_ID && c->stage != MINING)
        login_answer(l, c, id, &m, line);
    else
        shares_answer(l, c, &m, line);
}

/* Take whole lines.  Returns: how many bytes these were. */
static size_t take_lines(load *l, connection *c, const char *text, size_t length)
{
    const char *at = text, *end = text + length, *newline;

    while (c->fd >= 0 && at < end && (newline = memchr(at, '\n', (size_t)(end - at)))) {
        slice line = {at, (size_t)(newline - at)};
        at = newline + 1;
        take_line(l, c, line);
    }
    return (size_t)(at - text);
}

static void take(load *l, connection *c, const char *text, size_t length)
{
    size_t taken = 0;

    if (c->rest_length == 0) {
        taken = take_lines(l, c, text, length);
        text += taken;
        length -= taken;
    }
    if (c->fd < 0 || length == 0)
        return;
    if (c->rest_length + length > c->rest_room) {
        c->rest_room = 2 * (c->rest_length + length);
        c->rest = resized(c->rest, c->rest_room);
    }
    memcpy(c->rest + c->rest_length, text, length);
    c->rest_length += length;
    taken = take_lines(l, c, c->rest, c->rest_length);
    if (c->fd < 0)
        return;
    c->rest_length -= taken;
    memmove(c->rest, c->rest + taken, c->rest_length);
    if (c->rest_length > LONGEST_LINE) {
        slice line = {c->rest, c->rest_length};
        session_odd(l, &l->malformed, "a line without an end", line);
        session_end(l, c);
    }
}

/* When the kernel got the last of what was read; now, if it was not asked to note it. */
static int64_t time_of(const load *l, struct msghdr *header)
{
    struct timespec at;

    for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part))
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_TIMESTAMPNS) {
            memcpy(&at, CMSG_DATA(part), sizeof at);
            return at.tv_sec * NANO + at.tv_nsec - l->utc_offset;
        }
    return clock_now();
}

static void receive(load *l, connection *c)
{
    struct iovec space = {received, sizeof received};
    char control[128] __attribute__((aligned(8)));
    struct msghdr header = {.msg_iov = &space, .msg_iovlen = 1};
    ssize_t length;

    if (l->stamps) {
        header.msg_control = control;
        header.msg_controllen = sizeof control;
    }
    length = recvmsg(c->fd, &header, 0);
    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (length <= 0) {
        session_end(l, c);
        return;
    }
    l->read_at = time_of(l, &header);
    take(l, c, received, (size_t)length);
    shares_fill(l, c);
}

void session_event(load *l, connection *c, uint32_t events)
{
    if (c->fd < 0)
        return;
    if (c->stage == CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) {
            session_end(l, c);
            return;
        }
        ask(l, c, l->roll ? CONFIGURING : SUBSCRIBING);
    }
    if (events & EPOLLOUT)
        flush(l, c);
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        receive(l, c);
}
