/* checks.h: what the C tests of the core share. */
#ifndef CHECKS_H
#define CHECKS_H

#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

#define CHECK(condition)                                                          \
    do {                                                                          \
        if (!(condition)) {                                                       \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);       \
            exit(1);                                                              \
        }                                                                         \
    } while (0)

/* Numbers that are the same in every run. */
uint32_t next_random(void);
void fill(uint8_t *bytes, size_t length);

void test_submissions(void);

#endif
