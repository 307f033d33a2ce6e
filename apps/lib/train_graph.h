/* apps/lib/train_graph.h - the program of one training step: the network on pairs of pictures, what its results should
 * have been, the loss, and the gradient of every parameter that is not frozen. */
#ifndef PANUM_APPS_LIB_TRAIN_GRAPH_H
#define PANUM_APPS_LIB_TRAIN_GRAPH_H
#include "data/sample.h"
#include "exec/player.h"
#include "losses/losses.h"
#include "models/s2m2.h"
#include "nn/parameters.h"

enum { GRAPH_TERMS_MAX = 12 };

typedef enum {
    GRAPH_TRAIN,   /* network, losses and gradients */
    GRAPH_LOSSES,  /* to measure with */
    GRAPH_FORWARD, /* the network alone */
} GraphPart;

typedef struct {
    S2m2Options network;
    GraphPart part;
    int width, height; /* of every picture, multiples of 32 */
    int pairs;         /* run at once */
    /* NULL: samples have truth, and every stage of the network learns from it (losses/matching.c). Else the losses of
     * films, with these weights (losses/cinematic.c): samples have anchors, their `valid` being the teacher's
     * confidence. */
    const CinematicWeights *cinematic;
    /* Of truth: what the losses weigh, NULL for matching_weights (losses/losses.h). */
    const MatchingWeights *matching;
    LossRule rule;             /* of the cinematic losses */
    AnchorTeacher teacher;     /* of the anchors */
    const char *const *frozen; /* patterns of parameters that are not trained */
    int frozen_count;
    const char *const *recompute; /* patterns of scopes whose results are computed twice instead of kept */
    int recompute_count;
} GraphOptions;

typedef struct {
    GraphOptions options;
    Program *program;
    Tensor *pictures;                    /* (2N,3,H,W) u8, left ones first */
    Tensor *disparity, *valid, *visible; /* (N,1,H,W) of truth or anchors */
    Tensor *judged;                      /* 1 where `visible` is known; NULL for films */
    Tensor *match_target, *match_weight; /* of the block matcher; NULL unless for films */
    MatchStages stages;
    MatchMaps out;
    Tensor *seed; /* [1]: what gradients are multiplied by (loss scale) */
    Tensor *loss; /* [1]: the weighted sum of the terms */
    struct {
        const char *name;
        double weight;
        Tensor *value; /* [1] */
    } term[GRAPH_TERMS_MAX];
    int terms;
    Tensor **gradient; /* by parameter of the list; NULL: frozen or without influence */
} TrainGraph;

/* `list` may be NULL for a forward graph. */
int graph_record(const GraphOptions *options, const ParameterList *list, TrainGraph *graph);
void graph_drop(TrainGraph *graph);
/* Puts a sample in place `pair` of the graph's inputs, which lie at `to`. Its size must be the graph's. */
int graph_fill(const TrainGraph *graph, HostPlaces to, Pool *pool, int pair, const Sample *sample);
/* Adds the gradients of the last run to a block laid out as the list (or writes them, for the first of several runs).
 */
typedef enum { GRADIENTS_SET, GRADIENTS_ADD } GradientUse;
void graph_take_gradients(const TrainGraph *graph, const Plan *plan, const ParameterList *list, Pool *pool,
                          GradientUse use, float *block);
double graph_scalar(HostPlaces from, const Tensor *t);
#endif
