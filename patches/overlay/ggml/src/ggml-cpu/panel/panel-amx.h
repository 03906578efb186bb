// How both AMX kernels shape the tiles.
#pragma once

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

namespace {

struct tile_shape {
    int rows, bytes;
};

struct tile_shapes {
    tile_shape tiles[8];
};

struct tile_config {
    uint8_t  palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t  rows[16];
};

// The barrier keeps the stores, which GCC 12 removes: it does not know that the instruction reads them.
inline __attribute__((always_inline)) void configure(const tile_shapes & shapes) {
    alignas(64) tile_config config;
    memset(&config, 0, sizeof(config));
    config.palette = 1;
    for (int i = 0; i < 8; ++i) {
        config.row_bytes[i] = uint16_t(shapes.tiles[i].bytes);
        config.rows[i] = uint8_t(shapes.tiles[i].rows);
    }
    __asm__ volatile("" : : "r"(&config) : "memory");
    _tile_loadconfig(&config);
}

}  // namespace
