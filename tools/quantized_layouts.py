"""Quantizes matrices into the layouts of GPTQ, AWQ, FP8, bitsandbytes and compressed-tensors checkpoints.

Every function takes a float32 (out, in) matrix and gives ({ending: tensor}, what those tensors stand for as float32).
GPTQ, AWQ and FP8 are written from the definitions of their formats; bitsandbytes and compressed-tensors are those
packages themselves.
"""

import numpy as np
import torch


def _affine(matrix, bits, groups):
    """Integers, scales (group, out) and zero points, one group number for every input."""
    top = (1 << bits) - 1
    count = int(groups.max()) + 1
    rows = matrix.shape[0]
    scales = np.zeros((count, rows), np.float16)
    zeros = np.zeros((count, rows), np.int64)
    numbers = np.zeros(matrix.shape, np.int64)
    for group in range(count):
        part = matrix[:, groups == group]
        low, high = np.minimum(part.min(1), 0), np.maximum(part.max(1), 0)
        scales[group] = np.maximum((high - low) / top, 1e-4)
        step = scales[group].astype(np.float32)
        # At least 1, so that a zero point that is stored one too low is not negative.
        zeros[group] = np.clip(np.rint(-low / step), 1, top)
        numbers[:, groups == group] = np.clip(np.rint(part / step[:, None]) + zeros[group][:, None], 0, top)
    exact = scales.astype(np.float32)[groups].T * (numbers - zeros[groups].T).astype(np.float32)
    return numbers, scales, zeros, exact


def _stream(numbers, bits):
    """Rows of numbers as rows of 32-bit words, lowest bits first."""
    wide = (numbers[..., None] >> np.arange(bits)) & 1
    flat = wide.reshape(*numbers.shape[:-1], -1, 32)
    return (flat.astype(np.uint64) << np.arange(32, dtype=np.uint64)).sum(-1).astype(np.uint32).view(np.int32)


def gptq(matrix, bits=4, group=32, version=1, act_order=False, rng=None):
    columns = matrix.shape[1]
    group = columns if group == -1 else min(group, columns)
    index = np.arange(columns) // group
    if act_order:
        index = index[(rng or np.random.RandomState(5)).permutation(columns)]
    numbers, scales, zeros, exact = _affine(matrix, bits, index)
    stored = zeros - 1 if version == 1 else zeros
    return {
        ".qweight": torch.from_numpy(np.ascontiguousarray(_stream(numbers, bits).T)),
        ".qzeros": torch.from_numpy(_stream(stored, bits)),
        ".scales": torch.from_numpy(scales),
        ".g_idx": torch.from_numpy(index.astype(np.int32)),
    }, exact


AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


def awq(matrix, group=32):
    index = np.arange(matrix.shape[1]) // min(group, matrix.shape[1])
    numbers, scales, zeros, exact = _affine(matrix, 4, index)

    def pack(values):  # (lines, outputs)
        eights = values.reshape(values.shape[0], -1, 8)[:, :, AWQ_ORDER]
        return torch.from_numpy(_stream(eights, 4).reshape(values.shape[0], -1))

    return {".qweight": pack(numbers.T), ".qzeros": pack(zeros), ".scales": torch.from_numpy(scales)}, exact


def fp8(matrix, block=32):
    values = torch.from_numpy(matrix)
    rows, columns = values.shape
    down, across = -(-rows // block), -(-columns // block)
    padded = torch.zeros(down * block, across * block)
    padded[:rows, :columns] = values
    blocks = padded.reshape(down, block, across, block)
    scales = blocks.abs().amax((1, 3)).clamp(min=1e-6) / 448
    numbers = (blocks / scales[:, None, :, None]).to(torch.float8_e4m3fn)
    exact = (numbers.float() * scales[:, None, :, None]).reshape(padded.shape)[:rows, :columns]
    numbers = numbers.reshape(padded.shape)[:rows, :columns].contiguous()
    return {".weight": numbers, ".weight_scale_inv": scales}, exact.numpy()


def bitsandbytes_4bit(matrix, kind="nf4", nested=True):
    from bitsandbytes import functional

    codes, state = functional.quantize_4bit(
        torch.from_numpy(matrix), blocksize=64, quant_type=kind, compress_statistics=nested
    )
    tensors = {f".weight.{key}": value for key, value in state.as_dict(packed=True).items()}
    maxima = state.absmax
    if nested:
        maxima = functional.dequantize_blockwise(state.absmax, state.state2) + state.offset
    bytes_ = codes.flatten().long()
    values = state.code[torch.stack([bytes_ >> 4, bytes_ & 15], 1).flatten()]
    exact = (values * maxima.repeat_interleave(64)[: values.numel()]).reshape(matrix.shape)
    # Blocks go on across rows. The package's own CPU code decodes only whole blocks a row that way.
    if matrix.shape[1] % 64 == 0 and not torch.equal(exact, functional.dequantize_4bit(codes, state).float()):
        raise SystemExit("bitsandbytes decodes otherwise")
    return {".weight": codes, **tensors}, exact.numpy()


def bitsandbytes_8bit(matrix):
    from bitsandbytes import functional

    numbers, maxima, _ = functional.int8_vectorwise_quant(torch.from_numpy(matrix).half())
    exact = functional.int8_vectorwise_dequant(numbers, maxima)
    tensors = {".weight": numbers, ".SCB": maxima, ".weight_format": torch.tensor(0, dtype=torch.uint8)}
    return tensors, exact.float().numpy()


def compressed_tensors(matrix, bits=4, group=32, symmetric=True):
    from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32

    values = torch.from_numpy(matrix)
    rows, columns = values.shape
    parts = values.reshape(rows, columns // group, group)
    half = 1 << (bits - 1)
    if symmetric:
        scales = (parts.abs().amax(-1) / (half - 0.5)).clamp(min=1e-6).to(torch.bfloat16)
        zeros = torch.zeros_like(scales, dtype=torch.int8)
    else:
        low, high = parts.amin(-1).clamp(max=0), parts.amax(-1).clamp(min=0)
        scales = ((high - low) / (2 * half - 1)).clamp(min=1e-6).to(torch.bfloat16)
        zeros = (-half - low / scales.float()).round().clamp(-half, half - 1).to(torch.int8)
    steps = scales.float()[:, :, None]
    numbers = (parts / steps).round() + zeros[:, :, None]
    numbers = numbers.clamp(-half, half - 1).to(torch.int8)
    exact = (numbers.float() - zeros[:, :, None].float()) * steps
    tensors = {
        ".weight_packed": pack_to_int32(numbers.reshape(rows, columns), bits),
        ".weight_scale": scales,
        ".weight_shape": torch.tensor([rows, columns]),
    }
    if not symmetric:
        tensors[".weight_zero_point"] = pack_to_int32(zeros, bits, packed_dim=0).contiguous()
    return tensors, exact.reshape(rows, columns).numpy()


def compressed_tensors_order(matrix, group=16):
    """Activation ordering, as checkpoints have it that newer versions of the package do not write: which group a column is
    of, weight_g_idx says."""
    from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32

    rows, columns = matrix.shape
    index = (np.arange(columns) // group)[np.random.RandomState(5).permutation(columns)]
    scales = np.stack([np.abs(matrix[:, index == g]).max(axis=1) / 7.5 for g in range(columns // group)], axis=1)
    scales = torch.from_numpy(scales.astype(np.float32)).clamp(min=1e-6).to(torch.float16)
    numbers = (torch.from_numpy(matrix) / scales.float()[:, index]).round().clamp(-8, 7).to(torch.int8)
    exact = numbers.float() * scales.float()[:, index]
    return {
        ".weight_packed": pack_to_int32(numbers, 4),
        ".weight_scale": scales,
        ".weight_shape": torch.tensor([rows, columns]),
        ".weight_g_idx": torch.from_numpy(index.astype(np.int32)),
    }, exact.numpy()


def nvfp4(matrix):
    """compressed-tensors' nvfp4-pack-quantized, packed and decoded by the package itself."""
    from compressed_tensors.compressors.nvfp4.base import NVFP4PackedCompressor
    from compressed_tensors.compressors.nvfp4.helpers import unpack_fp4_from_uint8
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from compressed_tensors.quantization.lifecycle.forward import dequantize

    values = torch.from_numpy(matrix)
    groups = values.reshape(values.shape[0], -1, 16).abs().amax(-1)
    everything = (448 * 6 / groups.max()).reshape(1)
    scales = (groups * everything / 6).clamp(min=0.01).to(torch.float8_e4m3fn)
    args = QuantizationArgs(num_bits=4, type="float", strategy="tensor_group", group_size=16, symmetric=True)
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    state = {"weight": values, "weight_scale": scales.float(), "weight_global_scale": everything}
    stored = NVFP4PackedCompressor.compress(state, scheme)
    numbers = unpack_fp4_from_uint8(stored["weight_packed"], *matrix.shape, dtype=torch.float32)
    exact = dequantize(numbers, scales.float(), args=args, global_scale=everything, dtype=torch.float32)
    names = ("weight_packed", "weight_scale", "weight_global_scale")
    tensors = {f".{name}": stored[name] for name in names} | {".weight_scale": scales}
    return tensors, exact.float().numpy()


def int8_rows(matrix):
    values = torch.from_numpy(matrix)
    scales = (values.abs().amax(1, keepdim=True) / 127).clamp(min=1e-6).to(torch.bfloat16)
    numbers = (values / scales.float()).round().clamp(-128, 127).to(torch.int8)
    return {".weight": numbers, ".weight_scale": scales}, (numbers.float() * scales.float()).numpy()
