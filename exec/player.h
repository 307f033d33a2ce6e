/* exec/player.h - a program that runs on the CPU or on a GPU, seen from outside: its inputs and outputs lie in memory
 * of the host, runs follow one another, and everything is allocated when it is made.
 *
 * On the CPU a player is its plan and no more. On a GPU it has one or two slots (exec/gpu_stage.h): with two, while
 * one run is computed the next can be filled and started, and outputs of the last be read. */
#ifndef PANUM_EXEC_PLAYER_H
#define PANUM_EXEC_PLAYER_H
#include "exec/gpu.h"

/* Where tensors of a run lie on the host. */
typedef struct {
    void *(*at)(const void *context, const Tensor *t);
    const void *context;
} HostPlaces;
HostPlaces plan_places(const Plan *plan);

typedef struct {
    PlanOptions plan;
    int slots; /* 0 is 1: runs do not overlap; 2: one is filled while another is computed */
    Gpu *gpu;  /* NULL: the CPU */
    GpuPlanOptions on_gpu;
} PlayerOptions;

typedef struct Player Player;
/* Program, source, pool and device outlive it. Inputs and outputs are all of the program's. */
int player_make(Program *program, const WeightSource *weights, Pool *pool, PlayerOptions options, Player **player);
void player_drop(Player *player); /* NULL is fine */
Plan *player_plan(Player *player);

/* Of the run to come: the host memory of an input, to be filled; player_await first where runs overlap. Of the run that
 * player_finish finished: that of an output, to be read before the next start. */
void *player_data(const Player *player, const Tensor *t);
HostPlaces player_places(const Player *player);
int player_run(Player *player); /* start and finish */
/* Starts a run on what was filled. At most one other may be under way, and is the next that player_finish waits for. On
 * the CPU start does nothing and finish computes. */
int player_start(Player *player);
int player_finish(Player *player);
int player_await(Player *player); /* the inputs may be filled for one more start */
/* The numbers of the weights have changed where they lie. */
int player_reload(Player *player);
size_t player_device_bytes(const Player *player); /* of GPU memory; 0 on the CPU */
#endif
