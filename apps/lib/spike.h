/* apps/lib/spike.h - is a step's loss far above those before it?
 *
 * Compared with the last SPIKE_WINDOW finite losses by their median and their median absolute deviation, which a few
 * spikes among them do not move, and on the scale of logarithms: losses of steps with few samples spread by factors,
 * so that on a linear scale the long upper tail of ordinary steps would be told as spikes. Nothing is told until there
 * are SPIKE_LEAST of them. Where spikes are only told, the watch is no part of a checkpoint: it changes nothing that is
 * computed. Where they are skipped, it is kept as text. */
#ifndef PANUM_APPS_LIB_SPIKE_H
#define PANUM_APPS_LIB_SPIKE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SPIKE_WINDOW = 128, SPIKE_LEAST = 32 };
/* Deviations above the median that make a spike, and by what factor it must exceed the median besides: where losses
 * hardly differ, six of their deviations may be a matter of per cent. */
#define SPIKE_DEVIATIONS 6.0
#define SPIKE_FACTOR 2.0

typedef struct {
    double loss[SPIKE_WINDOW]; /* a ring */
    int64_t count;             /* seen since the beginning */
} SpikeWatch;                  /* zeroed: nothing seen yet */

typedef struct {
    double median, factor; /* of the losses before; the loss in terms of it */
    double deviations;     /* 1.4826 median absolute deviations, of logarithms; infinity where all were the same */
} Spike;

/* True when the loss stands out from those before it; takes it among them either way. Losses that are not finite or
 * not positive are neither told nor taken. */
bool spike_watch(SpikeWatch *watch, double loss, Spike *spike);
/* The same without taking it. */
bool spike_seen(const SpikeWatch *watch, double loss, Spike *spike);

/* All of it as text that gives the same bits back. False: it is none. */
enum { SPIKE_TEXT = 32 * (SPIKE_WINDOW + 1) };
void spike_text(const SpikeWatch *watch, char text[SPIKE_TEXT]);
bool spike_parse(SpikeWatch *watch, const char *text);
#endif
