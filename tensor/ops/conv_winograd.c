/* tensor/ops/conv_winograd.c - convolution by Winograd's minimal filtering, in two jobs. The weights of a layer,
 * U = G g G^T, are 36/9 of their size for F(4x4), 64/9 for F(6x6); they are made anew in each run, because keeping them
 * would be the largest thing in memory. Which operand is made first, for the whole layer, depends on which is smaller:
 *
 *   by runs of tiles (many tiles): 1. U of all panels into shared scratch. 2. For each run of tiles: V = B^T d B of all
 *     channels, then panel by panel of 32 columns the products M_e = V_e U_e (36 or 64 small matrix products), and
 *     A^T M A at once, while M is in L2. V of a run is kept below half of L2 (22 tiles of 128 channels: 400 KB, M
 *     100 KB; for F(6x6) 14 tiles, 450 KB), so U is read once a run from L3.
 *   by panels (fewer tiles than columns, as at 1/16 resolution): 1. V of the whole map into shared scratch. 2. For each
 *     panel: its U into the worker's own scratch, then products and A^T M A for up to 112 tiles. U is never stored as a
 *     whole (38 MB for 512->512) and never read back from DRAM.
 *
 * Should move: input once (patches overlap by 2.25, in L2), U or V once a run or panel, output once. Should compute:
 * products x tiles x ci x co multiply-adds at the block kernel's rate; the two transforms add about 500 vector
 * operations' time a tile and vector of channels (850 for F(6x6)), most of it stores to L1 and L2. */
#include "tensor/ops/conv_task.h"
#ifndef PANUM_F64

enum {
    V_BYTES = 400 << 10, /* of one run of tiles: two fifths of a 1 MiB L2; 512 and 700 are slower with AVX2 */
    WEIGHT_CHUNK = 32,   /* input channels of one tile of job 1, by runs */
    INPUT_CHUNK = 6,     /* tiles of one tile of job 1, by panels */
    SUM_CHANNELS = 128,  /* where sums may be taken in parts, no longer ones, since A^T makes their roundings larger:
                            they grow with  the root of the longest sum */
    PART_TILES = 112,    /* most tiles of one product by panels: M is 516 KB then */
};

typedef struct {
    const ConvTask *task;
    const Run *run;
    const float *packed, *bias;
    const ConvTarget *to;
    float *whole; /* shared: U of all panels, or V of all tiles */
    bool by_panels;
    WinogradKind kind;
    WinogradSize size;
    int64_t products, tiles_y, tiles_x, tiles; /* tiles of the whole batch */
    int64_t runs, run_tiles;                   /* job 2 takes run_tiles tiles at once, at most */
    int64_t v_product, m_product, u_product;   /* floats between products */
    int64_t chunks;                            /* of channels, in job 1 */
    int64_t parts;                             /* in which sums over channels are taken */
} Job;

/* An odd number of cache lines, so that the 36 or 64 streams do not all fall into the same sets of L1. */
static int64_t spread(int64_t floats) {
    int64_t lines = divide_up(floats, 16);
    return (lines | 1) * 16;
}

static Job make_job(const ConvTask *task) {
    Job job = {.task = task, .kind = conv_winograd_kind(task->algorithm)};
    job.size = winograd_size[job.kind];
    job.products = job.size.patch_h * job.size.patch_w;
    job.tiles_y = divide_up(task->out_h, job.size.tile_h);
    job.tiles_x = divide_up(task->out_w, job.size.tile_w);
    job.tiles = task->n * job.tiles_y * job.tiles_x;
    int64_t rows = task->kernels->rows, least = divide_up(12, rows) * rows;
    int64_t most = V_BYTES / (job.products * task->ci * (int64_t)sizeof(float)) / rows * rows;
    most = larger(least, smaller(most, 16 * least));
    job.by_panels = job.tiles < conv_columns(task);
    /* Even runs; at least 16 of them to share, as long as each still fills blocks. */
    int64_t runs = divide_up(job.tiles, most);
    if (runs < 16) runs = larger(runs, smaller(16, divide_up(job.tiles, least)));
    if (job.by_panels) runs = divide_up(job.tiles, PART_TILES);
    job.runs = runs;
    job.run_tiles = divide_up(job.tiles, runs);
    int64_t width = 2 * task->kernels->vector;
    job.v_product = spread((job.by_panels ? job.tiles : job.run_tiles) * task->ci);
    job.m_product = spread(job.run_tiles * width);
    job.u_product = spread(task->ci * width);
    job.chunks = divide_up(task->ci, WEIGHT_CHUNK);
    job.parts = task->in_parts ? divide_up(task->ci, SUM_CHANNELS) : 1;
    return job;
}

size_t conv_winograd_shared(const ConvTask *task) {
    Job job = make_job(task);
    int64_t whole = job.by_panels ? job.v_product : conv_panels(task) * job.u_product;
    return (size_t)(job.products * whole * (int64_t)sizeof(float));
}

/* Worker scratch: V of a run (U of a panel), M, and for a hole the outputs of a run: tile_h rows of run_tiles*tile_w
 * pixels by one panel. */
static int64_t output_floats(const Job *job) {
    return job->size.tile_h * job->run_tiles * job->size.tile_w * 2 * job->task->kernels->vector;
}

size_t conv_winograd_worker(const ConvTask *task) {
    Job job = make_job(task);
    int64_t own = job.by_panels ? job.u_product : job.v_product;
    return (size_t)(job.products * (own + job.m_product) + output_floats(&job)) * sizeof(float);
}

static void transform_weights(const Job *job, int64_t panel, int64_t first, int64_t last, float *u) {
    const ConvTask *task = job->task;
    task->kernels->winograd_weights(job->kind, job->packed + panel * 2 * task->kernels->vector * conv_k(task), task->ci,
                                    first, last, conv_panel_vectors(task, panel) * task->kernels->vector, u,
                                    job->u_product);
}

static void weights_tile(void *context, int64_t index, int worker) {
    const Job *job = context;
    int64_t panel = index / job->chunks, first = index % job->chunks * WEIGHT_CHUNK;
    (void)worker;
    transform_weights(job, panel, first, smaller(first + WEIGHT_CHUNK, job->task->ci),
                      job->whole + panel * job->products * job->u_product);
}

typedef struct {
    int64_t image, y, x; /* in tiles */
} Tile;

static Tile tile_at(const Job *job, int64_t index) {
    Tile tile = {.x = index % job->tiles_x, .y = index / job->tiles_x};
    tile.image = tile.y / job->tiles_y;
    tile.y %= job->tiles_y;
    return tile;
}

/* Asks for row `row` of what the tile adds to the patch of the one before it: the hardware does not follow patches (4 %
 * of 3x3 128->128, 10 % of 64->64). */
static void ask_for_patch(const Job *job, Tile tile, int64_t row) {
    KEEP_PREFETCH;
    const ConvTask *task = job->task;
    const int64_t y = tile.y * job->size.tile_h - task->pad_h + row;
    const int64_t last = tile.x * job->size.tile_w - task->pad_w + job->size.patch_w;
    if (y < 0 || y >= task->h) return;
    for (int s = 0; s < task->segments; s++) {
        const ConvSegment *from = &task->segment[s];
        for (int64_t x = larger(last - job->size.tile_w, 0); x < smaller(last, task->w); x++) {
            const float *at = from->data + tile.image * from->image + y * from->row + x * from->pixel;
            for (int64_t c = 0; c < from->channels; c += 16) __builtin_prefetch(at + c, 0, 2);
        }
    }
}

/* Asks for row `row` of where the outputs of a tile will go. */
static void ask_for_outputs(const Job *job, Tile tile, int64_t row, int64_t column, int64_t columns) {
    const ConvTask *task = job->task;
    const ConvTarget *to = job->to;
    const int64_t y = tile.y * job->size.tile_h + row, x = tile.x * job->size.tile_w;
    const int64_t start = (tile.image * task->out_h + y) * task->out_w + x;
    const int64_t pixels = smaller(job->size.tile_w, task->out_w - x);
    if (y >= task->out_h) return;
    if (to->out)
        conv_ask_for(to->out + start * to->out_stride + column, to->out_stride, pixels, columns);
    else if (to->hole->ask)
        to->hole->ask(to->hole, start, pixels, column, columns);
}

/* What is asked for next: counted up, since a division for each would take as long as the asking. */
typedef struct {
    Tile tile;
    int64_t row;
} Cursor;

static void move_on(const Job *job, Cursor *cursor, int64_t rows) {
    if (++cursor->row < rows) return;
    cursor->row = 0;
    if (++cursor->tile.x < job->tiles_x) return;
    cursor->tile.x = 0;
    if (++cursor->tile.y < job->tiles_y) return;
    cursor->tile.y = 0;
    cursor->tile.image++;
}

static void transform_input(const Job *job, int64_t index, float *v) {
    const ConvTask *task = job->task;
    Tile tile = tile_at(job, index);
    int64_t top = tile.y * job->size.tile_h - task->pad_h, left = tile.x * job->size.tile_w - task->pad_w;
    WinogradPatch patch = {.top = larger(-top, 0), .left = larger(-left, 0)};
    patch.bottom = larger(smaller(job->size.patch_h, task->h - top), patch.top);
    patch.right = larger(smaller(job->size.patch_w, task->w - left), patch.left);
    for (int s = 0; s < task->segments; s++) {
        const ConvSegment *from = &task->segment[s];
        patch.row = from->row;
        patch.pixel = from->pixel;
        patch.at = from->data + tile.image * from->image + larger(top, 0) * from->row + larger(left, 0) * from->pixel;
        task->kernels->winograd_input(job->kind, &patch, from->channels, v, job->v_product);
        v += from->channels;
    }
}

/* A^T M A of the tiles first..last-1, which lie in one row of tiles, for `columns` columns from `column` on. */
static void transform_output(const Job *job, int64_t first, int64_t last, const float *m, int64_t width, int64_t column,
                             int64_t columns, float *scratch, int worker) {
    const ConvTask *task = job->task;
    const ConvTarget *to = job->to;
    Tile tile = tile_at(job, first);
    int64_t top = tile.y * job->size.tile_h, left = tile.x * job->size.tile_w;
    int64_t height = smaller(job->size.tile_h, task->out_h - top);
    int64_t pixels = smaller((last - first) * job->size.tile_w, task->out_w - left);
    int64_t start = (tile.image * task->out_h + top) * task->out_w + left; /* position of the first output pixel */
    float *base = to->out ? to->out + start * to->out_stride + column : scratch;
    int64_t row = to->out ? task->out_w * to->out_stride : pixels * columns;
    int64_t pixel = to->out ? to->out_stride : columns;
    for (int64_t t = 0; t < last - first; t++) {
        const int64_t x = t * job->size.tile_w;
        const WinogradTile tile_to = {base + x * pixel, row, pixel, height, smaller(job->size.tile_w, pixels - x)};
        task->kernels->winograd_output(job->kind, m + t * width, job->m_product, job->bias ? job->bias + column : NULL,
                                       columns, &tile_to);
    }
    if (to->out) return;
    for (int64_t y = 0; y < height; y++)
        to->hole->store(to->hole, start + y * task->out_w, pixels, column, columns, scratch + y * row, columns, worker);
}

/* Products and outputs of the tiles first..last-1 and one panel; v points at the first of them. Between the products it
 * asks for what comes after them: the places of these outputs, and patches of the tiles next..next_last-1. */
static void run_panel(const Job *job, int64_t panel, int64_t first, int64_t last, const float *v, const float *u,
                      float *m, int64_t next, int64_t next_last, int worker) {
    const ConvTask *task = job->task;
    const ConvKernels *kernels = task->kernels;
    int64_t count = last - first, blocks = divide_up(count, kernels->rows);
    int vectors = conv_panel_vectors(task, panel);
    int64_t width = vectors * kernels->vector, column = panel * 2 * kernels->vector;
    int64_t output_rows = count * job->size.tile_h, patch_rows = (next_last - next) * job->size.patch_h;
    const int64_t output_share = divide_up(output_rows, job->products);
    const int64_t patch_share = divide_up(patch_rows, job->products);
    Cursor output = {tile_at(job, first), 0}, patch = {tile_at(job, next), 0};
    for (int64_t e = 0; e < job->products; e++) {
        for (int64_t i = 0; i < output_share && output_rows > 0; i++, output_rows--) {
            ask_for_outputs(job, output.tile, output.row, column, smaller(width, task->co - column));
            move_on(job, &output, job->size.tile_h);
        }
        for (int64_t i = 0; i < patch_share && patch_rows > 0; i++, patch_rows--) {
            ask_for_patch(job, patch.tile, patch.row);
            move_on(job, &patch, job->size.patch_h);
        }
        for (int64_t b = 0; b < blocks; b++) {
            int64_t row = b * count / blocks, end = (b + 1) * count / blocks;
            for (int64_t part = 0; part < job->parts; part++) {
                const int64_t first_k = part * task->ci / job->parts, last_k = (part + 1) * task->ci / job->parts;
                const float *a = v + e * job->v_product + row * task->ci + first_k;
                const Stretch stretch = {a, task->ci, first_k, last_k - first_k};
                kernels->block(end - row, vectors, &stretch, 1, u + e * job->u_product, NULL,
                               m + e * job->m_product + row * width, width, width, part ? BLOCK_ADD : BLOCK_SET);
            }
        }
    }
    for (int64_t t = 0; t < count;) {
        int64_t end = smaller(count, t + job->tiles_x - (first + t) % job->tiles_x);
        transform_output(job, first + t, first + end, m + t * width, width, column, smaller(width, task->co - column),
                         m + job->products * job->m_product, worker);
        t = end;
    }
}

static void run_tile(void *context, int64_t index, int worker) {
    const Job *job = context;
    int64_t first = index * job->tiles / job->runs, last = (index + 1) * job->tiles / job->runs;
    float *v = run_worker(job->run, worker), *m = v + job->products * job->v_product;
    for (int64_t t = first; t < last; t++) transform_input(job, t, v + (t - first) * job->task->ci);
    /* The run that this worker takes next, if all take turns; each panel asks for a part of it. */
    const int64_t turn = index + pool_threads(job->run->pool), panels = conv_panels(job->task);
    const int64_t next = turn < job->runs ? turn * job->tiles / job->runs : job->tiles;
    const int64_t next_count = turn < job->runs ? (turn + 1) * job->tiles / job->runs - next : 0;
    for (int64_t panel = 0; panel < panels; panel++)
        run_panel(job, panel, first, last, v, job->whole + panel * job->products * job->u_product, m,
                  next + panel * next_count / panels, next + (panel + 1) * next_count / panels, worker);
}

static void input_tile(void *context, int64_t index, int worker) {
    const Job *job = context;
    (void)worker;
    for (int64_t t = index * INPUT_CHUNK; t < smaller((index + 1) * INPUT_CHUNK, job->tiles); t++) {
        const Tile next = tile_at(job, t + 1);
        for (int64_t row = 0; t + 1 < job->tiles && row < job->size.patch_h; row++) ask_for_patch(job, next, row);
        transform_input(job, t, job->whole + t * job->task->ci);
    }
}

static void panel_tile(void *context, int64_t index, int worker) {
    const Job *job = context;
    int64_t panel = index / job->runs, part = index % job->runs;
    int64_t first = part * job->tiles / job->runs, last = (part + 1) * job->tiles / job->runs;
    float *u = run_worker(job->run, worker);
    transform_weights(job, panel, 0, job->task->ci, u);
    run_panel(job, panel, first, last, job->whole + first * job->task->ci, u, u + job->products * job->u_product, 0, 0,
              worker);
}

void conv_winograd_run(const ConvTask *task, const Run *run, const float *packed, const float *bias,
                       const ConvTarget *to, char *shared) {
    Job job = make_job(task);
    job.run = run;
    job.packed = packed;
    job.bias = bias;
    job.to = to;
    job.whole = (float *)(void *)shared;
    if (job.by_panels) {
        pool_run(run->pool, divide_up(job.tiles, INPUT_CHUNK), input_tile, &job);
        pool_run(run->pool, conv_panels(task) * job.runs, panel_tile, &job);
    } else {
        pool_run(run->pool, conv_panels(task) * job.chunks, weights_tile, &job);
        pool_run(run->pool, job.runs, run_tile, &job);
    }
}
#endif
