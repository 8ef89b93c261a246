#include "model/forward.h"

#include <algorithm>

#include "core/check.h"
#include "model/model.h"

namespace moxie {
namespace {

constexpr size_t kAlignBytes = 64;

// Values of the widest rows inside the feed-forward blocks.
int64_t gate_values(const Hyperparameters& hp, int64_t chunk) {
  const int64_t routed = hp.router.experts > 0 ? chunk * hp.router.used : 0;
  return std::max({chunk * hp.ffn, routed * hp.expert_ffn, chunk * hp.shared_ffn});
}

// Hands out parts of one buffer: first called without memory to add up, then with it.
struct Divider {
  std::byte* memory = nullptr;
  size_t used = 0;

  template <typename T>
  void part(T*& pointer, int64_t count) {
    if (memory != nullptr) pointer = reinterpret_cast<T*>(memory + used);
    used += (static_cast<size_t>(count) * sizeof(T) + kAlignBytes - 1) / kAlignBytes * kAlignBytes;
  }
};

void divide(Divider& d, Workspace& ws, const Hyperparameters& hp, int64_t tokens, int64_t chunk) {
  const bool moe = hp.router.experts > 0;
  const int64_t routed = moe ? tokens * hp.router.used : 0;
  d.part(ws.x, tokens * hp.hidden);
  d.part(ws.normed, tokens * hp.hidden);
  d.part(ws.q, chunk * hp.heads * hp.head_dim);
  d.part(ws.k, chunk * hp.kv_heads * hp.head_dim);
  d.part(ws.v, chunk * hp.kv_heads * hp.head_dim);
  d.part(ws.mixed, chunk * hp.heads * hp.head_dim);
  d.part(ws.gate, gate_values(hp, chunk));
  d.part(ws.up, gate_values(hp, chunk));
  d.part(ws.down, std::max(chunk, routed) * hp.hidden);
  d.part(ws.scores, std::max(tokens, Workspace::kGuessTokens) * std::max<int64_t>(1, hp.router.experts));
  d.part(ws.chosen_weights, routed);
  d.part(ws.chosen, routed);
  d.part(ws.slots, routed);
  d.part(ws.grouped, routed);
  if (!moe) return;
  d.part(ws.guess_normed, Workspace::kGuessTokens * hp.hidden);
  d.part(ws.guess_weights, Workspace::kGuessTokens * hp.router.used);
  d.part(ws.guess, Workspace::kGuessTokens * hp.router.used);
}

}  // namespace

uint64_t Workspace::bytes_for(const Hyperparameters& hp, int64_t max_tokens, int64_t chunk_tokens) {
  Workspace ws;
  Divider sizes;
  divide(sizes, ws, hp, max_tokens, chunk_tokens);
  // Each row is quantized once more for the products (a byte and a share of a scale per value; two forms where a layer
  // mixes types), and an expert's rows are gathered.
  const int64_t quantized =
      2 * (max_tokens * hp.hidden + chunk_tokens * hp.heads * hp.head_dim + gate_values(hp, chunk_tokens)) +
      chunk_tokens * std::max<int64_t>(1, hp.router.used) * hp.hidden;
  return sizes.used + static_cast<uint64_t>(quantized) * 9 / 8;
}

Result<Workspace> Workspace::create(const Hyperparameters& hp, int64_t max_tokens, int64_t chunk_tokens) {
  Workspace ws;
  ws.max_tokens = max_tokens;
  ws.chunk_tokens = std::min(max_tokens, chunk_tokens);
  Divider sizes;
  divide(sizes, ws, hp, max_tokens, ws.chunk_tokens);
  auto memory = Buffer::allocate(sizes.used);
  if (!memory.ok()) return std::move(memory).error();
  ws.memory_ = std::move(memory).value();
  Divider parts{.memory = ws.memory_.data()};
  divide(parts, ws, hp, max_tokens, ws.chunk_tokens);
  ws.jobs.reserve(static_cast<size_t>(2 * hp.router.experts + 4));
  ws.group_begin.resize(static_cast<size_t>(hp.router.experts) + 1);
  ws.place.resize(static_cast<size_t>(hp.router.experts));
  for (int32_t id = 0; id < hp.router.experts; ++id) ws.every_expert.push_back(id);
  ws.active.reserve(static_cast<size_t>(hp.router.experts));
  ws.attention_jobs.reserve(static_cast<size_t>(std::min<int64_t>(max_tokens, 64)));
  ws.rope.cos.reserve(static_cast<size_t>(max_tokens * hp.rope.dims / 2));
  ws.rope.sin.reserve(static_cast<size_t>(max_tokens * hp.rope.dims / 2));
  return ws;
}

ForwardPass::ForwardPass(const Model& model_, Backend& backend_, Workspace& workspace,
                         std::span<BatchSegment> segments_, const std::atomic<bool>* stop)
    : model(model_), hp(model_.hp()), backend(backend_), ws(workspace), segments(segments_), stop_(stop) {
  model.rope().reset(ws.rope);
  for (const BatchSegment& segment : segments) {
    MOXIE_CHECK(segment.outputs >= 0 && segment.outputs <= std::ssize(segment.ids));
    tokens += std::ssize(segment.ids);
    outputs += segment.outputs;
    model.rope().append(ws.rope, segment.state->tokens(), static_cast<int64_t>(segment.ids.size()));
  }
}

bool ForwardPass::enter(int64_t layer) {
  if (layer >= layers() || stopped()) return false;
  if (visitor != nullptr) visitor->on_layer(*this, layer);
  return !stopped();
}

void ForwardPass::drop_segment(size_t index) {
  MOXIE_CHECK(index < segments.size() && segments.size() > 1);
  int64_t first = 0;
  for (size_t i = 0; i < index; ++i) first += std::ssize(segments[i].ids);
  const int64_t count = std::ssize(segments[index].ids);
  move_rows(first + count, tokens, first);
  set_rows(tokens - count);
  outputs -= segments[index].outputs;
  std::move(segments.begin() + static_cast<std::ptrdiff_t>(index) + 1, segments.end(),
            segments.begin() + static_cast<std::ptrdiff_t>(index));
  segments = segments.first(segments.size() - 1);
}

void ForwardPass::keep_outputs() {
  int64_t end = 0, kept = 0;
  for (const BatchSegment& segment : segments) {
    end += std::ssize(segment.ids);
    move_rows(end - segment.outputs, end, kept);
    kept += segment.outputs;
  }
  set_rows(kept);
  only_outputs_ = true;
  ws.normed_acts.set(ws.normed, tokens, hp.hidden);
}

void ForwardPass::move_rows(int64_t from, int64_t end, int64_t to) {
  if (from == to) return;
  const auto move = [&](float* rows, int64_t width) {
    std::copy(rows + from * width, rows + end * width, rows + to * width);
  };
  move(ws.x, hp.hidden);
  move(ws.normed, hp.hidden);
  move(ws.rope.cos.data(), ws.rope.half);
  move(ws.rope.sin.data(), ws.rope.half);
}

void ForwardPass::set_rows(int64_t rows) {
  tokens = rows;
  for (std::vector<float>* angles : {&ws.rope.cos, &ws.rope.sin})
    angles->resize(static_cast<size_t>(rows * ws.rope.half));
}

bool ForwardPass::stopped() {
  if (failed_) return true;
  if (stop_ != nullptr && stop_->load(std::memory_order_relaxed)) fail_with({ErrorCode::cancelled, "cancelled"});
  return failed_;
}

void ForwardPass::fail_with(Error reason) {
  if (!failed_) error = std::move(reason);
  failed_ = true;
}

}  // namespace moxie
