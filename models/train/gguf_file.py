"""Write and read GGUF version 3 (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), with F32, F16 and Q8_0 tensors."""

import struct

import numpy as np

MAGIC, VERSION, ALIGNMENT = b"GGUF", 3, 32
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", U32: "<I", I32: "<i", F32: "<f", BOOL: "<?", 10: "<Q", 11: "<q", 12: "<d"}
TENSOR_F32, TENSOR_F16, TENSOR_Q8_0 = 0, 1, 8
BLOCK = 32
TENSOR_TYPES = {"f32": TENSOR_F32, "f16": TENSOR_F16, "q8_0": TENSOR_Q8_0}


def quantize_q8_0(x):
    """Blocks of 32 values as an f16 scale and 32 bytes, as ggml's quantize_row_q8_0_ref does it."""
    blocks = np.ascontiguousarray(x, np.float32).reshape(-1, BLOCK)
    scale = np.abs(blocks).max(1, keepdims=True) / np.float32(127)
    inverse = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale != 0)
    scaled = blocks * inverse
    rounded = np.trunc(scaled + np.copysign(np.float32(0.5), scaled))       # roundf: halves away from zero
    out = np.empty(len(blocks), [("d", "<f2"), ("qs", "i1", BLOCK)])
    out["d"], out["qs"] = scale[:, 0].astype(np.float16), rounded.astype(np.int8)
    return out


def dequantize_q8_0(data, shape):
    blocks = np.frombuffer(data, [("d", "<f2"), ("qs", "i1", BLOCK)])
    return (blocks["qs"].astype(np.float32) * blocks["d"].astype(np.float32)[:, None]).reshape(shape)


def encode(x, kind):
    if kind == TENSOR_Q8_0:
        return quantize_q8_0(x).tobytes()
    return np.ascontiguousarray(x, np.float16 if kind == TENSOR_F16 else np.float32).tobytes()


def string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def value(kind, v):
    if kind == STRING:
        return string(v)
    if kind == ARRAY:
        item, items = v
        return struct.pack("<IQ", item, len(items)) + b"".join(value(item, i) for i in items)
    return struct.pack(SCALARS[kind], v)


def write(path, metadata, tensors):
    """metadata: [(key, type, value)], an array's value being (item type, items). tensors: [(name, array, tensor type)], rows last."""
    head = MAGIC + struct.pack("<IQQ", VERSION, len(tensors), len(metadata))
    for key, kind, v in metadata:
        head += string(key) + struct.pack("<I", kind) + value(kind, v)
    body = bytearray()
    for name, array, kind in tensors:
        head += string(name) + struct.pack("<I", array.ndim) + struct.pack(f"<{array.ndim}Q", *reversed(array.shape)) + struct.pack("<IQ", kind, len(body))
        body += encode(array, kind)
        body += bytes(-len(body) % ALIGNMENT)
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % ALIGNMENT) + body)


class Reader:
    """The metadata (a dict) and the tensors (a dict of float32 arrays) of a file."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.data, self.at = f.read(), 4
        assert self.data[:4] == MAGIC and self.scalar("<I") == VERSION
        tensors, pairs = self.scalar("<Q"), self.scalar("<Q")
        self.metadata = {self.string(): self.value(self.scalar("<I")) for _ in range(pairs)}
        infos = []
        for _ in range(tensors):
            name = self.string()
            shape = [self.scalar("<Q") for _ in range(self.scalar("<I"))][::-1]
            infos.append((name, shape, self.scalar("<I"), self.scalar("<Q")))
        start = self.at + -self.at % ALIGNMENT
        self.tensors = {name: self.tensor(shape, kind, start + offset) for name, shape, kind, offset in infos}

    def scalar(self, form):
        v, = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return v

    def string(self):
        n = self.scalar("<Q")
        self.at += n
        return self.data[self.at - n:self.at].decode()

    def value(self, kind):
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            item, n = self.scalar("<I"), self.scalar("<Q")
            return [self.value(item) for _ in range(n)]
        return self.scalar(SCALARS[kind])

    def tensor(self, shape, kind, at):
        n = int(np.prod(shape))
        if kind == TENSOR_Q8_0:
            return dequantize_q8_0(self.data[at:at + n // BLOCK * 34], shape)
        return np.frombuffer(self.data, np.float16 if kind == TENSOR_F16 else np.float32, n, at).astype(np.float32).reshape(shape)
