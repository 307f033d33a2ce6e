/* base/text.h - numbers as people read them. */
#ifndef PANUM_BASE_TEXT_H
#define PANUM_BASE_TEXT_H
#include <stdint.h>

enum { GROUPED_SIZE = 32 };
/* 1234567 as 1,234,567; returns out. */
char *text_grouped(char out[GROUPED_SIZE], int64_t value);
#endif
