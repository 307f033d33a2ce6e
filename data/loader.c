/* data/loader.c - a ring of samples: place i of the stream lives in slot i % count, from the moment a thread claims it
 * until it is handed out. Threads claim places in order, so the one that is waited for is always being made. */
#include "data/loader.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { THREADS_MAX = 64, AHEAD_MAX = 1024 };

typedef struct {
    Sample sample;
    bool ready;
    ErrCode code; /* why it could not be made, with the sentence */
    char sentence[1024];
} Slot;

struct Loader {
    SampleSource source;
    uint64_t end, position; /* position: the next to hand out */
    uint64_t claimed;       /* the next that a thread will make */
    bool stop;
    int nice, count, threads;
    Slot *slots;
    pthread_t thread[THREADS_MAX];
    pthread_mutex_t lock;
    pthread_cond_t room, ready;
};

static void make_into(Loader *l, Slot *slot, uint64_t index) {
    slot->code = ERR_NONE;
    if (l->source.make(l->source.context, index, &slot->sample)) {
        slot->code = err_code();
        snprintf(slot->sentence, sizeof slot->sentence, "%s", err_sentence());
    }
    slot->sample.index = index;
}

static void *work(void *context) {
    Loader *l = context;
#ifdef SYS_gettid
    /* of this thread alone: the kernel counts niceness per thread; refused where a limit forbids it, and then no worse
     */
    if (l->nice > 0) (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), l->nice);
#endif
    pthread_mutex_lock(&l->lock);
    for (;;) {
        while (!l->stop && (l->claimed - l->position >= (uint64_t)l->count || (l->end && l->claimed >= l->end)))
            pthread_cond_wait(&l->room, &l->lock);
        if (l->stop) break;
        uint64_t index = l->claimed++;
        Slot *slot = &l->slots[index % (uint64_t)l->count];
        pthread_mutex_unlock(&l->lock);
        make_into(l, slot, index);
        pthread_mutex_lock(&l->lock);
        slot->ready = true;
        pthread_cond_broadcast(&l->ready);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

int loader_make(Loader **loader, const SampleSource *source, const LoaderOptions *options) {
    *loader = NULL;
    if (options->threads < 0 || options->threads > THREADS_MAX || options->ahead < 0 || options->ahead > AHEAD_MAX)
        return fail(ERR_INPUT, "a loader has 0 to %d threads and works 1 to %d samples ahead, not %d and %d",
                    THREADS_MAX, AHEAD_MAX, options->threads, options->ahead);
    Loader *l = mem_zero(1, sizeof *l);
    if (!l) return err_code();
    l->source = *source;
    l->position = l->claimed = options->position, l->end = options->end, l->nice = options->nice;
    l->count = options->ahead ? options->ahead : options->threads > 1 ? 2 * options->threads : 2;
    l->slots = mem_zero((size_t)l->count, sizeof *l->slots);
    if (!l->slots) {
        mem_free(l);
        return err_code();
    }
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->room, NULL);
    pthread_cond_init(&l->ready, NULL);
    while (l->threads < options->threads && !pthread_create(&l->thread[l->threads], NULL, work, l)) l->threads++;
    *loader = l; /* with fewer threads than asked for, or none, it only is slower */
    return 0;
}

bool loader_ended(const Loader *l) {
    return l->end && l->position >= l->end;
}

uint64_t loader_position(const Loader *l) {
    return l->position;
}

int loader_next(Loader *l, Sample *sample) {
    if (loader_ended(l)) return fail(ERR_INPUT, "the stream of samples has ended");
    Slot *slot = &l->slots[l->position % (uint64_t)l->count];
    if (!l->threads) {
        make_into(l, slot, l->position);
    } else {
        pthread_mutex_lock(&l->lock);
        while (!slot->ready) pthread_cond_wait(&l->ready, &l->lock);
        pthread_mutex_unlock(&l->lock);
    }
    /* nobody else touches the slot until the position moves */
    Sample given = *sample;
    *sample = slot->sample, slot->sample = given;
    ErrCode code = slot->code;
    char sentence[sizeof slot->sentence];
    if (code) memcpy(sentence, slot->sentence, sizeof sentence);
    pthread_mutex_lock(&l->lock);
    slot->ready = false;
    l->position++;
    pthread_cond_broadcast(&l->room);
    pthread_mutex_unlock(&l->lock);
    return code ? fail(code, "%s", sentence) : 0;
}

void loader_drop(Loader *l) {
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_broadcast(&l->room);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; i < l->threads; i++) pthread_join(l->thread[i], NULL);
    for (int i = 0; i < l->count; i++) sample_free(&l->slots[i].sample);
    pthread_cond_destroy(&l->ready);
    pthread_cond_destroy(&l->room);
    pthread_mutex_destroy(&l->lock);
    mem_free(l->slots);
    mem_free(l);
}
