/* tensor/ops/conv_direct.c - convolution as an implicit matrix product: a block of neighbouring output pixels times a
 * panel of weights, where every tap (or row of taps) of the kernel is a stretch read in place. Only blocks that touch
 * the border are first copied, with zeros, into a strip of scratch (16 columns of kh rows for a 3x3: one copy of each
 * value for co/32 uses of it).
 *
 * Should compute 2*k*co flops a pixel at the block kernel's 97 % of peak, less the tail of partly filled vectors; moves
 * each input about once from DRAM (kernel rows overlap in L2), each weight once a group from L2 or L3, each output
 * once. */
#include "tensor/ops/conv_task.h"
#ifndef PANUM_F64

#include <string.h>

enum {
    GROUP_ROWS = 56,     /* output rows that share one pass over the weights, and a tile for the hole */
    AHEAD_K = 48,        /* shorter products end before memory asked for ahead of them comes */
    PAST_COLUMNS = 64,   /* narrower products gain nothing from storing past the caches */
    CHUNK_COLUMNS = 512, /* widest tile for the hole: 56 x 512 floats are 112 KiB of L2 */
};
/* A pool tile is about this much work: 200 us at 120 GFLOP/s, 50 us on a core four times as fast. */
static const double tile_flops = 24e6;

typedef struct {
    int64_t row_blocks;    /* blocks of an output row; they differ by at most one pixel */
    int64_t blocks, group; /* of the whole map; in a group */
    int64_t tile_groups;   /* groups of a pool tile */
    int64_t chunk, chunks; /* columns of a pool tile, and how many such parts */
    int64_t tiles;
    int64_t stretches;   /* most of a block */
    bool all_copied;     /* rows lie a multiple of 4 KiB apart */
    int64_t strip_pixel; /* floats from a column of a copied strip to the next */
    int64_t strip;       /* floats of a block's copy; 0 where none is needed */
} Grid;

static Grid make_grid(const ConvTask *task) {
    Grid grid;
    int64_t rows = task->kernels->rows;
    grid.row_blocks = divide_up(task->out_w, rows);
    grid.blocks = task->n * task->out_h * grid.row_blocks;
    grid.group = smaller(larger(GROUP_ROWS / rows, 1), grid.blocks);
    double column_flops = 2.0 * (double)(grid.group * rows) * (double)conv_k(task) * task->sets;
    grid.chunk = task->co;
    if (task->sets == 1) {
        /* Columns are cut where a group alone would be too long a tile, and where there are too few groups to share. */
        int64_t unit = 2 * task->kernels->vector, limit = CHUNK_COLUMNS;
        while (limit > unit && column_flops * (double)limit > 2.5 * tile_flops) limit /= 2;
        int64_t groups = divide_up(grid.blocks, grid.group);
        while (limit > unit && groups * divide_up(task->co, limit) < 16 &&
               column_flops * (double)limit > tile_flops / 8)
            limit /= 2;
        grid.chunk = smaller(round_up(larger(limit, unit), unit), task->co);
    }
    grid.chunks = divide_up(task->co, grid.chunk);
    int64_t groups = divide_up(grid.blocks, grid.group);
    double flops = column_flops * (double)grid.chunk;
    grid.tile_groups = flops * 2 > tile_flops ? 1 : smaller((int64_t)(tile_flops / flops), groups);
    /* At least 16 tiles, when that leaves each of them a few microseconds. */
    while (grid.tile_groups > 1 && divide_up(groups, grid.tile_groups) * grid.chunks < 16 &&
           flops * (double)grid.tile_groups > tile_flops / 8)
        grid.tile_groups = divide_up(grid.tile_groups, 2);
    grid.tiles = divide_up(groups, grid.tile_groups) * grid.chunks;
    grid.stretches = task->kh * task->kw * task->segments;
    /* Rows a multiple of 4 KiB apart all fall into one set of L1, which holds 8 lines: 14 of them evict each other at
     * every step of k. Such blocks are copied too, spread by one line. */
    grid.all_copied = false;
    for (int s = 0; s < task->segments; s++)
        grid.all_copied = grid.all_copied || task->segment[s].pixel * task->stride % 1024 == 0;
    grid.strip_pixel = task->ci + (grid.all_copied ? 16 : 0);
    if (task->bf16) { /* every block is converted into its strip */
        grid.all_copied = true;
        grid.strip_pixel = conv_pairs(task) + (conv_pairs(task) * task->stride % 512 == 0 ? 16 : 0);
    }
    bool copies = task->pad_h || task->pad_w || grid.all_copied;
    grid.strip = copies ? task->kh * ((rows - 1) * task->stride + task->kw) * grid.strip_pixel : 0;
    return grid;
}

typedef struct {
    const ConvTask *task;
    const Run *run;
    const float *packed, *bias;
    const ConvTarget *to;
    const Hole *hole;
    Grid grid;
    bool past; /* results go past the caches */
} Job;

/* Worker scratch: stretches of every block of a group, strips, the tile. */
static int64_t stretch_bytes(const Grid *grid) {
    return round_up(grid->group * grid->stretches * (int64_t)sizeof(Stretch), 64);
}
static int64_t strip_bytes(const Grid *grid) {
    return round_up(grid->group * grid->strip * (int64_t)sizeof(float), 64);
}

size_t conv_direct_worker(const ConvTask *task) {
    Grid grid = make_grid(task);
    int64_t tile = grid.group * task->kernels->rows * grid.chunk * (int64_t)sizeof(float);
    return (size_t)(stretch_bytes(&grid) + strip_bytes(&grid) + round_up(tile, 64));
}

/* Copies what the block of output pixels x0..x1-1 of one row reads: kernel rows u that exist, each (x1-x0-1)*stride +
 * kw columns of ci channels, zero outside the map. */
static void copy_strip(const ConvTask *task, int64_t image, int64_t top, int64_t left, int64_t columns, int64_t pixel,
                       float *strip) {
    for (int64_t u = 0; u < task->kh; u++, strip += columns * pixel) {
        if (top + u < 0 || top + u >= task->h) continue;
        const ConvSegment *only = &task->segment[0];
        if (task->bf16 && task->segments == 1 && only->pixel == task->ci && task->ci == 2 * pixel && left >= 0 &&
            left + columns <= task->w) { /* neither gaps nor borders: all at once */
            task->bf16->convert(only->data + image * only->image + (top + u) * only->row + left * only->pixel,
                                columns * task->ci, (uint16_t *)(void *)strip);
            continue;
        }
        for (int64_t column = 0; column < columns; column++) {
            float *to = strip + column * pixel;
            if (left + column < 0 || left + column >= task->w) {
                memset(to, 0, (size_t)(task->bf16 ? conv_pairs(task) : task->ci) * sizeof(float));
                continue;
            }
            uint16_t *pairs = (uint16_t *)(void *)to;
            for (int s = 0; s < task->segments; s++) {
                const ConvSegment *from = &task->segment[s];
                const float *data =
                    from->data + image * from->image + (top + u) * from->row + (left + column) * from->pixel;
                if (task->bf16)
                    task->bf16->convert(data, from->channels, pairs);
                else
                    memcpy(to, data, (size_t)from->channels * sizeof(float));
                to += from->channels;
                pairs += from->channels;
            }
            if (task->bf16 && task->ci % 2) *pairs = 0;
        }
    }
}

typedef struct {
    int64_t row, x0, x1; /* output row n*out_h + y and its pixels */
    const Stretch *stretch;
    int64_t stretches;
} Block;

static Block make_block(const Job *job, int64_t index, Stretch *stretch, float *strip) {
    const ConvTask *task = job->task;
    Block block = {.row = index / job->grid.row_blocks, .stretch = stretch};
    int64_t i = index % job->grid.row_blocks;
    block.x0 = i * task->out_w / job->grid.row_blocks;
    block.x1 = (i + 1) * task->out_w / job->grid.row_blocks;
    int64_t image = block.row / task->out_h, top = block.row % task->out_h * task->stride - task->pad_h;
    int64_t left = block.x0 * task->stride - task->pad_w, columns = (block.x1 - block.x0 - 1) * task->stride + task->kw;
    bool copied = job->grid.all_copied || left < 0 || left + columns > task->w;
    int64_t pixel = job->grid.strip_pixel;
    if (copied) copy_strip(task, image, top, left, columns, pixel, strip);
    for (int64_t u = 0; u < task->kh; u++) {
        if (top + u < 0 || top + u >= task->h) continue;
        int64_t depth = task->bf16 ? conv_pairs(task) : task->ci, k0 = task->k_first + u * task->kw * depth;
        if (copied && pixel == depth) {
            *stretch++ = (Stretch){strip + u * columns * pixel, task->stride * pixel, k0, task->kw * depth};
            continue;
        }
        if (copied) {
            for (int64_t v = 0; v < task->kw; v++)
                *stretch++ = (Stretch){strip + (u * columns + v) * pixel, task->stride * pixel, k0 + v * depth, depth};
            continue;
        }
        const ConvSegment *only = &task->segment[0];
        if (task->segments == 1 && only->pixel == task->ci) { /* the taps of a row follow each other in memory */
            const float *a = only->data + image * only->image + (top + u) * only->row + left * only->pixel;
            *stretch++ = (Stretch){a, task->stride * only->pixel, k0, task->kw * task->ci};
            continue;
        }
        for (int64_t v = 0; v < task->kw; v++)
            for (int s = 0; s < task->segments; s++) {
                const ConvSegment *from = &task->segment[s];
                const float *a = from->data + image * from->image + (top + u) * from->row + (left + v) * from->pixel;
                *stretch++ = (Stretch){a, task->stride * from->pixel, k0, from->channels};
                k0 += from->channels;
            }
    }
    block.stretches = stretch - block.stretch;
    return block;
}

/* The hardware follows few of the 14 rows a block reads at once, so what block `index`, of the next group, reads first
 * (its last kernel row, the new one) is asked for a part before each block, and so is the place of the next block's
 * results. (22080 x 128 x 128: 74 % of peak without, 80 % with the first, 90 % with both.) */
typedef struct {
    int64_t image, row, left, columns; /* of the operand; columns 0: nothing */
} Ahead;

static Ahead ahead_of(const Job *job, int64_t index) {
    const ConvTask *task = job->task;
    if (index >= job->grid.blocks) return (Ahead){0};
    const int64_t row = index / job->grid.row_blocks, i = index % job->grid.row_blocks;
    const int64_t x0 = i * task->out_w / job->grid.row_blocks, x1 = (i + 1) * task->out_w / job->grid.row_blocks;
    Ahead ahead = {.image = row / task->out_h};
    ahead.row = row % task->out_h * task->stride - task->pad_h + task->kh - 1;
    ahead.row = larger(smaller(ahead.row, task->h - 1), 0);
    ahead.left = larger(x0 * task->stride - task->pad_w + task->kw - 1, 0);
    ahead.columns = larger(smaller(ahead.left + (x1 - x0) * task->stride, task->w) - ahead.left, 0);
    return ahead;
}

static void ask_for_block(const ConvTask *task, const Ahead *ahead, int64_t part, int64_t parts) {
    KEEP_PREFETCH;
    for (int s = 0; s < task->segments; s++) {
        const ConvSegment *from = &task->segment[s];
        if (from->pixel != from->channels) continue;
        const float *at = from->data + ahead->image * from->image + ahead->row * from->row + ahead->left * from->pixel;
        const int64_t lines = divide_up(ahead->columns * from->pixel, 16), share = divide_up(lines, parts);
        for (int64_t l = part * share; l < smaller((part + 1) * share, lines); l++)
            __builtin_prefetch(at + 16 * l, 0, 2);
    }
}

/* Rows of the product whose two halves are neighbouring pixels, given to a hole pixel by pixel. */
static void store_pairs(const Job *job, int64_t row, int64_t rows, float *tile, int worker) {
    const Hole *hole = job->to->hole;
    int64_t inner = job->task->inner;
    if (!hole->direct) {
        hole->store(hole, 2 * row, 2 * rows, 0, inner, tile, inner, worker);
        return;
    }
    for (int64_t i = 0; i < 2 * rows; i++)
        memcpy(hole->direct + (2 * row + i) * hole->direct_stride, tile + i * inner, (size_t)inner * sizeof(float));
}

static int64_t position_after(const Job *job, const Block *block) {
    return block->row * job->task->out_w + block->x1;
}

/* Adds the enlarged map to `rows` results, which lie at `to`, from position `start` on. */
static void add_half(const Job *job, int64_t start, int64_t rows, int64_t column, int64_t columns, float *to,
                     int64_t stride) {
    const ConvHalf *half = &job->to->half;
    const int64_t w = 2 * half->w;
    for (int64_t at = start; at < start + rows;) {
        const int64_t row = at / w, x = at % w, count = smaller(w - x, start + rows - at);
        const int64_t image = row / (2 * half->h), y = row % (2 * half->h);
        /* Row y lies a quarter of a pixel beside row y/2: 3/4 of that and 1/4 of the next one on that side. */
        const int64_t near = y / 2, far = larger(smaller(near + (y % 2 ? 1 : -1), half->h - 1), 0);
        const float *from = half->at + image * half->h * half->w * half->columns + column;
        job->task->kernels->add_doubled(from + near * half->w * half->columns, from + far * half->w * half->columns,
                                        half->columns, half->w, x, count, columns, to + (at - start) * stride, stride);
        at += count;
    }
}

static void run_group(const Job *job, int64_t first, int64_t last, int64_t column, char *scratch, int worker) {
    const ConvTask *task = job->task;
    const ConvKernels *kernels = task->kernels;
    const Grid *grid = &job->grid;
    const ConvTarget *to = job->to;
    void (*multiply)(int64_t, int, const Stretch *, int64_t, const float *, const float *, float *, int64_t, int64_t,
                     BlockStore) = task->bf16 ? task->bf16->block : kernels->block;
    Block blocks[GROUP_ROWS];
    Stretch *stretch = (Stretch *)(void *)scratch;
    float *strip = (float *)(void *)(scratch + stretch_bytes(grid));
    float *tile = (float *)(void *)(scratch + stretch_bytes(grid) + strip_bytes(grid));
    for (int64_t b = first; b < last; b++)
        blocks[b - first] =
            make_block(job, b, stretch + (b - first) * grid->stretches, strip + (b - first) * grid->strip);
    bool ahead_pays = conv_k(task) >= AHEAD_K;
    Ahead ahead[GROUP_ROWS];
    for (int64_t b = first; ahead_pays && b < last; b++) ahead[b - first] = ahead_of(job, last + b - first);
    int64_t columns = smaller(grid->chunk, task->co - column), unit = 2 * kernels->vector;
    for (int set = 0; set < task->sets; set++) {
        const float *packed = job->packed + set * conv_depth(task) * conv_columns(task);
        int64_t start = blocks[0].row * task->out_w + blocks[0].x0; /* of the tile, when sets == 1 */
        for (int64_t j = column; j < column + columns; j += unit) {
            int vectors = conv_panel_vectors(task, j / unit);
            int64_t width = smaller(unit, column + columns - j);
            int64_t part = (j - column) / unit, parts = divide_up(columns, unit);
            for (int64_t b = 0; b < last - first; b++) {
                const Block *block = &blocks[b];
                if (ahead_pays && set == 0) ask_for_block(task, &ahead[b], part, parts);
                int64_t row = (task->sets * block->row + set) * task->out_w + block->x0;
                float *c = to->out           ? to->out + row * to->out_stride + j
                           : task->sets == 1 ? tile + (row - start) * columns + j - column
                                             : tile + b * kernels->rows * columns + j;
                int64_t stride = to->out ? to->out_stride : columns;
                if (ahead_pays && to->out && !job->past && b + 1 < last - first) {
                    const Block *next = &blocks[b + 1];
                    int64_t next_row = (task->sets * next->row + set) * task->out_w + next->x0;
                    conv_ask_for(to->out + next_row * to->out_stride + j, to->out_stride, next->x1 - next->x0, width);
                }
                if (!to->out && job->hole->ask && task->sets == 1)
                    job->hole->ask(job->hole, row, block->x1 - block->x0, j, width);
                if (task->algorithm == CONV_FEW)
                    kernels->few(block->x1 - block->x0, block->stretch, block->stretches, packed, conv_k(task),
                                 task->co, job->bias, c, stride);
                else
                    multiply(block->x1 - block->x0, vectors, block->stretch, block->stretches,
                             packed + j * conv_panel_depth(task), job->bias ? job->bias + j : NULL, c, stride, width,
                             job->past && width == vectors * kernels->vector ? BLOCK_PAST : BLOCK_SET);
            }
        }
        if (to->half.at) {
            const int64_t rows = position_after(job, &blocks[last - first - 1]) - start;
            add_half(job, start, rows, column, columns, to->out ? to->out + start * to->out_stride + column : tile,
                     to->out ? to->out_stride : columns);
        }
        if (to->out) continue;
        if (task->sets == 1) {
            const int64_t rows = position_after(job, &blocks[last - first - 1]) - start;
            job->hole->store(job->hole, start, rows, column, columns, tile, columns, worker);
        } else {
            for (int64_t b = 0; b < last - first; b++)
                store_pairs(job, (2 * blocks[b].row + set) * task->out_w + blocks[b].x0, blocks[b].x1 - blocks[b].x0,
                            tile + b * kernels->rows * columns, worker);
        }
    }
}

static void run_tile(void *context, int64_t index, int worker) {
    const Job *job = context;
    const Grid *grid = &job->grid;
    int64_t column = index % grid->chunks * grid->chunk, first = index / grid->chunks * grid->tile_groups * grid->group;
    int64_t last = smaller(first + grid->tile_groups * grid->group, grid->blocks);
    for (int64_t b = first; b < last; b += grid->group)
        run_group(job, b, smaller(b + grid->group, last), column, run_worker(job->run, worker), worker);
    if (job->past) stored_past();
}

void conv_direct_run(const ConvTask *task, const Run *run, const float *packed, const float *bias,
                     const ConvTarget *to) {
    Job job = {task, run, packed, bias, to, to->hole, make_grid(task), false};
    const int64_t results = task->n * task->out_h * task->out_w * task->sets * task->co;
    const bool large = results * (int64_t)sizeof(float) >= PAST_BYTES;
    if (task->co >= PAST_COLUMNS && task->algorithm == CONV_DIRECT && large) {
        job.past = to->out && !to->half.at;
        if (!to->out && to->hole->past) job.hole = to->hole->past;
    }
    pool_run(run->pool, job.grid.tiles, run_tile, &job);
}
#endif
