#include "store/slot_layout.h"

#include <algorithm>

#include "core/buffer.h"
#include "core/fail.h"

namespace moxie {
namespace {

// More than so many different sizes are not worth trying every grouping for.
constexpr size_t kMaxSizesTried = 8;

uint64_t align_down(uint64_t value, uint64_t alignment) {
  return value & ~(alignment - 1);
}
uint64_t align_up(uint64_t value, uint64_t alignment) {
  return align_down(value + alignment - 1, alignment);
}

std::vector<uint64_t> distinct_sizes(std::span<const LayerNeed> layers) {
  std::vector<uint64_t> sizes;
  for (const LayerNeed& layer : layers) {
    if (layer.experts > 0) sizes.push_back(layer.slot_bytes);
  }
  std::sort(sizes.begin(), sizes.end());
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  return sizes;
}

// Classes from ascending sizes: bit i of `cuts` ends a class after size i.
PoolLayout classes_for(std::span<const LayerNeed> layers, std::span<const uint64_t> sizes, uint32_t cuts, int used) {
  PoolLayout pool;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (i + 1 == sizes.size() || (cuts >> i & 1) != 0) pool.classes.push_back({.slot_bytes = sizes[i]});
  }
  for (const LayerNeed& layer : layers) {
    int index = -1;
    if (layer.experts > 0) {
      index = 0;
      while (pool.classes[static_cast<size_t>(index)].slot_bytes < layer.slot_bytes) ++index;
    }
    pool.class_of.push_back(index);
    pool.transit = std::max(pool.transit, std::min(used, layer.experts));
  }
  pool.kept.assign(layers.size(), 0);
  return pool;
}

uint64_t slot_bytes(const PoolLayout& pool, size_t layer) {
  return pool.classes[static_cast<size_t>(pool.class_of[layer])].slot_bytes;
}

// Counts slots and bytes, once `kept` is decided.
void finish(PoolLayout& pool, std::span<const LayerNeed> layers) {
  pool.complete = true;
  pool.streaming_layers = 0;
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    pool.complete = pool.complete && pool.kept[layer] == layers[layer].experts;
    if (layers[layer].experts > 0 && pool.kept[layer] == 0) ++pool.streaming_layers;
  }
  if (pool.complete) pool.transit = 0;
  pool.bytes = 0;
  for (PoolLayout::Class& group : pool.classes) group.slots = pool.transit;
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    if (pool.class_of[layer] >= 0) pool.classes[static_cast<size_t>(pool.class_of[layer])].slots += pool.kept[layer];
  }
  for (const PoolLayout::Class& group : pool.classes)
    pool.bytes += static_cast<uint64_t>(group.slots) * group.slot_bytes;
}

// Gives out `bytes` beside the transit slots, which must fit. False where they do not.
bool fill(PoolLayout& pool, std::span<const LayerNeed> layers, int used, uint64_t bytes) {
  uint64_t everything = 0, transit = 0;
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    if (layers[layer].experts > 0) everything += static_cast<uint64_t>(layers[layer].experts) * slot_bytes(pool, layer);
  }
  if (everything <= bytes) {
    for (size_t layer = 0; layer < layers.size(); ++layer) pool.kept[layer] = layers[layer].experts;
    finish(pool, layers);
    return true;
  }
  for (const PoolLayout::Class& group : pool.classes) transit += static_cast<uint64_t>(pool.transit) * group.slot_bytes;
  if (transit > bytes) return false;
  uint64_t left = bytes - transit;
  // The floor first: `used` for one layer after the other. What cannot have it keeps nothing.
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    const int floor = std::min(used, layers[layer].experts);
    const uint64_t cost = floor > 0 ? static_cast<uint64_t>(floor) * slot_bytes(pool, layer) : 0;
    if (cost == 0 || cost > left) continue;
    pool.kept[layer] = floor;
    left -= cost;
  }
  // Then one more for every layer, round by round. The last round may not reach all: it begins in the middle, where
  // routers repeat themselves most (Mixtral of Experts, table 5), and goes outwards.
  std::vector<size_t> order;
  for (size_t i = 0; i < layers.size(); ++i) {
    const size_t half = layers.size() / 2;
    order.push_back(i % 2 == 0 ? half + i / 2 : half - (i + 1) / 2);
  }
  // Where some keep nothing, less than another floor is left, and goes to those who keep something.
  for (bool given = true; given;) {
    given = false;
    for (const size_t layer : order) {
      const bool wants = pool.kept[layer] > 0 && pool.kept[layer] < layers[layer].experts;
      if (!wants || slot_bytes(pool, layer) > left) continue;
      ++pool.kept[layer];
      left -= slot_bytes(pool, layer);
      given = true;
    }
  }
  finish(pool, layers);
  return true;
}

int64_t total_kept(const PoolLayout& pool) {
  int64_t sum = 0;
  for (const int kept : pool.kept) sum += kept;
  return sum;
}

}  // namespace

SlotShape shape_slot(const ExpertRanges& ranges, uint64_t alignment) {
  SlotShape shape;
  for (size_t i = 0; i < ranges.size(); ++i) {
    const FileRange& range = ranges[i];
    const FileRange* before = i > 0 ? &ranges[i - 1] : nullptr;
    const bool touches = before != nullptr && before->file == range.file &&
                         range.offset >= before->offset + before->bytes &&
                         align_down(range.offset, alignment) <= align_up(before->offset + before->bytes, alignment);
    if (touches) {
      shape.at[i] = shape.at[i - 1] + (range.offset - before->offset);
    } else {
      shape.at[i] = shape.bytes + range.offset % alignment;
    }
    shape.bytes = align_up(shape.at[i] + range.bytes, alignment);
  }
  // Whole huge pages, where that wastes little.
  const uint64_t huge = align_up(shape.bytes, kHugePageBytes);
  if ((huge - shape.bytes) * 32 <= shape.bytes) shape.bytes = huge;
  return shape;
}

double PoolLayout::kept_per_layer() const {
  const auto mixtures = std::count_if(class_of.begin(), class_of.end(), [](int index) { return index >= 0; });
  return mixtures > 0 ? static_cast<double>(total_kept(*this)) / static_cast<double>(mixtures) : 0;
}

uint64_t minimum_pool_bytes(std::span<const LayerNeed> layers, int used) {
  const std::vector<uint64_t> sizes = distinct_sizes(layers);
  return sizes.empty() ? 0 : sizes.back() * static_cast<uint64_t>(used);
}

Result<PoolLayout> divide_pool(std::span<const LayerNeed> layers, int used, uint64_t bytes) {
  const std::vector<uint64_t> sizes = distinct_sizes(layers);
  if (const uint64_t minimum = minimum_pool_bytes(layers, used); bytes < minimum) {
    return fail(ErrorCode::out_of_memory,
                "{} bytes are left for experts, but the {} that a token needs at once take {}", bytes, used, minimum);
  }
  // Fewer classes waste less on transit slots, more classes waste less inside the slots: the grouping that keeps most
  // experts wins.
  const uint32_t groupings = sizes.size() > 1 && sizes.size() <= kMaxSizesTried ? 1u << (sizes.size() - 1) : 1u;
  PoolLayout best;
  bool found = false;
  for (uint32_t cuts = 0; cuts < groupings; ++cuts) {
    PoolLayout pool = classes_for(layers, sizes, cuts, used);
    if (!fill(pool, layers, used, bytes)) continue;
    if (!found || total_kept(pool) > total_kept(best) ||
        (total_kept(pool) == total_kept(best) && pool.bytes < best.bytes)) {
      best = std::move(pool);
      found = true;
    }
  }
  if (found) return best;
  return fail(ErrorCode::internal, "no grouping of {} slot sizes fits {} bytes", sizes.size(), bytes);
}

Result<PoolLayout> fixed_pool(std::span<const LayerNeed> layers, int used, int kept) {
  if (kept != 0 && kept < used) {
    return fail(ErrorCode::invalid_argument,
                "{} experts per layer are fewer than the {} that a token uses; give at least {}, or 0 to keep none",
                kept, used, used);
  }
  const std::vector<uint64_t> sizes = distinct_sizes(layers);
  PoolLayout pool = classes_for(layers, sizes, ~0u, used);
  for (size_t layer = 0; layer < layers.size(); ++layer) pool.kept[layer] = std::min(kept, layers[layer].experts);
  finish(pool, layers);
  return pool;
}

}  // namespace moxie
