// What the host and the kernel of scalar flash attention agree on.
#pragma once

// function constants: +0 mask, +1 sinks, +2 bias, +3 soft-cap, +10 size of a K head, +11 size of a V head
#define FC_FLASH_ATTN_EXT_SCALAR 2400

#define OP_FLASH_ATTN_EXT_SCALAR_NSG    4 // simdgroups of a threadgroup
#define OP_FLASH_ATTN_EXT_SCALAR_NCPSG 32 // cache items of a block: one for each lane
#define OP_FLASH_ATTN_EXT_SCALAR_TILE4 16 // float4 of each of these items in threadgroup memory at a time

// queries that share a block, by the tiles that a V head takes: the output stays in registers
#define OP_FLASH_ATTN_EXT_SCALAR_NQPTG(nv) ((nv) <= 4 ? 16 : 8)
