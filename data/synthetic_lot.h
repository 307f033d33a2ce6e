/* data/synthetic_lot.h - which stages there are: drawn by lot, the same for the same seed. */
#ifndef PANUM_DATA_SYNTHETIC_LOT_H
#define PANUM_DATA_SYNTHETIC_LOT_H
#include "data/stage.h"

/* Sets the whole stage for a picture of this size; disparities stay within +-limit pixels but for what shows through at
 * a steep surface's far end, which the drawing's truth then says. */
void stage_lot(Stage *stage, TextureBank *bank, int width, int height, double limit, uint64_t seed);
#endif
