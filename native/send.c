/* send.c: answers of many miners written at one call. The core's only I/O, and none that waits: what a socket does not
 * take at once is its owner's again. */
#include <errno.h>

#include "internal.h"

#ifndef _WIN32
#include <sys/socket.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* the interpreter ignores SIGPIPE itself */
#endif

static uint32_t send_some(int socket, const uint8_t *data, uint32_t length)
{
    ssize_t written;

    do
        written = send(socket, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (written < 0 && errno == EINTR);
    return written < 0 ? 0 : (uint32_t)written;
}
#else
static uint32_t send_some(int socket, const uint8_t *data, uint32_t length)
{
    (void)socket, (void)data, (void)length;
    return 0;
}
#endif

size_t hm_send(const int32_t *sockets, const uint32_t *lengths, const uint8_t *data, size_t count, uint32_t *sent)
{
    size_t short_of = 0;

    for (size_t i = 0; i < count; data += lengths[i++]) {
        int held_up = 0;
        /* Behind a piece that is not whole nothing may follow on its socket. */
        for (size_t k = 0; short_of > 0 && k < i && !held_up; k++)
            held_up = sockets[k] == sockets[i] && sent[k] < lengths[k];
        sent[i] = held_up || lengths[i] == 0 ? 0 : send_some(sockets[i], data, lengths[i]);
        short_of += sent[i] < lengths[i];
    }
    return short_of;
}
