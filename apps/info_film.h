/* apps/info_film.h - the part of `panum info` that looks at films. */
#ifndef PANUM_APPS_INFO_FILM_H
#define PANUM_APPS_INFO_FILM_H
#include <stdbool.h>

int info_film(const char *path, bool json);
#endif
