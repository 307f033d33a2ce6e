#!/bin/sh
# tools/readme_picture.sh PANUM - makes docs/demo.jpg, the README's picture, from what `panum demo` leaves: the left eye
# beside the map, with ffmpeg.
panum=${1:-build/panum}
cd "$(dirname "$0")/.." || exit 1
"$panum" demo -q -y -o build/demo/ >/dev/null &&
    ffmpeg -v error -y -i build/demo/left.png -i build/demo/disparity.png \
        -filter_complex "[0]pad=iw+10:610:color=white[a];[1]pad=iw:610:color=white[b];[a][b]hstack" -frames:v 1 -q:v 3 docs/demo.jpg
