/* exec/gpu_region.c - pointwise regions on a GPU, and pointwise nodes alone. */
#include "exec/gpu_steps.h"

#ifndef PANUM_F64
#include "cuda/kernels/region.h"

int gpu_region_places(GpuPlan *p, const StripProgram *region, RegionPlaces *places) {
    if (!region) return 0;
    region_places(region, gpu_address, p, places);
    if (gpu_device(p)->form != GPU_EMBEDDED) return 0;
    RegionCode code;
    const void *at;
    if (!region_code(region, &code)) return fail(ERR_DEVICE, "a region in 16 bits has no kernel without NVRTC");
    const void *kept = gpu_keep(p, &code, sizeof code);
    if (!kept) return ERR_MEMORY;
    int failed = gpu_table(p, kept, sizeof code, &at);
    places->code = at;
    return failed;
}

int gpu_launch_region(GpuPlan *p, const Step *step, const StripProgram *region) {
    RegionArgs a = {.rows = region->rows, .columns = region->columns};
    const int code = gpu_region_places(p, region, &a.places);
    if (code) return code;
    return gpu_launch(p, step, (GpuCode){"cuda/kernels/region.cu", "region_alone", region, NULL},
                      (GpuGrid){.x = gpu_blocks(a.rows * a.columns, GPU_BLOCK)}, &a, sizeof a);
}

/* A pointwise node alone, as the interpreter runs it: a region of one instruction. */
static int launch_pointwise(GpuPlan *p, const Step *step) {
    const Node *node = step->node;
    const PointwiseAttributes *f = node->attributes;
    const Tensor *out = node->output[0];
    StripProgram region = {.operands = node->inputs, .instructions = 1, .outputs = 1};
    int64_t stride;
    bool fits = strip_space(out, &region.rows, &region.columns, &stride);
    for (int i = 0; fits && i < node->inputs; i++) fits = strip_operand(node->input[i], out, &region.operand[i]);
    for (int i = 0; i < node->inputs; i++) region.operand[i].half = gpu_half(p, node->input[i]);
    if (!fits) return gpu_no_kernel(node, " of such a layout");
    region.code[0] = (StripInstruction){f->function, 0, node->inputs > 1 ? 1 : -1, f->p, f->q};
    region.output[0] = (StripOutput){node->inputs, stride, out, gpu_half(p, out)};
    return gpu_launch_region(p, step, &region);
}

const GpuOperator gpu_region_operators[] = {{"pointwise", launch_pointwise}, {0}};
#endif
