/* data/texture.h - a bank of procedural textures for synthetic stereo.
 *
 * A texture is a square of TEXTURE_SIDE texels that repeats without a seam in both directions, with halved copies
 * down to one texel. Each texel holds red, green, blue (as sRGB pictures hold them) and a fourth value of its own, a
 * field from which shadows and the outlines of leaves, holes and blots are cut. Texture k of a seed is a pure function;
 * it is made when it is first asked for, by whichever thread asks, and kept.
 *
 * Kinds, drawn by lot: noise with spectra from 1/f^0.5 to 1/f^1.5, falling leaves (shapes covering shapes, whose
 * statistics are close to those of photographs), stones, tiles and bricks, stripes and plaids, dots, writing, strokes
 * such as grass and hair, wood and marble, wallpaper, and nearly nothing at all. */
#ifndef PANUM_DATA_TEXTURE_H
#define PANUM_DATA_TEXTURE_H
#include "base/err.h"
#include <stdint.h>

enum { TEXTURE_LEVELS = 9, TEXTURE_SIDE = 1 << (TEXTURE_LEVELS - 1), TEXTURES = 192 };

typedef struct {
    const uint8_t *level[TEXTURE_LEVELS]; /* rows of 4 bytes a texel; level k has TEXTURE_SIDE >> k texels a side */
} Texture;

typedef struct TextureBank TextureBank;
int texture_bank_make(TextureBank **bank, uint64_t seed);
/* NULL when there is no memory. `which` is taken modulo TEXTURES. */
const Texture *texture_get(TextureBank *bank, uint64_t which);
void texture_bank_drop(TextureBank *bank); /* NULL is fine */
#endif
