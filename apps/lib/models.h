/* apps/lib/models.h - which networks there are, where their weights are looked for, and whether a file holds them. */
#ifndef PANUM_APPS_LIB_MODELS_H
#define PANUM_APPS_LIB_MODELS_H
#include "tensor/files/weights.h"

typedef struct {
    const char *name;     /* "s2m2-S" */
    const char *files[4]; /* names its weights go by, best first; NULL ends */
    const char *origin;   /* who made the weights, under what licence */
} KnownModel;
extern const KnownModel known_models[];
extern const int known_model_count;

enum { MODEL_PATH_MAX = 4096 };
/* The first of its files in $PANUM_MODELS, ./models, ~/.local/share/panum/models. False: nowhere. Sets no error. */
bool model_find_weights(const char *name, char path[MODEL_PATH_MAX]);
/* "./models, ..." for messages. Static text. */
const char *model_folders(void);

/* How a file's tensors compare with what a model asks for. */
typedef struct {
    int wanted, missing, misshapen, unexpected;
    int64_t parameters;
    char details[700]; /* the first few differences; "" when it fits */
} ModelFit;
/* ERR_USAGE for an unknown name, ERR_MEMORY. */
int model_compare(const Weights *weights, const char *name, ModelFit *fit);
int64_t model_parameters(const char *name); /* -1: unknown, or no memory */
/* The model whose tensors are exactly those of the file, NULL when there is none. */
const char *model_identify(const Weights *weights);
#endif
