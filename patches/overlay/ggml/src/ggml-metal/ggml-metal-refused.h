// Fusions whose kernel a device refused: the operations of such a group run one by one, on that device, from then on.
#pragma once

#include "ggml-metal-device.h"
#include "ggml-metal-fusion.h"

#ifdef __cplusplus
extern "C" {
#endif

void ggml_metal_device_refuse_fusion(ggml_metal_device_t dev, const ggml_metal_fusion * fusion);

bool ggml_metal_device_refuses_fusion(ggml_metal_device_t dev, const ggml_metal_fusion * fusion);

#ifdef __cplusplus
}
#endif
