// The shapes of products: as the application has measured them, else upstream's.
#pragma once

#include "ggml-metal-device.h"

#include "ggml-product-shape.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ggml_metal_shapes * ggml_metal_shapes_t;

// Holds for contexts that are made from now on.
void ggml_metal_shapes_set(ggml_metal_device_t dev, const struct ggml_product_shape * shapes, size_t count);

// Those of a context, NULL where there are none. To be freed.
ggml_metal_shapes_t ggml_metal_shapes_get(ggml_metal_device_t dev);
void ggml_metal_shapes_free(ggml_metal_shapes_t shapes);

// What this thread encodes from now on has these shapes; NULL: upstream's.
void ggml_metal_shapes_use(ggml_metal_shapes_t shapes);

// Change what upstream has chosen for a product, where this thread has a shape for it.
// mul_mv: `kernel` becomes the end of the kernel's name.
void ggml_metal_shapes_mul_mv(const struct ggml_tensor * op, int * nsg, int * nr0, size_t * smem, char kernel[8]);
void ggml_metal_shapes_mul_mv_ext(const struct ggml_tensor * op, int * nsg, int16_t * nxpsg, int16_t * r1ptg);

#ifdef __cplusplus
}
#endif
