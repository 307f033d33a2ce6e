/* base/text.h - numbers as people read them, and patterns of names. */
#ifndef PANUM_BASE_TEXT_H
#define PANUM_BASE_TEXT_H
#include <stdbool.h>
#include <stdint.h>

enum { GROUPED_SIZE = 32 };
/* 1234567 as 1,234,567; returns out. */
char *text_grouped(char out[GROUPED_SIZE], int64_t value);
/* Is `name` of the form `pattern`? A * stands for any characters, also none, dots included; all else for itself. */
bool text_matches(const char *pattern, const char *name);
#endif
