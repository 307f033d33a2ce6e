#include <stdio.h>

int main(void) {
    puts("panum " PANUM_VERSION);
    return 0;
}
