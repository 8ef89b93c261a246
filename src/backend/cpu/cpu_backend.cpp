#include "backend/cpu/cpu_backend.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/check.h"
#include "quant/activations.h"
#include "quant/interleave.h"

namespace moxie {

namespace {

// Below this many values a loop runs on the calling thread: waking the others costs more.
constexpr int64_t kParallelValues = 16384;
// Weight rows per piece: enough pieces for an even split, each long enough to hide the counter, and whole groups of
// rows, of which products take two in turn.
constexpr int64_t kMinTileRows = 2 * kInterleavedRows, kMostTileRows = 512;
// With one token a piece is a stretch of memory, at whose begin a core waits for what it did not ask for ahead.
constexpr int64_t kMostTileRowsOfOneToken = 2048;
// Tokens that attend together at most: the keys and values of a block of positions stay in the first cache meanwhile.
constexpr int64_t kAttentionTokens = 16;

// Of the last token, at least 1.
int64_t positions_seen(const AttentionJob& job) {
  const int64_t all = std::max<int64_t>(1, job.first_position + job.tokens);
  return job.window > 0 ? std::min(job.window, all) : all;
}

}  // namespace

void Activations::set(const float* x, int64_t rows, int64_t columns) {
  x_ = x;
  rows_ = rows;
  columns_ = columns;
  for (bool& ready : ready_) ready = false;
}

size_t Activations::row_bytes(ActFormat format, int64_t columns) {
  switch (format) {
    case ActFormat::f32:
      return static_cast<size_t>(columns) * sizeof(float);
    case ActFormat::q8_32:
      return static_cast<size_t>(columns / 32) * sizeof(ActBlock32);
    case ActFormat::q8_256:
      return static_cast<size_t>(columns / 256) * sizeof(ActBlock256);
    case ActFormat::bf16:
      return static_cast<size_t>((columns + 31) / 32) * 64;
  }
  return 0;
}

template <typename Body>
void CpuBackend::rows(int64_t rows, int64_t values_per_row, const Body& body) {
  if (rows * values_per_row < kParallelValues) {
    for (int64_t row = 0; row < rows; ++row) body(row);
    return;
  }
  const int64_t per_item = std::max<int64_t>(1, kParallelValues / 4 / std::max<int64_t>(1, values_per_row));
  pool_.run((rows + per_item - 1) / per_item, [&](int64_t item) {
    const int64_t last = std::min(rows, (item + 1) * per_item);
    for (int64_t row = item * per_item; row < last; ++row) body(row);
  });
}

void CpuBackend::embed(const Matrix& table, std::span<const int32_t> ids, float* out) {
  const size_t row_bytes = table.row_bytes();
  const int64_t blocks = table.columns / table.type->block_values;
  MOXIE_DCHECK(!table.interleaved);
  rows(static_cast<int64_t>(ids.size()), table.columns, [&](int64_t i) {
    MOXIE_DCHECK(ids[static_cast<size_t>(i)] >= 0 && ids[static_cast<size_t>(i)] < table.rows);
    const size_t id = static_cast<size_t>(ids[static_cast<size_t>(i)]);
    if (table.type->parted()) {
      table.type->decode_columns(table.parted, ids[static_cast<size_t>(i)], 0, table.columns, out + i * table.columns);
      return;
    }
    const std::byte* row = table.data + id * row_bytes;
    table.type->decode(row, out + i * table.columns, blocks);
  });
}

void CpuBackend::rms_norm(const float* x, const float* weight, float eps, int64_t row_count, int64_t n, float* out) {
  rows(row_count, n, [&](int64_t row) { kernels_->rms_norm(x + row * n, weight, eps, n, out + row * n); });
}

void CpuBackend::prepare(Activations& x, ActFormat format) {
  bool& ready = x.ready_[static_cast<size_t>(format)];
  if (ready || format == ActFormat::f32) return;
  const size_t row_bytes = Activations::row_bytes(format, x.columns_);
  AlignedBytes& copy = x.copies_[static_cast<size_t>(format)];
  const size_t needed = row_bytes * static_cast<size_t>(x.rows_);
  if (copy.size() < needed) copy.resize(needed);
  const auto quantize = format == ActFormat::q8_32    ? kernels_->quantize_q8_32
                        : format == ActFormat::q8_256 ? kernels_->quantize_q8_256
                                                      : kernels_->round_bf16;
  rows(x.rows_, x.columns_, [&](int64_t row) {
    quantize(x.x_ + row * x.columns_, x.columns_, copy.data() + static_cast<size_t>(row) * row_bytes);
  });
  ready = true;
}

// Where a job's activation rows lie one after another. A gathered job's rows are copied together, unless there is just
// one.
const std::byte* CpuBackend::activation_rows(const MatmulJob& job, size_t* row_bytes) {
  const ActFormat format = job.weights->type->activations;
  const Activations& x = *job.x;
  *row_bytes = Activations::row_bytes(format, x.columns_);
  const std::byte* all = format == ActFormat::f32 ? reinterpret_cast<const std::byte*>(x.x_)
                                                  : x.copies_[static_cast<size_t>(format)].data();
  if (job.gather == nullptr) return all + static_cast<size_t>(job.first_row) * *row_bytes;
  if (job.rows == 1) return all + static_cast<size_t>(job.gather[0]) * *row_bytes;
  return nullptr;
}

void CpuBackend::matmul(std::span<const MatmulJob> jobs) {
  int64_t rows_left = 0;
  size_t gathered_bytes = 0;
  bool one_token = true;
  for (const MatmulJob& job : jobs) {
    MOXIE_DCHECK(job.weights->columns == job.x->columns());
    prepare(*job.x, job.weights->type->activations);
    if (job.rows > 0) rows_left += job.weights->rows;
    one_token = one_token && job.rows <= 1;
    if (job.gather != nullptr && job.rows > 1) {
      gathered_bytes +=
          Activations::row_bytes(job.weights->type->activations, job.x->columns()) * static_cast<size_t>(job.rows);
    }
  }
  if (gathered_.size() < gathered_bytes) gathered_.resize(gathered_bytes);
  const int64_t even_rows = std::min(kMostTileRows, rows_left / (pool_.threads() * 8));
  const auto rows_of_tile = [&] {
    int64_t rows = even_rows;
    if (one_token) {  // long ones, then shorter ones, so that all threads are done at once
      rows = std::min(kMostTileRowsOfOneToken, pool_.threads() == 1 ? rows_left : rows_left / (pool_.threads() * 2));
    }
    return std::max(kMinTileRows, rows / kMinTileRows * kMinTileRows);
  };

  tiles_.clear();
  size_t gathered_used = 0;
  for (const MatmulJob& job : jobs) {
    if (job.rows == 0) continue;
    size_t row_bytes;
    const std::byte* activations = activation_rows(job, &row_bytes);
    if (activations == nullptr) {
      const ActFormat format = job.weights->type->activations;
      const std::byte* all = format == ActFormat::f32 ? reinterpret_cast<const std::byte*>(job.x->x_)
                                                      : job.x->copies_[static_cast<size_t>(format)].data();
      std::byte* to = gathered_.data() + gathered_used;
      for (int64_t row = 0; row < job.rows; ++row) {
        std::memcpy(to + static_cast<size_t>(row) * row_bytes, all + static_cast<size_t>(job.gather[row]) * row_bytes,
                    row_bytes);
      }
      gathered_used += static_cast<size_t>(job.rows) * row_bytes;
      activations = to;
    }
    for (int64_t first = 0, last; first < job.weights->rows; first = last) {
      last = std::min(job.weights->rows, first + rows_of_tile());
      tiles_.push_back({&job, activations, row_bytes, first, last});
      rows_left -= last - first;
    }
  }

  pool_.run(static_cast<int64_t>(tiles_.size()), [this](int64_t item) {
    const Tile& tile = tiles_[static_cast<size_t>(item)];
    const MatmulJob& job = *tile.job;
    const Matrix& weights = *job.weights;
    weights.type->multiply({.weights = weights.data + static_cast<size_t>(tile.first) * weights.row_bytes(),
                            .row_bytes = weights.row_bytes(),
                            .rows = tile.last - tile.first,
                            .columns = weights.columns,
                            .activations = tile.activations,
                            .activation_row_bytes = tile.activation_row_bytes,
                            .tokens = job.rows,
                            .out = job.out + tile.first,
                            .out_stride = job.out_stride,
                            .parted = &weights.parted,
                            .first_row = tile.first,
                            .interleaved = weights.interleaved});
    if (weights.bias == nullptr) return;
    for (int64_t row = 0; row < job.rows; ++row) {
      kernels_->add(job.out + row * job.out_stride + tile.first, weights.bias + tile.first, tile.last - tile.first);
    }
  });
}

void CpuBackend::rope(float* x, int64_t tokens, int heads, int head_dim, const RopeTable& table, int64_t first) {
  const int64_t n = int64_t{heads} * head_dim;
  rows(tokens, n, [&](int64_t t) {
    const int64_t angles = (first + t) * table.half;
    kernels_->rope(x + t * n, heads, head_dim, table.half, table.cos.data() + angles, table.sin.data() + angles,
                   table.neox);
  });
}

void CpuBackend::store_kv(const AttentionJob& job, const float* keys, const float* values) {
  // Neighbouring positions share lines of the cache: a thread takes whole blocks of one head.
  const int64_t first_block = job.first_position / kKvBlockTokens;
  const int64_t blocks = (job.first_position + job.tokens - 1) / kKvBlockTokens - first_block + 1;
  const auto store = [&](int64_t item) {
    const int64_t head = item % job.kv_heads, b = first_block + item / job.kv_heads;
    const int64_t begin = std::max(b * kKvBlockTokens, job.first_position);
    const int64_t end = std::min((b + 1) * kKvBlockTokens, job.first_position + job.tokens);
    std::byte* const block = job.blocks[static_cast<size_t>(b)];
    std::byte* const to_keys = block + job.offset + static_cast<size_t>(head) * job.head_bytes;
    std::byte* const to_values = to_keys + job.key_bytes;
    const size_t value_bytes = kv_row_bytes(job.kv_type, job.value_dim);
    for (int64_t position = begin; position < end; ++position) {
      const int64_t row = (position - job.first_position) * job.kv_heads + head;
      const int place = static_cast<int>(position % kKvBlockTokens);
      kernels_->store_key(keys + row * job.head_dim, job.head_dim, job.kv_type, place, to_keys);
      kernels_->store_kv(values + row * job.value_dim, job.value_dim, job.kv_type,
                         to_values + static_cast<size_t>(place) * value_bytes);
    }
  };
  const int64_t items = blocks * job.kv_heads;
  if (job.tokens * job.kv_heads * job.head_dim < kParallelValues) {
    for (int64_t item = 0; item < items; ++item) store(item);
  } else {
    pool_.run(items, store);
  }
}

// Pieces of one job: as many tokens as a call takes, so that they share reads of keys and values. The last tokens,
// which see most, come first: short pieces even out the end. Few tokens take as many kv heads at once, whose keys and
// values lie one after another, as read about `positions` positions together. Where there are fewer kv heads than
// threads, the heads that share one are parted.
void CpuBackend::cut(const AttentionJob& job, int64_t positions) {
  const int group = job.heads / job.kv_heads;
  const int64_t tokens = std::clamp<int64_t>(kMaxAttentionRows / group, 1, kAttentionTokens);
  const int64_t rounds = (job.tokens + tokens - 1) / tokens;
  const int64_t wanted = (pool_.threads() + rounds * job.kv_heads - 1) / (rounds * job.kv_heads);
  const int parts =
      static_cast<int>(std::clamp<int64_t>(wanted, (group + kMaxAttentionRows - 1) / kMaxAttentionRows, group));
  int heads = 1;
  if (rounds == 1 && parts == 1) {
    const int64_t seen = positions_seen(job), most = kMaxAttentionRows / (job.tokens * group);
    heads = static_cast<int>(std::clamp<int64_t>((positions + seen - 1) / seen, 1, most));
  }
  for (int64_t round = rounds; round-- > 0;) {
    const int64_t first = round * tokens;
    for (int head = 0; head < job.kv_heads; head += heads) {
      for (int part = 0; part < parts; ++part) {
        const int begin = group * part / parts, end = group * (part + 1) / parts;
        attention_pieces_.push_back({.job = &job,
                                     .kv_head = head,
                                     .kv_heads = std::min(heads, job.kv_heads - head),
                                     .first_query = begin,
                                     .queries = end - begin,
                                     .first_token = first,
                                     .tokens = std::min(tokens, job.tokens - first)});
      }
    }
  }
}

void CpuBackend::attend(const AttentionPiece& piece) {
  const AttentionJob& job = *piece.job;
  const int first_head = piece.kv_head * (job.heads / job.kv_heads) + piece.first_query;
  const int64_t q_stride = int64_t{job.heads} * job.head_dim, out_stride = int64_t{job.heads} * job.value_dim;
  kernels_->attention({.q = job.q + piece.first_token * q_stride + int64_t{first_head} * job.head_dim,
                       .q_stride = q_stride,
                       .tokens = piece.tokens,
                       .queries = piece.queries,
                       .kv_heads = piece.kv_heads,
                       .head_dim = job.head_dim,
                       .value_dim = job.value_dim,
                       .blocks = job.blocks.data(),
                       .offset = job.offset + static_cast<size_t>(piece.kv_head) * job.head_bytes,
                       .key_bytes = job.key_bytes,
                       .head_bytes = job.head_bytes,
                       .kv_type = job.kv_type,
                       .first_position = job.first_position + piece.first_token,
                       .window = job.window,
                       .scale = job.scale,
                       .softcap = job.softcap,
                       .sinks = job.sinks == nullptr ? nullptr : job.sinks + first_head,
                       .out = job.out + piece.first_token * out_stride + int64_t{first_head} * job.value_dim,
                       .out_stride = out_stride});
}

void CpuBackend::attention(std::span<const AttentionJob> jobs) {
  attention_pieces_.clear();
  int64_t positions = 0;
  for (const AttentionJob& job : jobs) positions += positions_seen(job) * job.kv_heads;
  // One job is cut evenly, one stretch of memory for each thread; several, of which each may be of another length, into
  // more pieces than there are threads.
  const int64_t pieces = pool_.threads() * (jobs.size() > 1 ? 4 : 1);
  for (const AttentionJob& job : jobs) cut(job, (positions + pieces - 1) / pieces);
  pool_.run(static_cast<int64_t>(attention_pieces_.size()),
            [&](int64_t item) { attend(attention_pieces_[static_cast<size_t>(item)]); });
}

void CpuBackend::swiglu(const float* gate, const float* up, int64_t row_count, int64_t n, float* out) {
  rows(row_count, n, [&](int64_t row) { kernels_->swiglu(gate + row * n, up + row * n, n, out + row * n); });
}

void CpuBackend::clamped_swiglu(const float* gate, const float* up, float alpha, float limit, int64_t row_count,
                                int64_t n, float* out) {
  rows(row_count, n,
       [&](int64_t row) { kernels_->clamped_swiglu(gate + row * n, up + row * n, alpha, limit, n, out + row * n); });
}

void CpuBackend::add(float* x, const float* y, int64_t n) {
  constexpr int64_t kPiece = 4096;
  rows((n + kPiece - 1) / kPiece, kPiece, [&](int64_t piece) {
    kernels_->add(x + piece * kPiece, y + piece * kPiece, std::min(kPiece, n - piece * kPiece));
  });
}

void CpuBackend::add_weighted(float* x, const float* y, const int32_t* slots, const float* weights, int64_t tokens,
                              int top_k, int64_t n) {
  rows(tokens, n * top_k, [&](int64_t t) {
    for (int k = 0; k < top_k; ++k) {
      kernels_->add_scaled(x + t * n, weights[t * top_k + k], y + int64_t{slots[t * top_k + k]} * n, n);
    }
  });
}

void CpuBackend::add_gated(float* x, const float* y, const float* gate, int64_t tokens, int64_t n) {
  rows(tokens, n,
       [&](int64_t t) { kernels_->add_scaled(x + t * n, 1.0f / (1.0f + std::exp(-gate[t])), y + t * n, n); });
}

void CpuBackend::softmax(float* x, int64_t n) {
  kernels_->softmax(x, n);
}

}  // namespace moxie
