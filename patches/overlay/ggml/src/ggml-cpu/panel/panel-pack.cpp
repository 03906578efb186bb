#include "panel-pack.h"

#define GGML_COMMON_DECL_CPP
#include "ggml-common.h"

#include <cstring>

namespace {

uint32_t load(const void * p) {
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

void store(void * p, uint32_t v) {
    memcpy(p, &v, 4);
}

constexpr uint32_t B2 = 0x03030303, B4 = 0x0f0f0f0f, B6 = 0x3f3f3f3f;

// The 12 bytes of eight 6-bit scales and mins, as words of four bytes, and back.
struct scales {
    uint32_t sc[2], mn[2];
};

scales scales_of(const uint8_t * s) {
    const uint32_t a = load(s), b = load(s + 4), c = load(s + 8);
    return { { a & B6, (c & B4) | ((a >> 6 & B2) << 4) }, { b & B6, (c >> 4 & B4) | ((b >> 6 & B2) << 4) } };
}

void scales_to(const scales & x, uint8_t * s) {
    store(s, x.sc[0] | (x.sc[1] >> 4 & B2) << 6);
    store(s + 4, x.mn[0] | (x.mn[1] >> 4 & B2) << 6);
    store(s + 8, (x.sc[1] & B4) | (x.mn[1] & B4) << 4);
}

// The four lines that end a tile of Q4_K and Q5_K.
void pack_scales(const uint8_t * s, const void * d, const void * dmin, uint8_t * t, int row) {
    const scales x = scales_of(s);
    store(t + 4 * row, x.sc[0] | (x.mn[1] & B2) << 6);
    store(t + 64 + 4 * row, x.sc[1] | (x.mn[1] >> 2 & B2) << 6);
    store(t + 128 + 4 * row, x.mn[0] | (x.mn[1] >> 4 & B2) << 6);
    memcpy(t + 192 + 2 * row, d, 2);
    memcpy(t + 224 + 2 * row, dmin, 2);
}

void unpack_scales(const uint8_t * t, int row, uint8_t * s, void * d, void * dmin) {
    const uint32_t a = load(t + 4 * row), b = load(t + 64 + 4 * row), c = load(t + 128 + 4 * row);
    scales_to({ { a & B6, b & B6 }, { c & B6, (a >> 6 & B2) | (b >> 6 & B2) << 2 | (c >> 6 & B2) << 4 } }, s);
    memcpy(d, t + 192 + 2 * row, 2);
    memcpy(dmin, t + 224 + 2 * row, 2);
}

void pack(const block_q4_K & x, uint8_t * t, uint8_t *, int row) {
    for (int i = 0; i < 32; ++i) {
        store(t + 64 * i + 4 * row, load(x.qs + 4 * i));
    }
    pack_scales(x.scales, &x.data, reinterpret_cast<const uint8_t *>(&x.data) + 2, t + 2048, row);
}

void unpack(const uint8_t * t, const uint8_t *, int row, block_q4_K & x) {
    for (int i = 0; i < 32; ++i) {
        store(x.qs + 4 * i, load(t + 64 * i + 4 * row));
    }
    unpack_scales(t + 2048, row, x.scales, &x.data, reinterpret_cast<uint8_t *>(&x.data) + 2);
}

void pack(const block_q5_K & x, uint8_t * t, uint8_t *, int row) {
    for (int j = 0; j < 4; ++j, t += 640) {
        for (int i = 0; i < 8; ++i) {
            store(t + 64 * i + 4 * row, load(x.qs + 32 * j + 4 * i));
        }
        for (int u = 0; u < 2; ++u) {
            uint32_t bits = 0;
            for (int i = 0; i < 4; ++i) {
                bits |= (load(x.qh + 16 * u + 4 * i) >> 2 * j & B2) << 2 * i;
            }
            store(t + 512 + 64 * u + 4 * row, bits);
        }
    }
    pack_scales(x.scales, &x.data, reinterpret_cast<const uint8_t *>(&x.data) + 2, t, row);
}

void unpack(const uint8_t * t, const uint8_t *, int row, block_q5_K & x) {
    memset(x.qh, 0, sizeof(x.qh));
    for (int j = 0; j < 4; ++j, t += 640) {
        for (int i = 0; i < 8; ++i) {
            store(x.qs + 32 * j + 4 * i, load(t + 64 * i + 4 * row));
            const uint32_t bits = load(t + 512 + 64 * (i / 4) + 4 * row) >> 2 * (i % 4) & B2;
            store(x.qh + 4 * i, load(x.qh + 4 * i) | bits << 2 * j);
        }
    }
    unpack_scales(t, row, x.scales, &x.data, reinterpret_cast<uint8_t *>(&x.data) + 2);
}

// Where the four values k = 4 w have their low and high bits in a block of Q6_K.
struct q6_place {
    int low, low_shift, high, high_shift;
};

q6_place q6_place_of(int w) {
    const int half = w / 32, quarter = w / 8 % 4, i = w % 8;
    return { 64 * half + 32 * (quarter % 2) + 4 * i, 4 * (quarter / 2), 32 * half + 4 * i, 2 * quarter };
}

void pack(const block_q6_K & x, uint8_t * t, uint8_t * d, int row) {
    uint32_t v[64];
    for (int w = 0; w < 64; ++w) {
        const q6_place at = q6_place_of(w);
        v[w] = (load(x.ql + at.low) >> at.low_shift & B4) | (load(x.qh + at.high) >> at.high_shift & B2) << 4;
    }
    for (int g = 0; g < 16; ++g) {
        for (int i = 0; i < 3; ++i) {
            store(t + 256 + 192 * g + 64 * i + 4 * row, v[4 * g + i] | (v[4 * g + 3] >> 2 * i & B2) << 6);
        }
        t[16 * g + row] = uint8_t(x.scales[g]);
    }
    memcpy(d + 2 * row, &x.d, 2);
}

void unpack(const uint8_t * t, const uint8_t * d, int row, block_q6_K & x) {
    memset(x.ql, 0, sizeof(x.ql));
    memset(x.qh, 0, sizeof(x.qh));
    uint32_t v[64] = {};
    for (int g = 0; g < 16; ++g) {
        for (int i = 0; i < 3; ++i) {
            const uint32_t line = load(t + 256 + 192 * g + 64 * i + 4 * row);
            v[4 * g + i] = line & B6;
            v[4 * g + 3] |= (line >> 6 & B2) << 2 * i;
        }
        x.scales[g] = int8_t(t[16 * g + row]);
    }
    for (int w = 0; w < 64; ++w) {
        const q6_place at = q6_place_of(w);
        store(x.ql + at.low, load(x.ql + at.low) | (v[w] & B4) << at.low_shift);
        store(x.qh + at.high, load(x.qh + at.high) | (v[w] >> 4 & B2) << at.high_shift);
    }
    memcpy(&x.d, d + 2 * row, 2);
}

void pack(const block_q4_0 & x, uint8_t * t, uint8_t *, int row) {
    for (int i = 0; i < 4; ++i) {
        store(t + 64 * i + 4 * row, load(x.qs + 4 * i));
    }
    memcpy(t + 256 + 2 * row, &x.d, 2);
}

void unpack(const uint8_t * t, const uint8_t *, int row, block_q4_0 & x) {
    for (int i = 0; i < 4; ++i) {
        store(x.qs + 4 * i, load(t + 64 * i + 4 * row));
    }
    memcpy(&x.d, t + 256 + 2 * row, 2);
}

void pack(const block_q8_0 & x, uint8_t * t, uint8_t *, int row) {
    for (int i = 0; i < 8; ++i) {
        store(t + 64 * i + 4 * row, load(x.qs + 4 * i));
    }
    memcpy(t + 512 + 2 * row, &x.d, 2);
}

void unpack(const uint8_t * t, const uint8_t *, int row, block_q8_0 & x) {
    for (int i = 0; i < 8; ++i) {
        store(x.qs + 4 * i, load(t + 64 * i + 4 * row));
    }
    memcpy(&x.d, t + 512 + 2 * row, 2);
}

// Tile by tile, as long as a tile's lines are in the first-level cache. Blocks of zeros give the lanes of rows that do not exist.
template <class Block> void pack_rows(enum ggml_type type, const void * rows, int64_t k, uint8_t * panel, int first, int last, int end) {
    static const Block zero = {};
    const panel_shape shape = panel_shape_of(type);
    const int64_t     tiles = k / shape.k_step;
    uint8_t *         head  = panel;
    panel += PANEL_LINES(tiles * shape.head);
    for (int64_t b = 0; b < tiles; ++b, panel += shape.tile, head += shape.head) {
        const Block * x = static_cast<const Block *>(rows) + b;
        for (int row = first; row < last; ++row, x += tiles) {
            pack(*x, panel, head, row);
        }
        for (int row = last; row < end; ++row) {
            pack(zero, panel, head, row);
        }
    }
}

template <class Block> void unpack_rows(enum ggml_type type, const uint8_t * panel, int64_t k, void * rows, int first, int last) {
    const panel_shape shape = panel_shape_of(type);
    const int64_t     tiles = k / shape.k_step;
    const uint8_t *   head  = panel;
    panel += PANEL_LINES(tiles * shape.head);
    for (int64_t b = 0; b < tiles; ++b, panel += shape.tile, head += shape.head) {
        Block * x = static_cast<Block *>(rows) + b;
        for (int row = first; row < last; ++row, x += tiles) {
            unpack(panel, head, row, *x);
        }
    }
}

}  // namespace

void panel_pack(enum ggml_type type, const void * rows, int64_t k, uint8_t * panel, int first, int last, int end) {
    switch (type) {
        case GGML_TYPE_Q4_K: return pack_rows<block_q4_K>(type, rows, k, panel, first, last, end);
        case GGML_TYPE_Q5_K: return pack_rows<block_q5_K>(type, rows, k, panel, first, last, end);
        case GGML_TYPE_Q6_K: return pack_rows<block_q6_K>(type, rows, k, panel, first, last, end);
        case GGML_TYPE_Q4_0: return pack_rows<block_q4_0>(type, rows, k, panel, first, last, end);
        case GGML_TYPE_Q8_0: return pack_rows<block_q8_0>(type, rows, k, panel, first, last, end);
        default: GGML_ABORT("no panel layout for this type");
    }
}

void panel_unpack(enum ggml_type type, const uint8_t * panel, int64_t k, void * rows, int first, int last) {
    switch (type) {
        case GGML_TYPE_Q4_K: return unpack_rows<block_q4_K>(type, panel, k, rows, first, last);
        case GGML_TYPE_Q5_K: return unpack_rows<block_q5_K>(type, panel, k, rows, first, last);
        case GGML_TYPE_Q6_K: return unpack_rows<block_q6_K>(type, panel, k, rows, first, last);
        case GGML_TYPE_Q4_0: return unpack_rows<block_q4_0>(type, panel, k, rows, first, last);
        case GGML_TYPE_Q8_0: return unpack_rows<block_q8_0>(type, panel, k, rows, first, last);
        default: GGML_ABORT("no panel layout for this type");
    }
}
