/* json.c: reads the lines of a Stratum server, strictly: a server that sends half a JSON must not pass. */
#include <string.h>

#include "load.h"

enum { MAX_DEPTH = 16 };

bool slice_is(slice text, const char *word)
{
    size_t length = strlen(word);
    return text.at && text.length == length && memcmp(text.at, word, length) == 0;
}

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n'))
        at++;
    return at;
}

static const char *skip_string(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++) {
        if ((unsigned char)*at < ' ')
            return NULL;
        if (*at == '\\' && ++at == end)
            return NULL;
    }
    return at < end ? at + 1 : NULL;
}

static const char *skip_scalar(const char *at, const char *end)
{
    static const char *const words[] = {"true", "false", "null"};
    const char *begin = at;

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t length = strlen(words[i]);
        if ((size_t)(end - at) >= length && memcmp(at, words[i], length) == 0)
            return at + length;
    }
    if (at < end && *at == '-')
        at++;
    if (at == end || *at < '0' || *at > '9')
        return NULL;
    while (at < end && ((*at >= '0' && *at <= '9') || (at > begin && strchr("+-.eE", *at) && *at)))
        at++;
    return at;
}

static const char *skip_value(const char *at, const char *end, int depth);

/* Over the name of a member and its colon.  Returns: where its value begins; null if there is no name. */
static const char *skip_name(slice *name, const char *at, const char *end)
{
    const char *begin = at;

    if (at == end || *at != '"' || !(at = skip_string(at, end)))
        return NULL;
    name->at = begin + 1;
    name->length = (size_t)(at - begin) - 2;
    at = skip_space(at, end);
    return at < end && *at == ':' ? skip_space(at + 1, end) : NULL;
}

/* Over the comma or the bracket behind an element or a member.
 * Returns: where the next one begins, or behind the list.  Out: last (whether the list has ended). */
static const char *skip_comma(bool *last, const char *at, const char *end, char closing)
{
    at = skip_space(at, end);
    *last = at < end && *at == closing;
    if (at == end || (*at != ',' && !*last))
        return NULL;
    return *last ? at + 1 : skip_space(at + 1, end);
}

/* Over an array or an object, from its opening bracket. */
static const char *skip_list(const char *at, const char *end, int depth)
{
    bool object = *at == '{', last = false;
    char closing = object ? '}' : ']';
    slice name;

    at = skip_space(at + 1, end);
    if (at < end && *at == closing)
        return at + 1;
    while (at && !last) {
        if (object)
            at = skip_name(&name, at, end);
        if (at)
            at = skip_value(at, end, depth + 1);
        if (at)
            at = skip_comma(&last, at, end, closing);
    }
    return at;
}

/* Returns: behind the value that begins at `at`; null if there is none. */
static const char *skip_value(const char *at, const char *end, int depth)
{
    if (at == end || depth > MAX_DEPTH)
        return NULL;
    if (*at == '"')
        return skip_string(at, end);
    return *at == '{' || *at == '[' ? skip_list(at, end, depth) : skip_scalar(at, end);
}

static slice *member(message *m, slice name)
{
    switch (name.length) {
    case 2:
        return slice_is(name, "id") ? &m->id : NULL;
    case 5:
        return slice_is(name, "error") ? &m->error : NULL;
    case 6:
        return slice_is(name, "result") ? &m->result
               : slice_is(name, "method") ? &m->method
               : slice_is(name, "params") ? &m->params
                                          : NULL;
    default:
        return NULL;
    }
}

bool message_read(message *out, slice line)
{
    const char *end = line.at + line.length, *at = skip_space(line.at, end), *behind;

    memset(out, 0, sizeof *out);
    if (at == end || *at != '{' || !(behind = skip_list(at, end, 0)) || skip_space(behind, end) != end)
        return false;
    at = skip_space(at + 1, end);
    for (bool last = *at == '}'; !last;) {
        slice name, *place;
        const char *value = skip_name(&name, at, end);
        at = skip_value(value, end, 1);
        place = member(out, name);
        if (place) {
            place->at = value;
            place->length = (size_t)(at - value);
        }
        at = skip_comma(&last, at, end, '}');
    }
    return true;
}

slice object_member(slice object, const char *wanted)
{
    const char *at = object.at, *end = at + object.length;
    slice value = {NULL, 0};

    if (!at || *at != '{')
        return value;
    at = skip_space(at + 1, end);
    for (bool last = *at == '}'; !last;) {
        slice name;
        const char *begin = skip_name(&name, at, end);
        at = skip_value(begin, end, 1);
        if (slice_is(name, wanted)) {
            value.at = begin;
            value.length = (size_t)(at - begin);
        }
        at = skip_comma(&last, at, end, '}');
    }
    return value;
}

int array_items(slice *items, int capacity, slice array)
{
    const char *at = array.at, *end = at + array.length;
    int count = 0;

    if (!array.at || *at != '[')
        return -1;
    at = skip_space(at + 1, end);
    while (count < capacity && *at != ']') {
        const char *value = at;
        at = skip_value(at, end, 0);
        if (!at)
            return -1;
        items[count].at = value;
        items[count++].length = (size_t)(at - value);
        at = skip_space(at, end);
        if (*at == ',')
            at = skip_space(at + 1, end);
    }
    return count;
}

slice string_inside(slice value)
{
    slice inside = {NULL, 0};

    if (value.at && value.length >= 2 && *value.at == '"' && !memchr(value.at, '\\', value.length)) {
        inside.at = value.at + 1;
        inside.length = value.length - 2;
    }
    return inside;
}

int64_t whole_number(slice value)
{
    int64_t number = 0;

    if (!value.at || value.length == 0 || value.length > 18)
        return -1;
    for (size_t i = 0; i < value.length; i++) {
        if (value.at[i] < '0' || value.at[i] > '9')
            return -1;
        number = 10 * number + (value.at[i] - '0');
    }
    return number;
}
